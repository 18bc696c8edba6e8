"""Snapshots that clients ask for: two a second, and more share one."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgpack
import pytest

from onlinesvm.service.server.registry import Hosted
from onlinesvm.service.server.snapshot_requests import SnapshotRequests
from tests.daemons import raw, receive, send, serve
from tests.logs import bench


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Begun:
    """The snapshots that were begun."""

    def __init__(self) -> None:
        self.models: list[Hosted] = []
        self.outcomes: list[Future[Any]] = []

    def __call__(self, hosted: Hosted) -> Future[Any]:
        self.models.append(hosted)
        self.outcomes.append(Future())
        return self.outcomes[-1]


def test_two_a_second_begin_and_more_share_one(tmp_path: Path) -> None:
    clock, begun, woken = Clock(), Begun(), []
    requests = SnapshotRequests(begun, lambda: woken.append(clock.now), clock=clock)
    with bench(tmp_path) as found:
        hosted = found.hosted
        first, second = requests.ask(hosted), requests.ask(hosted)
        assert begun.outcomes == [first, second]
        assert (len(requests), requests.tick(), woken) == (0, math.inf, [])
        clock.now += 0.25
        third, fourth = requests.ask(hosted), requests.ask(hosted)
        assert third is fourth
        assert (len(begun.models), len(requests), len(woken)) == (2, 1, 2)
        assert requests.tick() == 101.0
        clock.now = 101.0
        assert requests.tick() == math.inf
        assert (len(begun.models), len(requests)) == (3, 0)
        assert not third.done()
        begun.outcomes[2].set_result("written")
        assert third.result(0) == "written"
        # Of the last two one began at 100, one at 101.
        requests.ask(hosted)
        assert len(begun.models) == 4
        failed = requests.ask(hosted)
        assert requests.tick() == 102.0
        requests.flush()
        begun.outcomes[4].set_exception(OSError("no room"))
        with pytest.raises(OSError, match="no room"):
            failed.result(0)


def test_many_requests_at_once_are_answered_by_few_snapshots(tmp_path: Path) -> None:
    asked = 40
    with (
        serve(tmp_path, rule="sgd") as daemon,
        daemon.client() as client,
        raw(daemon.endpoint) as dealer,
    ):
        start = time.monotonic()
        for i in range(asked):
            send(
                dealer,
                msgpack.packb({"v": 1, "op": "learn", "id": i}),
                msgpack.packb([[1, [f"word{i}"]]]),
            )
            send(dealer, msgpack.packb({"v": 1, "op": "snapshot", "id": asked + i}))
        positions = {}
        for _ in range(2 * asked):
            header, _ = receive(dealer)
            assert header["ok"]
            if header["id"] >= asked:
                positions[header["id"] - asked] = header["position"]
        # Each holds what was learned before it was asked for.
        assert all(position > i for i, position in positions.items())
        seconds = time.monotonic() - start
        assert len(set(positions.values())) <= 2 + 2 * (1 + seconds)
        assert client.stats()["position"] == asked
        assert daemon.stop() == 0
