"""Calibration and confusion of a model, against sums over its own predictions."""

from __future__ import annotations

import random

import numpy as np
import pytest

from onlinesvm import OnlineSVM
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.diagrams import confusion, reliability

BINS = 15


def bins_of(pairs: list[tuple[float, bool]]) -> list[list[float]]:
    """Weight, mean probability and share of trues, each pair counting 0.9999 times the next."""
    sums = np.zeros((BINS, 3))
    for i, (p, truth) in enumerate(reversed(pairs)):
        sums[min(BINS - 1, int(p * BINS))] += 0.9999**i * np.array([1.0, p, truth])
    return [[w, p / w, y / w] for w, p, y in sums.tolist() if w]


def test_the_calibration_of_a_binary_model(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, rule="pa1")
    drawn = random.Random(3)
    pairs = []
    for _ in range(300):
        x, y = [str(drawn.randrange(9))], drawn.choice([-1, 1])
        p = model.kernel.Metrics.probabilities(
            model.head.metrics, model.decision_function([x])
        ).tolist()
        pairs.append((p[0], y > 0))
        model.learn_one(x, y)
    found = reliability(model)
    assert found is not None
    # A gain that grows by a sample makes weights of the last sample 1/gain·gain, before its growth.
    expected = bins_of(pairs)
    assert len(found) == len(expected)
    for (w, p, share), (ew, ep, eshare) in zip(found, expected, strict=True):
        assert w == pytest.approx(ew * 0.9999, rel=1e-9)
        assert (p, share) == (pytest.approx(ep), pytest.approx(eshare))


def test_the_confusion_of_a_binary_model(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, rule="pa1")
    assert confusion(model) == ([None, None], [[0.0, 0.0], [0.0, 0.0]])
    counts = np.zeros((2, 2))
    for i in range(60):
        x, y = [str(i % 7)], "spam" if i % 3 else "ham"
        predicted = model.decision_function([x])[0] > 0.0
        names = model.labels.names()
        model.learn_one(x, y)
        counts *= 0.9999
        counts[int(model.labels.names()[1] == y), int(predicted)] += 1.0
        assert names is not None
    found = confusion(model)
    assert found is not None
    assert sorted(map(str, found[0])) == ["ham", "spam"]
    assert np.allclose(found[1], counts)


def test_many_classes(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, task="multiclass")
    model.learn([([name], name) for name in "ABCAB" * 20])
    found, bins = confusion(model), reliability(model)
    assert found is not None
    assert bins is not None
    assert found[0] == ["A", "B", "C"]
    assert np.array(found[1]).shape == (4, 4)
    assert sum(w for w, _, _ in bins) == pytest.approx(100, rel=0.02)
    assert np.array(found[1]).sum() == pytest.approx(100, rel=0.02)
    assert all(0 <= p <= 1 and 0 <= share <= 1 for _, p, share in bins)


@pytest.mark.parametrize("task", ["multilabel", "ranking"])
def test_a_task_that_has_none(kernel: Kernel, task: str) -> None:
    model = OnlineSVM(kernel=kernel.NAME, task=task)
    assert (reliability(model), confusion(model)) == (None, None)
