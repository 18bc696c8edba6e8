"""The keys of a terminal, read one by one; it is as it was before when the block ends."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import termios
import tty
from collections.abc import Iterator

__all__ = ["Keyboard", "keyboard"]

# Of the sequences of a terminal those that are used here.
_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b[C": "right",
    "\x1bOC": "right", "\x1b[D": "left", "\x1bOD": "left", "\x1b[5~": "page up",
    "\x1b[6~": "page down", "\r": "enter", "\n": "enter", "\x1b": "escape", "\x7f": "escape",
    "\x08": "escape",
}  # fmt: skip


class Keyboard:
    """Reads keys from a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def keys(self, within_s: float) -> list[str]:
        """The keys that come within a time: characters, or names as "up". Returns at the first;
        "q" where the terminal has gone.
        """
        ready, _, _ = select.select([self._descriptor], [], [], within_s)
        if not ready:
            return []
        try:
            read = os.read(self._descriptor, 1024)
        except OSError:
            read = b""
        return _split(self._decoder.decode(read)) if read else ["q"]


def _split(text: str) -> list[str]:
    """The keys in what was read at once."""
    keys = []
    while text:
        known = next((s for s in sorted(_NAMES, key=len, reverse=True) if text.startswith(s)), None)
        keys.append(text[0] if known is None else _NAMES[known])
        text = text[1 if known is None else len(known) :]
    return keys


@contextlib.contextmanager
def keyboard(descriptor: int) -> Iterator[Keyboard]:
    """Have keys come at once and without an echo. Ctrl-C interrupts; Ctrl-Z is a key like others,
    as a process that sleeps would leave the screen as it is.
    """
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        now = termios.tcgetattr(descriptor)
        now[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(descriptor, termios.TCSANOW, now)
        yield Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
