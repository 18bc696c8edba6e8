"""exp and log of our own: close to the real ones, and the same bits everywhere."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.metrics import fpmath

ULPS = 3


@given(st.floats(-700, 700))
def test_exp(x: float) -> None:
    assert abs(fpmath.exp(x) - math.exp(x)) <= ULPS * math.ulp(math.exp(x))


@given(st.floats(1e-300, 1e300))
def test_logarithms(x: float) -> None:
    assert abs(fpmath.log(x) - math.log(x)) <= ULPS * math.ulp(max(1e-3, abs(math.log(x))))
    assert abs(fpmath.log2(x) - math.log2(x)) <= ULPS * math.ulp(max(1e-3, abs(math.log2(x))))


@given(st.integers(-1000, 1000))
def test_powers_of_two_are_exact(k: int) -> None:
    assert fpmath.exp2(k) == math.ldexp(1.0, k)
    assert fpmath.log2(math.ldexp(1.0, k)) == k


@given(st.floats(-600, 600))
def test_exp2(x: float) -> None:
    assert abs(fpmath.exp2(x) - 2.0**x) <= ULPS * math.ulp(2.0**x)


@given(st.floats(-1e300, 1e300))
def test_sigmoid_is_a_probability(x: float) -> None:
    p = fpmath.sigmoid(x)
    assert 0 <= p <= 1
    assert math.isclose(p + fpmath.sigmoid(-x), 1)


def test_beyond_the_range() -> None:
    assert fpmath.exp(-701) == 0
    assert fpmath.exp(1e300) == fpmath.exp(700) < math.inf
    assert fpmath.exp2(1e300) == 2.0**1000
    assert fpmath.exp2(-1e300) == 2.0**-1000
    assert fpmath.exp(math.nan) == 0
    assert fpmath.exp2(math.nan) == 2.0**-1000


def test_golden_bits() -> None:
    # Whatever the machine and its libm.
    assert [fpmath.exp(x).hex() for x in (1.0, -0.1, 33.3, -500.5)] == GOLDEN_EXP
    assert [fpmath.log(x).hex() for x in (2.0, 0.1, 1e50, 1.0001)] == GOLDEN_LOG


GOLDEN_EXP = [
    "0x1.5bf0a8b14576ap+1",
    "0x1.cf46d99d52b3ap-1",
    "0x1.078401f5a3ec8p+48",
    "0x1.e8222ed342a1ep-723",
]
GOLDEN_LOG = [
    "0x1.62e42fefa39efp-1",
    "-0x1.26bb1bbb55515p+1",
    "0x1.cc845b54b54f2p+6",
    "0x1.a368d0657fcd4p-14",
]
