"""Two outcomes of one round, mixed into one."""

from __future__ import annotations

from dataclasses import replace

from onlinesvm.mixing.classes import mixed_classes
from onlinesvm.mixing.hedge import mixed_hedge
from onlinesvm.mixing.join import Join
from onlinesvm.mixing.means import Columns, summed
from onlinesvm.mixing.outcome import Outcome
from onlinesvm.mixing.sgd import mixed_sgd
from onlinesvm.model.labels import Labels
from onlinesvm.snapshot.format import Snapshot

__all__ = ["mixed"]


def mixed(base: Snapshot, first: Outcome, second: Outcome) -> Outcome:
    """The mix of two outcomes of a round that began with `base`; a function of these alone.

    One without samples of importance above 0 leaves the other as it is. Metrics and calibration
    are those of the first. Features beyond the model's bound are left out, those of the second
    first. Takes the memory of both models and of their mix. Raises ConfigError where the labels of
    one have no side, or no place, beside those of the other.
    """
    one, other = first.model, second.model
    position = summed(base.position, one.position, other.position)
    if not (first.samples and second.samples):
        moved = second if second.samples else first
        return replace(moved, model=replace(moved.model, position=position))
    join = Join.of(base, one, other, base.max_features)
    columns = Columns(base, first, second, join)
    labels, counters = one.labels, dict(one.counters)
    if base.config.task == "multiclass":
        arrays, scalars = mixed_classes(base, first, second, columns)
    else:
        of_rule = mixed_sgd if base.config.rule == "sgd" else mixed_hedge
        arrays, scalars = of_rule(base, first, second, columns)
        labels = _mixed_labels(base, one, other)
        counters["label_counts"] = [
            summed(*counts)
            for counts in zip(
                *(model.counters["label_counts"] for model in (base, one, other)), strict=True
            )
        ]
    model = replace(
        one,
        position=position,
        lengths=join.lengths,
        names=join.names,
        arrays=arrays,
        scalars={name: scalars[name] for name in _order(one, other, scalars)},
        labels=labels,
        counters=counters,
    )
    return Outcome(model, columns.counts(), first.samples + second.samples)


def _order(one: Snapshot, other: Snapshot, scalars: dict[str, float | int]) -> list[str]:
    """The scalars in the order of a model, so that equal mixes are equal files."""
    longer = one.scalars if len(one.scalars) >= len(other.scalars) else other.scalars
    known = [name for name in longer if name in scalars]
    return [*known, *(name for name in scalars if name not in longer)]


def _mixed_labels(base: Snapshot, one: Snapshot, other: Snapshot) -> list[list[object]]:
    labels = Labels(base.config.positive or (), base.config.labels or ())
    labels.restore(one.labels)
    labels.join(other.labels)
    return labels.dump()
