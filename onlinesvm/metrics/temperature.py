"""Probabilities over many classes from scores, learned online.

With u the scores of the labels, ū the running mean of |u_y − u_rival| and k the label of the
largest score::

    p = softmax(e^θ·u/ū)

θ is one number: each sample is a step of an extended Kalman filter on the log likelihood of its
label, whose information is discounted by 0.999; as it is the logarithm of the factor, the factor
stays positive whatever is learned. With z = e^θ·(u − u_k)/ū and all means over p::

    g = z_y − E[z],  h = E[z²] − E[z]²       the gradient and the information of log p_y
    λ = 0.999·λ + 0.001 + (h + min(g², 25))/2
    θ += g/λ, cut to ±0.1

What that leaves is straightened by the 17 knots of `onlinesvm.metrics.calibration`: they map the
share of the predicted label to how often it was right. The others' shares are scaled to the rest;
where they are larger than the predicted one's, that is raised: the predicted label is always the
most probable one.

Scores and shares are float32, summed in four lanes (label modulo 4), so that a compiled kernel can
take four labels at a time; all else is float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics import constants
from onlinesvm.metrics.calibration import index
from onlinesvm.metrics.constants import CALIBRATION_KNOT_PRIOR as KNOT_PRIOR
from onlinesvm.metrics.constants import CALIBRATION_KNOT_RATE as KNOT_RATE
from onlinesvm.metrics.constants import CALIBRATION_KNOTS as KNOTS
from onlinesvm.metrics.constants import CALIBRATION_MOST_SIZE as MOST_JUMP
from onlinesvm.metrics.constants import LOG2_E
from onlinesvm.metrics.constants import TEMPERATURE_CUT as CUT
from onlinesvm.metrics.constants import TEMPERATURE_DISCOUNT as DISCOUNT
from onlinesvm.metrics.constants import TEMPERATURE_LEAST as LEAST
from onlinesvm.metrics.constants import TEMPERATURE_LEAST_SIZE as LEAST_SIZE
from onlinesvm.metrics.constants import TEMPERATURE_MOST as MOST
from onlinesvm.metrics.constants import TEMPERATURE_MOST_SIZE as MOST_SIZE
from onlinesvm.metrics.constants import TEMPERATURE_MOST_SQUARE as MOST_SQUARE
from onlinesvm.metrics.constants import TEMPERATURE_RETURN as RETURN
from onlinesvm.metrics.constants import TEMPERATURE_START as START
from onlinesvm.metrics.constants import TEMPERATURE_STEP as STEP
from onlinesvm.metrics.fpmath import exp

__all__ = ["SIZE", "Temperature", "check_state", "exp_single"]

Singles = NDArray[np.float32]

SIZE = 4 + 2 * KNOTS  # of a dump

_LOG2_E = np.float32(LOG2_E)
_HIGH, _LOW = np.float32(constants.EXP_SINGLE_LN2_HIGH), np.float32(constants.EXP_SINGLE_LN2_LOW)
_ROUND = np.float32(constants.EXP_SINGLE_ROUND)
_SERIES = tuple(np.float32(c) for c in constants.EXP_SINGLE_SERIES)
_ONE = np.float32(1.0)
# The largest share of another label, over the predicted one's: they differ, however they are shown.
_BELOW = 1.0 - 2.0**-48


def exp_single(x: Singles) -> Singles:
    """e to the x in float32, for −87 ≤ x ≤ 0; the same bits on every machine."""
    k = (x * _LOG2_E + _ROUND) - _ROUND
    r = (x - k * _HIGH) - k * _LOW
    p = np.full_like(r, _SERIES[0])
    for c in _SERIES[1:]:
        p = c + r * p
    power = ((k.astype(np.int32) + np.int32(127)) << np.int32(23)).view(np.float32)
    made: Singles = (_ONE + r * (_ONE + r * p)) * power
    return made


class _Shares(NamedTuple):
    """Of n rows of scores: z and e^z by label, the latter 0 for the best and for no label; the sum
    of e^z over the others.
    """

    z: Singles
    e: Singles
    others: NDArray[np.float64]


def _lanes(numbers: Singles) -> NDArray[np.float64]:
    """The sum of each row, in four lanes from 0.0."""
    n, k = numbers.shape
    padded = np.zeros((n, 4 + (k + 3) // 4 * 4), dtype=np.float32)
    padded[:, 4 : 4 + k] = numbers
    sums = np.add.accumulate(padded.reshape(n, -1, 4), axis=1)[:, -1].astype(np.float64)
    total: NDArray[np.float64] = ((sums[:, 0] + sums[:, 1]) + sums[:, 2]) + sums[:, 3]
    return total


class Temperature:
    """From scores to probabilities."""

    def __init__(self) -> None:
        self._theta, self._information = START, 1.0
        self._count = 0.0
        self._size = 0.0
        self._right = [KNOT_PRIOR * k / (KNOTS - 1) for k in range(KNOTS)]
        self._weight = [KNOT_PRIOR] * KNOTS

    def _shares(self, scores: Singles, best: NDArray[np.intp]) -> _Shares:
        rate = exp(self._theta)
        if self._size > 0.0:
            rate *= self._count / max(self._size, LEAST_SIZE * self._count)
        rows = np.arange(len(scores))
        known = scores > -np.inf
        z = np.where(known, scores, np.float32(0.0)) - scores[rows, best][:, None]
        z = np.where(known, np.maximum(np.float32(-CUT), np.float32(rate) * z), np.float32(0.0))
        e = np.where(known, exp_single(z), np.float32(0.0))
        e[rows, best] = 0.0
        return _Shares(z, e, _lanes(e))

    def _mapped(self, share: float) -> float:
        k, part = _knot(share)
        low = self._right[k] / self._weight[k]
        high = self._right[k + 1] / self._weight[k + 1]
        return (1.0 - part) * low + part * high

    def _confidence(self, second: float, others: float) -> float:
        """The probability of the best label. second: e^z of the next one, 0 if there is none."""
        if not others > 0.0:
            return 1.0
        least = second / others
        return max(self._mapped(1.0 / (1.0 + others)), least / (1.0 + least))

    def probabilities(self, scores: Singles) -> NDArray[np.float64]:
        """The probabilities of rows of scores, float64[n, k]; 0 where a score is −∞.

        Of equal scores the lower label is the predicted one.
        """
        made = np.zeros(scores.shape)
        if not scores.size:
            return made
        best = scores.argmax(axis=1)
        rows = np.flatnonzero(scores[np.arange(len(scores)), best] > -np.inf)
        best, scores = best[rows], scores[rows]
        _, e, others = self._shares(scores, best)
        top = [
            self._confidence(*pair)
            for pair in zip(e.max(axis=1, initial=0.0).tolist(), others.tolist(), strict=True)
        ]
        confident = np.array(top)
        rest = (1.0 - confident) / np.where(others > 0.0, others, 1.0)
        shares = np.minimum(e.astype(np.float64) * rest[:, None], (confident * _BELOW)[:, None])
        shares[np.arange(len(rows)), best] = confident
        made[rows] = shares
        return made

    def confidence(self, scores: Singles, best: int) -> float:
        """The probability of the label `best`, the one of the largest of `scores`."""
        _, e, others = self._shares(scores[None], np.array([best]))
        return self._confidence(float(e.max()), float(others[0]))

    def learn(self, scores: Singles, best: int, label: int, margin: float) -> None:
        """Learn that a sample of these scores had `label`, one of theirs.

        margin: its score less the largest of another label.
        """
        z, e, others = self._shares(scores[None], np.array([best]))
        total = 1.0 + float(others[0])
        first, second = float(_lanes(e * z)[0]) / total, float(_lanes(e * z * z)[0]) / total
        self._learn_knots(1.0 / total, 1.0 if best == label else 0.0)
        gradient = float(z[0, label]) - first
        information = max(0.0, second - first * first)
        square = min(MOST_SQUARE, gradient * gradient)
        self._information = self._information * DISCOUNT + RETURN + 0.5 * (information + square)
        step = min(STEP, max(-STEP, gradient / self._information))
        self._theta = min(MOST, max(LEAST, self._theta + step))
        size = min(abs(margin), MOST_SIZE)
        if self._size > 0.0:
            size = min(size, MOST_JUMP * (self._size / self._count))
        self._count = self._count * DISCOUNT + 1.0
        self._size = self._size * DISCOUNT + size

    def _learn_knots(self, share: float, right: float) -> None:
        k, part = _knot(share)
        for knot, weight in ((k, 1.0 - part), (k + 1, part)):
            keep = 1.0 - KNOT_RATE * weight
            self._right[knot] = self._right[knot] * keep + weight * right
            self._weight[knot] = self._weight[knot] * keep + weight

    def numbers(self) -> Iterator[float]:
        """The state: SIZE numbers."""
        yield from (self._theta, self._information, self._count, self._size)
        yield from (*self._right, *self._weight)

    def restore(self, numbers: Iterator[float]) -> None:
        """Replace the state by the next of `numbers`, which `check_state` accepts."""
        self._theta, self._information = next(numbers), next(numbers)
        self._count, self._size = next(numbers), next(numbers)
        self._right = [next(numbers) for _ in range(KNOTS)]
        self._weight = [next(numbers) for _ in range(KNOTS)]


def _knot(p: float) -> tuple[int, float]:
    """The knot at or below p, and how far p is on the way to the next, from 0 to 1."""
    at = p * (KNOTS - 1)
    k = index(at, KNOTS - 2)
    return k, at - k


def check_state(numbers: list[float]) -> None:
    """Raise ValueError unless `numbers`, finite, can be a dump."""
    spans = [(LEAST, MOST), (0.0, 1e6), (0.0, 1.0 / (1.0 - DISCOUNT) + 1.0), (0.0, 2e9)]
    names = ["theta", "information", "count", "size"]
    spans += [(0.0, 1e4)] * KNOTS + [(1.0, 1e4)] * KNOTS
    names += [f"right_{k}" for k in range(KNOTS)] + [f"weight_{k}" for k in range(KNOTS)]
    for name, number, (low, high) in zip(names, numbers, spans, strict=True):
        if not low <= number <= high:
            raise ValueError(
                f"temperature_{name}: expected a number from {low:g} to {high:g}, got {number:g}"
            )
    if numbers[3] > 0.0 and numbers[2] < 1.0:
        raise ValueError(f"temperature_count: expected one from 1, got {numbers[2]:g}")
    if not numbers[1] > 0.0:
        raise ValueError(f"temperature_information: expected one above 0, got {numbers[1]:g}")
    for k in range(KNOTS):
        share = numbers[4 + k] / numbers[4 + KNOTS + k]
        if not share <= 1.0 + 1e-6:
            raise ValueError(f"temperature_right_{k}: expected at most its weight, got {share:g}")
