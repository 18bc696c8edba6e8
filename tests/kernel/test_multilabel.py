"""The two kernels' learners of several labels a sample side by side: the same bits and views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import kernel as kernels
from onlinesvm.data.batch import CSR
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.kernel.contract import KernelMultilabel
from onlinesvm.model.rules.class_layout import SetLayout
from tests.forged import forge

FEATURES = 12

ROW = st.dictionaries(
    st.integers(1, FEATURES), st.sampled_from([1.0, -0.5, 3.0, 1e-3, 200.0, 0.0]), max_size=4
)
SAMPLE = st.tuples(
    ROW,
    st.lists(st.integers(0, 30), max_size=5, unique=True),
    st.sampled_from([1.0, 1.0, 0.0, 2.5]),
)
Samples = list[tuple[dict[int, float], list[int], float]]


@pytest.fixture(scope="session", params=["native"], autouse=True)
def compared() -> None:
    """Names what is compared with the python kernel, so that it can be deselected by name."""


def new(name: str, most: int = 128, bias: bool = True) -> KernelMultilabel:
    return kernels.load(name).Multilabel(bias, 1000, most, SetLayout)


def csr_of(samples: Samples) -> CSR:
    rows = [row for row, _, _ in samples]
    return CSR(
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([id for row in rows for id in row], dtype=np.int32),
        np.array([x for row in rows for x in row.values()]),
    )


def learn(learner: KernelMultilabel, samples: Samples) -> tuple[bytes, list[list[int]]]:
    sets = LabelSets.of([labels for _, labels, _ in samples])
    learned = learner.learn(csr_of(samples), sets, np.array([h for *_, h in samples]))
    return learned.margins.tobytes(), learned.predicted.lists()


def bits(learner: KernelMultilabel) -> Any:
    view = learner.view(FEATURES)
    arrays = {name: array.tobytes() for name, array in view.arrays().items()}
    return arrays, {name: float(x).hex() for name, x in view.scalars.items()}


@given(
    parts=st.lists(st.lists(SAMPLE, max_size=12), max_size=4),
    bias=st.booleans(),
    most=st.sampled_from([8, 128]),
    dropped=st.integers(0, 30),
)
def test_the_same_bits(parts: list[Samples], bias: bool, most: int, dropped: int) -> None:
    native, python = new("native", most, bias), new("python", most, bias)
    for part in parts:
        known = python.states
        part = [
            (row, [k for k in labels if not (k < len(known) and known[k] == 2)], h)
            for row, labels, h in part
        ]
        assert learn(native, part) == learn(python, part)
        assert bits(native) == bits(python)
        assert native.threshold == python.threshold
        scored = [learner.score(csr_of(part)) for learner in (native, python)]
        assert scored[0].tobytes() == scored[1].tobytes()
        shares = [learner.probabilities(scored[0]) for learner in (native, python)]
        assert shares[0].tobytes() == shares[1].tobytes()
        if dropped < len(python.states) and python.states[dropped] == 1:
            native.drop(dropped)
            python.drop(dropped)
            assert bits(native) == bits(python)


@given(parts=st.lists(st.lists(SAMPLE, max_size=10), min_size=2, max_size=3))
def test_a_restored_learner_goes_on_bit_for_bit(parts: list[Samples]) -> None:
    straight, reference = new("native"), new("python")
    for part in parts[:-1]:
        learn(straight, part)
        learn(reference, part)
    for name in ("native", "python"):
        view, again = reference.view(FEATURES), new(name)
        again.restore(view.arrays(), view.scalars)
        assert bits(again) == bits(straight)
        learn(again, parts[-1])
        expected = new("python")
        view = reference.view(FEATURES)
        expected.restore(view.arrays(), view.scalars)
        learn(expected, parts[-1])
        assert bits(again) == bits(expected)


@given(samples=st.lists(SAMPLE, max_size=12), cut=st.integers(0, 12))
def test_batches_do_not_matter(samples: Samples, cut: int) -> None:
    whole, parts = new("native"), new("native")
    margins, predicted = learn(whole, samples)
    first, second = learn(parts, samples[:cut]), learn(parts, samples[cut:])
    assert (first[0] + second[0], first[1] + second[1]) == (margins, predicted)
    assert bits(whole) == bits(parts)


@pytest.mark.parametrize("name", ["native", "python"])
def test_a_row_full_of_updated_labels_takes_no_other(name: str) -> None:
    learner = new(name, most=8)
    samples: Samples = [({1: 1.0}, list(range(60)), 1.0), ({1: 1.0}, list(range(3, 63)), 1.0)]
    for sample in samples * 5:
        learn(learner, [sample])
    labels, weights, _ = learner.feature(1)
    assert len(labels) == 8 and np.isfinite(weights).all()


@pytest.mark.parametrize("name", ["native", "python"])
def test_what_cannot_be_learned_is_refused(name: str) -> None:
    learner = new(name)
    learn(learner, [({1: 1.0}, [0, 2], 1.0)])
    learner.drop(2)
    before = bits(learner)
    for labels in ([1000], [-1], [2]):
        with pytest.raises(ValueError, match="labels: expected"):
            learn(learner, [({1: 1.0}, [0], 1.0), ({1: 1.0}, labels, 1.0)])
        assert bits(learner) == before
    view = learner.view(FEATURES)
    arrays = view.arrays()
    for wrong in (
        arrays["threshold"][:-1],
        arrays["threshold"] - 2.0,
        arrays["threshold"] * np.nan,
    ):
        with pytest.raises(ValueError, match="threshold: expected"):
            learner.restore({**arrays, "threshold": wrong}, view.scalars)
    assert bits(learner) == before


@given(samples=st.lists(SAMPLE, max_size=12), data=st.data())
def test_the_same_refusals_of_forged_views(samples: Samples, data: st.DataObject) -> None:
    native, python = new("native"), new("python")
    learn(native, samples)
    view = native.view(FEATURES)
    arrays, scalars = view.arrays(), dict(view.scalars)
    forge(arrays, scalars, data)
    before = bits(native)
    outcomes = []
    for learner in (native, python):
        try:
            learner.restore(arrays, scalars)
        except Exception as error:
            outcomes.append((type(error), str(error)))
        else:
            outcomes.append((type(None), ""))
    assert outcomes[0] == outcomes[1]
    if outcomes[0][0] is not type(None):
        assert outcomes[0][0] is ValueError
        assert bits(native) == before
