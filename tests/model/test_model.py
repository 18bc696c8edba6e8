"""A model: probabilities, explanations, class weights, normalized samples, the threshold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.batch import CSR
from onlinesvm.data.objects import learn_batches
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.head import ClassWeights
from onlinesvm.model.margins import normalized
from tests.strategies import WIDE, configurations, features, samples


def test_predict_gives_probabilities(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    rng = np.random.default_rng(8)
    for _ in range(500):
        y = int(rng.choice([-1, 1]))
        model.learn_one({"a": float(y + rng.normal()), "b": float(rng.normal())}, y)
    asked = [{"a": 3.0}, {"a": -3.0}, ["new"]]
    p = model.predict(asked, probability=True)
    assert p.tolist() == model.probabilities(model.predict(asked)).tolist()
    assert p[0] > 0.8
    assert p[1] < 0.2
    assert model.predict_one(asked[0], probability=True) == p[0]  # type: ignore[arg-type]
    assert model.metrics["recent_auc"] > 0.8


@given(
    parts=st.lists(st.lists(samples(), max_size=5), max_size=4),
    config=configurations(),
    normalize=st.sampled_from(["none", "l2"]),
    max_features=st.integers(1, 12),
)
def test_samples_looked_up_ahead_are_learned_alike(
    kernel: Kernel,
    parts: list[list[tuple[Any, ...]]],
    config: dict[str, Any],
    normalize: str,
    max_features: int,
) -> None:
    limits = Limits(max_features=max_features)
    for policy in ("refuse-new", "prune"):
        kept: dict[str, Any] = {"max_features_policy": policy, "normalize": normalize, **config}
        model = OnlineSVM(kernel=kernel.NAME, limits=limits, **kept)
        other = OnlineSVM(kernel=kernel.NAME, limits=limits, **kept)
        batches = [batch for part in parts for batch in learn_batches(part, kernel, limits)]
        ahead = [model.look_up(batch) for batch in batches]
        assert [csr is None for csr in ahead] == [
            (policy, normalize) != ("refuse-new", "none")
        ] * len(batches)
        for batch, csr in zip(batches, ahead, strict=True):
            margins = model.learn_batch(batch, csr)
            assert margins.tolist() == other.learn_batch(batch).tolist()
        assert model.snapshot().digest() == other.snapshot().digest()
        assert model.refused_features == other.refused_features


@given(rows=st.lists(samples(), max_size=10), asked=features(), config=configurations())
def test_an_explanation_adds_up_to_the_margin(
    kernel: Kernel, rows: list[tuple[Any, ...]], asked: Any, config: dict[str, Any]
) -> None:
    for normalize in ("none", "l2", "mean"):
        model = OnlineSVM(kernel=kernel.NAME, normalize=normalize, limits=WIDE, **config)
        model.learn(rows)
        before = model.snapshot().digest()
        explained = model.explain(asked)
        margin = 0.0
        for part in explained.contributions:
            assert part.contribution == part.weight * part.value
            assert part.weight == model.weights.get(part.name, 0.0)
            assert part.known == (part.name in model.lookup)
            margin += part.contribution
        assert margin + explained.bias == explained.margin == model.predict_one(asked)
        assert model.snapshot().digest() == before


def test_an_explanation_is_in_the_order_of_the_sample_and_names_the_unknown(
    kernel: Kernel,
) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    model.learn([(["a", "b"], 1), (["b"], -1), (["c"], 1)])
    reported = model.explain(["b", "\udcff", "a", "b", 5]).contributions
    assert [(part.name, part.value, part.seen, part.known) for part in reported] == [
        ("b", 2.0, 2, True), ("\udcff", 1.0, 0, False), ("a", 1.0, 1, True), ("5", 1.0, 0, False),
    ]  # fmt: skip
    sgd = OnlineSVM(kernel=kernel.NAME, rule="sgd")
    sgd.learn([(["a"], 1)])
    assert sgd.explain(["a"]).contributions[0].seen is None


# Class weights.


def test_balanced_weights_count_this_sample(kernel: Kernel) -> None:
    model = OnlineSVM(rule="sgd", eta0=1.0, bias=False, class_weight="balanced", kernel=kernel.NAME)
    labels = [1, 1, -1, 1, -1]
    model.learn([([str(i)], y) for i, y in enumerate(labels)])
    expected = []
    for n in range(1, 6):
        same = labels[:n].count(labels[n - 1])
        expected.append(labels[n - 1] * n / (2 * same))
    assert list(model.weights.values()) == expected
    assert model.progressive.weight == 5  # the figures count importances as they were given


def test_a_pair_of_weights(kernel: Kernel) -> None:
    model = OnlineSVM(rule="sgd", eta0=1.0, bias=False, class_weight=(2, 3), kernel=kernel.NAME)
    model.learn([(["a"], 1), (["b"], -1, 0.5), (["c"], 1, 0)])
    assert dict(model.weights) == {"a": 3.0, "b": -1.0}


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([-1.0, 1.0]), st.sampled_from([0.0, 0.5, 1.0])), max_size=20
    ),
    cut=st.integers(0, 20),
)
def test_weights_do_not_show_how_samples_were_batched(
    rows: list[tuple[float, float]], cut: int
) -> None:
    whole, split = ClassWeights("balanced"), ClassWeights("balanced")
    labels, given = [y for y, _ in rows], [h for _, h in rows]
    expected, whole.counts = whole.of(labels, given)
    first, split.counts = split.of(labels[:cut], given[:cut])
    second, split.counts = split.of(labels[cut:], given[cut:])
    assert [*first, *second] == list(expected)
    assert split.counts.tolist() == whole.counts.tolist()


def test_balanced_weights_find_the_rare_class(kernel: Kernel) -> None:
    rng = np.random.default_rng(9)
    plain = OnlineSVM(kernel=kernel.NAME)
    even = OnlineSVM(kernel=kernel.NAME, class_weight="balanced")
    for _ in range(3000):
        y = 1 if rng.random() < 0.05 else -1
        row = {"a": float(y + 1.5 * rng.normal()), "b": float(rng.normal())}
        plain.learn_one(row, y)
        even.learn_one(row, y)
    assert even.metrics["recent_balanced_error"] < plain.metrics["recent_balanced_error"] - 0.05


def test_a_threshold_decides(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, rule="sgd", eta0=1.0, bias=False, threshold=1.5)
    model.learn([(["a"], 1), (["a"], 1), (["a"], -1)])  # margins 0, 1, 1: all below
    assert model.progressive.error == pytest.approx(2 / 3)
    assert model.metrics["recall"] == 0


# Normalization.


def test_norms_count_all_features(kernel: Kernel) -> None:
    for how, size in (("l2", 5.0), ("mean", 2.0)):
        model = OnlineSVM(kernel=kernel.NAME, rule="sgd", eta0=1.0, bias=False, normalize=how)
        model.learn([({"a": 3, "b": 4}, 1), ([], 1), ({"c": 1, "d": 0}, 1)])
        assert dict(model.weights) == {"a": 3 / size, "b": 4 / size, "c": 1.0}
        assert model.predict_one({"a": 3, "unknown": 4}) == (3 / size) * (3 / size)
        parted = model.predict_one({"a": 1, "unknown": 4, b"a": 2})  # a twice, summed
        assert parted == (3 / size) * (3 / size)
        model.partial_fit(np.array([[0.0, 3.0, 4.0]]), [1])
        assert model.weights["1"] == 3 / size
        assert model.decision_function(np.array([[0.0, 3.0, 4.0]]))[0] == model.predict_one(
            {1: 3, 2: 4}
        )


def test_norms_count_what_a_full_lookup_leaves_out(kernel: Kernel) -> None:
    for learn in (
        lambda m: m.learn([({"1": 3, "2": 4}, 1)]),
        lambda m: m.partial_fit(np.array([[0.0, 3.0, 4.0]]), [1]),
    ):
        model = OnlineSVM(
            kernel=kernel.NAME, rule="sgd", eta0=1.0, bias=False, normalize="l2",
            limits=Limits(max_features=1),
        )  # fmt: skip
        learn(model)
        assert dict(model.weights) == {"1": 3 / 5}


def test_sums_of_squares_are_added_in_order() -> None:
    rng = np.random.default_rng(10)
    data = rng.normal(size=1000) * 10.0 ** rng.integers(-8, 8, 1000)
    csr = CSR(np.array([0, 400, 400, 1000]), np.zeros(1000, np.int32), data)
    total = 0.0
    for x in data[400:].tolist():
        total += x * x
    scaled = normalized(csr, "l2").data[400:]
    assert scaled.tolist() == [x / math.sqrt(total) for x in data[400:].tolist()]
