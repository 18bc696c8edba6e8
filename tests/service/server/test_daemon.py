"""The daemon's life: it binds, loads, serves, and ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from onlinesvm import Limits
from onlinesvm.service import Client
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.errors import RequestRefused, StateError
from onlinesvm.service.server import loading
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.daemon import Daemon, load_leader
from onlinesvm.service.server.loading import Progress
from onlinesvm.service.server.service import Service
from tests.daemons import (
    ANY_PORT,
    DEADLINE_S,
    ask,
    loaded,
    on_a_thread,
    raw,
    receive,
    refused_start,
    send,
    serve,
    thread,
)
from tests.logs import bench, segments_of


class HeldLoad:
    """Loads a state folder once `release` is called; half of it counts as replayed before."""

    def __init__(self, state: Path) -> None:
        self._load = load_leader(ServeConfig(state=str(state)), Limits(), {"rule": "sgd"})
        self._released = threading.Event()

    def __call__(self, counters: Counters, wake: Callable[[], None], progress: Progress) -> Service:
        while not self._released.wait(0.01):
            progress(1, 2)
        return self._load(counters, wake, progress)

    def release(self) -> None:
        self._released.set()


def test_requests_wait_for_the_models_and_ping_does_not(tmp_path: Path) -> None:
    load = HeldLoad(tmp_path)
    daemon = Daemon(load, ANY_PORT, Limits())
    with (
        thread(daemon.run),
        Client(daemon.endpoint) as client,
        raw(daemon.endpoint) as dealer,
    ):
        try:
            header = msgpack.packb({"v": 1, "op": "learn", "id": 1})
            send(dealer, header, msgpack.packb([[1, ["a"]]]))
            send(dealer, msgpack.packb({"v": 1, "op": "predict", "id": 2}), msgpack.packb([["a"]]))
            assert client.ping()["mode"] == "loading"
            load.release()
            for id, position in ((1, 1), (2, 1)):
                header, _ = receive(dealer)
                assert (header["id"], header["ok"], header["position"]) == (id, True, position)
            assert client.ping()["mode"] == "leader"
        finally:
            daemon.stop()


def test_a_long_load_refuses_waiting_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "WAIT_S", 0.05)
    load = HeldLoad(tmp_path)
    daemon = Daemon(load, ANY_PORT, Limits())
    with thread(daemon.run), Client(daemon.endpoint) as client:
        try:
            asked: list[Callable[[], object]] = [lambda: client.learn([(["a"], 1)]), client.stats]
            for ask_for in asked:
                with pytest.raises(RequestRefused, match="BUSY: the daemon is starting: 50%") as e:
                    ask_for()
                assert e.value.retry_after_s is not None
                assert e.value.retry_after_s >= 1.0
            assert client.ping() == {"mode": "loading", "replayed": 0.5}
            load.release()
        finally:
            daemon.stop()


def test_a_load_reports_its_progress_up_to_the_end_of_the_log(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.learn([(["a"], 1)])
    reported: list[tuple[int, int]] = []
    load = load_leader(
        ServeConfig(state=str(tmp_path)),
        Limits(),
        {},
        on_progress=lambda done, total: reported.append((done, total)),
    )
    with loaded(load, Limits()):
        pass
    total = sum(path.stat().st_size for _, path in segments_of(tmp_path)[:1])
    assert reported[-1][0] == reported[-1][1] <= total


def test_a_stop_while_loading_leaves_nothing_half_done(tmp_path: Path) -> None:
    daemon = Daemon(HeldLoad(tmp_path / "state"), ANY_PORT, Limits())
    with thread(daemon.run), raw(daemon.endpoint) as dealer:
        send(dealer, msgpack.packb({"v": 1, "op": "stats", "id": 1}))
        assert ask(dealer, "ping", id=2)[0]["mode"] == "loading"
        daemon.stop()  # nobody calls `release`
        assert receive(dealer)[0]["error"]["code"] == "BUSY"
    assert not (tmp_path / "state").exists()


def test_a_load_that_fails_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = ServeConfig(state=str(tmp_path / "file"))
    daemon = Daemon(load_leader(config, Limits(), {}), ANY_PORT, Limits())
    with pytest.raises(StateError, match="expected a folder, got a file"):
        daemon.run(lambda _: pytest.fail("it is not ready"))


def test_a_taken_port_fails_before_anything_is_created(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "one") as endpoint:
        load = load_leader(ServeConfig(state=str(tmp_path / "two")), Limits(), {})
        with pytest.raises(StateError, match="Address already in use"):
            Daemon(load, endpoint, Limits())
        code, errors = refused_start(bind=endpoint, state=tmp_path / "two")
        assert (code, "Address already in use" in errors) == (1, True)
    assert not (tmp_path / "two").exists()


def test_a_model_that_does_not_exist_is_refused_on_the_wire(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, raw(endpoint) as dealer:
        header, _ = ask(dealer, "predict", [["a"]], model="spam")
        assert header["error"] == {
            "code": "NO_MODEL",
            "message": "expected the name of a model (default), got spam",
            "at": None,
            "sample": None,
        }
        assert ask(dealer, "predict", [["a"]], model="default")[0]["ok"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_right_after_the_start_ends_it_cleanly(tmp_path: Path, number: int) -> None:
    with serve(tmp_path) as daemon:
        daemon.signal(number)
        assert daemon.wait() == 0
    with serve(tmp_path) as daemon, daemon.client(DEADLINE_S) as client:
        assert client.ping()["mode"] == "leader"
        assert daemon.stop() == 0
