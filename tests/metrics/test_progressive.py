"""Progressive validation: the running figures, recomputed from scratch."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.kernel.contract import Kernel
from tests.strategies import WIDE, configurations, samples

FIGURES = ("error", "hinge_loss", "recent_error", "recent_hinge_loss")


def from_scratch(
    margins: list[float], labels: list[float], importances: list[float], discount: Fraction
) -> tuple[float, float]:
    """Importance-weighted means of error and hinge loss in exact arithmetic."""
    rows = [
        (Fraction(m), Fraction(y), Fraction(h))
        for m, y, h in zip(margins, labels, importances, strict=True)
        if h >= 1e-50
    ]
    weight = errors = loss = Fraction(0)
    for age, (m, y, h) in enumerate(reversed(rows)):
        counts = h * discount**age
        weight += counts
        errors += counts * (y != (1 if m > 0 else -1))
        loss += counts * max(Fraction(0), 1 - y * m)
    return float(errors / weight), float(loss / weight)


@given(rows=st.lists(samples(), max_size=25), config=configurations())
def test_figures_are_the_means_of_the_reported_margins(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    margins = model.learn(rows).tolist()
    labels = [row[1] for row in rows]
    importances = [row[2] if len(row) == 3 else 1 for row in rows]
    figures = model.progressive
    assert figures.count == sum(h >= 1e-50 for h in importances)
    if not figures.count:
        assert [getattr(figures, name) for name in FIGURES] == [None] * 4
        return
    assert math.isclose(figures.weight, math.fsum(h for h in importances if h >= 1e-50))
    expected = [
        *from_scratch(margins, labels, importances, Fraction(1)),
        *from_scratch(margins, labels, importances, Fraction(0.9999)),
    ]
    for name, value in zip(FIGURES, expected, strict=True):
        assert math.isclose(getattr(figures, name), value, rel_tol=1e-12, abs_tol=1e-300), name


def test_there_are_no_figures_before_the_first_sample(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    assert repr(model.progressive) == "Progressive(count=0)"
    model.predict([["a"]])
    model.learn([(["a"], 1, 0)])
    assert [getattr(model.progressive, name) for name in FIGURES] == [None] * 4
    assert (model.progressive.count, model.progressive.weight) == (0, 0.0)
    model.learn([(["a"], -1)])
    assert [getattr(model.progressive, name) for name in FIGURES] == [0.0, 1.0, 0.0, 1.0]


def test_a_margin_of_zero_predicts_minus_one(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    assert model.learn_one([], 1) == 0.0
    assert model.progressive.error == 1.0


def test_each_further_sample_discounts_the_ones_before(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, bias=False)
    model.learn([([], 1)] + [([], -1)] * 9_999)  # one error, then right ever after
    assert model.progressive.error == 1 / 10_000
    weight = (1 - 0.9999**10_000) / (1 - 0.9999)
    assert model.progressive.recent_error == pytest.approx(0.9999**9_999 / weight, rel=1e-9)
    assert model.progressive.recent_hinge_loss == pytest.approx(1.0)


def test_importance_weighs_the_figures(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, bias=False)
    model.learn([([], 1, 3), ([], -1, 1)])
    assert model.progressive.error == 0.75
    assert model.progressive.weight == 4.0
    assert model.progressive.recent_error == (3 * 0.9999) / (3 * 0.9999 + 1)


@given(rows=st.lists(samples(), max_size=15), cut=st.integers(0, 15))
def test_no_split_of_a_batch_shows(kernel: Kernel, rows: list[tuple[Any, ...]], cut: int) -> None:
    whole, split = OnlineSVM(kernel=kernel.NAME), OnlineSVM(kernel=kernel.NAME)
    whole.learn(rows)
    split.learn(rows[:cut])
    split.learn(rows[cut:])
    assert split.progressive.totals.tobytes() == whole.progressive.totals.tobytes()
