"""Background jobs: what the loop has done beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from onlinesvm.service.server.background import Background
from tests.daemons import DEADLINE_S, eventually


class Runs:
    """Numbers the runs of an background_job; each is held up until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended: list[int] = []
        self.woken = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.background_job = Background(self._begin, self._end, self.woken.release)

    def _begin(self) -> Callable[[], int]:
        self.begun += 1
        number = self.begun

        def job() -> int:
            assert self.gate.acquire(timeout=DEADLINE_S)
            if number == 13:
                raise OSError("no luck")
            return number

        return job

    def _end(self, ended: Future[int]) -> None:
        self.ended.append(-1 if ended.exception() else ended.result())

    def let_go(self) -> None:
        """Let a run end, and collect it."""
        self.gate.release()
        assert self.woken.acquire(timeout=DEADLINE_S)
        self.background_job.collect()


def test_a_call_during_a_run_gets_the_run_after_it() -> None:
    runs = Runs()
    first = runs.background_job.ask()
    second, third = runs.background_job.ask(), runs.background_job.ask()
    joined = runs.background_job.ask(join=True)
    assert runs.begun == 1
    runs.let_go()
    assert (first.result(0), joined.result(0), runs.ended) == (1, 1, [1])
    assert runs.begun == 2
    assert not second.done()
    fourth = runs.background_job.ask()
    runs.let_go()
    assert (second.result(0), third.result(0)) == (2, 2)
    assert not fourth.done()
    runs.let_go()
    assert (fourth.result(0), runs.ended) == (3, [1, 2, 3])
    assert not runs.background_job.is_running
    assert runs.background_job.ask(join=True) is not fourth
    runs.gate.release()
    runs.background_job.finish()
    assert runs.ended == [1, 2, 3, 4]


def test_the_next_run_begins_after_the_outcome_was_taken() -> None:
    order: list[str] = []

    def begin() -> Callable[[], None]:
        order.append("begin")
        return lambda: order.append("run")

    background_job = Background(begin, lambda _: order.append("end"), lambda: None)
    background_job.ask()
    background_job.ask()
    background_job.finish()
    assert order == ["begin", "run", "end"] * 2


def test_the_loop_is_woken_after_the_outcome_is_set() -> None:
    order: list[str] = []
    background_job = Background(
        lambda: lambda: gate.acquire(timeout=DEADLINE_S),
        lambda _: None,
        lambda: order.append("loop"),
    )
    gate = threading.Semaphore(0)
    background_job.ask().add_done_callback(lambda _: order.append("client"))
    gate.release()
    eventually(lambda: "loop" in order, "a wake-up")
    assert order == ["client", "loop"]
    background_job.finish()


def test_a_run_that_fails_is_an_outcome() -> None:
    runs = Runs()
    runs.begun = 12
    failing, next_one = runs.background_job.ask(), runs.background_job.ask()
    runs.let_go()
    with pytest.raises(OSError, match="no luck"):
        failing.result(0)
    runs.let_go()
    assert next_one.result(0) == 14
    assert runs.ended == [-1, 14]
    runs.background_job.finish()


def test_a_run_that_cannot_begin_is_an_outcome() -> None:
    ended: list[Future[None]] = []

    def begin() -> Callable[[], None]:
        raise MemoryError

    background_job = Background(begin, ended.append, lambda: None)
    answer = background_job.ask()
    with pytest.raises(MemoryError):
        answer.result(0)
    background_job.finish()
    assert ended == [answer]


def test_a_run_that_the_end_of_another_begins_comes_before_the_next() -> None:
    """Each is collected."""
    ended: list[int] = []
    background_job: Background[int]

    def end(run: Future[int]) -> None:
        ended.append(run.result())
        if len(ended) == 1:
            background_job.ask()
            background_job.ask()

    numbers = iter(range(10))

    def begin() -> Callable[[], int]:
        number = next(numbers)
        return lambda: number

    background_job = Background(begin, end, lambda: None)
    background_job.ask()
    background_job.finish()
    assert ended == [0, 1, 2]
