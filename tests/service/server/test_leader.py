"""The leader: plans of a turn, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import Request, RequestError, encode_request
from onlinesvm.service.server.plan import Fatal, Plan
from onlinesvm.service.server.slices import finish
from tests.daemons import digest_of
from tests.logs import (
    ENOSPC,
    Batch,
    Disk,
    FaultyFiles,
    bench,
    body_of,
    digest_after,
    scratch,
)

SGD: dict[str, Any] = {"rule": "sgd", "eta0": 0.5}


def learn(batch: Batch, **keys: Any) -> Request:
    return Request("learn", None, body_of(batch), encode_request("learn", None), **keys)


def numbered(sequence: int, batch: Batch, producer: bytes = b"p") -> Request:
    header = encode_request("learn", None, producer=producer, sequence=sequence)
    return Request("learn", None, body_of(batch), header, producer, sequence)


def batches() -> st.SearchStrategy[list[list[tuple[Any, ...]]]]:
    sample = st.tuples(
        st.lists(st.sampled_from("abcdefgh"), max_size=4, unique=True),
        st.sampled_from([-1, 1]),
        st.sampled_from([0.0, 0.5, 1.0]),
    )
    return st.lists(st.lists(sample, max_size=3), min_size=1, max_size=12)


@settings(max_examples=30)
@given(batches=batches(), cuts=st.lists(st.booleans(), min_size=12, max_size=12),
       part_bytes=st.sampled_from([1, 40, 2**20]))  # fmt: skip
def test_turns_and_parts_do_not_change_what_is_learned(
    batches: list[Batch], cuts: list[bool], part_bytes: int
) -> None:
    turns: list[list[Batch]] = [[]]
    for batch, is_cut in zip(batches, cuts, strict=False):
        turns[-1].append(batch)
        if is_cut:
            turns.append([])
    expected = OnlineSVM(**SGD)
    with scratch() as folder, bench(folder, part_bytes=part_bytes, **SGD) as found:
        leader = found.service.leader
        for turn in turns:
            requests = [learn(batch) for batch in turn]
            plans = finish(leader.plan(requests))
            for plan, batch in zip(plans, turn, strict=True):
                assert isinstance(plan, Plan)
                learned = finish(plan.carry_out())
                margins = expected.learn(batch)
                assert learned.margins is not None
                assert learned.margins.tobytes() == margins.tobytes()
                assert (learned.samples, learned.position) == (len(batch), expected.position)
        assert digest_of(found.model) == digest_of(expected)
    with scratch() as folder:
        assert digest_after(batches, **SGD) == digest_of(expected)


def test_plans_come_in_the_order_of_the_requests() -> None:
    with scratch() as folder, bench(folder, **SGD) as found:
        requests = [
            learn([(["a"], 1)]),
            Request("ping", None, b""),
            Request("learn", None, b"\xc1"),
            learn([(["b"], 1)], model="other"),
            learn([(["c"], -1)]),
        ]
        first, ping, broken, other, last = finish(found.service.leader.plan(requests))
        assert ping is None
        assert isinstance(broken, ValueError)
        assert isinstance(other, RequestError)
        assert other.code == "NO_MODEL"
        for plan in (first, last):
            assert isinstance(plan, Plan)
            finish(plan.carry_out())
        assert found.model.position == 2


def test_a_plan_changes_no_model() -> None:
    with scratch() as folder, bench(folder, **SGD) as found:
        before = digest_of(found.model)
        finish(found.service.leader.plan([learn([(["a"], 1)]), numbered(1, [(["b"], 1)])]))
        assert digest_of(found.model) == before


def test_a_planned_turn_is_in_the_log_though_it_was_never_applied() -> None:
    batch: Batch = [(["a"], 1), (["b"], -1)]
    with scratch() as folder:
        with bench(folder, **SGD) as found:
            finish(found.service.leader.plan([learn(batch)]))
        with bench(folder) as found:
            assert digest_of(found.model) == digest_after([batch], **SGD)


def test_a_request_that_repeats_another_of_its_turn_is_applied_once() -> None:
    with scratch() as folder, bench(folder, **SGD) as found:
        requests = [numbered(1, [(["a"], 1)]), numbered(1, [(["a"], 1)])]
        first, second = finish(found.service.leader.plan(requests))
        assert isinstance(first, Plan)
        assert isinstance(second, Plan)
        assert (first.is_duplicate, second.is_duplicate) == (False, True)
        assert second.first is first
        assert finish(first.carry_out()).margins is not None
        repeated = finish(second.carry_out())
        assert repeated == (1, 1, None)
        (third,) = finish(found.service.leader.plan([requests[1]]))
        assert isinstance(third, Plan)
        assert third.is_duplicate
        assert third.first is None
        assert finish(third.carry_out()) == (1, 1, None)


def test_a_refused_request_refuses_those_that_repeat_it_and_leaves_the_model() -> None:
    disk = Disk()
    with scratch() as folder, bench(folder, files=FaultyFiles(disk), **SGD) as found:
        found.learn([(["a"], 1)])
        before = digest_of(found.model)
        requests = [numbered(1, [(["a"], 1)]), numbered(1, [(["a"], 1)]), learn([(["b"], 1)])]
        disk.broken = {"write": ENOSPC}
        plans = finish(found.service.leader.plan(requests))
        for plan in plans:
            assert isinstance(plan, Plan)
            with pytest.raises(NotDurable, match="No space left"):
                finish(plan.carry_out())
        assert digest_of(found.model) == before
        assert found.service.health.error is not None
        disk.broken = {}
        (plan,) = finish(found.service.leader.plan(requests[:1]))
        assert isinstance(plan, Plan)
        assert not plan.is_duplicate  # the number was not used up
        assert finish(plan.carry_out()).samples == 1
        assert found.service.health.error is None


def test_without_memory_all_that_follows_in_the_turn_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of it is in the log either."""
    reserving = OnlineSVM.reserving

    def limited(model: OnlineSVM, batches: Any) -> Iterator[None]:
        if len(batches) > 1:
            raise MemoryError
        return reserving(model, batches)

    with scratch() as folder:
        with bench(folder, part_bytes=1, **SGD) as found:
            monkeypatch.setattr(OnlineSVM, "reserving", limited)
            requests = [learn([([name], 1)]) for name in "abc"]
            plans = finish(found.service.leader.plan(requests))
            refused = []
            for request, plan in zip(requests, plans, strict=True):
                assert isinstance(plan, Plan)
                try:
                    finish(plan.carry_out())
                except MemoryError:
                    refused.append(request)
            assert refused == requests[1:]
            assert found.model.position == 1
            monkeypatch.undo()
        with bench(folder) as found:
            assert digest_of(found.model) == digest_after([[(["a"], 1)]], **SGD)


def test_a_request_that_is_in_the_log_and_cannot_be_applied_is_fatal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(model: OnlineSVM, batch: Any) -> np.ndarray[Any, Any]:
        raise RuntimeError("no luck")

    with scratch() as folder, bench(folder, **SGD) as found:
        request = learn([(["a"], 1)])
        (plan,) = finish(found.service.leader.plan([request]))
        assert isinstance(plan, Plan)
        monkeypatch.setattr(OnlineSVM, "learn_batch", broken)
        with pytest.raises(Fatal, match="could not be applied"):
            finish(plan.carry_out())
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("sequences", "codes"),
    [
        ([1, 2, 3], [None, None, None]),
        ([2], ["SEQUENCE_GAP"]),
        ([1, 3, 2], [None, "SEQUENCE_GAP", None]),
        ([1, 1, 2], [None, None, None]),
    ],
)
def test_numbers_follow_one_another_within_a_turn(
    sequences: list[int], codes: list[str | None]
) -> None:
    with scratch() as folder, bench(folder, **SGD) as found:
        plans = finish(found.service.leader.plan([numbered(n, [(["a"], 1)]) for n in sequences]))
        assert [plan.code if isinstance(plan, RequestError) else None for plan in plans] == codes
