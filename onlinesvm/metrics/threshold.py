"""The threshold of the scores of several labels: the one of the best recent micro-F1.

Scores u, cut to −1 … 1, lie in 200 bins of equal width. Each sample adds its labels' scores to one
histogram and all other labels' to a second, both discounted by 0.9999 a sample; the threshold is
the lower edge of the bin from which on to predict has the largest ::

    F1 = 2·both/(have + predicted)

Of equal ones it is the lowest, above −1, the score of a label that no feature knows; before the
first label it is 0. The summand grows instead of the sums' shrinking.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics.calibration import rising
from onlinesvm.metrics.constants import LARGEST_GAIN
from onlinesvm.metrics.constants import SET_BINS as BINS
from onlinesvm.metrics.constants import SET_DISCOUNT as DISCOUNT

__all__ = ["SIZE", "Threshold", "bin_of", "check_state"]

SIZE = 2 + 2 * BINS  # of a dump: the threshold, the gain, have and others by bin

_WIDTH = np.float32(BINS / 2)


def bin_of(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """The bins of scores, float32."""
    cut = np.minimum(np.float32(1.0), np.maximum(np.float32(-1.0), scores))
    places = ((cut + np.float32(1.0)) * _WIDTH).astype(np.intp)
    made: NDArray[np.intp] = np.minimum(BINS - 1, places)
    return made


def check_state(numbers: NDArray[np.float64]) -> None:
    """Raise ValueError unless `numbers` can be a dump."""
    if numbers.dtype.newbyteorder("=") != np.float64 or numbers.shape != (SIZE,):
        raise ValueError(
            f"threshold: expected float64[{SIZE}], got {numbers.dtype} of shape"
            f" {list(numbers.shape)}"
        )
    value, gain = numbers[:2].tolist()
    counts = numbers[2:]
    fits = -1.0 <= value <= 1.0 and 1.0 <= gain <= 2.0 * LARGEST_GAIN
    if not (fits and counts.min() >= 0.0 and counts.max() <= 1e200):
        raise ValueError("threshold: expected one from -1 to 1, a gain from 1 and counts from 0")


class Threshold:
    """Counts scores; `value` is the threshold."""

    def __init__(self) -> None:
        self.value = 0.0
        self.have = np.zeros(BINS)
        self.others = np.zeros(BINS)
        self._gain = 1.0

    def learn(self, have: NDArray[np.float32], others: NDArray[np.float32]) -> None:
        """Count a sample by the scores of its labels and of all others, float32."""
        self._gain = self._gain / DISCOUNT
        for counts, scores in ((self.have, have), (self.others, others)):
            counts += self._gain * np.bincount(bin_of(scores), minlength=BINS)
        if self._gain > LARGEST_GAIN:
            self.have /= self._gain
            self.others /= self._gain
            self._gain = 1.0
        self._choose()

    def _choose(self) -> None:
        total = 0.0
        for count in self.have.tolist():
            total += count
        both = predicted = best = 0.0
        over = 1.0
        at = BINS // 2
        for place, (have, other) in enumerate(
            zip(self.have[:0:-1].tolist(), self.others[:0:-1].tolist(), strict=True)
        ):
            both += have
            predicted += have + other
            if both > 0.0 and both * over >= best * (total + predicted):
                best, over, at = both, total + predicted, BINS - 1 - place
        self.value = at / (BINS / 2) - 1.0

    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """How often labels of such scores were right, made never to fall; 0 for no label."""
        prior = (np.arange(BINS) + 0.5) / BINS * self._gain
        shares = rising(
            (self.have + prior).tolist(), (self.have + self.others + self._gain).tolist()
        )
        found = np.array(shares)[bin_of(np.maximum(scores, np.float32(-1.0)))]
        return np.where(np.isfinite(scores), found, 0.0)

    def numbers(self) -> Iterator[float]:
        """The state."""
        yield self.value
        yield self._gain
        yield from self.have.tolist()
        yield from self.others.tolist()

    def restore(self, numbers: Iterator[float]) -> None:
        """Replace the state by the next of `numbers`."""
        self.value, self._gain = next(numbers), next(numbers)
        self.have = np.array([next(numbers) for _ in range(BINS)])
        self.others = np.array([next(numbers) for _ in range(BINS)])
