"""Metrics of many classes: figures by label, confusion of the recent past, files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.metrics import classes
from onlinesvm.metrics.classes import FREQUENT, PERIOD, ClassMetrics

Stream = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def stream(n: int, labels: int, seed: int = 0, wrong: float = 0.3) -> Stream:
    rng = np.random.default_rng(seed)
    truth = np.minimum(labels - 1, rng.geometric(min(1.0, 3 / labels), n) - 1).astype(np.int32)
    predicted = np.where(rng.random(n) < wrong, rng.integers(0, labels, n), truth)
    importances = rng.choice([0.0, 1.0, 2.5], n)
    return truth, predicted.astype(np.int32), rng.random(n), importances


def cut(columns: Stream, start: int, stop: int) -> Stream:
    return tuple(column[start:stop] for column in columns)  # type: ignore[return-value]


def bits(metrics: ClassMetrics, labels: int) -> Any:
    return [(name, a.dtype, a.tobytes()) for name, a in metrics.dump(labels).items()]


def test_the_figures_are_those_of_the_plain_formulas() -> None:
    truth, predicted, confidences, h = stream(3000, 9)
    metrics = ClassMetrics()
    metrics.observe(truth, predicted, confidences, h)
    recalls, f1s = [], []
    for label in range(9):
        have, taken = h[truth == label].sum(), h[predicted == label].sum()
        both = h[(truth == label) & (predicted == label)].sum()
        figures = metrics.label(label)
        assert figures.weight == pytest.approx(have)
        assert figures.recall == pytest.approx(both / have)
        assert figures.precision == pytest.approx(both / taken)
        assert figures.f1 == pytest.approx(2 * both / (have + taken))
        recalls.append(both / have)
        f1s.append(2 * both / (have + taken))
    report = metrics.report()
    assert report["balanced_error"] == pytest.approx(1 - np.mean(recalls))
    assert report["macro_f1"] == pytest.approx(np.mean(f1s))
    # The recent ones, from scratch.
    counted = np.flatnonzero(h > 0)
    decay = np.zeros(len(h))
    decay[counted] = 0.9999 ** np.arange(len(counted))[::-1]
    names, cells = metrics.confusion()
    assert names == list(range(9))
    for i in range(9):
        for j in range(9):
            there = (truth == i) & (predicted == j)
            assert cells[i, j] == pytest.approx((h * decay)[there].sum() * 0.9999, rel=1e-9)
    assert not cells[9].any() and not cells[:, 9].any()
    at = np.minimum(14, (confidences * 15).astype(int))
    off = sum(abs((decay * (confidences - (truth == predicted)))[at == k].sum()) for k in range(15))
    assert report["recent_calibration_error"] == pytest.approx(off / decay.sum())


@given(
    cuts=st.lists(st.integers(0, 3000), max_size=5),
    labels=st.sampled_from([2, 40, 300]),
    drop=st.booleans(),
)
def test_batches_do_not_matter(cuts: list[int], labels: int, drop: bool) -> None:
    columns = stream(3000, labels)
    whole, parts = ClassMetrics(), ClassMetrics()
    middle = sorted(cuts)[0] if cuts and drop else 0
    for metrics, ends in ((whole, {middle, 3000}), (parts, {*cuts, middle, 3000})):
        start = 0
        for end in sorted(ends):
            metrics.observe(*cut(columns, start, end))
            start = end
            if drop and end == middle:
                metrics.drop(1)
    assert bits(whole, labels) == bits(parts, labels)


@given(n=st.integers(0, 2500), labels=st.sampled_from([2, 40, 300]))
def test_restored_metrics_go_on_bit_for_bit(n: int, labels: int) -> None:
    columns = stream(3000, labels)
    metrics, restored = ClassMetrics(), ClassMetrics()
    metrics.observe(*cut(columns, 0, n))
    restored.restore(metrics.dump(labels), labels)
    assert bits(restored, labels) == bits(metrics, labels)
    for part in (metrics, restored):
        part.observe(*cut(columns, n, 3000))
    assert bits(restored, labels) == bits(metrics, labels)


def test_the_most_frequent_labels_of_late_have_rows_of_their_own() -> None:
    metrics = ClassMetrics()
    early = np.tile(np.arange(60, dtype=np.int32), 100)
    ones = np.ones(len(early))
    metrics.observe(early, early, ones, ones)
    names, cells = metrics.confusion()
    assert names == list(range(FREQUENT))  # all are about as frequent: the first ones stay
    assert cells[-1, -1] > 700  # the ten others, who were taken for themselves
    late = np.full(40 * PERIOD, 59, dtype=np.int32)
    metrics.observe(late, late, np.ones(len(late)), np.ones(len(late)))
    names, cells = metrics.confusion()
    assert 59 in names and len(names) == FREQUENT
    at = names.index(59)
    total = cells.sum()
    assert cells[at, at] > 0.9 * total
    metrics.drop(59)
    names, cells = metrics.confusion()
    assert 59 not in names and cells.sum() < 0.1 * total
    assert metrics.label(59).weight == 0.0


def test_a_label_is_confused_with_the_majority_of_what_it_is_taken_for() -> None:
    metrics = ClassMetrics()
    truth = np.zeros(9, dtype=np.int32)
    predicted = np.array([3, 1, 3, 3, 0, 0, 2, 3, 3], dtype=np.int32)
    metrics.observe(truth, predicted, np.ones(9), np.ones(9))
    assert metrics.label(0).confused_with == 3
    assert metrics.label(3).confused_with is None
    assert metrics.label(77) == (0.0, *[None] * 7)
    metrics.drop(3)
    assert metrics.label(0).confused_with is None


def test_nothing_is_known_before_the_first_sample() -> None:
    metrics = ClassMetrics()
    assert set(metrics.report().values()) == {None}
    assert metrics.confusion()[0] == []
    none = np.zeros(0, dtype=np.int32)
    metrics.observe(none, none, np.zeros(0), np.zeros(0))
    metrics.observe(none + 0, none, np.zeros(0), np.zeros(0))
    first = np.zeros(1, dtype=np.int32)
    metrics.observe(first, first - 1, np.zeros(1), np.ones(1))  # no label was known
    assert metrics.label(0)[:2] == (1.0, 0.0)


def test_the_gain_stays_within_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = stream(5 * PERIOD, 4)
    plain, small = ClassMetrics(), ClassMetrics()
    plain.observe(*columns)
    monkeypatch.setattr(classes, "LARGEST_GAIN", 1.01)
    small.observe(*columns)
    assert small._gain < 1.2 < plain._gain
    np.testing.assert_allclose(small.confusion()[1], plain.confusion()[1], rtol=1e-9)
    for name, figure in plain.report().items():
        assert small.report()[name] == pytest.approx(figure)


@pytest.mark.parametrize("name", ClassMetrics().dump(0))
@pytest.mark.parametrize("how", ["gone", "shape", "type", "nan", "large"])
def test_forged_state_is_refused(name: str, how: str) -> None:
    metrics = ClassMetrics()
    metrics.observe(*stream(100, 5))
    before = bits(metrics, 5)
    dump = metrics.dump(5)
    array = dump.pop(name)
    changed = array.copy()
    whole = array.dtype.kind == "i"
    changed[-1] = (7 if how == "large" else -2) if whole else (1e300 if how == "large" else np.nan)
    forged = {"shape": array[1:], "type": array.astype(np.complex128)}.get(how, changed)
    with pytest.raises(ValueError, match=f"{name}: expected"):
        metrics.restore(dump if how == "gone" else {**dump, name: forged}, 5)
    assert bits(metrics, 5) == before
