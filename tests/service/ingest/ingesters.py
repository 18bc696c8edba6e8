"""``onlinesvm ingest`` for the tests: in a process of its own, its stderr read as it comes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.daemons import DEADLINE_S, HOUSE, eventually

__all__ = ["Ingest", "ingest", "sample_lines"]


class Ingest:
    """An ingester that runs."""

    def __init__(self, source: str, endpoint: str, *flags: object) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-W", "error", "-m", "onlinesvm.service", "ingest", "--connect",
                endpoint, "--wait", str(DEADLINE_S), *map(str, flags), source,
            ],
            cwd=HOUSE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.decode())

    @property
    def said(self) -> str:
        """Its stderr so far."""
        return "".join(self.lines)

    def await_line(self, text: str) -> None:
        eventually(lambda: text in self.said, f"{text!r} in {self.said!r}")

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def _end(self) -> tuple[int, bytes]:
        out = b""
        try:
            self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self.said}") from None
        self._reader.join(DEADLINE_S)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            if not pipe.closed:
                out += pipe.read() if pipe is self.process.stdout else b""
                pipe.close()
        return self.process.returncode, out

    def outcome(self) -> dict[str, Any]:
        """Its outcome; it is to succeed."""
        code, out = self._end()
        assert code == 0, self.said
        found: dict[str, Any] = json.loads(out)
        return found

    def fault(self) -> str:
        """What it said; it is to fail."""
        code, out = self._end()
        assert (code, out) == (1, b""), (code, out, self.said)
        assert "Traceback" not in self.said
        return self.said

    def stop(self) -> dict[str, Any]:
        """Ask it to end; its outcome."""
        self.process.send_signal(signal.SIGTERM)
        return self.outcome()


@contextmanager
def ingest(source: str, endpoint: str, *flags: object) -> Iterator[Ingest]:
    """An ingester; killed at the end if it still runs."""
    running = Ingest(source, endpoint, *flags)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()


def sample_lines(first: int, end: int) -> tuple[Sequence[bytes], list[Any]]:
    """Samples as lines of JSON, and as a model learns them."""
    samples: list[Any] = [
        ([f"f{i % 13}", f"g{i % 7}", f"h{i * 7919 % 101}"], int(i * 7 % 5 < 2))
        for i in range(first, end)
    ]
    lines = [
        json.dumps({"label": label, "features": features}).encode() for features, label in samples
    ]
    return lines, samples
