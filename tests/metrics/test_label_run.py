"""The longest run of a label, and when it is called long."""

from __future__ import annotations

import math
import random
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.metrics.label_run import LEAST, TIMES, LabelRun


def counted(*parts: list[float]) -> LabelRun:
    run = LabelRun()
    for part in parts:
        run.count(part)
    return run


LABELS = st.lists(st.sampled_from([-1.0, 1.0, 2.0]), max_size=40)


@given(st.lists(LABELS, max_size=6))
def test_the_longest_run_does_not_depend_on_the_batches(parts: list[list[float]]) -> None:
    whole = [label for part in parts for label in part]
    longest = max((len(list(run)) for _, run in groupby(whole)), default=0)
    assert counted(*parts).longest == counted(whole).longest == longest


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_random_order_has_no_long_run(share: float) -> None:
    rng = random.Random(0)
    labels = [1.0 if rng.random() < share else -1.0 for _ in range(200_000)]
    run = counted(labels)
    assert run.long is None
    # The formula is right: it is within a factor of 2 of what comes.
    expected = math.log(200_000 * (1 - share)) / math.log(1 / share)
    assert expected / 2 < run.longest < 2 * expected


def test_a_file_sorted_by_class_has_a_long_run() -> None:
    run = counted([1.0] * 1500, [-1.0] * 1500)
    assert run.long == (1.0, 1500, 11)
    assert counted([-1.0] * 1500 + [1.0] * 1501).long == (1.0, 1501, 11)


def test_a_single_label_is_no_sign_of_order() -> None:
    assert counted([1.0] * 100_000).long is None
    assert counted([]).long is None
    assert counted([1.0] * 100_000 + [-1.0]).long is None


def test_a_run_is_long_only_above_both_bounds() -> None:
    mixed = [1.0, -1.0] * 5_000
    assert counted(mixed, [1.0] * (LEAST - 1)).long is None  # the last run begins with its 1.0
    expected = math.log(10_000) / math.log(2)
    assert LEAST < TIMES * expected < 320
    assert counted(mixed, [1.0] * 320, [-1.0] * 320).long is not None
