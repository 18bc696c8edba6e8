"""The results as tables, in markdown."""

from __future__ import annotations

from typing import Any

__all__ = ["table"]


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _cell(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def table(outcome: dict[str, Any]) -> str:
    """All sets, then rates and memory."""
    sets, lines = outcome["sets"], []
    single = {name: found for name, found in sets.items() if "over_best_peer" in found["mean"]}
    if single:
        every = [peer for found in single.values() for peer in found["mean"]["peers"]]
        names = [*dict.fromkeys(every)]
        head = ["set (rows, labels; orders)", "ours", *names, "K hedges", "÷ best peer", "÷ hedges",
                "calibration error"]  # fmt: skip
        rows = []
        for name, found in single.items():
            mean = found["mean"]
            rows.append([
                f"{name} ({found['rows']:,}, {found['labels']}; {_orders(found)})",
                f"**{_cell(mean['figure'])}**",
                *(_cell(mean["peers"].get(peer)) for peer in names),
                _cell(mean.get("hedges")), _cell(mean["over_best_peer"], 3),
                _cell(mean.get("over_hedges"), 3), _cell(mean["calibration_error"]),
            ])  # fmt: skip
        lines += ["Progressive error, untuned:", "", *_markdown(head, rows), ""]
        total = outcome["summary"]
        lines += [
            f"Ours ÷ the best peer of each set, geometric mean {total['over_best_peer_mean']:.3f}"
            f" (wanted ≤ 0.92, aim 0.88), worst {total['over_best_peer_worst']:.3f} (≤ 1.00)"
            + (
                f"; ÷ K binary hedges {total['over_hedges_mean']:.3f} (≤ 0.93)"
                if "over_hedges_mean" in total
                else ""
            )
            + f"; worst calibration error {total['calibration_error_worst']:.4f} (≤ 0.025, aim"
            " 0.012).",
            "",
        ]
    for name, found in sets.items():
        if name in single:
            continue
        mean = found["mean"]
        head = ["set (rows, labels; orders)", "ours", *mean["peers"]]
        row = [f"{name} ({found['rows']:,}, {found['labels']}; {_orders(found)})",
               f"**{_cell(mean['figure'])}**", *map(_cell, mean["peers"].values())]  # fmt: skip
        lines += ["Several labels a row, progressive micro-F1 (wanted ≥ 0.59, aim 0.62):", "",
                  *_markdown(head, [row]), ""]  # fmt: skip
    if "rates" in outcome:
        head = ["labels", "samples/s", "VW's driver", "ratio", "of a processor second", "wanted",
                "bytes a feature, beside the names"]  # fmt: skip
        rows = [
            [
                labels, f"{found['samples_per_s']:,.0f}", f"{found['vw_samples_per_s']:,.0f}",
                f"{found['samples_per_s_over_vw']:.2f}×",
                f"{found['samples_per_cpu_s_over_vw']:.2f}×", f"≥ {found['wanted']:g}×",
                f"{found['bytes_a_feature']:.0f}",
            ]
            for labels, found in outcome["rates"].items()
            if "vw_samples_per_s" in found
        ]  # fmt: skip
        lines += ["Samples of `maintainers` learned a second, from names:", "",
                  *_markdown(head, rows), ""]  # fmt: skip
    skipped = sorted({line for found in sets.values() for line in found["mean"]["skipped"]})
    if skipped:
        lines += ["Left out: " + "; ".join(skipped) + ".", ""]
    return "\n".join(lines)


def _orders(found: dict[str, Any]) -> str:
    return str(max(1, len(found["orders"]) - 1))
