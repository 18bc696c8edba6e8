"""Figures of held-out samples of many classes, beside scikit-learn's and the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.metrics.classes import FREQUENT
from onlinesvm.metrics.held_out_classes import HeldOutClasses

SAMPLE = st.tuples(
    st.integers(0, 6), st.integers(-1, 7), st.floats(0, 1), st.sampled_from([0.0, 1.0, 2.5])
)


def counted(samples: list[tuple[int, int, float, float]], parts: int = 1) -> HeldOutClasses:
    held_out = HeldOutClasses()
    for part in np.array_split(np.array(samples, dtype=float).reshape(-1, 4), parts):
        labels, predicted = part[:, :2].astype(np.int32).T
        held_out.count(labels, predicted, part[:, 2], part[:, 3])
    return held_out


@given(samples=st.lists(SAMPLE, max_size=40), parts=st.integers(1, 4))
def test_the_figures_are_those_of_their_definitions(
    samples: list[tuple[int, int, float, float]], parts: int
) -> None:
    figures, frequent = counted(samples, parts).report()
    whole = sum(h for *_, h in samples)
    assert (figures["samples"], figures["importance"]) == (len(samples), whole)
    if not whole:
        assert figures["error"] is None and figures["balanced_error"] is None
        return
    wrong = sum(h for y, guess, _, h in samples if y != guess)
    assert figures["error"] == pytest.approx(wrong / whole)
    seen = sorted({y for y, _, _, h in samples if h})
    assert frequent == seen

    def weight(y: int | None, guess: int | None) -> float:
        return sum(h for a, b, _, h in samples if y in (None, a) and guess in (None, b))

    recalls = [weight(y, y) / weight(y, None) for y in seen]
    assert figures["balanced_error"] == pytest.approx(1 - np.mean(recalls))
    f1 = [2 * weight(y, y) / (weight(y, None) + weight(None, y)) for y in seen]
    assert figures["macro_f1"] == pytest.approx(np.mean(f1))
    bins: dict[int, float] = {}
    for y, guess, p, h in samples:
        at = min(14, int(p * 15))
        bins[at] = bins.get(at, 0.0) + h * ((y == guess) - p)
    assert figures["calibration_error"] == pytest.approx(sum(map(abs, bins.values())) / whole)
    cells = np.array(figures["confusion"])
    assert cells.sum() == pytest.approx(whole)
    for i, y in enumerate(seen):
        assert cells[i, : len(seen)].tolist() == pytest.approx([weight(y, g) for g in seen])


def test_labels_beyond_the_most_frequent_share_a_row() -> None:
    samples = [(k, k, 1.0, 1.0) for k in range(60)] + [(k, 59, 1.0, 2.0) for k in range(5, 55)]
    figures, frequent = counted(samples).report()
    assert frequent == list(range(5, 55)) and len(frequent) == FREQUENT
    cells = np.array(figures["confusion"])
    assert cells.shape == (FREQUENT + 1, FREQUENT + 1)
    assert cells[-1, -1] == 10 and cells[:-1, -1].tolist() == [2.0] * FREQUENT
    assert figures["error"] == pytest.approx(100 / 160)
