"""What predicting gave samples of many classes, kept until their labels come.

The metrics of a sample that was predicted long before it is learned go by these. Bytes of one
sample, little-endian:

    f64   multiclass: the probability of the predicted label, 0 before one is known
          multilabel: the threshold
    f32   the score of any label that is not among the following
    then the best labels, best first, each: i32 id, f32 score

The best are the 16 best, and of several labels a sample all that were predicted, up to 64. Any
other label counts with the last of their scores, or where there are no more with that of a label
that no feature knows. So errors are exact, and so are margins but of samples whose label was not
even the 16th best: those count as a little better than they were.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.label_sets import LabelSets
from onlinesvm.data.learned import Learned
from onlinesvm.model.rules.class_layout import N
from onlinesvm.model.rules.class_rows import dot
from onlinesvm.model.rules.constants import CLASS_BIRTH as BIRTH

__all__ = ["FEWEST", "MOST", "Given", "GivenBefore", "fresh_score", "packed", "part_of"]

FEWEST, MOST = 16, 64
_HEAD = struct.Struct("<df")
_BEST = np.dtype([("id", "<i4"), ("score", "<f4")])


class Given(NamedTuple):
    """Of n samples: `heads`, the probability or the threshold; `rests`, the score of other labels;
    `best`, ids and scores, best first.
    """

    heads: list[float]
    rests: list[float]
    best: list[NDArray[np.void]]

    def __len__(self) -> int:
        return len(self.heads)

    def part(self, start: int, stop: int) -> Given:
        """The samples from `start` up to `stop`."""
        chosen = slice(start, stop)
        return Given(self.heads[chosen], self.rests[chosen], self.best[chosen])

    @classmethod
    def unpacked(cls, parts: Sequence[object]) -> Given:
        """The samples of these bytes. Raises ValueError for others."""
        made = cls([], [], [])
        for part in parts:
            if (
                not isinstance(part, bytes)
                or len(part) < _HEAD.size
                or (len(part) - _HEAD.size) % _BEST.itemsize
            ):
                raise ValueError(
                    f"expected 12 bytes and 8 a label of a held sample, got {part!r:.60}"
                )
            head, rest = _HEAD.unpack_from(part)
            best = np.frombuffer(part, _BEST, offset=_HEAD.size)
            ids, scores = best["id"], best["score"]
            if len(best) > MOST or len(np.unique(ids)) < len(best) or (ids < 0).any():
                raise ValueError(
                    f"expected at most {MOST} distinct ids from 0 of a held sample, got"
                    f" {ids.tolist()!r:.60}"
                )
            if not (np.isfinite([head, rest]).all() and np.isfinite(scores).all()):
                raise ValueError(f"expected finite scores of a held sample, got {part!r:.60}")
            made.heads.append(head)
            made.rests.append(rest)
            made.best.append(best)
        return made

    def of_labels(self, truths: NDArray[np.int32], known: NDArray[np.bool_]) -> Learned:
        """Margin, predicted label and its probability, of one label a sample. known: by id; a
        predicted label that is not any more counts as none.
        """
        n, is_known = len(self), _among(known)
        learned = Learned(np.zeros(n), np.full(n, -1, dtype=np.int32), np.zeros(n))
        for i, (y, rest, best) in enumerate(zip(truths.tolist(), *self[1:], strict=True)):
            is_own = best["id"] == y
            own = best["score"][is_own]
            others = best["score"][~is_own]
            learned.margins[i] = (float(own[0]) if len(own) else rest) - (
                float(others[0]) if len(others) else rest
            )
            if len(best):
                predicted = int(best["id"][0])
                learned.predicted[i] = predicted if is_known(predicted) else -1
                learned.confidences[i] = self.heads[i]
        return learned

    def of_sets(
        self, labels: LabelSets, known: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], LabelSets]:
        """Margins and predicted labels, of several labels a sample; see `of_labels`."""
        margins, predicted, is_known = [], [], _among(known)
        for own, threshold, rest, best in zip(labels.lists(), *self, strict=True):
            is_own = np.isin(best["id"], own)
            others = best["score"][~is_own]
            scores = best["score"][is_own]
            if not own:
                least = threshold
            else:
                absent = [rest] if len(scores) < len(own) else []
                least = min([*scores.tolist(), *absent])
            margins.append(least - (float(others[0]) if len(others) else rest))
            chosen = best["id"][best["score"] > np.float32(threshold)]
            predicted.append(sorted(filter(is_known, chosen.tolist())))
        return np.array(margins, dtype=np.float64), LabelSets.of(predicted)


# Of a batch that was predicted before; the margins of a binary model are float64[n].
GivenBefore = NDArray[np.float64] | Given


def part_of(given: GivenBefore, start: int, stop: int) -> GivenBefore:
    """The samples from `start` up to `stop`."""
    return given.part(start, stop) if isinstance(given, Given) else given[start:stop]


def _among(known: NDArray[np.bool_]) -> Callable[[int], bool]:
    return set(np.flatnonzero(known).tolist()).__contains__


def packed(
    heads: Sequence[float], scores: NDArray[np.float32], fresh: float, thresholds: bool
) -> list[bytes]:
    """The bytes of samples. scores: float32[n, k], −∞ of labels that are not known; fresh: that of
    a label that no feature knows; thresholds: labels above `heads` are predicted.
    """
    known = int((scores[:1] > -np.inf).sum())
    order = np.argsort(-scores, axis=1, kind="stable")[:, :MOST]
    parts = []
    for head, row, places in zip(heads, scores, order, strict=True):
        above = int((row > np.float32(head)).sum()) if thresholds else 0
        count = min(known, MOST, max(FEWEST, above))
        best = np.empty(count, _BEST)
        best["id"], best["score"] = places[:count], row[places[:count]]
        rest = fresh if count == known else float(best["score"][-1])
        parts.append(_HEAD.pack(head, rest) + best.tobytes())
    return parts


def fresh_score(coefficients: NDArray[np.float64]) -> float:
    """The score of a label that no feature knows, by the experts' coefficients."""
    birth = np.full((1, N), BIRTH, dtype=np.float32)
    return float(dot(coefficients.astype(np.float32), birth)[0])
