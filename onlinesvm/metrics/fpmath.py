"""exp and log of our own, so that a snapshot has the same bits on every machine.

libm's differ between machines in the last bit. These use IEEE 754 arithmetic alone, in the order
written: range reduction, a polynomial of fixed degree, scaling by a power of two. Within 3 units
in the last place.
"""

from __future__ import annotations

import math

from onlinesvm.metrics.constants import (
    EXP2_MOST,
    EXP_MOST,
    EXP_SERIES,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    LOG_SERIES,
    SQRT_HALF,
)

__all__ = ["exp", "exp2", "log", "log2", "sigmoid"]


def _exp_reduced(r: float) -> float:
    """exp(r) for |r| up to about ln(2)/2."""
    p = 0.0
    for c in EXP_SERIES:
        p = c + r * p
    return 1.0 + r * (1.0 + r * p)


def _nearest(x: float) -> int:
    return int(x + 0.5) if x >= 0 else int(x - 0.5)


def exp(x: float) -> float:
    """e to the x; 0 below −700 and of nan, of 700 above it."""
    if not x >= -EXP_MOST:
        return 0.0
    if x > EXP_MOST:
        x = EXP_MOST
    k = _nearest(x * LOG2_E)
    return math.ldexp(_exp_reduced((x - k * LN2_HIGH) - k * LN2_LOW), k)


def exp2(x: float) -> float:
    """2 to the x, exact for an integer; of ±1000 beyond, and of −1000 for nan."""
    if not x >= -EXP2_MOST:
        x = -EXP2_MOST
    x = min(x, EXP2_MOST)
    k = _nearest(x)
    r = x - k
    return math.ldexp(_exp_reduced(r * LN2_HIGH + r * LN2_LOW), k)


def _split(x: float) -> tuple[float, int]:
    """x as log(m) and k, x = m·2ᵏ with m from √½ to √2."""
    m, k = math.frexp(x)
    if m < SQRT_HALF:
        m, k = m * 2.0, k - 1
    f = (m - 1.0) / (m + 1.0)
    f2 = f * f
    p = 0.0
    for c in LOG_SERIES:
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
