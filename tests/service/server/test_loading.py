"""Loading beside the loop: what is answered at once, what waits, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from onlinesvm.service.protocol import Reply, Request, RequestError
from onlinesvm.service.server import loading as rooms
from onlinesvm.service.server import waiting
from onlinesvm.service.server.answer import Answer
from onlinesvm.service.server.loading import WAIT_S, Loading, Progress
from onlinesvm.service.server.plan import Fatal, Planned
from onlinesvm.service.server.service import Service
from onlinesvm.service.server.slices import Slices, finish
from tests.daemons import DEADLINE_S, eventually


class Echo:
    """A service that answers with the number of the request; `plans` are the turns it planned."""

    mode = "echo"

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.later: Future[Reply] = Future()
        self.is_stopped = False

    def read(self, request: Request) -> Slices[Answer]:
        return self.handle(request, None)

    def plan(self, requests: Sequence[Request]) -> Slices[Sequence[Planned]]:
        yield from ()
        self.turns.append(len(requests))
        return [None] * len(requests)

    def waited(self) -> Slices[None]:
        yield from ()

    def handle(self, request: Request, plan: Planned) -> Slices[Answer]:
        yield from ()
        if request.op == "stats":
            raise RequestError("INTERNAL", "no luck", None, request.id)
        if request.op == "resume":
            raise Fatal("the end")
        return self.later if request.op == "snapshot" else Reply({"number": request.id})

    def tick(self, now: float) -> float:
        return now

    def describe(self) -> str:
        return "echoes"

    def stop(self) -> None:
        self.is_stopped = True


class Load:
    """Loads an `Echo` once `go` is called; notes 30 of 100 bytes first."""

    def __init__(self) -> None:
        self.echo = Echo()
        self._go = threading.Event()
        self.loading = Loading(self._load, lambda: None)

    def _load(self, progress: Progress) -> Service:
        progress(30, 100)
        while not self._go.wait(0.01):
            progress(30, 100)
        return self.echo

    def go(self) -> None:
        self._go.set()
        eventually(lambda: self.loading.is_done, "the end of loading")

    def ask(self, op: str, id: int = 0, body: bytes = b"") -> Future[Reply]:
        answer = finish(self.loading.handle(Request(op, id, body), None))
        assert isinstance(answer, Future)
        return answer


@pytest.fixture
def load() -> Load:
    return Load()


def busy(ask: Callable[[], object]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ask()
    assert caught.value.code == "BUSY"
    return caught.value


def test_ping_is_answered_with_the_share_replayed(load: Load) -> None:
    def shared() -> bool:
        reply = finish(load.loading.handle(Request("ping", 1, b""), None))
        assert isinstance(reply, Reply)
        assert reply.keys["mode"] == "loading"
        return bool(reply.keys["replayed"] == 0.3)

    eventually(shared, "a share")
    load.loading.stop()


def test_requests_wait_and_are_answered_in_order_in_turns(load: Load) -> None:
    answers = [load.ask("predict", i) for i in range(150)]
    assert not any(answer.done() for answer in answers)
    load.go()
    assert load.loading.finish() is load.echo
    assert [answer.result(0).keys["number"] for answer in answers] == list(range(150))
    assert load.echo.turns == [64, 64, 22]


def test_an_error_and_a_later_answer_reach_the_request_that_waited(load: Load) -> None:
    wrong, later = load.ask("stats", 5), load.ask("snapshot", 6)
    load.go()
    load.loading.finish()
    with pytest.raises(RequestError, match="no luck"):
        wrong.result(0)
    assert not later.done()
    load.echo.later.set_result(Reply({"saved": True}))
    assert later.result(DEADLINE_S).keys == {"saved": True}


def test_a_fatal_error_of_the_service_is_raised(load: Load) -> None:
    load.ask("resume")
    load.go()
    with pytest.raises(Fatal):
        load.loading.finish()


def test_a_request_that_waited_too_long_is_refused_with_the_share(load: Load) -> None:
    first, second = load.ask("predict", 1), load.ask("predict", 2)
    since = load.loading._waiting._parked[""][0].since
    load.loading.tick(since + WAIT_S * 0.99)
    assert not first.done()
    eventually(lambda: load.loading._progress.share == 0.3, "a share")
    load.loading.tick(since + WAIT_S + DEADLINE_S)
    for id, answer in ((1, first), (2, second)):
        refused = busy(lambda answer=answer: answer.result(0))
        assert refused.id == id
        assert refused.message == "the daemon is starting: 30% of the log replayed"
        assert refused.retry_after_s is not None
        assert refused.retry_after_s >= 1.0
    load.go()
    load.loading.finish()
    assert load.echo.turns == []


def test_the_time_to_try_again_is_what_the_rest_would_take(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    eventually(lambda: load.loading._progress.share == 0.3, "a share")
    started = load.loading._progress._started
    for now, expected in ((0.1, 1.0), (30.0, 70.0)):
        monkeypatch.setattr(rooms, "time", SimpleNamespace(monotonic=lambda now=now: started + now))
        assert load.loading._progress.remaining_s == pytest.approx(expected)
    monkeypatch.undo()
    load.loading.stop()


def test_waiting_requests_are_bounded(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 3)
    answers = [load.ask("predict", i) for i in range(3)]
    assert busy(lambda: load.ask("predict", 3)).id == 3
    load.go()
    load.loading.finish()
    assert all(answer.done() for answer in answers)


def test_waiting_requests_are_bounded_in_bytes(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING_BYTES", 100)
    load.ask("learn", 1, bytes(60))
    busy(lambda: load.ask("learn", 2, bytes(41)))
    load.ask("learn", 3, bytes(40))
    busy(lambda: load.ask("learn", 4, bytes(1)))
    # A refused one gives its bytes back.
    load.loading.tick(load.loading._waiting._parked[""][-1].since + WAIT_S)
    load.ask("learn", 5, bytes(100))
    load.loading.stop()


def test_stopping_ends_loading_and_refuses_waiting_requests(load: Load) -> None:
    answer = load.ask("predict")
    load.loading.stop()  # `go` was never called: only the cancelled progress ends it
    busy(lambda: answer.result(0))
    assert not load.echo.is_stopped


def test_a_service_that_was_loaded_before_the_stop_is_stopped(load: Load) -> None:
    load.go()
    load.loading.stop()
    assert load.echo.is_stopped


@pytest.mark.parametrize("end", [Loading.finish, Loading.stop])
def test_a_failure_to_load_is_raised(end: Callable[[Loading], object]) -> None:
    def fail(progress: Progress) -> Service:
        raise OSError("no such folder")

    loading = Loading(fail, lambda: None)
    with pytest.raises(OSError, match="no such folder"):
        end(loading)
