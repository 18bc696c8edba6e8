"""Ranking: pairs as differences, one score an item."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.config import LearnerConfig
from onlinesvm.data.pairs import differences
from onlinesvm.errors import ConfigError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.ranking import RankingHead
from tests.class_streams import csr_of

_VALUES = st.one_of(
    st.sampled_from([1.0, -1.0, 2.0, 1e50, -1e50, 1e-50, 1.0000000000000002e-50]),
    st.floats(-10, 10).filter(lambda x: abs(x) >= 1e-50),
)
_ITEMS = st.dictionaries(st.integers(0, 6), _VALUES, max_size=6)


@given(st.lists(st.tuples(_ITEMS, _ITEMS), max_size=6), st.booleans())
def test_differences_are_those_of_dicts(
    pairs: list[tuple[dict[int, float], dict[int, float]]], part: bool
) -> None:
    csr = csr_of([item for pair in pairs for item in pair])
    if part and pairs:  # the rows from the second pair on, of a larger memory
        csr, pairs = csr._replace(indptr=csr.indptr[2:]), pairs[1:]
    made = differences(csr)
    assert [made.indptr.dtype, made.indices.dtype, made.data.dtype] == [
        np.int64,
        np.int32,
        np.float64,
    ]
    for k, (better, worse) in enumerate(pairs):
        wanted = {i: better.get(i, 0.0) - worse.get(i, 0.0) for i in sorted({*better, *worse})}
        row = slice(made.indptr[k], made.indptr[k + 1])
        found = dict(zip(made.indices[row].tolist(), made.data[row].tolist(), strict=True))
        assert found == {i: x for i, x in wanted.items() if i and abs(x) >= 1e-50}
        assert list(found) == sorted(found)


def test_an_odd_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs: expected an even number of rows, got 3"):
        differences(csr_of([{}, {}, {}]))


def test_sgd_is_the_pairwise_hinge(kernel: Kernel) -> None:
    """Violators alone move the weights, by the difference of the pair."""
    rng = np.random.default_rng(0)
    head, w = RankingHead(kernel, LearnerConfig(rule="sgd", eta0=0.1)), np.zeros(9)
    for _ in range(200):
        better, worse = rng.normal(size=(2, 8))
        if worse[0] > better[0]:
            better, worse = worse, better
        rows = [dict(enumerate(item.tolist(), 1)) for item in (better, worse)]
        scores = head.score(csr_of(rows))
        margin = head.learn(csr_of(rows), [1.0], [1.0])[0]
        difference = np.concatenate([[0.0], better - worse])
        assert margin == pytest.approx(w @ difference)
        assert margin == pytest.approx(scores[0] - scores[1])
        if w @ difference < 1:
            w += 0.1 * difference
    np.testing.assert_allclose(head.score(csr_of([{i: 1.0} for i in range(1, 9)])), w[1:])
    assert head.score(csr_of([{}])).tolist() == [0.0]  # no bias
    assert head.progressive.count == 200


@pytest.mark.parametrize("rule", ["hedge", "sgd"])
def test_an_order_is_learned(kernel: Kernel, rule: str) -> None:
    rng = np.random.default_rng(1)
    worth = rng.normal(size=30)
    rows = []
    for _ in range(600):
        a, b = (rng.choice(30, 4, replace=False) for _ in range(2))
        if worth[b].sum() > worth[a].sum():
            a, b = b, a
        rows += [dict.fromkeys((1 + a).tolist(), 1.0), dict.fromkeys((1 + b).tolist(), 1.0)]
    head = RankingHead(kernel, LearnerConfig(rule=rule))
    margins = head.learn(csr_of(rows), np.ones(600), np.ones(600))
    assert (margins[-200:] <= 0).mean() < 0.12 < (margins[:50] <= 0).mean()
    assert head.progressive.error == pytest.approx((margins <= 0).mean())
    scores = head.score(csr_of([{1 + i: 1.0} for i in range(30)]))
    assert np.corrcoef(scores, worth)[0, 1] > 0.9


@pytest.mark.parametrize(
    "given", [{"rule": "arow"}, {"rule": "pa1"}, {"threshold": 1.0}, {"class_weight": "balanced"}]
)
def test_what_ranking_has_not_is_refused(kernel: Kernel, given: dict[str, object]) -> None:
    name = next(iter(given))
    with pytest.raises(ConfigError, match=f"{name}: expected .* task ranking"):
        RankingHead(kernel, LearnerConfig(**given))  # type: ignore[arg-type]
