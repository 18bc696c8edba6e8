"""The progress of a replay: a bar on a terminal, lines elsewhere, nothing for a short one."""

from __future__ import annotations

import itertools
import logging
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from onlinesvm.service.cli import replay_progress
from onlinesvm.service.cli.replay_progress import ReplayProgress
from tests.daemons import ANY_PORT, DEADLINE_S, HOUSE
from tests.logs import bench
from tests.service.cli.test_progress import Terminal, terminal

__all__ = ["terminal"]

SERVE = """
import sys
from onlinesvm.service.cli import replay_progress
from onlinesvm.service.cli.main import main

replay_progress._QUIET_S = 0.0
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds pass between any two looks at the clock."""
    ticks = itertools.count(100.0, 2.0)
    monkeypatch.setattr(replay_progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


@pytest.mark.usefixtures("clock")
def test_a_bar_on_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal.stream)
    with ReplayProgress() as progress:
        for done in (25_000_000, 50_000_000, 100_000_000):
            progress(done, 100_000_000)
    text = terminal.close()
    assert "replaying the log  25%|" in text
    assert "50.0MB of 100MB" in text
    assert "100%|" in text
    assert text.endswith("\n")


@pytest.mark.usefixtures("clock")
def test_a_line_every_ten_seconds_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), ReplayProgress() as progress:
        for done in range(1, 9):
            progress(done * 10_000_000, 80_000_000)
    assert caplog.messages == [
        "replaying the log: 12% of 80 MB",
        "replaying the log: 75% of 80 MB",
        "replaying the log: 100% of 80 MB",
    ]


def test_a_short_replay_shows_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(replay_progress, "_QUIET_S", 1e6)
    with caplog.at_level(logging.INFO):
        ReplayProgress()(50, 100)
        monkeypatch.setattr("sys.stderr", terminal.stream)
        with ReplayProgress() as progress:
            progress(100, 100)
    assert terminal.close() == ""
    assert caplog.messages == []


@pytest.mark.parametrize("command", ["serve", "recover"])
def test_the_commands_that_replay_a_log_say_so(tmp_path: Path, command: str) -> None:
    with bench(tmp_path / "state") as found:
        found.learn([(["a"], 1)])
    flags = ["--state", str(tmp_path / "state")]
    if command == "serve":
        flags += ["--bind", ANY_PORT]
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, command, *flags],
        cwd=HOUSE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line == "ready\n":
                process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    assert sum("INFO replaying the log: 100% of 0 MB" in line for line in lines) == 1
