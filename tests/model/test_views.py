"""Views: groups of features with a norm, a bias and experts of their own, and idf inside the hedge.

The oracle is a plain hedge for each view.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onlinesvm import LearnerConfig
from onlinesvm import kernel as kernels
from onlinesvm.data.batch import CSR
from onlinesvm.kernel.contract import Kernel, KernelRule
from onlinesvm.model.head import Head
from onlinesvm.model.rules.mixture import Mixture
from onlinesvm.text.constants import OF_TEXT, VIEWS

FEATURES = 12  # ids 1 … 12
Row = dict[int, float]
Stream = list[tuple[Row, float, float]]

values = st.sampled_from([1.0, 1.0, 1.0, -1.0, 0.5, 3.0, 1e-3, 40.0])
rows = st.dictionaries(st.integers(1, FEATURES), values, max_size=8)
importances = st.sampled_from([1.0, 1.0, 1.0, 0.0, 2.0, 0.25])
streams = st.lists(st.tuples(rows, st.sampled_from([-1.0, 1.0]), importances), max_size=25)
tags = st.lists(st.integers(0, OF_TEXT + VIEWS - 1), min_size=FEATURES, max_size=FEATURES)


def csr(given: list[Row]) -> CSR:
    lengths = np.cumsum([0, *map(len, given)], dtype=np.int64)
    ids = np.array([i for row in given for i in row], dtype=np.int32)
    return CSR(lengths, ids, np.array([x for row in given for x in row.values()], dtype=float))


def rule_of(kernel: Kernel, tags: list[int], **config: Any) -> KernelRule:
    rule = Head(kernel, LearnerConfig(**config)).rule
    rule.reserve(FEATURES)
    rule.enter(1, bytes(tags))
    return rule


def learned(rule: KernelRule, stream: Stream) -> NDArray[np.float64]:
    given, signs, weights = zip(*stream, strict=True) if stream else ((), (), ())
    return rule.learn(csr(list(given)), np.array(signs, float), np.array(weights, float))


def parts_of(rule: KernelRule) -> tuple[dict[str, Any], dict[str, Any]]:
    view = rule.view(FEATURES)
    return view.arrays(), dict(view.scalars)


def state(rule: KernelRule) -> tuple[dict[str, bytes], dict[str, Any]]:
    arrays, scalars = parts_of(rule)
    return {name: array.tobytes() for name, array in arrays.items()}, scalars


@given(streams, tags, st.booleans())
def test_both_kernels_give_the_same_bits(stream: Stream, tags: list[int], bias: bool) -> None:
    found = []
    for name in kernels.KERNELS:
        rule = rule_of(kernels.load(name), tags, bias=bias)
        margins = learned(rule, stream)
        scores = rule.score(csr([row for row, _, _ in stream]))
        weights, constant = rule.weights(FEATURES)
        found.append(
            (margins.tobytes(), scores.tobytes(), weights.tobytes(), constant, state(rule))
        )
    assert found[0] == found[1]


@given(streams, tags, st.booleans())
@settings(max_examples=30)
def test_the_margin_of_learning_is_that_of_a_prediction(
    stream: Stream, tags: list[int], bias: bool
) -> None:
    for name in kernels.KERNELS:
        rule = rule_of(kernels.load(name), tags, bias=bias)
        for sample in stream:
            before = rule.score(csr([sample[0]]))
            assert learned(rule, [sample]).tobytes() == before.tobytes()
            weights, constant = rule.weights(FEATURES)
            margin = 0.0
            for i, x in sample[0].items():
                margin += weights[i] * x
            assert margin + constant == rule.score(csr([sample[0]]))[0]


@given(streams, tags, st.booleans())
@settings(max_examples=30)
def test_a_state_that_was_restored_learns_on_alike(
    stream: Stream, tags: list[int], bias: bool
) -> None:
    half = len(stream) // 2
    for name in kernels.KERNELS:
        rule = rule_of(kernels.load(name), tags, bias=bias)
        learned(rule, stream[:half])
        parts = parts_of(rule)
        wanted = learned(rule, stream[half:]).tobytes()
        for other in kernels.KERNELS:
            again = Head(kernels.load(other), LearnerConfig(bias=bias)).rule
            again.restore(*parts)
            assert learned(again, stream[half:]).tobytes() == wanted
            assert state(again) == state(rule)


@given(streams, st.booleans())
@settings(max_examples=30)
def test_one_view_without_texts_is_the_plain_hedge(stream: Stream, bias: bool) -> None:
    """The walk over views gives the bits of the plain one: a feature that no sample has has a view
    of its own.
    """
    for name in kernels.KERNELS:
        kernel = kernels.load(name)
        plain = rule_of(kernel, [], bias=bias)
        viewed = rule_of(kernel, [], bias=bias)
        viewed.enter(FEATURES + 1, bytes([1]))
        assert learned(plain, stream).tobytes() == learned(viewed, stream).tobytes()
        arrays, scalars = state(plain)
        more, further = state(viewed)
        assert arrays.items() <= more.items()
        assert scalars.items() <= further.items()
        assert "views" not in scalars
        assert further["views"] == 1


@given(streams, st.lists(st.integers(0, VIEWS - 1), min_size=FEATURES, max_size=FEATURES))
@settings(max_examples=30)
def test_the_experts_of_a_view_are_those_of_a_hedge_of_its_own(
    stream: Stream, tags: list[int]
) -> None:
    """The oracle: a plain hedge for each view, which learns from the first sample with a feature of
    the view on. The mixture decides about margins alone.
    """
    for name in kernels.KERNELS:
        kernel = kernels.load(name)
        rule = rule_of(kernel, tags)
        learned(rule, stream)
        arrays, scalars = parts_of(rule)
        for view in range(VIEWS):
            own = [({i: x for i, x in row.items() if tags[i - 1] == view}, y, h)
                   for row, y, h in stream]  # fmt: skip
            while view and own and not (own[0][0] and own[0][2] > 0):
                own.pop(0)
            alone = rule_of(kernel, [])
            # The importance relative to the stream's is that of the whole stream.
            if any(h not in (0.0, 1.0) for _, _, h in stream):
                continue
            learned(alone, own)
            wanted, figures = parts_of(alone)
            of_view = np.array(tags) == view
            for column in wanted:
                assert arrays[column][of_view].tobytes() == wanted[column][of_view].tobytes()
            slot = scalars.get(f"view_{view}_slot", 0 if view == 0 else -1)
            if slot >= 0:
                bias = f"bias_{slot}_arow_weights" if slot else "bias_arow_weights"
                assert scalars[bias] == figures["bias_arow_weights"]


texts = st.lists(st.lists(st.integers(1, FEATURES), unique=True, max_size=6), max_size=20)


@given(texts, tags)
@settings(max_examples=30)
def test_idf_is_of_the_texts_before(given: list[list[int]], tags: list[int]) -> None:
    for name in kernels.KERNELS:
        rule = rule_of(kernels.load(name), tags)
        seen, of_view = [0] * (FEATURES + 1), [0] * VIEWS
        for k, ids in enumerate(given):
            learned(rule, [(dict.fromkeys(ids, 1.0), 1.0 if k % 2 else -1.0, 1.0)])
            for view in range(VIEWS):
                of_view[view] += any(tags[i - 1] == OF_TEXT + view for i in ids)
            for i in ids:
                seen[i] += 1
        arrays, scalars = parts_of(rule)
        assert arrays["seen"].tolist() == seen[1:]
        if "views" not in scalars:
            continue
        # The same state without the marks of texts has the weights without idf.
        plain = Head(kernels.load(name), LearnerConfig()).rule
        plain.restore({**arrays, "views": arrays["views"] % OF_TEXT}, scalars)
        for i, tag in enumerate(tags, 1):
            of_all = of_view[tag % OF_TEXT]
            idf = 1 + math.log((1 + of_all) / (1 + seen[i])) if tag >= OF_TEXT else 1.0
            assert math.isclose(rule.feature(i)[0], plain.feature(i)[0] * idf, rel_tol=1e-12)


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_the_first_texts_by_hand(name: str) -> None:
    rule = rule_of(kernels.load(name), [OF_TEXT, OF_TEXT, OF_TEXT + 1])
    assert learned(rule, [({1: 1.0, 2: 1.0, 3: 1.0}, 1.0, 1.0)]).tolist() == [0.0]
    arrays, scalars = parts_of(rule)
    # AROW, r = 0.1: beta = 1/(v + r) with v = 1 for a unit sample; the step is beta·x/norm.
    beta = 1 / (1.0 + 0.1)
    assert np.allclose(arrays["arow_weights"][:3], [beta / 3**0.5, beta / 3**0.5, beta / 2**0.5])
    assert math.isclose(scalars["bias_arow_weights"], beta / 3**0.5, rel_tol=1e-6)
    assert math.isclose(scalars["bias_1_arow_weights"], beta / 2**0.5, rel_tol=1e-6)
    # One text so far: a new word counts 1 + ln 2 times what a new name of the same view does.
    rule.enter(4, bytes([OF_TEXT, 0]))
    learned(rule, [({4: 1.0, 5: 1.0}, -1.0, 1.0)])
    weights = parts_of(rule)[0]["arow_weights"]
    assert math.isclose(weights[3] / weights[4], 1 + math.log(2), rel_tol=1e-6)


def test_a_view_that_comes_later_has_its_share() -> None:
    mixture = Mixture(3)
    rng = np.random.default_rng(0)
    for _ in range(200):
        y = float(rng.choice([-1.0, 1.0]))
        mixture.learn((y * rng.normal(0.5, 1.0, 3)).tolist(), [1.0], y, 1.0)
    mixture.grow()
    assert mixture.n == 6
    assert math.isclose(sum(mixture.weights), 1.0)
    assert min(mixture.weights[3:6]) > 0.0
    assert mixture.weights[3] == mixture.weights[4] == mixture.weights[5] < max(mixture.weights)
    covariance = [mixture.dump()[f"mixture_covariance_{k}"] for k in range(36)]
    dense = np.array(covariance).reshape(6, 6)
    assert (dense[3:, :3] == 0.0).all()
    assert (dense[:3, 3:] == 0.0).all()
    # The new view, right each time, soon has the most to say.
    for _ in range(300):
        y = float(rng.choice([-1.0, 1.0]))
        mixture.learn([*rng.normal(0.0, 1.0, 3).tolist(), y, y, y], [1.0, 1.0], y, 1.0)
    assert sum(mixture.coefficients[3:]) > 3 * sum(map(abs, mixture.coefficients[:3]))


def test_a_view_without_a_feature_has_no_vote_without_a_bias() -> None:
    mixture = Mixture(2)
    mixture.grow()
    mixture.learn([1.0, -1.0, 0.5, 0.5], [1.0, 1.0], 1.0, 1.0)
    before = mixture.dump(views=True)
    wrong, stacked = mixture.learn([-1.0, -1.0, 9.0, 9.0], [1.0, 0.0], 1.0, 1.0)
    after = mixture.dump(views=True)
    assert wrong == [True, True, stacked <= 0.0, stacked <= 0.0, stacked <= 0.0]
    for name in ("mixture_counts_1", "mixture_norms_1", "mixture_sizes_2", "mixture_sizes_3"):
        assert after[name] == before[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": 5}, "views: expected an integer from 1 to 4, got '5'"),
        ({"views": True}, "views: expected an integer from 1 to 4"),
        ({"view_1_slot": -1}, "views: expected 2 different slots"),
        ({"view_1_slot": 1, "view_2_slot": 1}, "views: expected 2 different slots"),
        ({"view_0_samples": 0}, "seen: expected at most 0 texts of view 0, got 1"),
        ({"mixture_norms_1": 1e-310}, "mixture_norms_1: expected 0 or a number from 1e-110"),
    ],
)
@pytest.mark.parametrize("name", kernels.KERNELS)
def test_a_forged_state_is_refused(name: str, change: dict[str, Any], message: str) -> None:
    rule = rule_of(kernels.load(name), [OF_TEXT, OF_TEXT + 1])
    learned(rule, [({1: 1.0, 2: 1.0}, 1.0, 1.0)])
    arrays, scalars = parts_of(rule)
    rule.restore(arrays, scalars)
    with pytest.raises(ValueError, match=message):
        rule.restore(arrays, {**scalars, **change})
    with pytest.raises(ValueError, match="arrays: expected views"):
        rule.restore({k: a for k, a in arrays.items() if k != "views"}, scalars)
