"""The progress bar of a file that is read: how much of it, how fast, how well."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from onlinesvm.readers.pairs import PairReader
from onlinesvm.readers.reader import Reader

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["ProgressBar", "columns_of"]

_EVERY_S = 0.1
_NAME_CHARACTERS = 16
# One less than a terminal of 80 has: a full line would wrap on some.
_MAX_COLUMNS = 79


def columns_of(stream: TextIO) -> int:
    """The width of a line on the terminal that `stream` is, at most 79 columns."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns - 1
    except OSError:
        columns = _MAX_COLUMNS
    return min(columns if columns > 0 else _MAX_COLUMNS, _MAX_COLUMNS)


class ProgressBar:
    """Follows `reader` on stderr, in 80 columns or fewer.

    Nothing is shown where stderr is no terminal, or where the samples are typed into one.

    before: samples of the files before this one, which do not count for its rate.
    """

    def __init__(self, reader: Reader | PairReader, before: int = 0) -> None:
        self._reader = reader
        self._started = self._last = time.monotonic()
        self._before = before
        self._bar = self._made() if self._is_shown() else None

    def _is_shown(self) -> bool:
        typed = self._reader.source == "stdin" and sys.stdin.isatty()
        return sys.stderr.isatty() and not typed

    def _made(self) -> tqdm[Any]:
        from tqdm import tqdm  # 40 ms, for terminals alone

        total = self._reader.total_bytes
        return tqdm(
            total=total,
            desc=os.path.basename(self._reader.source)[-_NAME_CHARACTERS:],
            unit="B",
            unit_scale=True,
            ncols=columns_of(sys.stderr),
            bar_format="{desc} {percentage:3.0f}%|{bar}|{postfix} {remaining}"
            if total
            else "{desc} {n_fmt}B{postfix} {elapsed}",
        )

    def update(self, samples: int, error: Callable[[], float | None], last: bool = False) -> None:
        """Show the place of the reader, at most ten times a second.

        error: called where it is shown; the error of the `samples` so far, None if unknown.
        """
        if self._bar is None:
            return
        now = time.monotonic()
        if not (last or now - self._last >= _EVERY_S):
            return
        self._last = now
        rate = (samples - self._before) / max(now - self._started, 1e-9)
        text = f"{samples:,} samples, {rate:,.0f}/s"
        found = error()
        if found is not None:
            text += f", error {found:.4f}"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.n = self._reader.bytes_read
        self._bar.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
