"""The progress of a replay: how much of the log a start has applied."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from onlinesvm.service.cli.progress import columns_of

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["ReplayProgress"]

log = logging.getLogger(__name__)

# A start that takes no longer shows nothing.
_QUIET_S = 1.0
_BAR_S = 0.1
_LINE_S = 10.0


class ReplayProgress:
    """Called with the bytes replayed so far, and of how many; from one thread at a time.

    Draws a bar where stderr is a terminal, else logs a line every ten seconds.
    """

    def __init__(self) -> None:
        self._due = time.monotonic() + _QUIET_S
        self._is_terminal = sys.stderr.isatty()
        self._is_shown = False
        self._bar: tqdm[Any] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show the share, unless that was done just before; the end where any was shown."""
        now = time.monotonic()
        if now < self._due and not (self._is_shown and done == total):
            return
        self._is_shown = True
        if self._is_terminal:
            self._due = now + _BAR_S
            self._draw(done, total)
        else:
            self._due = now + _LINE_S
            log.info("replaying the log: %.0f%% of %.0f MB", 100 * done / total, total / 1e6)

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm import tqdm  # 40 ms, for terminals alone

            self._bar = tqdm(
                total=total,
                desc="replaying the log",
                unit="B",
                unit_scale=True,
                ncols=columns_of(sys.stderr),
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}B of {total_fmt}B {remaining}",
            )
        self._bar.n, self._bar.total = done, total
        self._bar.refresh()

    def close(self) -> None:
        """End the bar's line; may be called again."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
