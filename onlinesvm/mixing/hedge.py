"""Mixing of the rule `hedge`, by the formulas of the folder.

weights        mean by counts; those of a view's bias by samples, if both have the view
variances S    mean by counts: a feature that the shards saw alike is as sure as one shard is,
               which is what its mean weight has learned from
squares G      sum of increments
mean squares   mean by counts; `ages` and `seen` are sums of increments, `runs` the shorter run:
               a change of the unit is one that all have seen
mixture        mean by samples, then trust and coefficients anew (`Mixture.mix`); one that lacks
               a view of the other has it opened first
idf            samples with a text's feature of a view: sum of increments
importance     the logarithm of its geometric mean: mean by samples
judged         not mixed: they are of the first shard with samples, as all metrics are
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.mixing.means import Columns, mean, summed
from onlinesvm.mixing.outcome import Outcome
from onlinesvm.model.rules.constants import HEDGE_LEAST_SQUARE as LEAST_SQUARE
from onlinesvm.model.rules.constants import HEDGE_MOST_AGE as MOST_AGE
from onlinesvm.model.rules.hedge import (
    JUDGED,
    SINGLES,
    SQUARES,
    VARIANCES,
    WEIGHTS,
    N,
    bias_name,
)
from onlinesvm.model.rules.mixture import Mixture
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.text.constants import OF_TEXT, VIEWS

__all__ = ["MOST_SEEN", "MOST_SQUARE", "mixed_hedge", "mixed_tags", "samples_of_texts"]

Arrays = dict[str, NDArray[Any]]
Scalars = dict[str, float | int]

MOST_SEEN = 2**37 - 1
_NO_TAG = 255
MOST_SQUARE = 1e37
_FRESH = {
    **dict.fromkeys(WEIGHTS, 0.0),
    **dict.fromkeys(VARIANCES, 1.0),
    **dict.fromkeys(SQUARES, LEAST_SQUARE),
}


def mixed_hedge(
    base: Snapshot, first: Outcome, second: Outcome, columns: Columns
) -> tuple[Arrays, Scalars]:
    """The arrays and scalars of the mix of two outcomes."""
    arrays: Arrays = {name: columns.mean(name, _FRESH[name]) for name in (*WEIGHTS, *VARIANCES)}
    for name in SQUARES:
        arrays[name] = columns.sum(name, LEAST_SQUARE, LEAST_SQUARE, MOST_SQUARE)
    arrays["mean_squares"] = columns.mean("mean_squares", 0.0)
    arrays["ages"] = columns.sum("ages", 0, 1, MOST_AGE)
    _, one, other = columns.all("runs", 0)
    shorter = np.where(columns.shares.second == 0, one, np.minimum(one, other))
    arrays["runs"] = np.where(columns.shares.first == 0, other, shorter)
    arrays["seen"] = columns.sum("seen", 0, 0, MOST_SEEN)

    models = [base.scalars, first.model.scalars, second.model.scalars]
    slots = _joined(_slots(models[1]), _slots(models[2]))
    samples = first.samples, second.samples
    scalars: Scalars = {
        "samples": int(summed(*(of["samples"] for of in models))),
        "log_importance": mean(models[1]["log_importance"], models[2]["log_importance"], *samples),
    }
    in_views = any("views" in of for of in models)
    if in_views:
        tags = mixed_tags(columns, first.model, second.model)
        arrays["views"] = tags
        scalars.update(_mixed_views(models, slots, tags, arrays["seen"]))
    for slot, view in enumerate(slots):
        scalars.update(_mixed_bias(models, view, slot, samples))
    mixture, of_second = (_mixture(of, slots) for of in models[1:])
    mixture.mix(of_second, samples[1] / (samples[0] + samples[1]))
    scalars.update(mixture.dump(views=in_views))
    scalars.update(_judged(models[1], slots))
    return arrays, scalars


def _slots(scalars: Mapping[str, Any]) -> list[int]:
    """The views that have come to be, in the order of their slots."""
    slots = {0: 0}
    if "views" in scalars:
        slots.update({scalars[f"view_{view}_slot"]: view for view in range(1, VIEWS)})
    return [slots[slot] for slot in sorted(slots) if slot >= 0]


def _joined(first: list[int], second: list[int]) -> list[int]:
    return [*first, *(view for view in second if view not in first)]


def _mixed_views(
    models: list[Scalars], slots: list[int], tags: NDArray[np.uint8], seen: NDArray[np.int64]
) -> Scalars:
    """The slots of the views, and the samples with a text's feature of each."""
    scalars: Scalars = {"views": len(slots)}
    for view in range(VIEWS):
        name = f"view_{view}_samples"
        count = int(summed(*(of.get(name, 0) for of in models)))
        scalars[name] = samples_of_texts(view, count, tags, seen)
        if view:
            scalars[f"view_{view}_slot"] = slots.index(view) if view in slots else -1
    return scalars


def mixed_tags(columns: Columns, first: Snapshot, second: Snapshot) -> NDArray[np.uint8]:
    """The tag of each feature: the first model's, of one that it lacks the second's."""
    tags = np.zeros(columns.join.n, dtype=np.uint8)
    for spread, model in ((columns.join.of_second, second), (columns.join.of_first, first)):
        plain = np.zeros(len(model.lengths), dtype=np.uint8)
        given = spread(model.arrays.get("views", plain), _NO_TAG)
        tags = np.where(given == _NO_TAG, tags, given)
    return tags


def samples_of_texts(
    view: int, count: int, tags: NDArray[np.uint8], seen: NDArray[np.int64]
) -> int:
    """The number of samples with a text's feature of a view: the sum of increments, `count`.

    A name that one shard met in a text and another by itself was seen more often than in texts;
    the number is never below how often a text's feature was seen.
    """
    return max(count, int(seen[tags == OF_TEXT + view].max(initial=0)))


def _mixed_bias(models: list[Scalars], view: int, slot: int, samples: tuple[int, int]) -> Scalars:
    """The bias of a view; one that a model lacks weighs nothing."""
    has = [view in _slots(of) for of in models]
    weights = [count * there for count, there in zip(samples, has[1:], strict=True)]
    scalars: Scalars = {}
    for name in SINGLES:
        base, first, second = (
            of[bias_name(_slots(of).index(view), name)] if there else _FRESH[name]
            for of, there in zip(models, has, strict=True)
        )
        if name in SQUARES:
            made = min(MOST_SQUARE, max(LEAST_SQUARE, float(summed(base, first, second))))
        else:
            made = mean(first, second, *weights)
        scalars[bias_name(slot, name)] = float(np.float32(made))
    return scalars


def _mixture(scalars: Mapping[str, Any], slots: list[int]) -> Mixture:
    """The mixture of a model, with the experts of all views, in their order."""
    mixture = Mixture(N)
    mixture.restore(scalars, scalars.get("views", 0))
    own = _slots(scalars)
    for _ in range(len(slots) - len(own)):
        mixture.grow()
    there = _joined(own, slots)
    mixture.arrange([there.index(view) for view in slots])
    return mixture


def _judged(scalars: Mapping[str, Any], slots: list[int]) -> Scalars:
    """How well the experts of one shard did; those of views that it lacks have figures of 0."""
    there = _slots(scalars)
    names = ("judged_weight", "judged_recent_weight")
    figures: Scalars = {name: scalars[name] for name in names}
    for name in JUDGED:
        own = [scalars[f"judged_{name}_{j}"] for j in range(len(there) * N + 1)]
        made: list[float] = []
        for view in slots:
            start = there.index(view) * N if view in there else None
            made += [0.0] * N if start is None else own[start : start + N]
        made.append(own[-1])
        figures.update({f"judged_{name}_{j}": figure for j, figure in enumerate(made)})
    return figures
