"""The screen of `top`, made of its figures: all models, or one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onlinesvm.service.cli.output import one_line
from onlinesvm.service.cli.top_figures import Seen, View

__all__ = ["ROWS_AROUND", "chart", "screen"]

# The lines that are taken beside the rows of the table: head, heads of columns, foot.
ROWS_AROUND = 7
_NONE = "–"
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_BAD = "bold red"


def screen(
    view: View, columns: int, lines: int, *, first: int = 0, chosen: int = 0, one: str | None = None
) -> RenderableType:
    """All of the screen, of so many columns and lines.

    first: the place of the first model that is shown; chosen: that of the marked one. one: the
    model that is shown alone.
    """
    parts: list[RenderableType] = [*_head(view, columns)]
    if one is None:
        room = max(1, lines - ROWS_AROUND)
        parts.append(_table(view.models[first : first + room], columns, chosen - first))
        foot = f"{first + 1}–{first + len(view.models[first : first + room])} of {view.count:,}"
        keys = "↑ ↓ choose   enter show   q quit"
    else:
        seen = next((seen for seen in view.models if seen.name == one), None)
        parts += _one(one, seen, view, columns, max(1, (lines - 10) // 2))
        foot, keys = "", "esc all models   q quit"
    body = Group(*parts)
    last = Text(keys, style="dim", no_wrap=True)
    last.append(foot.rjust(max(1, columns - len(last))))
    whole = Table.grid(expand=True)
    whole.add_row(body)
    whole.add_row(last)
    return whole


def _head(view: View, columns: int) -> list[Text]:
    daemon, pace = view.daemon, view.pace
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append("onlinesvm", style="bold")
    title.append(f" {daemon['version']}  {daemon['mode']} at {one_line(view.endpoint)}")
    title.append(f"  up {_duration(daemon['uptime_s'])}", style="dim")
    figures = _figures(
        ("samples/s", _rate(daemon["samples_per_s"])), ("requests/s", _rate(pace.requests_per_s)),
        ("turn", _ms(pace.turn_ms)), ("99 %", _ms(pace.turn_99_ms)),
        ("memory", _bytes(daemon["memory_bytes"])),
    )  # fmt: skip
    curve = Text(no_wrap=True)
    curve.append("last minute ", style="dim")
    room = max(10, columns - 14)
    curve.append(chart(view.curves.get("samples", ()), room, 1)[0], style="blue")
    state = _figures(
        ("models", f"{view.count:,}"), ("in memory", f"{daemon['loaded_models']:,}"),
        ("log", _bytes(daemon.get("log_bytes"))), ("errors", f"{sum(daemon['errors'].values()):,}"),
    )  # fmt: skip
    if view.error is not None:
        state = Text(f"no answer: {one_line(view.error)}", _BAD, no_wrap=True)
    elif daemon.get("log_error"):
        state = Text(f"log: {one_line(str(daemon['log_error']))}", _BAD, no_wrap=True)
    return [title, figures, curve, state]


def _figures(*pairs: tuple[str, str]) -> Text:
    """Names with their figures on one line."""
    line = Text(no_wrap=True, overflow="ellipsis")
    for i, (name, value) in enumerate(pairs):
        line.append("   " if i else "")
        line.append(f"{name} ", style="dim")
        line.append(value, style="bold")
    return line


def _table(models: Sequence[Seen], columns: int, chosen: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("model", ratio=1, no_wrap=True, overflow="ellipsis")
    if columns >= 90:
        table.add_column("task", no_wrap=True)
    for name in ("samples", "samples/s", "error", "recent", "features", "drifts"):
        table.add_column(name, justify="right", no_wrap=True)
    for i, seen in enumerate(models):
        figures = seen.figures or {}
        cells = [
            f"{seen.samples:,}", _rate(seen.rate), _percent(figures.get("progressive_error")),
            _percent(figures.get("recent_error")), _count(seen.row.get("features")),
            _count(figures.get("drifts")),
        ]  # fmt: skip
        if columns >= 90:
            cells.insert(0, f"{figures.get('task') or _NONE}, {seen.row.get('rule') or _NONE}")
        label = Text(one_line(seen.name), style=_BAD if seen.row.get("damage") else "")
        table.add_row(label, *cells, style="reverse" if i == chosen else "")
    return table


def _one(name: str, seen: Seen | None, view: View, columns: int, tall: int) -> list[RenderableType]:
    figures = None if seen is None else seen.figures
    if seen is None or figures is None:
        return [Text(one_line(name), style="bold"), Text("no figures of this model", style="dim")]
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(one_line(name), style="bold")
    title.append(f"  {figures['task']}, {figures['rule']}  {_labels(figures['labels'])}")
    lines: list[RenderableType] = [title]
    lines.append(_figures(
        ("samples", f"{figures['position']:,}"), ("samples/s", _rate(seen.rate)),
        ("features", _count(figures["features"])), ("drifts", _count(figures["drifts"])),
        ("held", _count(figures.get("held"))),
    ))  # fmt: skip
    lines.append(_figures(
        ("recent error", _percent(figures["recent_error"])),
        ("all", _percent(figures["progressive_error"])),
        ("loss", _loss(figures["recent_hinge_loss"])),
        ("calibration", _percent(figures.get("recent_calibration_error"))),
    ))  # fmt: skip
    lines += [
        Text(row, style="red")
        for row in _scaled(view.curves.get("error", ()), columns, tall, _percent)
    ]
    quality = _quality(figures)
    if quality:
        lines.append(_figures(*quality))
    lines.append(_figures(
        ("samples a second, last minute", _rate(seen.rate)),
        ("snapshot", _duration(figures.get("snapshot_age_s"))),
    ))  # fmt: skip
    lines += [
        Text(row, style="blue")
        for row in _scaled(view.curves.get("rate", ()), columns, tall, _rate)
    ]
    return lines


def _quality(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures that say most of a task."""
    names = {
        "recent_precision": "precision", "recent_recall": "recall", "recent_f1": "F1",
        "recent_micro_f1": "micro F1", "recent_macro_f1": "macro F1",
        "recent_balanced_error": "balanced error",
    }  # fmt: skip
    return [(name, _percent(figures[key])) for key, name in names.items() if key in figures]


def _scaled(points: Sequence[float], columns: int, tall: int, shown: Any) -> list[str]:
    """A chart with its largest figure at its side."""
    most = max(points, default=0.0)
    side = [shown(most).rjust(8), *[" " * 8] * (tall - 1)]
    if tall > 1:
        side[-1] = shown(0.0).rjust(8)
    rows = chart(points, max(10, columns - 10), tall)
    return [f"{left} {row}" for left, row in zip(side, rows, strict=True)]


def chart(points: Sequence[float], columns: int, tall: int) -> list[str]:
    """The last of `points`, from 0 to the largest, as `tall` lines of blocks; the newest is on the
    right.
    """
    points = list(points)[-columns:]
    most = max([point for point in points if math.isfinite(point)], default=0.0)
    levels = [round(8 * tall * max(0.0, point) / most) if most > 0.0 else 0 for point in points]
    rows = []
    for row in range(tall - 1, -1, -1):
        line = "".join(_EIGHTHS[min(8, max(0, level - 8 * row))] for level in levels)
        rows.append(line.rjust(columns))
    return rows


def _labels(labels: Any) -> str:
    if isinstance(labels, int):
        return f"{labels:,} labels"
    known = [one_line(_text(label)) for label in labels or () if label is not None]
    return " / ".join(known)


def _text(label: Any) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


def _count(x: int | None) -> str:
    return _NONE if x is None else f"{x:,}"


def _rate(x: float | None) -> str:
    return _NONE if x is None else f"{x:,.0f}" if x >= 10 or x == 0 else f"{x:.1f}"


def _percent(x: float | None) -> str:
    return _NONE if x is None else f"{x:.2%}"


def _loss(x: float | None) -> str:
    return _NONE if x is None else f"{x:.4f}"


def _ms(x: float | None) -> str:
    return _NONE if x is None else f"{x:.2g} ms" if x < 10 else f"{x:.0f} ms"


def _bytes(x: float | None) -> str:
    if x is None:
        return _NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if x < 1024 or unit == "GiB":
            return f"{x:.0f} {unit}" if unit == "B" or x >= 100 else f"{x:.1f} {unit}"
        x /= 1024
    raise AssertionError


def _duration(x: float | None) -> str:
    if x is None:
        return _NONE
    if x < 60:
        return f"{x:.0f} s"
    if x < 3600:
        return f"{x // 60:.0f} min"
    return f"{x // 3600:.0f} h {x % 3600 // 60:.0f} min"
