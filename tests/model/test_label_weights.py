"""The weights of many classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.model.label_weights import LabelWeights

_SAMPLES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 1.0, 2.5])), max_size=20)


@given(samples=_SAMPLES, split=st.integers(0, 20))
def test_balanced_weights_are_those_of_the_formula_however_batched(
    samples: list[tuple[int, float]], split: int
) -> None:
    weights, made = LabelWeights("balanced"), []
    for part in (samples[:split], samples[split:]):
        before = weights.counts.copy()
        of, counts = weights.of([y for y, _ in part], [h for _, h in part])
        assert weights.counts.tolist() == before.tolist()  # the caller replaces them
        weights.counts = counts
        made += of.tolist()
    for k, (label, h) in enumerate(samples):
        seen = [y for y, weight in samples[: k + 1] if weight > 0]
        wanted = h * len(seen) / (len(set(seen)) * seen.count(label)) if h else 0.0
        assert made[k] == pytest.approx(wanted)
    assert sum(weights.counts) == sum(h > 0 for _, h in samples)


def test_balanced_labels_count_the_same() -> None:
    labels = np.tile(np.repeat([0, 1, 2], [90, 9, 1]), 10)
    weights = LabelWeights("balanced")
    of, _ = weights.of(labels, np.ones(1000))
    late = slice(500, None)
    sums = [of[late][labels[late] == k].sum() for k in range(3)]
    assert max(sums) < 1.2 * min(sums)


def test_given_weights_multiply_and_others_stay() -> None:
    weights = LabelWeights({0: 5.0, 7: 0.5})
    assert weights.of([0, 7, 3], [1.0, 2.0, 3.0])[0].tolist() == [5.0, 1.0, 3.0]
    none = LabelWeights(None)
    assert none.of([0, 1], [1.0, 2.0])[0].tolist() == [1.0, 2.0]
    assert none.of([], [])[0].tolist() == []


def test_a_dropped_label_is_not_counted() -> None:
    weights = LabelWeights("balanced")
    _, weights.counts = weights.of([0, 1, 1], [1.0] * 3)
    weights.drop(1)
    weights.drop(9)
    assert weights.of([0], [1.0])[0].tolist() == [1.0]
