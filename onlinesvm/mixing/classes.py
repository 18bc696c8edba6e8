"""Mixing of the learner of many classes, by the formulas of the folder.

labels         those of the base, then the first one's new ones, then the second one's
rows           each label's weights: mean by the counts of the feature; a label that a row lacks
               has weight 0 there. Of more labels than a row may hold, the strongest by
               |Σ_r c_r·w_r| stay, of equal ones the earlier
bias           mean by samples, likewise
S, G, scales   as those of the rule `hedge`, a feature's and the bias's alike
mixture, importance
               as those of the rule `hedge`
class_weight   samples of each label: sums of increments
temperature, figures of labels, judged
               not mixed: they are of the first shard with samples, as all metrics are
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.data.label import label_of
from onlinesvm.metrics.classes import ClassMetrics
from onlinesvm.mixing.hedge import MOST_SEEN, MOST_SQUARE, mixed_tags, samples_of_texts
from onlinesvm.mixing.means import Columns, Shares, mean, summed
from onlinesvm.mixing.outcome import Outcome
from onlinesvm.model.class_labels import ClassLabels
from onlinesvm.model.rules.class_layout import BIAS, N
from onlinesvm.model.rules.class_mixture import ClassMixture
from onlinesvm.model.rules.class_rows import FRESH, dot, narrow
from onlinesvm.model.rules.class_state import DROPPED, KNOWN
from onlinesvm.model.rules.constants import HEDGE_LEAST_SQUARE as LEAST_SQUARE
from onlinesvm.model.rules.constants import HEDGE_LEAST_VARIANCE as LEAST_VARIANCE
from onlinesvm.model.rules.constants import HEDGE_MOST_AGE as MOST_AGE
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.text.constants import VIEWS

__all__ = ["mixed_classes"]

Arrays = dict[str, NDArray[Any]]
Scalars = dict[str, float | int]

_METRICS = ClassMetrics().dump(0).keys()


def mixed_classes(
    base: Snapshot, first: Outcome, second: Outcome, columns: Columns
) -> tuple[Arrays, Scalars]:
    """The arrays and scalars of the mix of two outcomes."""
    samples = first.samples, second.samples
    one, other = first.model, second.model
    scalars = _mixed_scalars(base.scalars, one.scalars, other.scalars, samples)
    labels, ids = _mixed_labels(base.config, one, other)
    k = len(labels)

    def by_label(name: str, width: int = 1) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """An array of the base, the first and the second model, 0 for a label that one lacks."""
        own = np.arange(k)
        given = ((base, own), (one, own), (other, ids))
        return tuple(_spread_labels(of.arrays[name], to, k, width) for of, to in given)  # type: ignore[return-value]

    arrays = _mixed_features(columns, (base, one, other))
    c = narrow([float(scalars[f"mixture_coefficients_{r}"]) for r in range(N)])
    rows = _mixed_rows(columns, (base, one, other), ids, k, c, base.max_labels_per_feature)
    arrays.update(rows)
    arrays.update(_mixed_views(columns, (base, one, other), arrays["seen"]))
    _, mine, others = by_label("label_states")
    known = np.where((mine == KNOWN) | (others == KNOWN), KNOWN, 0)
    states = _trimmed(np.where((mine == DROPPED) | (others == DROPPED), DROPPED, known))
    arrays["label_states"] = states.astype(np.uint8)
    bias = _moved_mean(*by_label("bias_weights", N), samples)[: len(states)]
    bias[states != KNOWN] = 0.0
    arrays["bias_weights"] = bias.astype(np.float32).reshape(-1)

    metrics = ClassMetrics()
    metrics.restore({name: one.arrays[name] for name in _METRICS}, len(one.arrays["label_states"]))
    arrays.update(metrics.dump(len(states)))
    arrays["label_counts"] = _trimmed(summed(*by_label("label_counts")))
    arrays.update(labels.dump())
    return arrays, scalars


def _trimmed(array: NDArray[Any]) -> NDArray[Any]:
    """The array without the zeros at its end."""
    there = np.flatnonzero(array)
    return array[: int(there[-1]) + 1 if len(there) else 0]


def _spread_labels(array: NDArray[Any], ids: NDArray[np.int64], k: int, width: int) -> NDArray[Any]:
    """Numbers by the labels of all, `width` a label, 0 for one that is not there."""
    made = np.zeros((k, width), dtype=array.dtype)
    made[ids[: len(array) // width]] = array.reshape(-1, width)
    return made if width > 1 else made[:, 0]


def _mixed_scalars(
    base: Mapping[str, Any],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    samples: tuple[int, int],
) -> Scalars:
    """All that belongs to no feature; temperature and figures are the first one's."""
    scalars: Scalars = dict(first)
    scalars["samples"] = int(summed(base["samples"], first["samples"], second["samples"]))
    scalars["log_importance"] = mean(first["log_importance"], second["log_importance"], *samples)
    for name in BIAS:
        if name == BIAS[0]:
            made = mean(first[name], second[name], *samples)
        else:
            total = float(summed(base[name], first[name], second[name]))
            made = min(MOST_SQUARE, max(LEAST_SQUARE, total))
        scalars[name] = float(np.float32(made))
    mixture, other = ClassMixture(N), ClassMixture(N)
    mixture.restore(first)
    other.restore(second)
    mixture.mix(other, samples[1] / (samples[0] + samples[1]))
    scalars.update(mixture.dump())
    return scalars


def _mixed_labels(
    config: LearnerConfig, first: Snapshot, second: Snapshot
) -> tuple[ClassLabels, NDArray[np.int64]]:
    """The labels of both, and the id of each of the second one's."""
    both = []
    for model in (first, second):
        labels = ClassLabels(config.labels or ())
        labels.restore(model.arrays["label_lengths"], model.arrays["label_names"])
        both.append(labels)
    labels, other = both
    names = [other.name(id) for id in range(len(other))]
    labels.learn([label_of(name) for name in names if name is not None])
    ids = [id if name is None else labels.id_of(name) for id, name in enumerate(names)]
    return labels, np.array(ids, dtype=np.int64)


def _mixed_features(columns: Columns, models: Sequence[Snapshot]) -> Arrays:
    """Scales, counts and second orders, by feature."""
    _, one, other = columns.all("runs", 0)
    first, second = columns.shares.first, columns.shares.second
    shorter = np.where(second == 0, one, np.minimum(one, other))
    arrays: Arrays = {
        "mean_squares": columns.mean("mean_squares", 0.0),
        "ages": columns.sum("ages", 0, 1, MOST_AGE),
        "runs": np.where(first == 0, other, shorter),
        "seen": columns.sum("seen", 0, 0, MOST_SEEN),
    }
    mixed = np.empty((columns.join.n, N), dtype=np.float32)
    for r in range(N):
        parts = [model.arrays["second_orders"].reshape(-1, N)[:, r] for model in models]
        spread = (columns.join.of_base, columns.join.of_first, columns.join.of_second)
        base, one, other = (of(part, FRESH[r]) for of, part in zip(spread, parts, strict=True))
        if r == 0:
            made = np.maximum(LEAST_VARIANCE, columns.shares.mean(one, other))
        else:
            total = summed(*(part.astype(np.float64) for part in (base, one, other)))
            made = np.where(second == 0, one, np.clip(total, LEAST_SQUARE, MOST_SQUARE))
            made = np.where(first == 0, other, made)
        mixed[:, r] = made
    arrays["second_orders"] = mixed.reshape(-1)
    return arrays


def _mixed_views(columns: Columns, models: Sequence[Snapshot], seen: NDArray[np.int64]) -> Arrays:
    """The tags of features and the samples with a text's feature of each view; none where all are
    plain.
    """
    if all("views" not in model.arrays for model in models):
        return {}
    tags = mixed_tags(columns, *models[1:])
    none = np.zeros(VIEWS, dtype=np.int64)
    counts = summed(*(model.arrays.get("view_samples", none) for model in models))
    for view in range(VIEWS):
        counts[view] = samples_of_texts(view, int(counts[view]), tags, seen)
    return {"views": tags, "view_samples": counts}


def _mixed_rows(
    columns: Columns,
    models: Sequence[Snapshot],
    ids: NDArray[np.int64],
    k: int,
    c: NDArray[np.float32],
    most: int,
) -> Arrays:
    """The rows of labels and weights."""
    join = columns.join
    places = np.concatenate([np.arange(join.old), join.places])
    own = np.arange(join.n), np.arange(k)
    rows = [_row_cells(model, k, *own) for model in models[:2]]
    rows.append(_row_cells(models[2], k, places, ids))
    cells = np.unique(np.concatenate([found for found, _ in rows]))
    features = cells // max(k, 1)
    base, first, second = (_spread(cells, *row) for row in rows)
    counts = columns.shares.first[features][:, None], columns.shares.second[features][:, None]
    mixed = _moved_mean(base, first, second, counts).astype(np.float32)
    lengths = np.bincount(features, minlength=join.n)
    if len(cells) and int(lengths.max()) > most:
        kept = _strongest(features, np.abs(dot(c, mixed)), lengths, most)
        cells, mixed, features = cells[kept], mixed[kept], features[kept]
        lengths = np.bincount(features, minlength=join.n)
    return {
        "row_lengths": lengths.astype(np.int32),
        "row_labels": (cells % max(k, 1)).astype(np.int32),
        "row_weights": mixed.reshape(-1),
    }


def _row_cells(
    model: Snapshot, k: int, places: NDArray[np.int64], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The entries of the rows: feature·k + label, as all models count them, and the weights."""
    lengths = model.arrays["row_lengths"]
    features = np.repeat(places[: len(lengths)], lengths)
    cells = features * k + ids[model.arrays["row_labels"]]
    there = features >= 0
    return cells[there], model.arrays["row_weights"].reshape(-1, N)[there]


def _spread(
    cells: NDArray[np.int64], given: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The weights by entry of all, 0 where a model has none."""
    made = np.zeros((len(cells), N), dtype=np.float32)
    made[np.searchsorted(cells, given)] = weights
    return made


def _moved_mean(base: Any, first: Any, second: Any, shares: tuple[Any, Any]) -> NDArray[Any]:
    """The mean of weights [n, 4] by the shares of the models that have moved them."""
    weights = [
        np.where(np.any(one != base, axis=1, keepdims=True), np.maximum(share, 1.0), 0.0)
        for one, share in zip((first, second), shares, strict=True)
    ]
    made: NDArray[Any] = Shares(*weights).mean(first, second)
    return made


def _strongest(
    features: NDArray[np.int64], strengths: NDArray[np.float32], lengths: NDArray[Any], most: int
) -> NDArray[np.bool_]:
    """The entries that are among the `most` of largest strength of their feature."""
    order = np.lexsort((np.arange(len(features)), -strengths, features))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    ranks = np.empty(len(features), dtype=np.int64)
    ranks[order] = np.arange(len(features)) - starts[features[order]]
    return ranks < most
