"""An hour of rows and ten minutes of rates, against lists that forget nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.service.http import history
from onlinesvm.service.http.history import SECONDS, SPARK_S, SPARKS, Ring, Spark, digits

COLUMNS = ("a", "b")
figures = st.none() | st.integers(0, 10**6) | st.floats(0, 1e6).map(lambda x: float(f"{x:.4g}"))


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 9) | st.integers(SECONDS - 2, SECONDS + 2), figures, figures),
        min_size=1, max_size=12,
    ),
    back=st.integers(0, SECONDS + 10),
)  # fmt: skip
def test_the_rows_since_a_second_are_those_that_were_added(
    steps: list[tuple[int, float | None, float | None]], back: int
) -> None:
    ring, rows, second = Ring(COLUMNS), {}, 1_700_000_000
    for step, a, b in steps:
        second += step
        ring.add(second, (a, b))
        rows[second] = (a, b)
    since = second - back
    found = ring.since(since)
    first = max(since + 1, second - SECONDS + 1)
    there = [t for t in rows if t >= first and rows[t] != (None, None)]
    expected = list(range(there[0], second + 1)) if there else []
    assert found["t"] == expected
    for k, name in enumerate(COLUMNS):
        wanted = [rows.get(t, (None, None))[k] for t in expected]
        assert found[name] == [None if x is None else pytest.approx(x, rel=1e-4) for x in wanted]


def test_a_ring_takes_what_is_said() -> None:
    assert Ring(history.MODEL)._rows.nbytes == 259_200


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 40) | st.integers(500, 700), st.integers(0, 1000)), max_size=15
    ),
    rest=st.integers(0, 700),
)
def test_a_sparkline_has_the_mean_rate_of_each_ten_seconds(
    steps: list[tuple[int, int]], rest: int
) -> None:
    spark, second = Spark(), 1_700_000_003
    by_second: dict[int, float] = {}
    for passed, moved in steps:
        second += passed
        spark.add(second, passed, moved / passed)
        for t in range(second - passed + 1, second + 1):
            by_second[t] = moved / passed
    second += rest
    slot = second // SPARK_S
    expected = []
    for k in range(slot - SPARKS + 1, slot + 1):
        times = [t for t in range(k * SPARK_S, (k + 1) * SPARK_S) if t <= second]
        expected.append(sum(by_second.get(t, 0.0) for t in times) / len(times))
    assert spark.rates(second) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (math.nan, None),
        (math.inf, None),
        (3.0, 3),
        (0.123456789, 0.12346),
        (1e18, 10**18),
        (-0.5, -0.5),
        (0.0, 0),
    ],
)
def test_figures_have_few_digits(given: float, shown: float | None) -> None:
    assert digits(given) == shown
    assert type(digits(given)) is type(shown)
