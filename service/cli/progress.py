"""The progress bar of a file that is read: how much of it, how fast, how well."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from onlinesvm.readers.reader import Reader

__all__ = ["ProgressBar"]

_EVERY_S = 0.1
_NAME_CHARACTERS = 24


class ProgressBar:
    """Follows `reader` on stderr; nothing is shown where that is no terminal.

    before: samples of the files before this one, which do not count for its rate.
    """

    def __init__(self, reader: Reader, before: int = 0) -> None:
        self._reader = reader
        self._shown = sys.stderr.isatty()
        self._started = self._last = time.monotonic()
        self._before = before
        self._bar = tqdm(
            total=reader.total_bytes,
            desc=os.path.basename(reader.source)[-_NAME_CHARACTERS:],
            unit="B",
            unit_scale=True,
            disable=not self._shown,
            leave=True,
            bar_format="{desc} {percentage:3.0f}%|{bar:20}{postfix} [{elapsed}<{remaining}]"
            if reader.total_bytes
            else "{desc} {n_fmt}B{postfix} [{elapsed}]",
        )

    def update(self, samples: int, error: float | None, last: bool = False) -> None:
        """Show where the reader stands; `error` of the `samples` so far, None if unknown."""
        now = time.monotonic()
        if not self._shown or not (last or now - self._last >= _EVERY_S):
            return
        self._last = now
        rate = (samples - self._before) / max(now - self._started, 1e-9)
        text = f"{samples:,} samples, {rate:,.0f}/s"
        if error is not None:
            text += f", error {error:.4f}"
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
        self._bar.close()
