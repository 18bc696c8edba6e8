"""File descriptors: a daemon with few of them, and many connections."""

from __future__ import annotations

import contextlib
import resource
import socket
from pathlib import Path

import pytest
import zmq

from onlinesvm.service.server import descriptors
from tests.daemons import DEADLINE_S, eventually, serve

FEW = 128


@pytest.mark.parametrize(
    ("limits", "connections", "limit", "room"),
    [
        ((1024, 20_000), 4096, 4176, 4096),
        ((1024, 2000), 4096, 2000, 1920),
        ((8192, 20_000), 4096, 8192, 4096),
        ((128, 128), 4096, 128, 48),
        ((64, 64), 4096, 64, 1),
        ((1024, resource.RLIM_INFINITY), 4096, 4176, 4096),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 4096, None, 4096),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], connections: int, limit: int | None,
    room: int,
) -> None:  # fmt: skip
    made = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: made.append(new))
    assert descriptors.room_for(connections) == room
    assert made[-1][0] == (limits[0] if limit is None else limit)
    assert made[-1][1] == limits[1]


def limit(pid: int) -> None:
    """Bound the files of a daemon that runs."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (FEW, FEW))


@pytest.mark.parametrize("shakes_hands", [True, False])
def test_idle_connections_leave_files_for_log_and_snapshots(
    tmp_path: Path, shakes_hands: bool
) -> None:
    """Two hundred under a limit of 128; those that never shake hands, too."""
    with serve(tmp_path, max_connections=48) as daemon, contextlib.ExitStack() as exit:
        limit(daemon.process.pid)
        client = exit.enter_context(daemon.client())
        client.learn([(["a"], 1)])
        if shakes_hands:
            context = exit.enter_context(zmq.Context())
            context.linger = 0
            for _ in range(200):
                peer = exit.enter_context(context.socket(zmq.DEALER))
                peer.connect(daemon.endpoint)
        else:
            host, _, port = daemon.endpoint.removeprefix("tcp://").rpartition(":")
            for _ in range(200):
                exit.enter_context(socket.create_connection((host, int(port)), DEADLINE_S))
        eventually(lambda: client.stats()["refused_connections"] >= 200 - 48 - 32, "the bound")
        for i in range(20):
            client.learn([([f"word{i}"], 1)])
        saved = client.snapshot()
        assert saved["position"] == 21
        client.create("other")
        client.model("other").learn([(["a"], 1)])
        stats = client.stats()
        assert stats["log_error"] is None
        assert stats["connections"] <= 48 + 32
    assert daemon.log.count("more are refused") >= shakes_hands


def test_a_daemon_says_that_it_has_room_for_fewer(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1_000_000
    if hard == resource.RLIM_INFINITY or hard > wanted:
        pytest.skip("the system has room for all of them")
    with serve(tmp_path, max_connections=wanted) as daemon:
        text = f"at most {hard - 80} connections: the system's limit of file descriptors"
        eventually(lambda: text in daemon.log, "the warning")
