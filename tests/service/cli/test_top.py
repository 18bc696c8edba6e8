"""The command ``onlinesvm top``: its screen at 80 × 24, and a terminal that it leaves as it was."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlinesvm.service.cli.top_figures import Seen, View
from onlinesvm.service.cli.top_screen import ROWS_AROUND, chart, screen
from onlinesvm.service.turns import Pace, Turns, quantile_ms
from tests.daemons import DEADLINE_S, HOUSE, eventually, serve
from tests.shell import run

rich = pytest.importorskip("rich.console", reason="needs rich")

DAEMON: dict[str, Any] = {
    "version": "1.2.3", "mode": "leader", "uptime_s": 3723.0, "samples_per_s": 1234.5,
    "memory_bytes": 73 * 2**20, "log_bytes": 12345678, "loaded_models": 20, "errors": {"BUSY": 3},
    "log_error": None,
}  # fmt: skip
FIGURES: dict[str, Any] = {
    "task": "binary", "rule": "hedge", "labels": ["\x1b[31mham", b"sp\xff"], "position": 12_345_678,
    "features": 1_234_567, "drifts": 2, "held": 0, "recent_error": 0.0213,
    "progressive_error": 0.0345, "recent_hinge_loss": 0.1, "recent_calibration_error": 0.004,
    "recent_precision": 0.98, "recent_recall": 0.97, "recent_f1": 0.975,
    "recent_balanced_error": 0.02, "snapshot_age_s": 61.0,
}  # fmt: skip


def view(models: int, **changed: Any) -> View:
    """A view of so many models, the first with figures."""
    rows = [
        Seen(f"model-{i}-{'x' * (i % 60)}"[:64], {"position": i, "loaded": True, "features": 5})
        for i in range(models)
    ]
    for seen in rows[:1]:
        seen.figures = FIGURES
    curves = {name: [float(i % 17) for i in range(120)] for name in ("samples", "rate", "error")}
    given: dict[str, Any] = {
        "endpoint": "tcp://127.0.0.1:5577", "daemon": DAEMON, "pace": Pace(12.0, 0.4, 17.0),
        "models": rows, "count": models, "curves": curves,
    }  # fmt: skip
    return View(**given | changed)


def printed(shown: View, columns: int = 80, lines: int = 24, **place: Any) -> list[str]:
    """The lines of a screen as a terminal shows them."""
    console = rich.Console(width=columns, height=lines, file=io.StringIO(), record=True)
    console.print(screen(shown, columns, lines, **place))
    text: str = console.export_text()
    return text.splitlines()


@pytest.mark.parametrize("models", [0, 1, 16, 17, 20_000])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10)])
def test_all_models_fit_the_screen(models: int, size: tuple[int, int]) -> None:
    columns, lines = size
    rows = printed(view(models), columns, lines)
    assert len(rows) <= lines
    assert max(map(len, rows)) <= columns
    shown = min(models, max(1, lines - ROWS_AROUND))
    if columns == 80:
        assert sum("model-" in row for row in rows) == shown
        assert f"of {models:,}" in rows[-1]
        assert "leader at tcp://127.0.0.1:5577  up 1 h 2 min" in rows[0]
        assert "requests/s 12" in rows[1]
        assert "errors 3" in rows[3]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 12)])
def test_one_model_fits_the_screen(size: tuple[int, int]) -> None:
    columns, lines = size
    shown = view(3)
    rows = printed(shown, columns, lines, one=shown.models[0].name)
    assert len(rows) <= lines
    assert max(map(len, rows)) <= columns
    text = "\n".join(rows)
    assert "\x1b" not in text
    if columns >= 80:
        assert "recent error 2.13%" in text
        assert "\\u001b[31mham / sp\ufffd" in text
        assert "F1 97.50%" in text
        assert "█" in text
    assert "no figures of this model" in "\n".join(printed(shown, one="gone"))


def test_an_error_is_shown_in_place_of_figures() -> None:
    assert "no answer: the daemon went" in printed(view(1, error="the daemon went"))[3]
    assert "log: disk full" in printed(view(1, daemon=DAEMON | {"log_error": "disk full"}))[3]


def test_a_chart_has_the_newest_on_the_right() -> None:
    assert chart([0, 1, 2, 4, 8], 5, 1) == [" ▁▂▄█"]
    assert chart([8.0], 3, 2) == ["  █", "  █"]
    assert chart([4.0, 8.0], 2, 2) == [" █", "██"]
    assert chart([], 3, 1) == ["   "]
    assert chart([0.0, 0.0], 2, 1) == ["  "]
    assert chart(range(100), 3, 1)[0][-1] == "█"


def test_quantiles_of_a_histogram() -> None:
    bounds = [0.001, 0.01]
    assert quantile_ms(bounds, [0, 0, 0], 0.5) is None
    assert quantile_ms(bounds, [10, 0, 0], 0.5) == pytest.approx(0.5)
    assert quantile_ms(bounds, [5, 5, 0], 0.99) == pytest.approx(1 + 9 * 0.98)
    assert quantile_ms(bounds, [0, 0, 9], 0.5) == 10.0


def test_the_pace_is_of_the_last_seconds_without_those_who_look() -> None:
    def figures(learned: int, looks: int, turns: list[int]) -> dict[str, Any]:
        return {
            "requests": {"learn": learned, "stats": looks, "models": looks},
            "turns": {"bounds_s": [0.001, 0.01], "counts": turns},
        }

    turns = Turns()
    assert turns.take(figures(5, 5, [10, 0, 0]), 0.0) == (
        None,
        pytest.approx(0.5),
        pytest.approx(0.99),
    )
    pace = turns.take(figures(25, 500, [10, 10, 0]), 2.0)
    assert pace.requests_per_s == 10.0
    assert pace.turn_ms == pytest.approx(1 + 9 * 0.5)
    for second in range(3, 15):
        pace = turns.take(figures(25, 500, [10, 10, 0]), float(second))
    assert pace == (0.0, None, None)  # the turns of ten seconds ago have left
    assert turns.take(figures(1, 1, [1, 0, 0]), 16.0).requests_per_s is None  # another daemon


# A real terminal.


class Terminal:
    """``onlinesvm top`` in a terminal of 80 × 24."""

    def __init__(self, *arguments: str) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "onlinesvm.service", "top", *arguments],
            cwd=HOUSE, stdin=self._slave, stdout=self._slave, stderr=self._slave,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(HOUSE)},
            preexec_fn=self._own,
        )  # fmt: skip
        self.written = b""

    def _own(self) -> None:
        """Make it the terminal of the new process, so that Ctrl-C reaches it."""
        os.setsid()
        fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def pump(self) -> None:
        """Take what it has written."""
        while select.select([self._master], [], [], 0.0)[0]:
            self.written += os.read(self._master, 65_536)

    def shows(self, text: str) -> bool:
        """True if a text was on the screen since the last one that was waited for."""
        self.pump()
        plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self.written).decode("utf-8", "replace")
        return text in plain

    def wait_for(self, text: str) -> None:
        eventually(lambda: self.shows(text), f"{text!r} on the screen", within_s=60)
        self.written = b""

    def ends(self) -> int:
        """Its exit code."""

        def has_ended() -> bool:
            self.pump()
            return self.process.poll() is not None

        eventually(has_ended, "an end")
        self.pump()
        return self.process.wait(DEADLINE_S)

    def is_as_before(self) -> bool:
        """True if the settings of the terminal are as they were."""
        return termios.tcgetattr(self._slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(tmp_path_factory.mktemp("state")) as daemon:
        with daemon.client() as client:
            client.learn([(["free"], "spam"), (["noon"], "ham")] * 50)
            client.create("trial", task="multiclass")
            daemon.client(model="trial").learn([([name], name) for name in "ABC"])
        yield daemon.endpoint


def test_keys_choose_a_model_and_q_ends_it(endpoint: str) -> None:
    with contextlib.closing(Terminal("--connect", endpoint)) as terminal:
        terminal.wait_for("samples/s")
        terminal.wait_for("2 of 2")
        assert not terminal.is_as_before()
        assert terminal.process.poll() is None
        terminal.type(b"\x1b[B\x1b[Bj\x1b[A\r")
        terminal.wait_for("ham")
        terminal.type(b"\x1b")
        terminal.wait_for("2 of 2")
        terminal.type(b"q")
        assert terminal.ends() == 0
        assert terminal.is_as_before()
        assert b"\x1b[?1049l" in terminal.written  # the screen as it was before
        assert b"\x1b[?25h" in terminal.written  # and a cursor


def test_one_model_alone(endpoint: str) -> None:
    with contextlib.closing(Terminal("--connect", endpoint, "--model", "trial")) as terminal:
        terminal.wait_for("multiclass, hedge  3 labels")
        terminal.type(b"q")
        assert terminal.ends() == 0


@pytest.mark.parametrize(("how", "code"), [("ctrl-c", 0), ("sigterm", 0), ("ctrl-z then q", 0)])
def test_the_terminal_is_restored_however_it_ends(endpoint: str, how: str, code: int) -> None:
    with contextlib.closing(Terminal("--connect", endpoint)) as terminal:
        terminal.wait_for("2 of 2")
        if how == "ctrl-c":
            terminal.type(b"\x03")
        elif how == "sigterm":
            terminal.process.send_signal(signal.SIGTERM)
        else:
            terminal.type(b"\x1a")
            terminal.wait_for("2 of 2")
            terminal.type(b"q")
        assert terminal.ends() == code
        assert terminal.is_as_before()
        assert b"\x1b[?1049l" in terminal.written
        assert b"Traceback" not in terminal.written


def test_a_daemon_that_goes_and_comes_back(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon:
        endpoint = daemon.endpoint
        with contextlib.closing(Terminal("--connect", endpoint)) as terminal:
            terminal.wait_for("1 of 1")
            assert daemon.stop() == 0
            terminal.wait_for("no answer: ")
            with serve(tmp_path, bind=endpoint):
                terminal.wait_for("in memory 1")
                terminal.type(b"q")
                assert terminal.ends() == 0


def test_without_a_daemon_the_terminal_is_not_touched() -> None:
    with contextlib.closing(Terminal("--connect", "tcp://127.0.0.1:1")) as terminal:
        assert terminal.ends() == 1
        assert terminal.is_as_before()
        assert b"\x1b[?1049h" not in terminal.written
        assert b"onlinesvm serve" in terminal.written


def test_it_needs_a_terminal_and_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("top")
    assert done.code == 2
    assert "top needs a terminal; onlinesvm stats prints the figures once" in done.err
    monkeypatch.setitem(sys.modules, "rich.live", None)
    done = run("top")
    assert done.code == 2
    assert "top needs its extra: pip install 'onlinesvm[top]'" in done.err


def test_figures_are_asked_for_twice_a_second(endpoint: str) -> None:
    from onlinesvm.service.cli.top_figures import Figures
    from onlinesvm.service.client.client import Client

    client = Client(endpoint)
    figures = Figures(client)
    figures.want(["default", "none"], "default")
    figures.start()
    began = time.monotonic()
    try:
        eventually(lambda: len(figures.view.curves.get("samples", ())) >= 5, "five looks")
        assert time.monotonic() - began > 1.5  # no more than two a second
        (seen,) = [seen for seen in figures.view.models if seen.name == "default"]
        assert seen.figures is not None
        assert seen.figures["position"] == 100
    finally:
        figures.stop()
