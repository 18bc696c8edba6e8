"""Views and idf of many classes: the unit sample of `onlinesvm.model.rules.unit`.

The oracle is dense: see `tests.class_oracle`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import kernel as kernels
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.rules.class_layout import SetLayout
from onlinesvm.text.constants import OF_TEXT, VIEWS
from tests.class_oracle import DenseClasses
from tests.class_streams import FEATURES, Samples, bits, csr_of, learn, new, samples, state, words

tags = st.lists(st.integers(0, OF_TEXT + VIEWS - 1), min_size=FEATURES, max_size=FEATURES)


def tagged(learner: Any, tags: list[int]) -> Any:
    learner.enter(1, bytes(tags))
    return learner


def sets(kernel: Kernel) -> Any:
    return kernel.Multilabel(True, 1000, 8, SetLayout)


def test_it_learns_as_the_dense_formulas_say(kernel: Kernel) -> None:
    stream = words(300, 7, seed=1)
    drawn = np.random.default_rng(0).integers(0, OF_TEXT + VIEWS, 40).tolist()
    learner = tagged(new(kernel, most=64), drawn[1:])
    oracle = DenseClasses(40, 7, drawn)
    learned = learn(learner, stream)
    found = [oracle.learn(row, y) for row, y in zip(stream.rows, stream.labels, strict=True)]
    margins, predicted = zip(*found, strict=True)
    assert (learned.predicted == np.array(predicted)).mean() > 0.99
    np.testing.assert_allclose(learned.margins, margins, atol=5e-3, rtol=5e-3)
    np.testing.assert_allclose(learner.coefficients, oracle.c, rtol=2e-2)
    assert list(learner.texts) == oracle.texts


@given(part=samples(), tags=tags, bias=st.booleans())
def test_both_kernels_give_the_same_bits(part: Samples, tags: list[int], bias: bool) -> None:
    found = []
    for name in kernels.KERNELS:
        learner = tagged(new(kernels.load(name), bias), tags)
        learned = learn(learner, part)
        unknown = [{-(i % 8): x for i, x in row.items()} for row in part.rows]
        scores = [learner.score(csr_of(rows)).tobytes() for rows in (part.rows, unknown)]
        features = [repr(learner.feature(i)) for i in range(1, FEATURES + 1)]
        found.append(([a.tobytes() for a in learned], scores, bits(learner, FEATURES), features))
    assert found[0] == found[1]


@given(part=samples(labels=5), tags=tags)
@settings(max_examples=40)
def test_both_kernels_give_the_same_bits_for_sets_of_labels(part: Samples, tags: list[int]) -> None:
    found = []
    for name in kernels.KERNELS:
        learner = tagged(sets(kernels.load(name)), tags)
        labels = LabelSets.of([[y, y + 1] for y in part.labels])
        learned = learner.learn(part.csr(), labels, part.importances)
        scores = learner.score(part.csr())
        found.append((learned.margins.tobytes(), scores.tobytes(), bits(learner, FEATURES)))
    assert found[0] == found[1]


@given(part=samples(), tags=tags, cut=st.integers(0, 12))
@settings(max_examples=40)
def test_a_state_that_was_restored_learns_on_alike(
    kernel: Kernel, part: Samples, tags: list[int], cut: int
) -> None:
    learner = tagged(new(kernel), tags)
    learn(learner, part.part(0, cut))
    taken = state(learner, FEATURES)
    learn(learner, part.part(cut, 12))
    for name in kernels.KERNELS:
        again = new(kernels.load(name))
        again.restore(*taken)
        learn(again, part.part(cut, 12))
        assert bits(again, FEATURES) == bits(learner, FEATURES)


@given(part=samples(), tags=tags)
@settings(max_examples=40)
def test_new_features_count_as_they_are_learned(
    kernel: Kernel, part: Samples, tags: list[int]
) -> None:
    """Features that are new, by their tags: the scores are those that learning sees."""
    learner = new(kernel)
    known = {0}
    for row, label, importance in zip(*part, strict=True):
        rows = csr_of([row])
        asked = [i if i in known else -tags[i - 1] for i in row]
        scores = learner.score(rows._replace(indices=np.array(asked, dtype=np.int32)))[0]
        for i in row.keys() - known:
            learner.enter(i, bytes([tags[i - 1]]))
        known |= row.keys()
        learned = learner.learn(rows, [label], [importance])
        assert learned.predicted[0] == (int(scores.argmax()) if (scores > -np.inf).any() else -1)
        own = float(scores[label]) if label < len(scores) else -np.inf
        others = [float(score) for k, score in enumerate(scores) if k != label]
        if own > -np.inf and max(others, default=-np.inf) > -np.inf:
            assert learned.margins[0] == own - max(others)


@given(part=samples(), bias=st.booleans())
@settings(max_examples=40)
def test_one_view_without_texts_is_the_plain_learner(
    kernel: Kernel, part: Samples, bias: bool
) -> None:
    """A feature that no sample has has a view of its own."""
    plain, viewed = new(kernel, bias), new(kernel, bias)
    viewed.enter(FEATURES + 1, bytes([1]))
    for a, b in zip(learn(plain, part), learn(viewed, part), strict=True):
        assert a.tobytes() == b.tobytes()
    mine, more = state(plain, FEATURES), state(viewed, FEATURES)
    assert mine[1] == more[1]
    assert {"views", "view_samples"} == more[0].keys() - mine[0].keys()
    assert all(array.tobytes() == more[0][name].tobytes() for name, array in mine[0].items())


def test_a_prune_keeps_the_views_of_those_that_stay() -> None:
    kept = []
    for name in kernels.KERNELS:
        learner = tagged(new(kernels.load(name)), [5] * FEATURES)
        row = {i: 1.0 for i in range(1, FEATURES + 1)}
        learn(learner, Samples([row, {1: 1.0}, row], [0, 1, 2], [1.0] * 3))
        stays = np.zeros(FEATURES, dtype=np.bool_)
        stays[[0, 2, 3, FEATURES - 1]] = True
        learner.move(1, 1, stays)
        kept.append(learner.strengths(np.arange(1, 5, dtype=np.int32)).tobytes())
        arrays, _ = state(learner, 5)
        assert arrays["views"].tolist() == [5, 5, 5, 5, 0]
        assert arrays["view_samples"].tolist() == [0, 3, 0, 0]
        learn(learner, Samples([{1: 1.0, 5: 1.0}], [1], [1.0]))
        kept.append(bits(learner, 5))
    assert kept[:2] == kept[2:]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("views", lambda a: a + 8, "views: expected numbers from 0 to 7, got"),
        ("views", lambda a: a[:-1], r"views: expected uint8\[12\], got"),
        ("views", lambda a: a.astype(np.int64), r"views: expected uint8\[12\], got int64"),
        ("views", None, "arrays: expected views, got none"),
        ("view_samples", None, "arrays: expected view_samples, got none"),
        ("view_samples", lambda a: a[:-1], r"view_samples: expected int64\[4\], got"),
        ("view_samples", lambda a: a - 1, "view_samples: expected numbers from 0 to"),
        ("view_samples", lambda a: a * 0, "seen: expected at most 0 texts of view 1, got 1"),
    ],
)
def test_a_forged_state_is_refused(kernel: Kernel, name: str, change: Any, message: str) -> None:
    learner = tagged(new(kernel), [5] * FEATURES)
    learn(learner, Samples([{1: 1.0}, {2: 1.0}], [0, 1], [1.0] * 2))
    arrays, scalars = state(learner, FEATURES)
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    before = bits(learner, FEATURES)
    with pytest.raises(ValueError, match=message):
        learner.restore(arrays, scalars)
    assert bits(learner, FEATURES) == before
