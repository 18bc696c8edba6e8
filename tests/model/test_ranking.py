"""Ranking: pairs learned as differences, one score an item, in the library."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM, Scorer, Worse
from onlinesvm.errors import ConfigError, SampleError
from onlinesvm.kernel.contract import Kernel

NAMES = [f"f{i}" for i in range(6)]
ITEMS = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(st.sampled_from([1.0, -1.0]), st.floats(-9, 9)), max_size=5
)
PAIRS = st.lists(st.tuples(ITEMS, ITEMS, st.sampled_from([1.0, 0.5, 0.0])), max_size=12)


def dense(item: dict[str, float]) -> np.ndarray:
    values = [item.get(name, 0.0) for name in NAMES]
    return np.array([0.0 if abs(x) < 1e-50 else x for x in values])


@given(pairs=PAIRS)
def test_sgd_is_the_pairwise_hinge_of_violators_alone(
    kernel: Kernel, pairs: list[tuple[dict[str, float], dict[str, float], float]]
) -> None:
    """The dumb oracle: w += eta·h·(better − worse) where w·(better − worse) < 1."""
    w, expected, wrong, weight = np.zeros(len(NAMES)), [], 0.0, 0.0
    for better, worse, h in pairs:
        difference = dense(better) - dense(worse)
        margin = float(w @ difference)
        expected.append(margin)
        if margin < 1.0:
            w += 0.1 * h * difference
        wrong, weight = wrong + h * (margin <= 0.0), weight + h
    model = OnlineSVM(task="ranking", rule="sgd", eta0=0.1, kernel=kernel.NAME)
    np.testing.assert_allclose(model.learn(pairs), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.predict([[name] for name in NAMES]), w, atol=1e-9)
    assert model.position == len(pairs)
    assert model.bias == 0.0
    if weight and all(abs(margin) > 1e-9 or margin == 0.0 for margin in expected):
        assert model.metrics["pair_error"] == pytest.approx(wrong / weight)


@given(pairs=PAIRS, cut=st.integers(0, 12))
@pytest.mark.parametrize("rule", ["hedge", "sgd"])
def test_both_kernels_have_the_same_bits_however_pairs_are_batched(
    rule: str, pairs: list[tuple[dict[str, float], dict[str, float], float]], cut: int
) -> None:
    models = [OnlineSVM(task="ranking", rule=rule, kernel=name) for name in ("native", "python")]
    whole = [model.learn(pairs).tobytes() for model in models]
    digests = [model.snapshot().digest() for model in models]
    assert whole[0] == whole[1] and digests[0] == digests[1]
    parts = OnlineSVM(task="ranking", rule=rule)
    margins = np.concatenate([parts.learn(pairs[:cut]), parts.learn(pairs[cut:])])
    assert margins.tobytes() == whole[0] and parts.snapshot().digest() == digests[0]
    one_by_one = OnlineSVM(task="ranking", rule=rule)
    assert [one_by_one.learn_one(*pair) for pair in pairs] == margins.tolist()
    again = pickle.loads(pickle.dumps(parts))
    assert again.learn(pairs).tobytes() == parts.learn(pairs).tobytes()


@pytest.mark.parametrize("rule", ["hedge", "sgd"])
def test_an_order_is_learned_and_a_margin_is_a_difference_of_scores(
    kernel: Kernel, rule: str
) -> None:
    rng = np.random.default_rng(1)
    worth = rng.normal(size=30)
    pairs = []
    for _ in range(600):
        a, b = (rng.choice(30, 4, replace=False) for _ in range(2))
        if worth[b].sum() > worth[a].sum():
            a, b = b, a
        pairs.append(([f"f{i}" for i in a], [f"f{i}" for i in b]))
    model = OnlineSVM(task="ranking", rule=rule, kernel=kernel.NAME)
    margins = model.learn(pairs)
    assert (margins[-200:] <= 0).mean() < 0.12 < (margins[:50] <= 0).mean()
    assert model.progressive.error == pytest.approx((margins <= 0).mean())
    scores = model.predict([[f"f{i}"] for i in range(30)])
    assert scores.dtype == np.float64
    assert np.corrcoef(scores, worth)[0, 1] > 0.9
    assert Scorer(model).score([[f"f{i}"] for i in range(30)]).tobytes() == scores.tobytes()
    better, worse = pairs[0]
    margin = model.learn_one(better, Worse(worse), 0.0)
    one, other = model.predict_one(better), model.predict_one(worse)
    assert isinstance(one, float) and isinstance(other, float)
    assert margin == pytest.approx(one - other)
    assert model.explain(better).margin == pytest.approx(one)


def test_texts_are_ranked(kernel: Kernel) -> None:
    model = OnlineSVM(task="ranking", kernel=kernel.NAME)
    pairs = [("a clear answer", "spam spam"), ("the answer is clear", "cheap spam")] * 20
    model.learn(pairs)
    assert model.metrics["recent_pair_error"] < 0.5
    assert model.predict_one("a clear answer") > model.predict_one("cheap spam")  # type: ignore[operator]


def test_what_both_items_have_alike_moves_nothing(kernel: Kernel) -> None:
    model = OnlineSVM(task="ranking", kernel=kernel.NAME)
    model.learn([({"query": 3, "good": 1}, {"query": 3, "bad": 1})] * 5)
    assert model.weights["query"] == 0.0
    assert model.weights["good"] > 0.0 > model.weights["bad"]


@pytest.mark.parametrize(
    "given",
    [
        {"rule": "arow"}, {"rule": "pa1"}, {"threshold": 1.0}, {"class_weight": "balanced"},
        {"labels": ("a", "b")}, {"positive": ("a",)}, {"normalize": "l2"},
    ],
)  # fmt: skip
def test_what_a_ranking_does_not_have_is_refused_at_creation(given: dict[str, Any]) -> None:
    name = next(iter(given))
    expected = "hedge or sgd" if name == "rule" else "none"
    with pytest.raises(ConfigError, match=f"{name}: expected {expected}.* task ranking"):
        OnlineSVM(task="ranking", **given)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([({"a": 1}, {"b": float("nan")})], r'a finite number, got nan at \$\[0\]\[1\]\["b"\]'),
        ([(["a"], ["b"]), ({"a": 1e60}, ["b"])], r'got 1e\+60 at \$\[1\]\[0\]\["a"\]'),
        ([(["a"], ["b"], -1)], r"expected an importance from 0 .*, got -1 at \$\[0\]\[2\]"),
        ([(["a"],)], r"expected \(better, worse\) or \(better, worse, importance\), got tuple"),
        ([([1], ["a"])], r"got numbers alone at \$\[0\]\[0\]"),
        ([(["a"], 7)], r"got int at \$\[0\]\[1\]"),
    ],
)
def test_a_faulty_pair_is_refused_with_its_place(
    kernel: Kernel, pairs: list[Any], message: str
) -> None:
    model = OnlineSVM(task="ranking", kernel=kernel.NAME)
    before = model.snapshot().digest()
    with pytest.raises((SampleError, TypeError), match=message):
        model.learn(pairs)
    assert model.snapshot().digest() == before


def test_labels_and_probabilities_are_refused(kernel: Kernel) -> None:
    model = OnlineSVM(task="ranking", rule="sgd", kernel=kernel.NAME)
    with pytest.raises(SampleError, match=r"expected a pair .* got a sample with the label 0 at y"):
        model.partial_fit(np.ones((2, 3)), [0, 1])
    with pytest.raises(ConfigError, match="expected a model with labels, got a ranking one"):
        model.predict_proba([["a"]])
    with pytest.raises(ConfigError, match="expected a model with labels, got a ranking one"):
        model.ask([["a"]])
    assert model.classes_.tolist() == [] and model.position == 0
    binary = OnlineSVM(kernel=kernel.NAME)
    with pytest.raises(SampleError, match=r"expected one label, got 1 in an array .* at \$\[1\]"):
        binary.learn_one(["a"], Worse(["b"]))
    assert repr(Worse(["b"])) == "Worse(['b'])"


@given(pairs=st.lists(st.tuples(ITEMS, ITEMS), min_size=1, max_size=20))
def test_pruning_has_the_same_bits_on_both_kernels(
    pairs: list[tuple[dict[str, float], dict[str, float]]],
) -> None:
    digests = set()
    for name in ("native", "python"):
        given: dict[str, Any] = {"rule": "sgd", "max_features_policy": "prune", "kernel": name}
        model = OnlineSVM(task="ranking", limits=Limits(max_features=4), **given)
        model.learn(pairs)
        digests.add(model.snapshot().digest())
    assert len(digests) == 1
