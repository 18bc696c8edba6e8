"""Peers that mean harm: what a daemon bears, and what it leaves when it does not.

`make attacks` lasts longer: ATTACK_S seconds instead of two.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import DaemonProcess, eventually, serve
from tests.zmtp import Peer

ATTACK_S = float(os.environ.get("ATTACK_S", "2"))
SEED = 1  # of a process that seeds nothing
STEP = 64  # identities between two claims
CLAIMS = 16  # for each number that the ROUTER may start at

# `onlinesvm serve`, but that the numbers of its clients start where the test knows.
UNSEEDED = f"""
import ctypes, sys
from onlinesvm.service.cli.main import main
from onlinesvm.service.server import router
router.seed_generator = lambda: ctypes.CDLL(None).srand({SEED})
sys.exit(main())
"""


class UnseededProcess(DaemonProcess):
    COMMAND = (sys.executable, "-W", "error", "-c", UNSEEDED)


def guesses() -> list[bytes]:
    """The identities that an attacker claims who takes the generator for unseeded."""
    libc = ctypes.CDLL(None)
    libc.srand(SEED)
    starts = [libc.rand() | (libc.rand() & 1) << 31 for _ in range(4)]
    return [
        b"\0" + ((start + STEP * (i + 1) - 1) % 2**32).to_bytes(4, "big")
        for start in starts
        for i in range(CLAIMS)
    ]


@contextlib.contextmanager
def claiming(daemon: DaemonProcess) -> Iterator[list[Peer]]:
    """Peers that hold the identities that they guess."""
    with contextlib.ExitStack() as exit:
        yield [exit.enter_context(Peer(daemon.endpoint, identity)) for identity in guesses()]


@pytest.mark.long
def test_claims_of_identities_leave_a_seeded_daemon_alive(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon, daemon.client() as client:
        client.learn([(["a"], 1)])
        end = time.monotonic() + ATTACK_S
        with claiming(daemon) as held:
            connections = 0
            while time.monotonic() < end:
                Peer(daemon.endpoint).close()
                connections += 1
                if connections % 100 == 0:
                    client.learn([(["a"], 1)])
            assert client.stats()["connections"] >= len(held)
        assert connections > 100
        assert client.ping()["mode"] == "leader"
        assert client.stats()["position"] == 1 + connections // 100
        eventually(lambda: client.stats()["connections"] < 5, "the end of the claims")
        assert daemon.process.poll() is None


@pytest.mark.long
def test_nothing_acknowledged_is_lost_by_an_abort(tmp_path: Path) -> None:
    """The identities known, a claim aborts the process in a fraction of a second."""
    acknowledged = 0
    with UnseededProcess(state=tmp_path, snapshot_every_s=1) as daemon:
        with (
            daemon.client(timeout_s=5) as client,
            contextlib.suppress(OSError),  # the daemon's end, for the client too
            claiming(daemon),
        ):
            deadline = time.monotonic() + 30
            while daemon.process.poll() is None and time.monotonic() < deadline:
                client.learn([([f"word{acknowledged}"], 1)])
                acknowledged += 1
                Peer(daemon.endpoint).close()
        assert daemon.wait() == -signal.SIGABRT
    assert acknowledged > 0
    with serve(tmp_path) as daemon, daemon.client() as client:
        # The last may have been learned without its answer.
        assert client.stats()["position"] in (acknowledged, acknowledged + 1)
        names = [[f"word{i}"] for i in range(acknowledged)]
        assert all(
            explained.contributions[0].known
            for start in range(0, acknowledged, 1000)
            for explained in client.explain(names[start : start + 1000])
        )


@pytest.mark.long
def test_an_heir_of_an_identity_gets_no_late_answer(tmp_path: Path) -> None:
    """A snapshot is asked for; a peer that claims the identity then hears nothing."""
    with serve(tmp_path) as daemon, daemon.client() as client:
        client.learn([([f"word{i}" for i in range(j, j + 100)], 1) for j in range(0, 100_000, 100)])
        for _ in range(20):
            with Peer(daemon.endpoint, b"claimed") as peer:
                peer.send({"v": 1, "op": "snapshot", "id": "late"})
            heard = None
            with (
                Peer(daemon.endpoint, b"claimed", 0.2) as heir,
                contextlib.suppress(TimeoutError),
            ):
                heard = heir.receive()
            assert heard is None
        assert client.ping()["mode"] == "leader"
