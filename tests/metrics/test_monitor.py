"""The metrics of margins: probabilities, confusion, drift."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.kernel.contract import Kernel
from onlinesvm.metrics.drift import CONFIDENCE
from onlinesvm.metrics.monitor import DRIFTS, NAMES, SIZE, Metrics, check_state, report
from onlinesvm.metrics.progressive import TOTALS
from tests.strategies import importances


def stream(seed: int, n: int, sharp: float = 1.0) -> tuple[Any, Any, Any]:
    """Margins, labels drawn with the probability sigmoid(sharp·margin), and those probabilities."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(size=n) * 2
    p = 1 / (1 + np.exp(-sharp * margins))
    return margins, np.where(rng.random(n) < p, 1.0, -1.0), p


@cache
def state_at(position: int) -> Any:
    """The state after so many samples."""
    margins, labels, _ = stream(9, position)
    metrics = Metrics(0.5)
    metrics.observe(margins, labels, np.ones(position))
    return metrics.dump()


@given(
    margins=st.lists(
        st.one_of(st.floats(-3, 3), st.floats(-1e150, 1e150), st.just(5e-324)), max_size=30
    ),
    data=st.data(),
    cut=st.integers(0, 30),
    position=st.sampled_from([0, 4090, 4098]),  # the first group of eight begins at 4,096
)
def test_both_kernels_any_split_any_stop(
    kernel: Kernel, margins: list[float], data: st.DataObject, cut: int, position: int
) -> None:
    n = len(margins)
    labels = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=n, max_size=n))
    given = [max(0.0, float(h)) for h in data.draw(st.lists(importances(), min_size=n, max_size=n))]
    m = np.array(margins, dtype=np.float64)
    reference, split = Metrics(0.5), kernel.Metrics(0.5)
    for metrics in (reference, split):
        metrics.restore(state_at(position))
    expected = reference.observe(m, labels, given)
    first = split.observe(m[:cut], labels[:cut], given[:cut])
    resumed = kernel.Metrics(0.5)
    resumed.restore(split.dump())
    rest = resumed.observe(m[cut:], labels[cut:], given[cut:])
    assert np.concatenate([first, rest]).tobytes() == expected.tobytes()
    assert resumed.dump().tobytes() == reference.dump().tobytes()
    assert ((expected >= 0) & (expected <= 1)).all()
    assert resumed.probabilities(m).tobytes() == reference.probabilities(m).tobytes()
    assert all(v is None or math.isfinite(v) for v in report(resumed.dump()).values())


@pytest.mark.parametrize("sharp", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e6])
def test_probabilities_are_calibrated(kernel: Kernel, sharp: float, scale: float) -> None:
    margins, labels, p = stream(1, 20_000, sharp)
    metrics = kernel.Metrics(0.0)
    learned = metrics.observe(margins * scale, labels, np.ones(len(labels)))
    assert np.abs(learned[10_000:] - p[10_000:]).mean() < 0.03
    assert report(metrics.dump())["recent_calibration_error"] < 0.02


def test_one_wild_margin_spoils_nothing(kernel: Kernel) -> None:
    margins, labels, p = stream(2, 6000)
    margins[1000] = 1e150
    learned = kernel.Metrics(0.0).observe(margins, labels, np.ones(len(labels)))
    assert np.abs(learned[3000:] - p[3000:]).mean() < 0.05


def test_calibration_follows_drift(kernel: Kernel) -> None:
    before, after = stream(3, 10_000, sharp=0.3), stream(4, 20_000, sharp=4.0)
    margins, labels, p = (np.concatenate(parts) for parts in zip(before, after, strict=True))
    learned = kernel.Metrics(0.0).observe(margins, labels, np.ones(len(labels)))
    assert np.abs(learned[20_000:] - p[20_000:]).mean() < 0.03


def test_confusion_equals_counting(kernel: Kernel) -> None:
    margins, labels, _ = stream(4, 3000)
    h = np.random.default_rng(0).choice([0.5, 1.0, 2.0], 3000)
    metrics = kernel.Metrics(0.7)
    metrics.observe(margins, labels, h)
    reported = report(metrics.dump())
    up, positive = margins > 0.7, labels > 0
    tp, fp = h[up & positive].sum(), h[up & ~positive].sum()
    tn, fn = h[~up & ~positive].sum(), h[~up & positive].sum()
    assert reported["precision"] == pytest.approx(tp / (tp + fp))
    assert reported["recall"] == pytest.approx(tp / (tp + fn))
    assert reported["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert reported["balanced_error"] == pytest.approx((fn / (tp + fn) + fp / (fp + tn)) / 2)
    w = h * 0.9999 ** np.arange(2999, -1, -1)
    order = np.argsort(margins)
    below = np.cumsum(np.where(labels[order] < 0, w[order], 0))
    auc = (below * np.where(labels[order] > 0, w[order], 0)).sum()
    auc /= w[positive].sum() * w[~positive].sum()
    assert reported["recent_auc"] == pytest.approx(auc, abs=0.005)


def test_figures_before_the_first_sample_are_none(kernel: Kernel) -> None:
    reported = report(kernel.Metrics(0.0).dump())
    assert tuple(reported) == NAMES
    assert reported.pop("drifts") == 0
    assert all(value is None for value in reported.values())
    metrics = kernel.Metrics(0.0)
    metrics.observe(np.ones(5), np.ones(5), np.zeros(5))
    assert metrics.dump().tobytes() == kernel.Metrics(0.0).dump().tobytes()


def test_drift_is_reported_soon_and_once(kernel: Kernel) -> None:
    rng = np.random.default_rng(5)
    labels = np.ones(20_000)
    wrong = np.where(np.arange(20_000) < 10_000, rng.random(20_000) < 0.1, rng.random(20_000) < 0.3)
    metrics = kernel.Metrics(0.0)
    margins = np.where(wrong, -1.0, 1.0)
    metrics.observe(margins[:10_000], labels[:10_000], labels[:10_000])
    assert metrics.dump()[DRIFTS] == 0
    metrics.observe(margins[10_000:], labels[10_000:], labels[10_000:])
    reported = report(metrics.dump())
    assert reported["drifts"] == metrics.dump()[DRIFTS] == 1
    assert 10_000 - 500 < reported["samples_since_drift"] < 10_000


def test_false_alarms_are_rare_on_a_stationary_stream(kernel: Kernel) -> None:
    rng = np.random.default_rng(6)
    alarms = 0
    for error in (0.001, 0.05, 0.3, 0.5):
        metrics = kernel.Metrics(0.0)
        n = 20_000 if kernel.NAME == "python" else 1_000_000
        ones = np.ones(n)
        metrics.observe(np.where(rng.random(n) < error, -1.0, 1.0), ones, ones)
        alarms += metrics.dump()[DRIFTS]
    assert CONFIDENCE <= 1e-5
    assert alarms <= 1


def test_getting_better_is_no_drift(kernel: Kernel) -> None:
    rng = np.random.default_rng(7)
    error = 0.5 / np.sqrt(1 + np.arange(50_000) / 100)
    metrics = kernel.Metrics(0.0)
    metrics.observe(
        np.where(rng.random(50_000) < error, -1.0, 1.0), np.ones(50_000), np.ones(50_000)
    )
    assert metrics.dump()[DRIFTS] == 0


def test_metrics_are_restored_from_sound_numbers_only(kernel: Kernel) -> None:
    metrics = kernel.Metrics(0.0)
    sound = metrics.dump()
    check_state(sound)
    n = len(TOTALS)
    for index, value in (
        (0, math.nan), (3, -1.0), (n, math.nan), (n, -1.0), (n, 0.5), (n, 1e200), (n + 1, -1.0),
        (n + 2, 1e200), (n + 3, 0.0), (n + 4, 1.5), (n + 5, -1.0), (n + 6, -1.0), (n + 7, 1.0),
        (n + 8, 65.0), (n + 9, math.inf), (n + 10, -1.0), (n + 11, 1.0), (n + 12, -1.0),
        (n + 13, -1.0), (n + 14, 21.0), (n + 31, 0.0), (n + 48, 0.5), (n + 64, 1.5),
        (n + 65, -1.0), (n + 66, -1.0), (n + 111, -1.0), (n + 119, 0.5), (n + 120, 1e300),
        (SIZE - 1, -1.0), (SIZE - 1, 1.0), (SIZE - 6, 0.5),
    ):  # fmt: skip
        numbers = sound.copy()
        numbers[index] = value
        with pytest.raises(ValueError, match=r"^metrics: .*expected"):
            check_state(numbers)
    for check in (check_state, metrics.restore):
        with pytest.raises(ValueError, match=f"metrics: expected {SIZE} numbers, got 3"):
            check(np.zeros(3))
    assert metrics.dump().tobytes() == sound.tobytes()
