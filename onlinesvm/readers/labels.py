"""The fields of a line of a text file: numbers, importances, names, labels.

Numbers follow JSON's grammar plus a leading ``+`` and round as Python's `float`, so that they mean
the same in every format; what only Python reads (``nan``, ``1_000``, ``.5``) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from onlinesvm.config import MAX_MAGNITUDE, MIN_MAGNITUDE, Limits
from onlinesvm.errors import ConfigError, format_text

__all__ = [
    "Labels",
    "LineError",
    "Values",
    "check_name",
    "drop_zeros",
    "read_importance",
    "read_number",
    "too_many_features",
]

_number = re.compile(rb"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch


class LineError(ValueError):
    """What is wrong with a line, in words; the Reader knows which file and line it was.

    Never leaves the package: the Reader raises FormatError instead.
    """


def read_number(text: bytes) -> float | None:
    """`text` as a number, None where it is not one. One that is too large reads as infinite."""
    return float(text) if _number(text) else None


def read_importance(text: bytes) -> float:
    """`text` as an importance, 0 to 1e50. Raises LineError."""
    number = read_number(text)
    if number is None or not 0 <= number <= MAX_MAGNITUDE:
        raise LineError(
            f"expected an importance from 0 to {MAX_MAGNITUDE:g}, got {format_text(text)}"
        )
    return number if number >= MIN_MAGNITUDE else 0.0


class Values(dict[bytes, float]):
    """Text → value, read at first sight and remembered: files repeat the same few numbers.

    A lookup raises LineError for what is not a number or too large; too small reads as 0.0.
    """

    # What is remembered: so many numbers, and none longer (long ones seldom come again).
    _MAX_REMEMBERED = 16_384
    _MAX_TEXT_BYTES = 12

    def __missing__(self, text: bytes) -> float:
        number = read_number(text)
        if number is None:
            raise LineError(f"expected a number, got {format_text(text)}")
        if not -MAX_MAGNITUDE <= number <= MAX_MAGNITUDE:
            raise LineError(
                f"expected a number of magnitude at most {MAX_MAGNITUDE:g}, got {format_text(text)}"
            )
        if -MIN_MAGNITUDE < number < MIN_MAGNITUDE:
            number = 0.0
        if len(text) <= self._MAX_TEXT_BYTES:
            if len(self) >= self._MAX_REMEMBERED:
                self.clear()
            self[text] = number
        return number


def check_name(name: bytes, limits: Limits) -> None:
    """Raise LineError for a name that is too long."""
    if len(name) > limits.max_name_bytes:
        raise LineError(
            f"expected at most {limits.max_name_bytes} bytes a feature name, got {len(name)}"
        )


def too_many_features(count: int, limits: Limits) -> LineError:
    """The error for a sample of `count` features."""
    return LineError(
        f"expected at most {limits.max_features_per_sample} features a sample, got {count}"
    )


def drop_zeros(
    names: Sequence[bytes], values: Sequence[float]
) -> tuple[Sequence[bytes], Sequence[float]]:
    """`names` and `values` without those whose value is 0, which is the same as absent."""
    if 0.0 not in values:
        return names, values
    kept = [value != 0.0 for value in values]
    return (
        [name for name, keep in zip(names, kept, strict=True) if keep],
        [value for value in values if value != 0.0],
    )


class Labels:
    """Label text → −1.0 or +1.0.

    Without `positive`: any number equal to −1, 0 or +1, and 0 reads as −1. With it: a text that
    is among `positive` is +1, any other −1; ``">0"`` among them says that the other labels are
    numbers, +1 above 0.

    labelled: whether a label that is missing or unreadable is a LineError; else it reads as 0.0.

    by_text, numeric, positive: whether `positive` was given, whether ``">0"`` was among it, and
    the other texts.
    """

    def __init__(self, positive: Iterable[str] = (), *, labelled: bool = True) -> None:
        given = {positive} if isinstance(positive, str) else set(positive)
        self.by_text = bool(given)
        self.labelled = labelled
        self.numeric = ">0" in given
        # As the command line gives them: bytes that are not UTF-8 come as surrogates.
        self.positive = {text.encode("utf-8", "surrogateescape") for text in given - {">0"}}
        for text in given - {">0"}:
            if text.startswith(">"):
                raise ConfigError(f"positive: expected a label, or '>0', got {text!r}")
        self._plain = {b"1": 1.0, b"+1": 1.0, b"-1": -1.0, b"0": -1.0} if not given else {}

    def read(self, text: bytes) -> float:
        """The label that `text` is; an empty one is missing."""
        label = self._plain.get(text)
        if label is not None:
            return label
        if not text:
            return self.missing("expected a label, got none")
        if not self.by_text:
            number = read_number(text)
            if number in (-1.0, 0.0, 1.0):
                return 1.0 if number == 1.0 else -1.0
            return self.missing(
                f"expected a label of -1, 0 or +1, got {format_text(text)}; for others say which"
                " are positive: --positive LABEL or --positive '>0'"
            )
        if text in self.positive:
            return 1.0
        if not self.numeric:
            return -1.0
        number = read_number(text)
        if number is None:
            return self.missing(
                f"expected a number as label, for --positive '>0', got {format_text(text)};"
                " for other labels: --positive LABEL"
            )
        return 1.0 if number > 0 else -1.0

    def missing(self, message: str) -> float:
        """0.0 where labels are optional. Raises LineError(message) where they are not."""
        if self.labelled:
            raise LineError(message)
        return 0.0
