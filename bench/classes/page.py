"""The results as tables, in markdown."""

from __future__ import annotations

from typing import Any

__all__ = ["table"]


def table(outcome: dict[str, Any]) -> str:
    """Errors beside the peers, then micro-F1 of several labels a row, then rates and memory."""
    sets = outcome["sets"]
    single = {name: found for name, found in sets.items() if "calibration_error" in found["mean"]}
    lines: list[str] = []
    if single:
        lines += [*_errors(single), *_wanted(outcome["summary"])]
    for name, found in sets.items():
        if name not in single:
            lines += _tags(name, found)
    if "rates" in outcome:
        lines += _rates(outcome["rates"])
    skipped = sorted({line for found in sets.values() for line in found["mean"]["skipped"]})
    if skipped:
        lines += ["Left out: " + "; ".join(skipped) + ".", ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _cell(value: float | None, digits: int = 4) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits + (value < 0.01 and digits > 3)}f}"


def _title(name: str, found: dict[str, Any]) -> str:
    orders = max(1, len(found["orders"]) - 1)
    return f"{name}, {found['rows']:,} rows, {found['labels']} labels, orders: {orders}"


def _peer(mean: dict[str, Any], peer: str) -> str:
    """The peer's figure, with a mark where it is of the first order alone."""
    return _cell(mean["peers"].get(peer)) + ("*" if peer in mean["once"] else "")


def _errors(sets: dict[str, Any]) -> list[str]:
    """A column a set: there are more peers than sets."""
    every = [peer for found in sets.values() for peer in found["mean"]["peers"]]
    means = [found["mean"] for found in sets.values()]
    rows = [["**ours**", *(f"**{_cell(mean['figure'])}**" for mean in means)]]
    rows += [[peer, *(_peer(mean, peer) for mean in means)] for peer in dict.fromkeys(every)]
    for title, figure, digits in (
        ("K hedges of ours", "hedges", 4), ("ours ÷ the best peer", "over_best_peer", 3),
        ("ours ÷ K hedges", "over_hedges", 3), ("calibration error", "calibration_error", 4),
    ):  # fmt: skip
        rows.append([title, *(_cell(mean.get(figure), digits) for mean in means)])
    head = ["progressive error", *(_title(name, found) for name, found in sets.items())]
    notes = []
    if any(mean["once"] for mean in means):
        notes.append("\\* Slow, so of one order alone.")
    if any(peer not in mean["peers"] for mean in means for peer in every):
        notes.append("–: slow at so many labels or rows, and not measured.")
    return [*_markdown(head, rows), " ".join(notes), *([""] if notes else [])]


def _wanted(total: dict[str, float]) -> list[str]:
    parts = []
    if "over_best_peer_mean" in total:
        parts.append(
            f"Ours ÷ the best peer of each set: geometric mean {total['over_best_peer_mean']:.3f}"
            f" (wanted ≤ 0.92, aim 0.88), worst {total['over_best_peer_worst']:.3f} (≤ 1.00)."
        )
    if "over_hedges_mean" in total:
        parts.append(f"Ours ÷ K binary hedges: {total['over_hedges_mean']:.3f} (≤ 0.93).")
    worst = total["calibration_error_worst"]
    return [*parts, f"Worst calibration error: {worst:.4f} (≤ 0.025, aim 0.012).", ""]


def _tags(name: str, found: dict[str, Any]) -> list[str]:
    mean = found["mean"]
    rows = [["**ours**", f"**{_cell(mean['figure'])}**"]]
    rows += [[peer, _peer(mean, peer)] for peer in mean["peers"]]
    head = ["micro-F1, progressive (wanted ≥ 0.59, aim 0.62)", _title(name, found)]
    return _markdown(head, rows)


def _rates(rates: dict[str, Any]) -> list[str]:
    rows = [
        [
            labels, f"{found['samples_per_s']:,.0f}", f"{found['vw_samples_per_s']:,.0f}",
            f"{found['samples_per_s_over_vw']:.2f}×", f"{found['samples_per_cpu_s_over_vw']:.2f}×",
            f"≥ {found['wanted']:g}×", f"{found['bytes_a_feature']:.0f}",
        ]
        for labels, found in rates.items()
        if "vw_samples_per_s" in found
    ]  # fmt: skip
    head = ["labels of `maintainers`", "samples/s, from names", "VW's driver", "ratio",
            "by processor time", "wanted", "bytes a feature, beside the names"]  # fmt: skip
    return _markdown(head, rows)
