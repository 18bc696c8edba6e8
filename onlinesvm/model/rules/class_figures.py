"""The importance of a sample in its stream, and how well each expert does, of many classes."""

from __future__ import annotations

from collections.abc import Iterator

from onlinesvm.metrics.constants import RECENT_DISCOUNT as DISCOUNT
from onlinesvm.metrics.fpmath import exp2, log2
from onlinesvm.model.rules.class_layout import JUDGED, N
from onlinesvm.model.rules.constants import HEDGE_IMPORTANCE_MEMORY as IMPORTANCE_MEMORY
from onlinesvm.model.rules.constants import HEDGE_LEAST_IMPORTANCE as LEAST_IMPORTANCE
from onlinesvm.model.rules.constants import HEDGE_MOST_IMPORTANCE as MOST_IMPORTANCE

__all__ = ["Judge", "RelativeImportance"]


class RelativeImportance:
    """Divides importances by the running geometric mean of all so far."""

    def __init__(self) -> None:
        self.samples = 0
        self.log2_mean = 0.0

    def of(self, importance: float) -> float:
        """The importance relative to the mean, which counts this one too."""
        self.samples += 1
        if importance == 1.0 and self.log2_mean == 0.0:
            return 1.0
        rate = 1.0 / min(float(self.samples), IMPORTANCE_MEMORY)
        self.log2_mean += (log2(importance) - self.log2_mean) * rate
        h = importance / exp2(self.log2_mean)
        return min(MOST_IMPORTANCE, max(LEAST_IMPORTANCE, h))


class Judge:
    """Mistakes and hinge losses of each expert and the stack, over all and recent."""

    def __init__(self) -> None:
        self._figures = [[0.0] * (N + 1) for _ in JUDGED]
        self._weights = [0.0, 0.0]

    def learn(self, margins: list[float], wrong: list[bool], h: float) -> None:
        """Count a sample."""
        errors, losses, recent_errors, recent_losses = self._figures
        self._weights[0] += h
        self._weights[1] = self._weights[1] * DISCOUNT + h
        for j, margin in enumerate(margins):
            mistake = h if wrong[j] else 0.0
            errors[j] += mistake
            recent_errors[j] = recent_errors[j] * DISCOUNT + mistake
            loss = h * (1.0 - margin) if margin < 1.0 else 0.0
            losses[j] += loss
            recent_losses[j] = recent_losses[j] * DISCOUNT + loss

    def numbers(self) -> Iterator[float]:
        """The state."""
        yield from self._weights
        for figures in self._figures:
            yield from figures

    def restore(self, numbers: Iterator[float]) -> None:
        """Replace the state by the next of `numbers`."""
        self._weights = [float(next(numbers)) for _ in range(2)]
        self._figures = [[float(next(numbers)) for _ in range(N + 1)] for _ in JUDGED]
