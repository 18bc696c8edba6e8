"""The two kernels' learners of many classes side by side: the same bits, texts and views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import kernel as kernels
from onlinesvm.kernel.contract import KernelMulticlass
from tests.class_streams import FEATURES, Samples, bits, csr_of, learn, new, samples, words
from tests.forged import forge


@pytest.fixture(scope="session", params=["native"], autouse=True)
def compared() -> None:
    """Names what is compared with the python kernel, so that it can be deselected by name."""


def pair(**given: Any) -> tuple[KernelMulticlass, KernelMulticlass]:
    return new(kernels.load("native"), **given), new(kernels.load("python"), **given)


def compare(native: KernelMulticlass, python: KernelMulticlass, n: int = FEATURES) -> None:
    assert bits(native, n) == bits(python, n)
    assert native.states.tobytes() == python.states.tobytes()
    assert native.coefficients.tobytes() == python.coefficients.tobytes()
    for id in range(n + 2):
        mine, reference = native.feature(id), python.feature(id)
        for a, b in zip(mine[:2], reference[:2], strict=True):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        assert mine[2] == reference[2]


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


@given(
    parts=st.lists(samples(), max_size=4),
    bias=st.booleans(),
    drops=st.lists(st.integers(0, 13), max_size=3),
    bounds=st.lists(st.sampled_from([8, 9, 12]), min_size=4, max_size=4),
)
def test_the_same_bits(
    parts: list[Samples], bias: bool, drops: list[int], bounds: list[int]
) -> None:
    native, python = pair(bias=bias)
    for part, most in zip(parts, bounds, strict=False):
        native.max_labels_per_feature = python.max_labels_per_feature = most
        mine = outcome(lambda part=part: learn(native, part))
        reference = outcome(lambda part=part: learn(python, part))
        if isinstance(mine[0], type):
            assert mine == reference
            continue
        for a, b in zip(mine, reference, strict=True):
            assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes())
        compare(native, python)
        scores = native.score(part.csr())
        assert scores.tobytes() == python.score(part.csr()).tobytes()
        mine = native.probabilities(scores)
        assert mine.tobytes() == python.probabilities(scores).tobytes()
        for drop in drops[:1]:
            reference = outcome(lambda drop=drop: python.drop(drop))
            assert outcome(lambda drop=drop: native.drop(drop)) == reference
        drops = drops[1:]
        compare(native, python)


def test_the_same_bits_of_many_labels_and_full_rows() -> None:
    native, python = pair(most=8, labels=200)
    for seed in range(3):
        part = words(250, 150, seed).without(np.flatnonzero(native.states == 2).tolist())
        for a, b in zip(learn(native, part), learn(python, part), strict=True):
            assert a.tobytes() == b.tobytes()
        dropped = int(np.flatnonzero(native.states == 1)[seed])
        native.drop(dropped)
        python.drop(dropped)
        part = Samples(part.rows[:1], [dropped], [1.0])
        assert outcome(lambda part=part: learn(native, part)) == outcome(
            lambda part=part: learn(python, part)
        )
        compare(native, python, 170)
        # The common words have known all labels long since.
        lengths = native.view(170).arrays()["row_lengths"]
        assert int(lengths.max()) == 8


@pytest.mark.parametrize("leaving", [0, 1, 20, 40])
def test_features_are_moved_alike(leaving: int) -> None:
    native, python = pair()
    part = words(300, 20)
    learn(native, part), learn(python, part)
    native.drop(3)
    python.drop(3)
    ids = np.arange(1, 41, dtype=np.int32)
    strengths = native.strengths(ids)
    assert strengths.tobytes() == python.strengths(ids).tobytes()
    assert native.strengths(ids[::3]).tobytes() == strengths[::3].tobytes()
    kept = np.ones(40, dtype=np.bool_)
    kept[np.argsort(strengths, kind="stable")[:leaving]] = False
    for rule in (native, python):
        rule.move(1, 1, kept[:25])
        rule.move(1 + int(kept[:25].sum()), 26, kept[25:])
    compare(native, python, 40)
    assert native.strengths(ids)[: 40 - leaving].tobytes() == strengths[kept].tobytes()
    for rule in (native, python):
        rule.open_gap(11, 30, 7)
    compare(native, python, 47)
    again = Samples([{i: 1.0 for i in range(1, 9)}] * 3, [4, 5, 6], [1.0] * 3)
    learn(native, again), learn(python, again)
    compare(native, python, 40)


@given(part=samples(), data=st.data())
def test_the_same_refusals_of_forged_views(part: Samples, data: st.DataObject) -> None:
    native, python = pair()
    learn(native, part)
    view = native.view(FEATURES)
    arrays, scalars = view.arrays(), dict(view.scalars)
    forge(arrays, scalars, data)
    before = bits(native, FEATURES)
    mine = outcome(lambda: native.restore(arrays, scalars))
    assert mine == outcome(lambda: python.restore(arrays, scalars))
    if mine is not None:
        assert mine[0] is ValueError
        assert bits(native, FEATURES) == before


def test_rows_that_cannot_be_are_refused() -> None:
    native, _ = pair()
    with pytest.raises(ValueError, match="indices: expected ids"):
        native.learn(csr_of([{-8: 1.0}]), [0], [1.0])
    with pytest.raises(ValueError, match="indices: expected ids"):
        native.score(csr_of([{-8: 1.0}]))
    with pytest.raises(ValueError, match="labels: expected 1 elements, got 2"):
        native.learn(csr_of([{1: 1.0}]), [0, 1], [1.0])


def test_what_was_reserved_is_enough_to_learn_by() -> None:
    """Rows over PAD are reserved for, then learned over new ids: the memory does not grow."""
    native: Any = pair(most=16, labels=200)[0]
    stream = words(400, 60, noise=12)
    pads = csr_of(stream.rows)._replace(indices=np.zeros_like(stream.csr().indices))
    native.reserve(pads, stream.labels, 200)
    before = native._reserved()
    learn(native, stream)
    assert native._reserved() == before > 0
    again = words(400, 60, 1, noise=12)
    native.reserve(again.csr(), again.labels)
    before = native._reserved()
    learn(native, again)
    assert native._reserved() == before
