"""Triplets of rows by speaker: an anchor, another row of its speaker, a row of another speaker."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["drawn"]


def drawn(
    speakers: NDArray[np.int64], count: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """`count` triplets as rows: anchors, others of their speaker, and ones of another speaker."""
    order = np.argsort(speakers, kind="stable")
    _, starts, counts = np.unique(speakers[order], return_index=True, return_counts=True)
    own = random.integers(0, len(starts), count)
    other = (own + random.integers(1, len(starts), count)) % len(starts)
    first = random.integers(0, counts[own])
    second = (first + random.integers(1, counts[own])) % counts[own]
    third = random.integers(0, counts[other])
    return order[starts[own] + first], order[starts[own] + second], order[starts[other] + third]
