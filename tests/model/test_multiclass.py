"""The learner of many classes, on both kernels: formulas, labels, bounds, files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onlinesvm.kernel.contract import Kernel, KernelMulticlass
from onlinesvm.model.rules.class_layout import ClassLayout
from tests.class_oracle import DenseClasses
from tests.class_streams import (
    FEATURES,
    Samples,
    bits,
    csr_of,
    learn,
    new,
    samples,
    state,
    words,
)


def test_it_learns_as_the_dense_formulas_say(kernel: Kernel) -> None:
    labels, n = 7, 300
    stream = words(n, labels, seed=1)
    learner, oracle = new(kernel, most=64), DenseClasses(40, labels)
    learned = learn(learner, stream)
    found = [oracle.learn(row, y) for row, y in zip(stream.rows, stream.labels, strict=True)]
    margins, predicted = zip(*found, strict=True)
    agreed = learned.predicted == np.array(predicted)
    assert agreed.mean() > 0.99  # where scores are nearly equal, float32 may order them anew
    np.testing.assert_allclose(learned.margins, margins, atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(learner.coefficients, oracle.c, rtol=2e-2)
    wrong = learned.predicted != np.array(stream.labels)
    assert wrong[:50].mean() > wrong[-100:].mean() < 0.05


@given(part=samples(), after=samples())
def test_scores_are_those_that_learning_sees(kernel: Kernel, part: Samples, after: Samples) -> None:
    learner = new(kernel)
    learn(learner, part)
    for row, label, importance in zip(*after, strict=True):
        before = bits(learner, FEATURES)
        scores = learner.score(csr_of([row]))
        probabilities = learner.probabilities(scores)
        assert bits(learner, FEATURES) == before  # scoring changes nothing
        learned = learner.learn(csr_of([row]), [label], [importance])
        known = scores.shape[1] and scores.max() > -np.inf
        assert learned.predicted[0] == (scores[0].argmax() if known else -1)
        assert learned.confidences[0] == (probabilities.max() if known else 0.0)
        if importance == 0.0:
            assert bits(learner, FEATURES) == before


@given(part=samples(20), split=st.integers(0, 20))
def test_batches_do_not_matter(kernel: Kernel, part: Samples, split: int) -> None:
    whole, parts = new(kernel), new(kernel)
    learned = learn(whole, part)
    both = [learn(parts, part.part(0, split)), learn(parts, part.part(split, 20))]
    for k in range(3):
        assert learned[k].tobytes() == b"".join(half[k].tobytes() for half in both)
    assert bits(whole, FEATURES) == bits(parts, FEATURES)


@given(part=samples(), after=samples(), drop=st.integers(0, 13))
def test_a_restored_learner_goes_on_bit_for_bit(
    kernel: Kernel, part: Samples, after: Samples, drop: int
) -> None:
    learner, restored = new(kernel), new(kernel)
    learn(learner, part)
    if drop < len(learner.states) and learner.states[drop] == 1:
        learner.drop(drop)
        after = after.without([drop]) if any(y != drop for y in after.labels) else part.part(0, 0)
    arrays, scalars = state(learner, FEATURES)
    ClassLayout.check(arrays, scalars, 1000)
    restored.restore(arrays, scalars)
    assert bits(restored, FEATURES) == bits(learner, FEATURES)
    for a, b in zip(learn(learner, after), learn(restored, after), strict=True):
        assert a.tobytes() == b.tobytes()
    assert bits(restored, FEATURES) == bits(learner, FEATURES)


@given(part=samples())
def test_the_predicted_label_is_the_most_probable(kernel: Kernel, part: Samples) -> None:
    learner = new(kernel)
    learn(learner, part)
    scores = learner.score(part.csr())
    probabilities = learner.probabilities(scores)
    assert probabilities.shape == scores.shape and probabilities.dtype == np.float64
    known = learner.states == 1
    if not known.any():
        return
    assert not probabilities[:, ~known].any()
    assert (probabilities >= 0).all() and (probabilities <= 1).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-9)
    top = scores.argmax(axis=1)
    assert (probabilities.argmax(axis=1) == top).all()
    if known.sum() > 2:  # the order of the others stays
        order = np.argsort(-scores, axis=1, kind="stable")
        sorted_ = np.take_along_axis(probabilities, order, axis=1)
        assert (np.diff(sorted_, axis=1) <= 0).all()


def test_probabilities_are_calibrated(kernel: Kernel) -> None:
    """A label's word is there in four samples of five."""
    rng = np.random.default_rng(3)
    n, labels = 2000 if kernel.NAME == "python" else 20_000, 6
    stream = words(n, labels, seed=3)
    rows = [
        row if rng.random() < 0.8 else {i: x for i, x in row.items() if i > labels}
        for row in stream.rows
    ]
    learner = new(kernel, most=64)
    learned = learn(learner, stream._replace(rows=rows))
    right = (learned.predicted == np.array(stream.labels))[n // 2 :]
    confident = learned.confidences[n // 2 :]
    bins = np.minimum(14, (confident * 15).astype(int))
    off = sum(abs(confident[bins == k].sum() - right[bins == k].sum()) for k in range(15))
    assert off / len(right) < 0.05


# Labels.


def test_a_label_is_known_from_its_first_sample_on(kernel: Kernel) -> None:
    learner = new(kernel)
    learned = learner.learn(csr_of([{1: 1.0}] * 3), [4, 4, 2], [1.0] * 3)
    assert learned.predicted.tolist() == [-1, 4, 4]
    assert learner.states.tolist() == [0, 0, 1, 0, 1]
    scores = learner.score(csr_of([{1: 1.0}]))[0]
    assert np.isneginf(scores[[0, 1, 3]]).all() and np.isfinite(scores[[2, 4]]).all()
    assert scores.argmax() == 2  # it had the last word


def test_a_sample_of_importance_0_names_no_label(kernel: Kernel) -> None:
    learner = new(kernel)
    learner.learn(csr_of([{1: 1.0}]), [0], [0.0])
    assert learner.states.tolist() == []


def test_of_equal_scores_the_lower_label_is_predicted(kernel: Kernel) -> None:
    learner = new(kernel)
    learner.learn(csr_of([{1: 1.0}, {2: 1.0}]), [5, 3], [1.0, 1.0])
    arrays, scalars = state(learner, 2)
    arrays["bias_weights"][:] = 0.0
    learner.restore(arrays, scalars)
    scores = learner.score(csr_of([{9: 1.0}]))
    assert scores[0, 3] == scores[0, 5]
    assert learner.learn(csr_of([{9: 1.0}]), [5], [0.0]).predicted.tolist() == [3]


def test_a_dropped_label_is_as_if_it_had_never_been(kernel: Kernel) -> None:
    learner = new(kernel)
    stream = words(200, 5)
    learn(learner, stream)
    learner.drop(2)
    assert learner.states.tolist() == [1, 1, 2, 1, 1]
    scores = learner.score(stream.csr())
    assert np.isneginf(scores[:, 2]).all()
    assert 2 not in scores.argmax(axis=1)
    arrays, _ = state(learner, 40)
    assert 2 not in arrays["row_labels"] and not arrays["bias_weights"][8:12].any()
    assert 2 not in learner.feature(3)[0] and 2 not in learner.feature(0)[0]
    before = bits(learner, 40)
    for wrong in (2, 5, -1):
        with pytest.raises(ValueError, match=f"label: expected a known one, got {wrong}"):
            learner.drop(wrong)
    with pytest.raises(ValueError, match="labels: expected none that was dropped, got 2"):
        learner.learn(csr_of([{1: 1.0}] * 2), [1, 2], [1.0, 1.0])
    with pytest.raises(ValueError, match="labels: expected ids from 0 to 999, got 1000"):
        learner.learn(csr_of([{1: 1.0}] * 2), [1, 1000], [1.0, 1.0])
    with pytest.raises(ValueError, match="labels: expected ids from 0 to 999, got -1"):
        learner.reserve(csr_of([{1: 1.0}] * 2), [1, -1])
    assert bits(learner, 40) == before
    rest = stream.without([2])
    learned = learn(learner, rest)
    assert (learned.predicted == np.array(rest.labels)).mean() > 0.9


# Bounds.


def test_a_feature_knows_so_many_labels_at_most(kernel: Kernel) -> None:
    learner = new(kernel, most=8)
    learn(learner, words(600, 40))
    lengths = state(learner, 70)[0]["row_lengths"]
    assert lengths.max() == 8
    learner.max_labels_per_feature = 16  # from the next sample on
    learn(learner, words(600, 40))
    assert state(learner, 70)[0]["row_lengths"].max() == 16
    learner.max_labels_per_feature = 8  # rows that are longer stay so
    learn(learner, words(100, 40))
    assert 8 < state(learner, 70)[0]["row_lengths"].max() <= 16


def test_a_new_label_takes_the_place_of_the_weakest(kernel: Kernel) -> None:
    learner = new(kernel, most=8)
    rows = [{1: 1.0} for _ in range(30)]
    labels = [*range(9), *range(9), *range(9), 0, 1, 2]
    replaced = 0
    for row, label in zip(rows, labels, strict=True):
        held, weights, _ = learner.feature(1)
        learner.learn(csr_of([row]), [label], [1.0])
        after = learner.feature(1)[0]
        left = set(held.tolist()) - set(after.tolist())
        assert len(after) <= 8 and len(left) <= 1
        replaced += len(left)
        for gone in left:
            strength = np.abs(weights @ learner.coefficients)
            # Those that the sample updates stay: of the others it was the weakest.
            stayed = [k for k in range(len(held)) if held[k] in after]
            unmoved = [k for k in stayed if np.array_equal(weights[k], _entry(learner, held[k]))]
            assert strength[held.tolist().index(gone)] <= min(strength[unmoved]) + 1e-6
    assert replaced > 5


def _entry(learner: KernelMulticlass, label: int) -> NDArray[np.float32]:
    labels, weights, _ = learner.feature(1)
    entry: NDArray[np.float32] = weights[labels.tolist().index(label)]
    return entry


@pytest.mark.parametrize("bounds", [(1, 128), (2**25, 128), (100, 7), (100, 2**25)])
def test_bounds_out_of_range_are_refused(kernel: Kernel, bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"max_labels(_per_feature)?: expected \d+ to 16777216"):
        kernel.Multiclass(True, *bounds, ClassLayout)
    learner = kernel.Multiclass(True, 100, 128, ClassLayout)
    with pytest.raises(ValueError, match="max_labels_per_feature: expected 8 to"):
        learner.max_labels_per_feature = 7
    assert (learner.max_labels, learner.max_labels_per_feature) == (100, 128)


def test_a_hostile_stream_of_labels_stays_in_bounds(kernel: Kernel) -> None:
    """Each sample a label of its own, over one common word and one of its own."""
    most = 400 if kernel.NAME == "python" else 20_000
    learner = new(kernel, most=16, labels=most)
    for start in range(0, most, 200):
        rows = [{1: 1.0, 2 + i % 50: 1.0} for i in range(start, start + 200)]
        learner.learn(csr_of(rows), list(range(start, start + 200)), [1.0] * 200)
    with pytest.raises(ValueError, match=f"labels: expected ids from 0 to {most - 1}, got {most}"):
        learner.learn(csr_of([{1: 1.0}]), [most], [1.0])
    arrays, _ = state(learner, 51)
    assert len(learner.states) == most
    assert arrays["row_lengths"].max() <= 16
    assert sum(array.nbytes for array in arrays.values()) < 51 * 500 + most * 20


def test_signed_margins_of_exactly_one_do_not_update(kernel: Kernel) -> None:
    """With every loss 0 the weights stay, though scales and counts go on."""
    learner = new(kernel)
    learn(learner, words(40, 3))
    arrays, scalars = state(learner, 30)
    # The scores of label 0 become exactly 1 and the others' exactly -1, by the bias alone.
    arrays["row_lengths"][:] = 0
    arrays["row_labels"] = arrays["row_labels"][:0]
    arrays["row_weights"] = arrays["row_weights"][:0]
    arrays["bias_weights"] = np.array([2.0] * 4 + [0.0] * 8, dtype=np.float32)
    learner.restore(arrays, scalars)
    learner.learn(csr_of([{}]), [0], [1.0])
    after, _ = state(learner, 30)
    assert after["bias_weights"].tobytes() == arrays["bias_weights"].tobytes()
    learner.learn(csr_of([{1: 1.0}]), [0], [1.0])  # the norm is larger, the margin below 1
    after, _ = state(learner, 30)
    assert after["bias_weights"].tobytes() != arrays["bias_weights"].tobytes()


def test_values_and_importances_at_their_bounds_stay_finite(kernel: Kernel) -> None:
    learner = new(kernel)
    values = [1e50, -1e50, 1e-50, 1.0]
    for importance, row in itertools.product([1e50, 1e-50, 1.0], itertools.product(values, values)):
        labels = list(range(6))
        rows = [dict(zip((1, 2), row, strict=True))] * 6
        learned = learner.learn(csr_of(rows), labels, [importance] * 6)
        assert np.isfinite(learned.margins).all() and np.isfinite(learned.confidences).all()
    arrays, scalars = state(learner, 2)
    ClassLayout.check(arrays, scalars, 1000)


def test_weights_as_large_as_a_view_can_have_stay_finite(kernel: Kernel) -> None:
    learner = new(kernel)
    learn(learner, words(60, 4))
    arrays, scalars = state(learner, 30)
    arrays["row_weights"][:] = np.where(np.arange(len(arrays["row_weights"])) % 2, 1e25, -1e25)
    arrays["bias_weights"][:] = 1e25
    scalars |= {f"mixture_coefficients_{r}": 1e120 for r in range(4)}
    learner.restore(arrays, scalars)
    for seed in range(3):
        learned = learn(learner, words(60, 4, seed))
        assert np.isfinite(learned.margins).all() and np.isfinite(learned.confidences).all()
        assert np.isfinite(learner.probabilities(learner.score(words(9, 4).csr()))).all()
    assert all(np.isfinite(a).all() for a in state(learner, 30)[0].values())
