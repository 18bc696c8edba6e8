"""exp and log of our own, so that a snapshot has the same bits on every machine.

libm's differ between machines in the last bit. These use IEEE 754 arithmetic alone, in the order
written: range reduction, a polynomial of fixed degree, scaling by a power of two. Within 3 units
in the last place.
"""

from __future__ import annotations

import math

__all__ = ["exp", "exp2", "log", "log2", "sigmoid"]

LOG2_E = 1.4426950408889634
# ln 2 in two parts: k times the first is exact for |k| < 2**20 (fdlibm's split).
LN2_HIGH = 0.6931471803691238
LN2_LOW = 1.9082149292705877e-10
_SQRT_HALF = 0.7071067811865476
_MOST = 700.0  # beyond, exp is 0 or exp(700): nothing here can use more

# 1/13! … 1/2!, the last terms of exp's series; |r| ≤ ln(2)/2 leaves an error below 2**-57.
_EXP_SERIES = (
    1 / 6227020800, 1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040,
    1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2,
)  # fmt: skip
# 2/(2k + 1), k = 10 … 0: log((1 + f)/(1 − f)) = 2f + 2f³/3 + …, |f| ≤ 0.1716.
_LOG_SERIES = (
    2 / 21, 2 / 19, 2 / 17, 2 / 15, 2 / 13, 2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3, 2.0,
)  # fmt: skip


def _exp_reduced(r: float) -> float:
    """exp(r) for |r| up to about ln(2)/2."""
    p = 0.0
    for c in _EXP_SERIES:
        p = c + r * p
    return 1.0 + r * (1.0 + r * p)


def _nearest(x: float) -> int:
    return int(x + 0.5) if x >= 0 else int(x - 0.5)


def exp(x: float) -> float:
    """e to the x; 0 below −700 and of nan, of 700 above it."""
    if not x >= -_MOST:
        return 0.0
    if x > _MOST:
        x = _MOST
    k = _nearest(x * LOG2_E)
    return math.ldexp(_exp_reduced((x - k * LN2_HIGH) - k * LN2_LOW), k)


def exp2(x: float) -> float:
    """2 to the x, exact for an integer; of ±1000 beyond, and of −1000 for nan."""
    if not x >= -1000.0:
        x = -1000.0
    x = min(x, 1000.0)
    k = _nearest(x)
    r = x - k
    return math.ldexp(_exp_reduced(r * LN2_HIGH + r * LN2_LOW), k)


def _split(x: float) -> tuple[float, int]:
    """x as log(m) and k, x = m·2ᵏ with m from √½ to √2."""
    m, k = math.frexp(x)
    if m < _SQRT_HALF:
        m, k = m * 2.0, k - 1
    f = (m - 1.0) / (m + 1.0)
    f2 = f * f
    p = 0.0
    for c in _LOG_SERIES:
        p = c + f2 * p
    return f * p, k


def log(x: float) -> float:
    """The natural logarithm of a positive number."""
    part, k = _split(x)
    return k * LN2_HIGH + (part + k * LN2_LOW)


def log2(x: float) -> float:
    """The logarithm to base 2 of a positive number, exact for a power of two."""
    part, k = _split(x)
    return k + part * LOG2_E


def sigmoid(x: float) -> float:
    """1/(1 + exp(−x)), without cancellation on either side."""
    if x >= 0:
        return 1.0 / (1.0 + exp(-x))
    e = exp(x)
    return e / (1.0 + e)
