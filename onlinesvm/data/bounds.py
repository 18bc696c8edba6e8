"""The bounds on a sample's numbers: a larger one is refused, or clipped where that was asked for.

A value has a magnitude of at most `max_value`, an importance is at most `max_importance`. Samples
that are only scored change nothing, so that they are clipped as learned ones are, and never refused
by these limits. A number beyond 1e50 is always refused.
"""

from __future__ import annotations

from typing import NamedTuple

from onlinesvm.config import MAX_MAGNITUDE, Limits

__all__ = ["UNBOUNDED", "Bounds"]


class Bounds(NamedTuple):
    """The largest magnitude of a value, the largest importance, and True where they clip."""

    value: float
    importance: float
    clips: bool

    @classmethod
    def of(cls, limits: Limits, *, labelled: bool) -> Bounds:
        """The bounds of samples to learn, if `labelled`, or to score."""
        if not labelled and not limits.clip:
            return UNBOUNDED
        return cls(*limits.bounds)

    def fit_value(self, number: float) -> float | None:
        """A value within the bound, `number` or clipped; None where it is refused, as nan is."""
        if -self.value <= number <= self.value:
            return number
        if not self.clips or not -MAX_MAGNITUDE <= number <= MAX_MAGNITUDE:
            return None
        return self.value if number > 0 else -self.value

    def fit_importance(self, number: float) -> float | None:
        """An importance within the bound, `number` or clipped; None where it is refused."""
        if 0 <= number <= self.importance:
            return number
        if not self.clips or not 0 <= number <= MAX_MAGNITUDE:
            return None
        return self.importance

    @property
    def expected_value(self) -> str:
        """The values that are not refused, for a message."""
        return f"a number of magnitude at most {self._most(self.value, 'max_value')}"

    @property
    def expected_importance(self) -> str:
        """The importances that are not refused, for a message."""
        return f"an importance from 0 to {self._most(self.importance, 'max_importance')}"

    def _most(self, bound: float, name: str) -> str:
        if self.clips or bound == MAX_MAGNITUDE:
            return f"{MAX_MAGNITUDE:g}"
        return f"{bound:.17g} ({name})"


UNBOUNDED = Bounds(MAX_MAGNITUDE, MAX_MAGNITUDE, False)
