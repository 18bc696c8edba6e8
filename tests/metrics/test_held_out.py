"""Held-out figures, against scikit-learn where it is there and a dumb oracle everywhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.metrics.held_out import HeldOut

ROW = st.tuples(
    st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1.0, 3.0]),  # ties are common
    st.floats(0, 1),
    st.sampled_from([-1.0, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0, 7.0]),
)
ROWS = st.lists(ROW, max_size=40)
FIGURES = ("error", "balanced_error", "auc", "log_loss", "calibration_error")


def report(rows: list[tuple[float, ...]], threshold: float = 0.0, cut: int = 0) -> dict[str, Any]:
    held_out = HeldOut()
    for part in (rows[:cut], rows[cut:]):
        if part:
            held_out.count(*np.array(part).T)
    return held_out.report(threshold)


def share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def oracle(rows: list[tuple[float, ...]], threshold: float) -> dict[str, float | None]:
    """The same, a pair at a time."""
    whole = sum(h for *_, h in rows)
    up, down = (sum(h for *_, y, h in rows if y == label) for label in (1, -1))
    missed = [(y, h) for m, _, y, h in rows if (m > threshold) != (y > 0)]
    wrong = {label: sum(h for y, h in missed if y == label) for label in (1, -1)}
    pairs = sum(
        h * k * ((m > n) + (m == n) / 2) for m, _, y, h in rows for n, _, z, k in rows if y > 0 > z
    )
    bins: dict[int, float] = {}
    losses = 0.0
    for _, p, y, h in rows:
        k = min(int(p * 15), 14)
        bins[k] = bins.get(k, 0.0) + h * ((y > 0) - p)
        clipped = min(max(p, 2.0**-52), 1 - 2.0**-52)
        losses -= h * math.log(clipped if y > 0 else 1 - clipped)
    return {
        "error": share(wrong[1] + wrong[-1], whole),
        "balanced_error": (wrong[1] / up + wrong[-1] / down) / 2 if up and down else None,
        "auc": share(pairs, up * down),
        "log_loss": share(losses, whole),
        "calibration_error": share(sum(map(abs, bins.values())), whole),
    }


@given(ROWS, st.sampled_from([-1.0, 0.0, 0.5]), st.integers(0, 40))
def test_the_figures_are_the_oracles(rows: Any, threshold: float, cut: int) -> None:
    figures = report(rows, threshold, cut)
    for name, expected in oracle(rows, threshold).items():
        assert figures[name] == (None if expected is None else pytest.approx(expected, abs=1e-12))
    assert figures["samples"] == len(rows)
    assert sum(figures["confusion"].values()) == figures["importance"] == sum(r[3] for r in rows)


def test_the_figures_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    n = 5_000
    labels = rng.choice([-1.0, 1.0], n, p=[0.8, 0.2])
    margins = np.round(labels * 0.5 + rng.normal(size=n), 1)  # with ties
    p = 1 / (1 + np.exp(-margins))
    weights = rng.integers(0, 4, n) / 2.0
    figures = report(list(zip(margins, p, labels, weights, strict=True)), cut=1234)
    predicted = np.where(margins > 0, 1.0, -1.0)
    by = {"sample_weight": weights}
    assert figures["error"] == pytest.approx(metrics.zero_one_loss(labels, predicted, **by))
    balanced = 1 - metrics.balanced_accuracy_score(labels, predicted, **by)
    assert figures["balanced_error"] == pytest.approx(balanced)
    assert figures["auc"] == pytest.approx(metrics.roc_auc_score(labels, margins, **by), rel=1e-12)
    assert figures["log_loss"] == pytest.approx(metrics.log_loss(labels, p, **by), rel=1e-12)
    tn, fp, fn, tp = metrics.confusion_matrix(labels, predicted, **by).ravel()
    assert figures["confusion"] == {
        "true_positives": tp, "false_negatives": fn, "false_positives": fp, "true_negatives": tn,
    }  # fmt: skip


def test_figures_without_a_value_are_none() -> None:
    assert [report([])[name] for name in FIGURES] == [None] * 5
    one_class = report([(1.0, 0.9, 1.0, 1.0)])
    assert (one_class["error"], one_class["auc"], one_class["balanced_error"]) == (0.0, None, None)
    weightless = report([(1.0, 0.9, 1.0, 0.0)])
    assert [weightless[name] for name in FIGURES] == [None] * 5


def test_probabilities_of_0_and_1_have_a_finite_loss() -> None:
    assert report([(9.0, 1.0, -1.0, 1.0)])["log_loss"] == pytest.approx(-math.log(2.0**-52))


def test_large_importances_do_not_overflow() -> None:
    assert report([(1.0, 0.9, 1.0, 1e50), (-1.0, 0.1, -1.0, 1e-50)])["auc"] == 1.0
