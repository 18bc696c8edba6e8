"""Probabilities from margins, learned online, and how far they can be trusted.

A margin M, over the running mean of |M| and cut at ±8, becomes z. Then two steps:

Platt's (1999), "Probabilistic outputs for support vector machines": p = sigmoid(a·z + b). His fit
of a and b is in batch; here each sample is one step of an extended Kalman filter for the logistic
model (as in Fahrmeir 1992, "Posterior mode estimation by extended Kalman filtering for
multivariate dynamic generalized linear models"), whose covariance is drawn back towards its start,
the identity, by 1e−4 a sample, so that it goes on following::

    k = 1/(1 + p(1 − p)·x'Px),  x = (z, 1)
    (a, b) += k·Px·(y − p)       P = (1 − 1e−4)·(P − k·p(1 − p)·Px·x'P) + 1e−4·I

What the sigmoid leaves is straightened by a piecewise linear map of p over 17 knots, each a running
share of +1 (1e−3 a sample, from a start at the diagonal that weighs 20 samples): histogram binning
(Zadrozny and Elkan 2001) without its jumps.

All samples count alike, whatever their importance: the probability is of the stream as it comes.
Reliability is the expected calibration error over 15 bins of equal width (Naeini, Cooper and
Hauskrecht 2015), each sample counting 0.9999 times the one after it.
"""

from __future__ import annotations

from collections.abc import Iterator

from onlinesvm.metrics.fpmath import sigmoid

__all__ = ["BINS", "Calibration", "index"]

CUT = 8.0
RETURN = 1e-4
SIZE_DISCOUNT = 0.999
MOST_SIZE = 10.0  # in multiples of the mean: what one margin may add to it
KNOTS = 17
KNOT_RATE = 1e-3
KNOT_PRIOR = 20.0
BINS = 15
DISCOUNT = 0.9999
# Instead of discounting the sums, what is added grows, until it is this large.
LARGEST_GAIN = 1e100


class Calibration:
    """From margins to probabilities."""

    def __init__(self) -> None:
        self._slope, self._intercept = 1.0, 0.0
        self._p = [1.0, 0.0, 1.0]  # the covariance: aa, ab, bb
        self._count = 0.0
        self._size = 0.0
        self._positive = [KNOT_PRIOR * k / (KNOTS - 1) for k in range(KNOTS)]
        self._weight = [KNOT_PRIOR] * KNOTS
        self._gain = 1.0
        self._bins = [0.0] * (3 * BINS)  # of each: weight, Σ probability, Σ [y = +1]

    def scaled(self, margin: float) -> float:
        """The margin over the mean magnitude, cut."""
        mean = self._size / self._count if self._size > 0.0 else 0.0
        z = margin / mean if mean > 0.0 else margin
        # In this form nan is cut too.
        if not z <= CUT:
            z = CUT
        return z if z >= -CUT else -CUT

    def probability(self, margin: float) -> float:
        """The probability that a sample of this margin is +1."""
        return self._mapped(sigmoid(self._slope * self.scaled(margin) + self._intercept))

    def _mapped(self, p: float) -> float:
        k, part = _knot(p)
        low = self._positive[k] / self._weight[k]
        high = self._positive[k + 1] / self._weight[k + 1]
        return (1.0 - part) * low + part * high

    def learn(self, margin: float, y: float) -> float:
        """Learn the label of a sample; the probability it had before."""
        z = self.scaled(margin)
        truth = 1.0 if y > 0.0 else 0.0
        p = sigmoid(self._slope * z + self._intercept)
        mapped = self._mapped(p)
        aa, ab, bb = self._p
        spread_a, spread_b = aa * z + ab, ab * z + bb
        variance = p * (1.0 - p)
        k = 1.0 / (1.0 + variance * (spread_a * z + spread_b))
        step = k * (truth - p)
        self._slope += step * spread_a
        self._intercept += step * spread_b
        shrink = variance * k
        self._p = [
            (aa - shrink * spread_a * spread_a) * (1.0 - RETURN) + RETURN,
            (ab - shrink * spread_a * spread_b) * (1.0 - RETURN),
            (bb - shrink * spread_b * spread_b) * (1.0 - RETURN) + RETURN,
        ]
        self._learn_knots(p, truth)
        size = abs(margin)
        if self._size > 0.0:
            size = min(size, MOST_SIZE * (self._size / self._count))
        self._count = self._count * SIZE_DISCOUNT + 1.0
        self._size = self._size * SIZE_DISCOUNT + size
        self._count_reliability(mapped, truth)
        return mapped

    def _learn_knots(self, p: float, truth: float) -> None:
        k, part = _knot(p)
        for knot, weight in ((k, 1.0 - part), (k + 1, part)):
            keep = 1.0 - KNOT_RATE * weight
            self._positive[knot] = self._positive[knot] * keep + weight * truth
            self._weight[knot] = self._weight[knot] * keep + weight

    def _count_reliability(self, p: float, truth: float) -> None:
        if self._gain > LARGEST_GAIN:
            self._bins = [number / self._gain for number in self._bins]
            self._gain = 1.0
        k = 3 * index(p * BINS, BINS - 1)
        self._bins[k] += self._gain
        self._bins[k + 1] += self._gain * p
        self._bins[k + 2] += self._gain * truth
        self._gain /= DISCOUNT

    @property
    def error(self) -> float | None:
        """The expected calibration error; None before the first sample."""
        weight = off = 0.0
        for k in range(0, 3 * BINS, 3):
            weight += self._bins[k]
            off += abs(self._bins[k + 1] - self._bins[k + 2])
        return off / weight if weight > 0.0 else None

    def numbers(self) -> Iterator[float]:
        """The state."""
        yield from (self._slope, self._intercept, *self._p, self._count, self._size)
        yield from (*self._positive, *self._weight, self._gain, *self._bins)

    def restore(self, numbers: Iterator[float]) -> None:
        """Replace the state by the next of `numbers`."""
        self._slope, self._intercept = next(numbers), next(numbers)
        self._p = [next(numbers) for _ in range(3)]
        self._count, self._size = next(numbers), next(numbers)
        self._positive = [next(numbers) for _ in range(KNOTS)]
        self._weight = [next(numbers) for _ in range(KNOTS)]
        self._gain = next(numbers)
        self._bins = [next(numbers) for _ in range(3 * BINS)]


def index(at: float, most: int) -> int:
    """The whole part of `at`, cut to 0 … most; of nan, `most`."""
    if not at <= most:
        return most
    return int(at) if at >= 0.0 else 0


def _knot(p: float) -> tuple[int, float]:
    """The knot at or below p, and how far p is on the way to the next, from 0 to 1."""
    at = p * (KNOTS - 1)
    k = index(at, KNOTS - 2)
    return k, at - k
