"""The model: a lookup, its heads, the configuration and the position.

One way to learn and one to score, for batches and matrices: columns → ids (lookup) → rule → margins
→ metrics. The kernel walks it in one call, except where rows are normalized before the rule.

With ``max_features_policy="prune"`` a sample whose new names would pass the bound is preceded by a
prune: features of smallest |weight| leave (of equal ones the lower id first; those of the sample
stay) until a quarter of max_features is free, and the rest get ids 1, 2, … in their order. That
depends on the samples alone, however they are batched. New names that do not fit even then are left
out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from threading import RLock
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data import matrix
from onlinesvm.data.batch import CSR, BatchColumns, Columns
from onlinesvm.data.label import Written
from onlinesvm.kernel.contract import KernelExtractor, Rows
from onlinesvm.metrics.monitor import report
from onlinesvm.metrics.progressive import Progressive
from onlinesvm.model.head import Head
from onlinesvm.model.labels import Labels, ThirdLabel
from onlinesvm.model.lookup import name_text, prune_target
from onlinesvm.model.mappings import LookupView, WeightsView, names_of
from onlinesvm.model.margins import agreeing, normalized
from onlinesvm.model.scorer import Scorer
from onlinesvm.snapshot.format import Snapshot, restoring
from onlinesvm.snapshot.view import ModelView
from onlinesvm.text.attribution import FieldPart
from onlinesvm.text.constants import TEXT_BYTES

__all__ = ["Contribution", "Explanation", "Model", "Pruning", "sided"]


class Contribution(NamedTuple):
    """A feature's part in a margin: ``weight·value`` is its `contribution`.

    value: as it was scored, after `normalize`. seen: the number of learned samples that had the
    feature; None where the rule does not count. known: false for a feature that the model lacks.
    """

    name: str
    value: float
    weight: float
    contribution: float
    seen: int | None
    known: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A margin, the label it means, and its parts, in the order of the sample; added left to right
    from 0.0, the bias last, they give the margin exactly. label: None before one is known.

    fields: the same by field of the record, and by token of its texts; they and the bias add up to
    the margin but for rounding. Empty where the sample came as features.
    """

    margin: float
    label: Written | None
    bias: float
    contributions: list[Contribution]
    fields: list[FieldPart] = field(default_factory=list)


@dataclass(slots=True)
class Pruning:
    """The prunes since the model was made here, the features that left, the longest prune."""

    prunes: int = 0
    features: int = 0
    longest_s: float = 0.0


class Model:
    """A model of any configuration, over one kernel.

    Samples come as batches that the model's kernel decoded, or as Columns of a matrix. One thread
    learns; on the native kernel others may score meanwhile.
    """

    def __init__(self, config: LearnerConfig, limits: Limits, kernel: str | None) -> None:
        self.id = os.urandom(16)  # tells models apart; a snapshot holds it, the digest does not
        self.config = config
        self.limits = limits.under(config.rule)
        self.kernel = kernels.load(kernel)
        self.labels = Labels(config.positive or (), config.labels or ())
        self.position = 0
        self.pruning = Pruning()
        self.heads = [Head(self.kernel, config)]
        self._prunes = config.max_features_policy == "prune"
        self.extractor = self._extractor()
        self._lookup = self.kernel.Lookup(limits.max_features, self._prunes)
        # A prune moves names, then weights: no other thread may score in between.
        self._lock: AbstractContextManager[object] = RLock() if self._prunes else nullcontext()
        self._scorer: Scorer | None = None  # of a frozen model

    @property
    def head(self) -> Head:
        """The head of the binary decision."""
        (head,) = self.heads
        return head

    def limit(self, limits: Limits) -> None:
        """From the next sample on, hold to these limits. Raises ConfigError."""
        self.limits = limits.under(self.config.rule)
        self._lookup.max_features = limits.max_features
        self.extractor = self._extractor()

    def _extractor(self) -> KernelExtractor:
        """What reads the records of this model: `extractor`, for the kernel's decode."""
        return self.kernel.Extractor(self.config.text_options(), self.limits, TEXT_BYTES)

    def decode(self, body: bytes | memoryview, *, labelled: bool) -> BatchColumns:
        """The samples of a request, records among them. See `onlinesvm.data.codec.decode`."""
        return self.kernel.decode(body, self.limits, labelled=labelled, extractor=self.extractor)

    # Learning.

    def learn_batch(self, rows: Rows, csr: CSR | None = None) -> NDArray[np.float64]:
        """Learn the samples of `rows` in order. csr: their ids, of `look_up`.

        Returns the margin of each before its update, float64[n]. Raises SampleError for a third
        label, MemoryError, and nothing has changed then.
        """
        with self._lock:
            if csr is not None:
                return self._learn_looked_up(rows, csr)
            if not self._prunes and self.config.normalize == "none":
                return self._learn(rows)  # the kernel reserves the memory
            # Copies of a matrix, which is walked more than once here.
            parts = [*matrix.pieces(rows)] if isinstance(rows, Columns) else [rows]
            sided(self.labels, rows)
            self.reserve(parts)
            margins = [self._learn(part) for part in parts]
            return margins[0] if len(margins) == 1 else np.concatenate([np.empty(0), *margins])

    def look_up(self, rows: Rows) -> CSR | None:
        """The ids of `rows`, new names entered: the first half of learning them.

        It may run ahead of the other, on a thread of its own, in the order of learning; a model
        that is to be kept must learn all that was looked up. None, and nothing is entered, where
        a prune or a norm takes both at once.
        """
        if self._prunes or self.config.normalize != "none":
            return None
        self._scorer = None
        csr = self._lookup.ids(rows, grow=True)
        self.head.rule.enter(*self._lookup.entered())
        return csr

    def _learn_looked_up(self, rows: Rows, csr: CSR) -> NDArray[np.float64]:
        self._scorer = None
        labels, signs = self._signs(rows)
        importances = np.ones(len(rows)) if rows.importances is None else rows.importances
        weights, counts = self.head.class_weights.of(signs, importances)
        margins = self.head.learn(csr, signs, weights, importances)
        self.labels, self.head.class_weights.counts = labels, counts
        self.position += len(rows)
        return margins

    def _learn(self, rows: Rows) -> NDArray[np.float64]:
        self._scorer = None
        labels, signs = self._signs(rows)
        weights, counts = self.head.class_weights.of(signs, rows.importances)
        first, margins = 0, []
        while True:
            margins.append(self._learn_from(first, rows, signs, weights))
            self.labels = labels
            first += len(margins[-1])
            if first == len(rows):
                break
            self._prune(rows, first)
        self.head.class_weights.counts = counts
        self.position += len(rows)
        return margins[0] if len(margins) == 1 else np.concatenate(margins)

    def _signs(self, rows: Rows) -> tuple[Labels, NDArray[np.float64]]:
        """The sign of each label, −1.0 or +1.0, float64[n], and the labels that know them all: the
        one place where labels become signs.
        """
        labels = sided(self.labels, rows)
        return labels, labels.signs_of(rows)

    def _learn_from(self, first: int, rows: Rows, signs: Any, weights: Any) -> NDArray[np.float64]:
        """Learn rows from `first` on, up to one that needs a prune; their margins."""
        head = self.head
        if self.config.normalize == "none":
            return self.kernel.learn(
                self._lookup, head.rule, head.metrics, rows, signs, weights, first
            )
        csr = self._lookup.ids(rows, grow=True, first=first)
        head.rule.enter(*self._lookup.entered())
        learned = slice(first, first + len(csr.indptr) - 1)
        # A full lookup leaves new features out of the rows; they count in the norm.
        full = len(self._lookup) >= self.limits.max_features
        counted = self._lookup.ids(rows).rows(learned.start, learned.stop) if full else None
        csr = normalized(csr, self.config.normalize, counted)
        importances = np.ones(len(rows)) if rows.importances is None else rows.importances
        weights = importances if weights is None else weights
        return head.learn(csr, signs[learned], weights[learned], importances[learned])

    def _prune(self, rows: Rows, first: int) -> None:
        """Make room for the new features of row `first`; those that it has already stay."""
        before, start = len(self._lookup), time.perf_counter()
        known = self._lookup.ids(rows, first=first).rows(0, 1).indices
        remaining = prune_target(self.limits.max_features)
        self._lookup.prune(self.head.rule.prune(before, known[known > 0], remaining))
        pruning = self.pruning
        pruning.prunes += 1
        pruning.features += before - len(self._lookup)
        pruning.longest_s = max(pruning.longest_s, time.perf_counter() - start)

    def reserve(self, parts: Iterable[Rows]) -> None:
        """Reserve the memory that learning all of `parts` can need for new features.

        Raises MemoryError, and nothing has changed then.
        """
        n = self._lookup.reserve(parts)
        prune = self._prunes and n >= self.limits.max_features
        for head in self.heads:
            head.rule.reserve(n, prune=prune)

    # Scoring.

    def score_batch(self, rows: Rows) -> NDArray[np.float64]:
        """The margins of the samples of `rows`, float64[n]; changes nothing."""
        with self._lock:
            if self._scorer is not None:
                return self._scorer.score_batch(rows)
            rule, how = self.head.rule, self.config.normalize
            if how == "none":
                return self.kernel.score(self._lookup, rule, rows)
            parts = matrix.pieces(rows) if isinstance(rows, Columns) else (rows,)
            csrs = (normalized(self._lookup.ids(part), how) for part in parts)
            return np.concatenate([np.empty(0), *map(rule.score, csrs)])

    def freeze(self) -> None:
        """Score by a copy of the weights until the next sample is learned: the same bits, faster.

        Takes 8 bytes a feature.
        """
        with self._lock:
            self._scorer = Scorer.sharing(self)

    def probabilities(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of +1 of samples with these margins, float64[n], as calibrated by the
        progressive margins so far; changes nothing.

        Without a `threshold` they agree with the labels: above one half where the margin is above
        0.
        """
        of = self.head.metrics.probabilities
        if self.config.threshold != 0.0:
            return of(margins)
        return agreeing(of(margins), margins, float(of(np.zeros(1))[0]))

    def label_margins(self, margins: NDArray[np.float64]) -> NDArray[Any]:
        """The labels that these margins mean, [n]: integers, booleans, texts, or objects."""
        return self.labels.pick(margins > self.config.threshold)

    def features_batch(self, batch: BatchColumns) -> list[list[tuple[str, float]]]:
        """The features of each sample of `batch`: names and values, in order."""
        names, values, starts = batch.names, list(batch.values), list(map(int, batch.indptr))
        return [
            [(name_text(names[j]), float(values[j])) for j in range(first, last)]
            for first, last in pairwise(starts)
        ]

    def explain_batch(self, batch: BatchColumns) -> list[Explanation]:
        """The parts of the margin of each sample of `batch`; changes nothing."""
        with self._lock:
            rule = self.head.rule
            csr = self._lookup.ids(batch)
            if self.config.normalize != "none":
                csr = normalized(csr, self.config.normalize)
            margins = rule.score(csr).tolist()
            names, starts = batch.names, [int(start) for start in batch.indptr]
            explained = []
            for i, margin in enumerate(margins):
                parts = []
                first, last = int(csr.indptr[i]), int(csr.indptr[i + 1])
                # Distinct, in the order of the sample: as the rows have them.
                distinct = dict.fromkeys(names[starts[i] : starts[i + 1]])
                for name, id, x in zip(
                    distinct,
                    csr.indices[first:last].tolist(),
                    csr.data[first:last].tolist(),
                    strict=True,
                ):
                    weight, seen = rule.feature(id)
                    parts.append(Contribution(name_text(name), x, weight, weight * x, seen, id > 0))
                label = self.labels.name(1.0 if margin > self.config.threshold else -1.0)
                explained.append(Explanation(margin, label, self.bias, parts))
            return explained

    # The learned state.

    @property
    def lookup(self) -> LookupView:
        """Feature → id, read-only."""
        return LookupView(self._lookup, self._lock, self._prunes)

    @property
    def weights(self) -> WeightsView:
        """Feature → weight, read-only; the bias is `bias`."""
        return WeightsView(self._lookup, self._lock, self._prunes, self.head.rule)

    @property
    def bias(self) -> float:
        """The weight that every sample has; 0.0 for a learner without one."""
        return self.head.bias

    def strongest(self, n: int) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The `n` features of largest weight above 0, and of smallest below, strongest first.

        Raises ValueError for an `n` below 0.
        """
        if n < 0:
            raise ValueError(f"n: expected a number of features from 0, got {n}")
        with self._lock:
            weights = self.head.rule.weights(len(self._lookup))[0][1:]
            view = self._lookup.view()  # not fewer names than weights
        n = min(n, len(weights))
        ends = []
        for signed in (weights, -weights):
            first = np.argpartition(-signed, n - 1)[:n] if n else np.empty(0, dtype=np.intp)
            first = first[np.lexsort((first, -signed[first]))]
            ends.append([int(i) for i in first if signed[i] > 0])
        wanted = {i for end in ends for i in end}
        names = {i: name_text(name) for i, name in enumerate(names_of(view)) if i in wanted}
        up, down = ([(names[i], float(weights[i])) for i in end] for end in ends)
        return up, down

    @property
    def progressive(self) -> Progressive:
        """The progressive error and loss so far."""
        return self.head.progressive

    @property
    def metrics(self) -> dict[str, Any]:
        """How well the classes are separated (`balanced_error`, `precision`, `recall`, `f1`, over
        all and ``recent_``; `recent_auc`), how far probabilities can be trusted
        (`recent_calibration_error`), and `drifts`, `samples_since_drift`. None where unknown.
        """
        return report(self.head.metrics.dump())

    @property
    def refused_features(self) -> int:
        """How often a new feature was left out as the model was full, since it was made here."""
        return self._lookup.refused

    @property
    def drifts(self) -> int:
        """The number of drifts reported so far."""
        return self.head.drifts

    @property
    def experts(self) -> dict[str, dict[str, float | None]] | None:
        """For a hedge, each expert's `weight`, `error`, `loss`, `recent_error`, `recent_loss`; the
        `stack` over them too. None for another rule.
        """
        return self.head.experts

    # Snapshots.

    def snapshot(self) -> Snapshot:
        """A copy of the whole state, as a snapshot holds it; changes nothing."""
        return self.view().snapshot()

    def view(self) -> ModelView:
        """The state as it is now, to be copied on another thread while this one learns on.

        Returns at once on the native kernel; the python kernel copies all of the state first.
        """
        with self._lock:
            head = {  # of the same instant where no other thread learns
                "id": self.id,
                "config": self.config,
                "max_features": self.limits.max_features,
                "bounds": self.limits.bounds,
                "kernel": self.kernel.NAME,
                "position": self.position,
                "labels": self.labels.dump(),
                **self.head.dump(),
            }
            n = len(self._lookup)
            return ModelView(head, self._lookup.view(), self.head.rule.view(n))

    @classmethod
    def from_snapshot(
        cls, taken: Snapshot, *, limits: Limits | None = None, kernel: str | None = None
    ) -> Self:
        """The model that `taken` holds. Raises SnapshotError if the parts do not make a model."""
        model = cls.__new__(cls)
        limits = limits or taken.limits
        Model.__init__(model, taken.config, limits, kernel)
        taken.restore(model._lookup, model.head.rule)
        with restoring():
            model.head.restore(taken.totals, taken.counters)
        model.labels.restore(taken.labels)
        model.id, model.position = taken.id, taken.position
        return model


def sided(labels: Labels, rows: Rows) -> Labels:
    """`labels`, or a copy of them that has learned those of `rows` too.

    Raises SampleError for a third label, at its first sample.
    """
    table = rows.label_table
    if labels.know(table):
        return labels
    labels = labels.copy()
    try:
        labels.learn(table)
    except ThirdLabel as error:
        sample = int((np.asarray(rows.label_ids) == error.place).argmax())
        if isinstance(rows, Columns):
            raise error.placed(sample, root="y") from None
        raise error.placed(sample, 0) from None
    return labels
