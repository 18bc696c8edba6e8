"""The label of a line → −1.0 or +1.0: the one place where labels are given a side.

Formats pass a label as its bytes, as the line writes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from onlinesvm.errors import ConfigError, format_text
from onlinesvm.readers.tokens import LineError, read_number

__all__ = ["Labels"]


class Labels:
    """Label text → −1.0 or +1.0.

    Without `positive`: any number equal to −1, 0 or +1, and 0 reads as −1. With it: a text that
    is among `positive` is +1, any other −1; ``">0"`` among them says that the other labels are
    numbers, +1 above 0.

    labelled: True makes a label that is missing or unreadable a LineError; False reads it as 0.0.

    by_text is True where `positive` was given, numeric where ``">0"`` was among it; `positive`
    holds the other texts.
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
        """The side of the label `text`; an empty one is missing."""
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
