"""Is this the speaker's voice? The mean of the top cosine similarities, above a threshold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.harness import Figures

__all__ = ["TOP", "Score", "best_threshold", "cosine", "balanced_error", "trials", "verified"]

TOP = 5
# Vectors [m, d] and [n, d] → how alike each of the former is to each of the latter, [m, n].
Score = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cosine similarities of the rows of `a` to those of `b`."""
    found: NDArray[np.float64] = _unit(a) @ _unit(b).T
    return found


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def trials(
    vectors: NDArray[np.float64], speakers: NDArray[np.int64], enrolled: int, score: Score
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of the utterances against the speakers, [utterances, speakers], and which are own.

    The first `enrolled` utterances of each speaker are known, the others are tried. A score is the
    mean of the TOP highest similarities to the known ones of a speaker.
    """
    names = np.unique(speakers)
    number = np.concatenate([np.arange(np.sum(speakers == name)) for name in names])
    order = np.argsort(speakers, kind="stable")
    known, tried = order[number < enrolled], order[number >= enrolled]
    alike = score(vectors[tried], vectors[known]).reshape(len(tried), len(names), enrolled)
    top = np.sort(alike, axis=2)[:, :, -TOP:].mean(2)
    return top, speakers[tried][:, None] == names


def balanced_error(scores: NDArray[np.float64], own: NDArray[np.bool_], threshold: float) -> float:
    """The mean of the share of own scores at or below `threshold` and of others' above it."""
    return float(np.mean(scores[own] <= threshold) + np.mean(scores[~own] > threshold)) / 2


def best_threshold(scores: NDArray[np.float64], own: NDArray[np.bool_]) -> float:
    """The threshold of least balanced error, one of the scores."""
    order = np.argsort(scores, axis=None)
    mine = own.ravel()[order]
    missed = np.cumsum(mine) / mine.sum()
    passed = 1 - np.cumsum(~mine) / (~mine).sum()
    return float(scores.ravel()[order][np.argmin(missed + passed)])


def verified(
    train: tuple[NDArray[np.float64], NDArray[np.int64]],
    test: tuple[NDArray[np.float64], NDArray[np.int64]],
    enrolled: int,
    score: Score,
) -> Figures:
    """`balanced_error` of the test's speakers by the train's threshold, and `named_error`, the
    share of utterances that score higher for another speaker than for their own.
    """
    threshold = best_threshold(*trials(*train, enrolled, score))
    scores, own = trials(*test, enrolled, score)
    return {
        "balanced_error": balanced_error(scores, own, threshold),
        "named_error": float(np.mean(scores.argmax(1) != own.argmax(1))),
        "threshold": threshold,
    }
