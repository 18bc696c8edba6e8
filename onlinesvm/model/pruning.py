"""What prunes have done and how long they took, for `stats`.

With ``max_features_policy="prune"`` a sample whose new names would pass the bound is preceded by a
prune: features of smallest |weight| leave (of equal ones the lower id first; those of the sample
stay) until a quarter of max_features is free, and the rest get ids 1, 2, … in their order. That
depends on the samples alone, however they are batched. New names that do not fit even then are left
out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Pruning"]


@dataclass(slots=True)
class Pruning:
    """How many prunes there were since this was made, the features that left, the longest one."""

    prunes: int = 0
    features: int = 0
    longest_s: float = 0.0

    @contextmanager
    def measured(self, count: int) -> Iterator[_Measured]:
        """Measures a prune of `count` features, of which `left` are left."""
        measured = _Measured(count)
        start = time.perf_counter()
        yield measured
        self.prunes += 1
        self.features += count - measured.left
        self.longest_s = max(self.longest_s, time.perf_counter() - start)


@dataclass(slots=True)
class _Measured:
    left: int
