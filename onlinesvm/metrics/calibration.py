"""Probabilities from margins, learned online, and how far they can be trusted.

A margin M, over the running mean of |M| and cut at ±8, becomes z. Then two steps:

Platt's (1999), "Probabilistic outputs for support vector machines": p = sigmoid(a·z + b). His fit
of a and b is in batch; here they follow an extended Kalman filter for the logistic model (as in
Fahrmeir 1992, "Posterior mode estimation by extended Kalman filtering for multivariate dynamic
generalized linear models"). Its covariance P is drawn back towards its start, the identity, by 1e−4
a sample, so that it goes on following. After a group of n samples, with x = (z, 1)::

    g = Σ (y − p)·x              H = Σ p(1 − p)·x·x'
    P = (P⁻¹ + H)⁻¹              (a, b) += P·g
    P = (1 − n·1e−4)·P + n·1e−4·I

Where a falls below 0, it becomes 0 and b moves by −P_ab/P_aa·a, the projection of Simon and Chia
(2002), "Kalman filtering with state equality constraints".

What the sigmoid leaves is straightened by a piecewise linear map of p over 17 knots. Each is a
running share of +1 (1e−3 a sample, from a start at the diagonal that weighs 20 samples): histogram
binning (Zadrozny and Elkan 2001) without its jumps. After a group the map is fitted to the knots as
the nearest one that never falls, by pooling adjacent violators (Ayer et al. 1955; Zadrozny and
Elkan 2002, "Transforming classifier scores into accurate multiclass probability estimates"). So a
larger margin never has a smaller probability.

A group is one sample up to position 4,096, and eight from then on. Within a group no sample waits
for the one before, which halves the time. Learning from one sample in eight instead would take less
still, but gave 1.3 to 1.7 times the calibration error.

All samples count alike, whatever their importance: the probability is of the stream as it comes.
Reliability is the expected calibration error over 15 bins of equal width (Naeini, Cooper and
Hauskrecht 2015), each sample counting 0.9999 times the one after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onlinesvm.metrics.constants import CALIBRATION_BINS as BINS
from onlinesvm.metrics.constants import CALIBRATION_CUT as CUT
from onlinesvm.metrics.constants import CALIBRATION_GROUP as GROUP
from onlinesvm.metrics.constants import CALIBRATION_KNOT_PRIOR as KNOT_PRIOR
from onlinesvm.metrics.constants import CALIBRATION_KNOT_RATE as KNOT_RATE
from onlinesvm.metrics.constants import CALIBRATION_KNOTS as KNOTS
from onlinesvm.metrics.constants import CALIBRATION_MOST_SIZE as MOST_SIZE
from onlinesvm.metrics.constants import CALIBRATION_RETURN as RETURN
from onlinesvm.metrics.constants import CALIBRATION_SINGLE as SINGLE
from onlinesvm.metrics.constants import CALIBRATION_SIZE_DISCOUNT as SIZE_DISCOUNT
from onlinesvm.metrics.constants import CALIBRATION_SIZE_DISCOUNT_GROUP as SIZE_DISCOUNT_GROUP
from onlinesvm.metrics.constants import LARGEST_GAIN
from onlinesvm.metrics.constants import RECENT_GROWTH as GROWTH
from onlinesvm.metrics.fpmath import sigmoid

__all__ = ["BINS", "Calibration", "index", "rising", "shares"]


class Calibration:
    """From margins to probabilities."""

    def __init__(self) -> None:
        self._count = 0.0  # of all samples
        self._line = [1.0, 0.0]  # a and b
        self._covariance = [1.0, 0.0, 1.0]  # P: aa, ab, bb
        self._mean = [0.0, 0.0]  # of |M|: the count and the sum, discounted
        self._group = [0.0] * 6  # the sums of a group: g_a, g_b, H_aa, H_ab, H_bb, |M|
        self._positive = [KNOT_PRIOR * k / (KNOTS - 1) for k in range(KNOTS)]
        self._weight = [KNOT_PRIOR] * KNOTS
        self._map = rising(self._positive, self._weight)
        self._gain = 1.0
        self._bins = [0.0] * (3 * BINS)  # of each: weight, Σ probability, Σ [y = +1]

    def scaled(self, margin: float) -> float:
        """The margin over the mean magnitude, cut."""
        mean = self._mean_size()
        z = margin / mean if mean > 0.0 else margin
        # In this form nan is cut too.
        if not z <= CUT:
            z = CUT
        return z if z >= -CUT else -CUT

    def _mean_size(self) -> float:
        count, size = self._mean
        return size / count if size > 0.0 else 0.0

    def probability(self, margin: float) -> float:
        """The probability that a sample of this margin is +1."""
        return self._mapped(*_knot(self._logistic(self.scaled(margin))))

    def _logistic(self, z: float) -> float:
        return sigmoid(self._line[0] * z + self._line[1])

    def _mapped(self, k: int, part: float) -> float:
        return self._map[k] + part * (self._map[k + 1] - self._map[k])

    def learn(self, margin: float, y: float) -> float:
        """Learn the label of a sample; the probability it had before."""
        truth = 1.0 if y > 0.0 else 0.0
        z = self.scaled(margin)
        p = self._logistic(z)
        k, part = _knot(p)
        mapped = self._mapped(k, part)
        self._add_to_group(margin, z, p, truth)
        for knot, weight in ((k, 1.0 - part), (k + 1, part)):
            keep = 1.0 - KNOT_RATE * weight
            self._positive[knot] = self._positive[knot] * keep + weight * truth
            self._weight[knot] = self._weight[knot] * keep + weight
        self._count_reliability(mapped, truth)
        self._count += 1.0
        if self._count <= SINGLE:
            self._move(1.0, SIZE_DISCOUNT)
        elif self._count % GROUP == 0.0:
            self._move(float(GROUP), SIZE_DISCOUNT_GROUP)
        return mapped

    def _add_to_group(self, margin: float, z: float, p: float, truth: float) -> None:
        mean, size = self._mean_size(), abs(margin)
        if mean > 0.0:
            size = min(size, MOST_SIZE * mean)
        off, variance = truth - p, p * (1.0 - p)
        of_z = variance * z
        parts = (off * z, off, of_z * z, of_z, variance, size)
        self._group = [total + part for total, part in zip(self._group, parts, strict=True)]

    def _move(self, n: float, discount: float) -> None:
        """Learn the group of `n` samples, whose magnitudes discount those before by `discount`."""
        g_a, g_b, h_aa, h_ab, h_bb, sizes = self._group
        aa, ab, bb = self._covariance
        determinant = aa * bb - ab * ab
        whole = 1.0 + aa * h_aa + 2.0 * ab * h_ab + bb * h_bb
        whole = whole + determinant * (h_aa * h_bb - h_ab * h_ab)
        aa = (aa + determinant * h_bb) / whole
        ab = (ab - determinant * h_ab) / whole
        bb = (bb + determinant * h_aa) / whole
        a = self._line[0] + (aa * g_a + ab * g_b)
        b = self._line[1] + (ab * g_a + bb * g_b)
        if a < 0.0:
            b -= ab / aa * a
            a = 0.0
        self._line = [a, b]
        drawn = RETURN * n
        kept = 1.0 - drawn
        self._covariance = [aa * kept + drawn, ab * kept, bb * kept + drawn]
        count, size = self._mean
        self._mean = [count * discount + n, size * discount + sizes]
        self._map = rising(self._positive, self._weight)
        self._group = [0.0] * 6

    def _count_reliability(self, p: float, truth: float) -> None:
        if self._gain > LARGEST_GAIN:
            self._bins = [number / self._gain for number in self._bins]
            self._gain = 1.0
        k = 3 * index(p * BINS, BINS - 1)
        self._bins[k] += self._gain
        self._bins[k + 1] += self._gain * p
        self._bins[k + 2] += self._gain * truth
        self._gain *= GROWTH

    @property
    def error(self) -> float | None:
        """The expected calibration error; None before the first sample."""
        weight = off = 0.0
        for k in range(0, 3 * BINS, 3):
            weight += self._bins[k]
            off += abs(self._bins[k + 1] - self._bins[k + 2])
        return off / weight if weight > 0.0 else None

    @property
    def reliability(self) -> list[list[float]]:
        """Of each bin that has samples: weight, mean probability, share of +1."""
        return shares(self._bins, self._gain)

    def numbers(self) -> Iterator[float]:
        """The state."""
        yield from (self._count, *self._line, *self._covariance, *self._mean, *self._group)
        yield from (*self._positive, *self._weight, *self._map, self._gain, *self._bins)

    def restore(self, numbers: Iterator[float]) -> None:
        """Replace the state by the next of `numbers`."""
        (self._count,) = _next(numbers, 1)
        self._line, self._covariance = _next(numbers, 2), _next(numbers, 3)
        self._mean, self._group = _next(numbers, 2), _next(numbers, 6)
        self._positive, self._weight = _next(numbers, KNOTS), _next(numbers, KNOTS)
        self._map = _next(numbers, KNOTS)
        (self._gain,) = _next(numbers, 1)
        self._bins = _next(numbers, 3 * BINS)


def rising(positive: list[float], weight: list[float]) -> list[float]:
    """The shares positive/weight, [n], made never to fall: the nearest such, by squares that weigh
    `weight`.

    Pools adjacent violators: a share that is not above the one before it is merged with it.
    """
    pools: list[tuple[float, float, int]] = []  # of each: positive, weight, how many shares
    for one, of in zip(positive, weight, strict=True):
        count = 1
        while pools and pools[-1][0] * of >= one * pools[-1][1]:
            before, of_before, more = pools.pop()
            one, of, count = before + one, of_before + of, more + count
        pools.append((one, of, count))
    return [one / of for one, of, count in pools for _ in range(count)]


def shares(bins: Sequence[float], gain: float) -> list[list[float]]:
    """Of each of `bins`, three sums end to end, that is not empty: weight over `gain`, and the
    others over the weight.
    """
    return [
        [weight / gain, probability / weight, truth / weight]
        for weight, probability, truth in zip(bins[::3], bins[1::3], bins[2::3], strict=True)
        if weight > 0.0
    ]


def index(at: float, last: int) -> int:
    """The whole part of `at`, cut to 0 … last; of nan, `last`."""
    if not at <= last:
        return last
    return int(at) if at >= 0.0 else 0


def _next(numbers: Iterator[float], n: int) -> list[float]:
    return [next(numbers) for _ in range(n)]


def _knot(p: float) -> tuple[int, float]:
    """The knot at or below p, and how far p is on the way to the next, from 0 to 1."""
    at = p * (KNOTS - 1)
    k = index(at, KNOTS - 2)
    return k, at - k
