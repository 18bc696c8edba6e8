"""Mixing: the formulas against sums over dictionaries, and its laws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.config import LearnerConfig
from onlinesvm.data.objects import learn_batches
from onlinesvm.errors import ConfigError
from onlinesvm.mixing.learner import Learner
from onlinesvm.mixing.mix import mixed
from onlinesvm.mixing.outcome import Outcome
from onlinesvm.mixing.start import check_mixable, started
from onlinesvm.model.mappings import names_of
from onlinesvm.model.rules.constants import HEDGE_LEAST_SQUARE
from onlinesvm.model.rules.hedge import SQUARES, VARIANCES, WEIGHTS
from onlinesvm.model.view import View
from onlinesvm.snapshot.format import Snapshot

CONFIGS: dict[str, dict[str, Any]] = {
    "hedge": {"text": "off"},
    "text": {},
    "sgd": {"rule": "sgd"},
    "invscaling": {"rule": "sgd", "schedule": "invscaling", "bias": False},
    "shrinking": {"rule": "sgd", "alpha": 0.01},
    "average": {"rule": "sgd", "average": True},
    "balanced": {"class_weight": "balanced", "normalize": "l2"},
    "multiclass": {"task": "multiclass", "text": "off"},
    "multiclass text": {"task": "multiclass", "text": "default"},
}
MANY = ("multiclass", "multiclass text")
_names = st.sampled_from("abcdefgh")
_features = st.dictionaries(_names, st.sampled_from([1.0, 0.5, -2.0, 0.0, 3.0]), max_size=4)
_texts = st.lists(st.sampled_from(["free", "prize", "Minutes!", "42"]), max_size=3).map(" ".join)
_importances = st.sampled_from([1.0, 1.0, 2.0, 0.0])


def shards(kind: str, n: int = 2) -> st.SearchStrategy[list[list[tuple[Any, ...]]]]:
    """What was learned before, and `n` shards."""
    labels = ["spam", "ham", "eggs", "salad"] if kind in MANY else [1, -1]
    features = st.one_of(_features, _texts) if "text" in kind else _features
    sample = st.tuples(features, st.sampled_from(labels), _importances)
    return st.lists(st.lists(sample, max_size=6), min_size=n + 1, max_size=n + 1)


any_shards = st.sampled_from(sorted(CONFIGS)).flatmap(
    lambda kind: st.tuples(st.just(kind), shards(kind, 3))
)


def base_of(kind: str, samples: Sequence[Any] = ()) -> Snapshot:
    model = OnlineSVM(**CONFIGS[kind])
    model.learn(samples)
    return model.snapshot()


def outcome(base: Snapshot, samples: Sequence[Any]) -> Outcome:
    learner = Learner(base)
    model = learner.model
    for batch in learn_batches(samples, model.kernel, model.limits, model.extractor):
        learner.learn(batch)
    return learner.outcome()


def whole(outcome: Outcome) -> OnlineSVM:
    """The model, which a file could hold."""
    OnlineSVM.check_snapshot(outcome.model)
    assert len(outcome.counts) == len(outcome.model.lengths)
    return OnlineSVM.from_snapshot(outcome.model)


def by_name(model: Snapshot, name: str) -> dict[bytes, Any]:
    names = names_of(View({"lengths": model.lengths, "names": model.names}, {}))
    return dict(zip(names, model.arrays[name].tolist(), strict=True))


def seen(samples: Sequence[Any]) -> Counter[bytes]:
    """How often each feature was learned."""
    counts: Counter[bytes] = Counter()
    for features, _, importance in samples:
        if importance > 0:
            counts.update(name.encode() for name, value in features.items() if value)
    return counts


@given(given_=any_shards)
def test_a_shard_without_samples_leaves_the_other_as_it_is(
    given_: tuple[str, list[list[Any]]],
) -> None:
    kind, (before, one, *_) = given_
    base = base_of(kind, before)
    alone, empty = outcome(base, one), outcome(base, [])
    for made in (mixed(base, alone, empty), mixed(base, empty, alone)):
        assert made.model.position == len(before) + len(one)
        if alone.samples:
            assert made.model.digest() == alone.model.digest()
    ignored = outcome(base, [(*sample[:2], 0.0) for sample in one])
    assert mixed(base, alone, ignored).model.position == len(before) + 2 * len(one)


@given(given_=any_shards)
def test_a_mix_is_a_model_and_the_same_each_time(given_: tuple[str, list[list[Any]]]) -> None:
    kind, (before, *parts) = given_
    base = base_of(kind, before)
    one, two, three = (outcome(base, part) for part in parts)
    made = mixed(base, mixed(base, one, two), three)
    model = whole(made)
    again = mixed(base, mixed(base, *(outcome(base, part) for part in parts[:2])), three)
    assert made.model.digest() == again.model.digest()
    assert model.position == len(before) + sum(map(len, parts))
    assert made.samples == sum(sample[2] > 0 for part in parts for sample in part)
    model.learn(before)  # and learns on


@given(given_=any_shards)
def test_the_order_of_the_shards_changes_no_number_but_by_rounding(
    given_: tuple[str, list[list[Any]]],
) -> None:
    kind, (before, one, two, _) = given_
    base = base_of(kind, before)
    first, second = outcome(base, one), outcome(base, two)
    there, back = mixed(base, first, second), mixed(base, second, first)
    assert there.samples == back.samples
    samples = [features for features, *_ in (*one, *two)]
    if not samples or (kind in MANY and not there.samples):
        return
    found, other = whole(there), whole(back)
    assert dict(found.lookup).keys() == dict(other.lookup).keys()
    for name, array in there.model.arrays.items():
        if name in ("seen", "ages", *WEIGHTS, *VARIANCES) and kind not in MANY:
            mine, theirs = by_name(there.model, name), by_name(back.model, name)
            assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6), (name, array)
    order = [list(other.classes_).index(label) for label in found.classes_]
    scores, others = found.decision_function(samples), other.decision_function(samples)
    if scores.ndim == 2:
        others = others[:, order]
    np.testing.assert_allclose(scores, others, rtol=1e-3, atol=1e-3)


@given(parts=shards("hedge"))
def test_the_hedge_is_mixed_by_how_often_each_shard_saw_a_feature(parts: list[list[Any]]) -> None:
    before, *both = parts
    base = base_of("hedge", before)
    one, two = (outcome(base, part) for part in both)
    counts = [seen(part) for part in both]
    if not one.samples or not two.samples:
        return
    made = mixed(base, one, two)
    assert by_name(made.model, "seen") == {
        name: seen(before)[name] + counts[0][name] + counts[1][name]
        for name in by_name(made.model, "seen")
    }
    for column in (*WEIGHTS, *VARIANCES, *SQUARES, "mean_squares"):
        old, first, second = (by_name(model, column) for model in (base, one.model, two.model))
        fresh = 1.0 if column in VARIANCES else HEDGE_LEAST_SQUARE if column in SQUARES else 0.0
        for name, found in by_name(made.model, column).items():
            was, a, b = (of.get(name, fresh) for of in (old, first, second))
            n, m = counts[0][name], counts[1][name]
            if column in SQUARES:
                wanted = was + (a - was) + (b - was)
            elif n + m:
                wanted = (n * a + m * b) / (n + m)
            else:
                wanted = was
            assert found == pytest.approx(wanted, rel=1e-6, abs=1e-30), (column, name)


@pytest.mark.parametrize("kind", ["sgd", "invscaling", "average", "shrinking"])
@given(parts=shards("sgd"))
def test_sgd_is_mixed_by_how_often_each_shard_saw_a_feature(
    kind: str, parts: list[list[Any]]
) -> None:
    before, *both = parts
    base = base_of(kind, before)
    one, two = (outcome(base, part) for part in both)
    counts = [seen(part) for part in both]
    if not one.samples or not two.samples:
        return
    made = whole(mixed(base, one, two))
    old, first, second = (OnlineSVM.from_snapshot(model) for model in (base, one.model, two.model))
    samples = one.samples, two.samples
    assert made.bias == pytest.approx(np.average([first.bias, second.bias], weights=samples))
    for name, found in made.weights.items():
        n, m = counts[0][name.encode()], counts[1][name.encode()]
        a, b = first.weights.get(name, 0.0), second.weights.get(name, 0.0)
        if not n + m and kind == "average":
            continue  # its mean goes on towards its last weight
        if not n + m and kind != "shrinking":
            assert found == old.weights[name]
            continue
        weights = (n, m) if n + m else samples
        assert found == pytest.approx(np.average([a, b], weights=weights), abs=1e-12)


@given(parts=shards("multiclass"))
def test_a_weight_of_many_classes_is_the_mean_of_the_shards_that_moved_it(
    parts: list[list[Any]],
) -> None:
    before, *both = parts
    base = base_of("multiclass", before)
    one, two = (outcome(base, part) for part in both)
    if not one.samples or not two.samples:
        return
    made = mixed(base, one, two)
    old, first, second, found = (cells(model) for model in (base, one.model, two.model, made.model))
    counts = [seen(part) for part in both]
    assert set(found) == {*old, *first, *second}
    none = np.zeros(4, np.float32)
    for (name, label), weights in found.items():
        was, a, b = (of.get((name, label), none) for of in (old, first, second))
        n = counts[0][name] if (a != was).any() else 0
        m = counts[1][name] if (b != was).any() else 0
        wanted = (n * a + m * b) / (n + m) if n + m else was
        np.testing.assert_allclose(weights, wanted, rtol=1e-5, atol=1e-7)


def cells(model: Snapshot) -> dict[tuple[bytes, Any], Any]:
    """Weights by feature and label."""
    restored = OnlineSVM.from_snapshot(model)
    names = restored.many[1].name
    return {
        (feature.encode(), names(label)): weights
        for feature, id in restored.lookup.items()
        for label, weights in zip(*restored.many[0].rule.feature(id)[:2], strict=True)
        for label in [int(label)]
    }


def test_a_feature_of_one_shard_keeps_all_that_the_shard_learned() -> None:
    base = base_of("sgd")
    made = whole(mixed(base, outcome(base, [(["a"], 1, 1.0)]), outcome(base, [(["b"], -1, 1.0)])))
    assert dict(made.weights) == {"a": 0.1, "b": -0.1}
    assert made.bias == 0.0


def test_features_beyond_the_bound_are_left_out_the_last_shard_first() -> None:
    base = OnlineSVM(text="off", limits=Limits(max_features=3)).snapshot()
    one, two = (
        outcome(base, [(names, label, 1.0)])
        for names, label in ((["a", "b"], 1), (["c", "b", "d"], -1))
    )
    for first, second, kept in ((one, two, "abc"), (two, one, "cbd")):
        made = whole(mixed(base, first, second))
        assert "".join(made.lookup) == kept
    full = mixed(base, one, two)
    again = mixed(full.model, outcome(full.model, [(["x", "a"], 1, 1.0)]),
                  outcome(full.model, [(["y"], 1, 1.0)]))  # fmt: skip
    assert "".join(whole(again).lookup) == "abc"


def test_views_that_shards_met_in_another_order_are_one_view_each() -> None:
    base = base_of("text")
    text, number = ("free prize", 1, 1.0), ({"len": 3.5, "note": "long"}, -1, 1.0)
    one, two = outcome(base, [text, number]), outcome(base, [number, text])
    found, other = whole(mixed(base, one, two)), whole(mixed(base, two, one))
    assert found.experts is not None
    assert other.experts is not None
    assert {*found.experts} == {*other.experts}
    np.testing.assert_allclose(
        found.decision_function(["free prize"]), other.decision_function(["free prize"]), rtol=1e-5
    )
    lacking = whole(mixed(base, outcome(base, [number]), one))
    assert lacking.experts is not None
    assert {*lacking.experts} == {*found.experts}


@pytest.mark.parametrize("kind", ["hedge", "multiclass"])
def test_metrics_are_those_of_the_first_shard_in_this_round(kind: str) -> None:
    samples = [({"a": 1.0}, 1, 1.0), ({"b": 1.0}, 0, 1.0)] * 20
    base = base_of(kind, samples)
    assert OnlineSVM.from_snapshot(base).progressive.error is not None
    assert OnlineSVM.from_snapshot(started(base)).progressive.error is None
    one, two = outcome(base, samples[:4]), outcome(base, samples)
    for first, second in ((one, two), (two, one)):
        made = whole(mixed(base, first, second))
        wanted = OnlineSVM.from_snapshot(first.model)
        assert repr(made.progressive) == repr(wanted.progressive)
        assert made.metrics == wanted.metrics


def test_labels_that_cannot_be_beside_each_other_are_refused() -> None:
    base = base_of("hedge", [(["a"], "ham")])
    one, two = outcome(base, [(["a"], "spam", 1.0)]), outcome(base, [(["a"], "eggs", 1.0)])
    with pytest.raises(
        ConfigError, match='the two of the others, "ham" or "spam", got "ham" or "eg'
    ):
        mixed(base, one, two)
    base = base_of("hedge")
    one, two = (
        outcome(base, [(["a"], label, 1.0) for label in labels])
        for labels in (("ham", "spam"), ("spam", "ham"))
    )
    with pytest.raises(ConfigError, match="labels: expected the two of the others"):
        mixed(base, one, two)
    base = OnlineSVM(positive=("spam", "scam")).snapshot()
    one, two = (
        outcome(base, [(["a"], label, 1.0) for label in labels])
        for labels in (("ham", "spam"), ("scam", "eggs"))
    )
    assert [*whole(mixed(base, one, two)).classes_] == ["rest", "spam,scam"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rule": "arow"}, "rule: expected hedge or sgd for a model to be mixed, got 'arow'"),
        ({"task": "ranking"}, "task: expected binary or multiclass"),
        ({"task": "multilabel"}, "task: expected binary or multiclass"),
        ({"max_features_policy": "prune"}, "max_features_policy: expected refuse-new"),
        ({"crosses": "*"}, "crosses: expected none"),
        ({"vectors": "0" * 64}, "vectors: expected none"),
        ({"rule": "sgd", "normalize": "l2"}, "normalize: expected none"),
    ],
)
def test_a_model_whose_mixing_is_not_defined_is_refused_by_name(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_mixable(LearnerConfig(**parameters))
