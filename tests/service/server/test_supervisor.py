"""The notify protocol of systemd, at a socket of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onlinesvm.service.server.supervisor import Supervisor
from tests.daemons import DEADLINE_S, HOUSE, serve

UNIT = HOUSE / "packaging" / "onlinesvm.service"


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket of a service manager, named in the environment."""
    path = str(tmp_path / "notify") if request.param == "path" else f"@onlinesvm-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(path.replace("@", "\0"))
        bound.settimeout(DEADLINE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield bound


def received(manager: socket.socket, line: str) -> list[str]:
    """The lines of the first message that has `line`; those before it are read past."""
    while True:
        lines = manager.recv(4096).decode().splitlines()
        if line in lines:
            return lines


def test_a_daemon_reports_its_states(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    with serve(tmp_path / "state") as daemon:
        ready = received(manager, "READY=1")
        assert f"STATUS=leader at {daemon.endpoint}, model hedge, position 0, 0 features" in ready
        for _ in range(2):
            received(manager, "WATCHDOG=1")
        daemon.process.terminate()
        assert any(line.startswith("EXTEND_TIMEOUT") for line in received(manager, "STOPPING=1"))
        assert daemon.wait() == 0


def test_the_watchdog_is_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"WATCHDOG_USEC": "5000000"}
    assert Supervisor(asked).watchdog_s == 5.0
    assert Supervisor(asked | {"WATCHDOG_PID": str(os.getpid())}).watchdog_s == 5.0
    assert Supervisor(asked | {"WATCHDOG_PID": "1"}).watchdog_s is None
    assert Supervisor({"WATCHDOG_USEC": "soon"}).watchdog_s is None


def test_a_loading_daemon_asks_for_time(manager: socket.socket) -> None:
    Supervisor(os.environ).loading()
    assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=30000000"


def test_a_stop_asks_for_time_while_it_goes_on(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onlinesvm.service.server.supervisor._STOPPING_EVERY_S", 0.001)
    with Supervisor(os.environ).stopping():
        assert manager.recv(4096) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000"
        for _ in range(3):
            assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=30000000"
    assert "onlinesvm-supervisor" not in [thread.name for thread in threading.enumerate()]


def test_a_manager_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    for path in ("", str(tmp_path / "none"), "@none", "x" * 200):
        supervisor = Supervisor({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
        supervisor.loading()
        supervisor.ready("it")
        supervisor.alive()
        with supervisor.stopping():
            pass


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_the_unit_is_hardened() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", UNIT],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for onlinesvm.service: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= 3
