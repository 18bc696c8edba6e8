"""Explanations for a human: a record's fields, its texts shaded by what each token adds."""

from __future__ import annotations

import os
from typing import TextIO

from onlinesvm.data.label import Written
from onlinesvm.model.explanation import Explanation
from onlinesvm.service.cli.output import one_line
from onlinesvm.text.attribution import FieldPart

__all__ = ["Shading", "has_colours"]

# Backgrounds of the 256 colours, faint to strong, under black letters.
_FOR = (224, 217, 210, 203)
_AGAINST = (189, 153, 117, 75)
_FEW = 6  # names that are shown of features that belong to no text


def has_colours(stream: TextIO) -> bool:
    """True for a terminal, unless NO_COLOR is set (no-color.org) or the terminal is a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Shading:
    """Shows explanations. up, down: what a part above and below 0 speaks for.

    With `colours` a token lies on a background that is the stronger the more it adds; without, the
    strong ones have their part in brackets.
    """

    def __init__(self, up: str, down: str, colours: bool) -> None:
        self._up, self._down = up, down
        self._colours = colours

    def legend(self) -> str:
        """One line that says what the colours or signs mean."""
        up, down = one_line(self._up), one_line(self._down)
        if self._colours:
            return f"{_on(_FOR[-1], f' {up} ')} {_on(_AGAINST[-1], f' {down} ')}\n"
        return f"+ {up}, - {down}\n"

    def shown(self, explanation: Explanation) -> str:
        """The lines of one explanation, an empty one after them."""
        most = _strongest(explanation)
        lines = [f"{_label(explanation.label)}  {explanation.margin:+.3g}"]
        for field in explanation.fields:
            name = f"{one_line(field.field)}  " if field.field else ""
            text = self._text(field, most) if field.text else ""
            lines.append(f"  {name}{field.contribution:+.3g}  {text}".rstrip())
        others = self._others(explanation)
        if others:
            lines.append(f"  {others}")
        lines.append(f"  bias {explanation.bias:+.3g}")
        return "\n".join(lines) + "\n\n"

    def texts(self, explanation: Explanation) -> str:
        """The texts of one explanation, on one line."""
        most = _strongest(explanation)
        return " ".join(self._text(field, most) for field in explanation.fields if field.text)

    def _text(self, field: FieldPart, most: float) -> str:
        shown = []
        for text, contribution in field.text:
            text = one_line(text)
            level = round(4 * abs(contribution) / most) if most > 0.0 else 0
            if not level:
                shown.append(text)
            elif self._colours:
                colours = _FOR if contribution > 0 else _AGAINST
                shown.append(_on(colours[level - 1], text))
            else:
                shown.append(f"{text}[{contribution:+.2g}]")
        return "".join(shown)

    def _others(self, explanation: Explanation) -> str:
        """The strongest features where no text shows them."""
        if any(field.text for field in explanation.fields):
            return ""
        parts = [part for part in explanation.contributions if part.contribution]
        parts.sort(key=lambda part: -abs(part.contribution))
        shown = [f"{one_line(part.name)} {part.contribution:+.2g}" for part in parts[:_FEW]]
        more = f", {len(parts) - _FEW} more" if len(parts) > _FEW else ""
        return ", ".join(shown) + more


def _strongest(explanation: Explanation) -> float:
    """The most that a token adds, either way."""
    parts = [part for field in explanation.fields for part in field.text]
    return max([abs(part.contribution) for part in parts], default=0.0)


def _label(label: Written | None) -> str:
    return "-" if label is None else one_line(str(label))


def _on(background: int, text: str) -> str:
    return f"\x1b[48;5;{background}m\x1b[38;5;16m{text}\x1b[0m"
