"""OnlineSVM: a linear SVM that learns one sample at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import RLock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data import matrix
from onlinesvm.data.batch import CSR, BatchColumns, Features
from onlinesvm.data.codec import encode_learn
from onlinesvm.data.objects import (
    Sample,
    learn_batches,
    one_to_learn,
    one_to_predict,
    predict_batches,
)
from onlinesvm.errors import SnapshotError
from onlinesvm.metrics.monitor import report
from onlinesvm.metrics.progressive import Progressive
from onlinesvm.model.class_weights import ClassWeights
from onlinesvm.model.explanation import Contribution, Explanation
from onlinesvm.model.lookup import LookupView, WeightsView, name_text, quarter
from onlinesvm.model.norms import normalized
from onlinesvm.model.pruning import Pruning
from onlinesvm.model.rules.hedge import experts
from onlinesvm.model.scorer import Scorer
from onlinesvm.snapshot.format import Snapshot, restoring
from onlinesvm.snapshot.reader import read
from onlinesvm.snapshot.view import ModelView
from onlinesvm.snapshot.writer import Saved, write

__all__ = ["OnlineSVM"]

Piece = TypeVar("Piece")

_CHECKED_FEATURES = 2**16  # of a snapshot at a time, some megabytes


class OnlineSVM:
    """A sparse online linear SVM: hinge loss, features named by strings, no vocabulary beforehand.

    `parameters` are the fields of LearnerConfig (``rule="sgd", eta0=0.1``). `kernel` forces
    ``"native"`` or ``"python"``; without it the best available is used.

    One thread learns and saves; on the native kernel others may predict meanwhile. `view` gives a
    state that another thread can copy while this one learns on. A matrix or a batch belongs to the
    call it is given to until that returns.

    Raises ConfigError for a parameter out of range, KernelError for a kernel that is not there.

    >>> model = OnlineSVM(rule="sgd", eta0=0.1)
    >>> model.learn_one(["free", "prize"], +1)
    0.0
    >>> model.predict_one(["free"])
    0.2
    """

    def __init__(
        self, *, limits: Limits | None = None, kernel: str | None = None, **parameters: Any
    ) -> None:
        self._born(LearnerConfig(**parameters), limits or Limits(), kernel)

    def _born(self, config: LearnerConfig, limits: Limits, kernel: str | None) -> None:
        self.id = os.urandom(16)  # tells models apart; a snapshot holds it, the digest does not
        self.config = config
        self.limits = limits
        self.kernel = kernels.load(kernel)
        self.position = 0
        self.progressive = Progressive()
        prunes = config.max_features_policy == "prune"
        self._lookup = self.kernel.Lookup(limits.max_features, prunes)
        self.pruning = Pruning()
        # A prune moves names and weights, one after the other: nobody may look in between.
        self._whole: AbstractContextManager[object] = RLock() if prunes else nullcontext()
        self._rule = kernels.make_rule(self.kernel, config)
        self._judge = self.kernel.Judge(config.threshold)
        self._class_weights = ClassWeights(config.class_weight)
        self._scorer: Scorer | None = None  # as the model stands; None once it has moved on
        # Elements that a loaded model was asked for; None for one that learns.
        self._asked: int | None = None

    def bound(self, max_features: int) -> None:
        """From the next sample on, hold at most `max_features` features."""
        self.limits = replace(self.limits, max_features=max_features)
        self._lookup.max_features = max_features

    # One way for every sample: a batch, its ids, the rule.

    def learn_batch(self, batch: BatchColumns) -> NDArray[np.float64]:
        """Learn the samples of `batch`, of this model's kernel, in order.

        Returns the margin of each before its update, float64[n].
        """
        with self._whole:
            self.reserve((batch,))
            first, margins = 0, []
            while True:
                csr = self._lookup.grow(batch, first)
                stop = first + len(csr.indptr) - 1
                if self.config.normalize != "none":
                    # A full lookup leaves new features out of what is learned; they count in the
                    # norm.
                    full = len(self._lookup) >= self.limits.max_features
                    counted = self._lookup.find(batch).rows(first, stop) if full else None
                    csr = normalized(csr, self.config.normalize, counted)
                labels, importances = batch.labels[first:stop], batch.importances[first:stop]
                margins.append(self._learn(csr, labels, importances))
                if stop == len(batch):
                    return margins[0] if len(margins) == 1 else np.concatenate(margins)
                first = stop
                self._prune(self._lookup.find(batch).rows(first, first + 1))

    def _prune(self, sample: CSR) -> None:
        """Make room for the new features of a sample; those that it has already stay."""
        with self.pruning.measured(len(self._lookup)) as measured:
            own = sample.indices[sample.indices > 0]
            left = self.limits.max_features - quarter(self.limits.max_features)
            self._lookup.prune(self._rule.prune(len(self._lookup), own, left))
            measured.left = len(self._lookup)

    def reserve(self, batches: Iterable[BatchColumns]) -> None:
        """Take the memory that learning `batches` can need for new features, before any of them
        changes anything. Raises MemoryError, and nothing has changed then.
        """
        self._reserve(self._lookup.reserve(batches))

    def _reserve(self, n: int) -> None:
        self._rule.reserve(n)
        if self._lookup.prunes and n >= self.limits.max_features:
            self._rule.reserve_prune(n)

    def _learn(self, csr: CSR, labels: Any, importances: Any) -> NDArray[np.float64]:
        self._scorer = self._asked = None
        weights, counts = self._class_weights.of(labels, importances)
        margins = self._rule.learn(csr, labels, weights)
        self._class_weights.counts = counts
        totals, threshold = self.progressive.totals, self.config.threshold
        self.kernel.observe(totals, margins, labels, importances, threshold)
        self._judge.learn(margins, labels, importances)
        self.position += len(margins)
        return margins

    def score_batch(self, batch: BatchColumns) -> NDArray[np.float64]:
        """The margins of the samples of `batch`, float64[n]; changes nothing."""
        with self._whole:
            return self._score(self._lookup.find(batch))

    def _score(self, csr: CSR) -> NDArray[np.float64]:
        """By the state as it stands; of a loaded model, once it was asked for as many weights as a
        copy of them takes, by that copy, which is denser. The bits are the same. One that learns
        makes no copies: its predictions take the same time each.
        """
        if self._scorer is None and (self._asked is None or self._asked <= len(self._lookup)):
            if self._asked is not None:
                self._asked += len(csr.data)
            if self.config.normalize != "none":
                csr = normalized(csr, self.config.normalize)
            return self._rule.score(csr)
        return self._fixed().score_csr(csr)

    def _fixed(self) -> Scorer:
        if self._scorer is None or self._scorer.position != self.position:
            self._scorer = Scorer.sharing(self)
        return self._scorer

    def fix(self) -> None:
        """Predict by a copy of the weights as they stand, until the next sample is learned."""
        with self._whole:
            self._fixed()

    def probabilities(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of +1 of samples with these margins, float64[n], as calibrated by the
        progressive margins so far; changes nothing.
        """
        return self._judge.probabilities(margins)

    def explain_batch(self, batch: BatchColumns) -> list[Explanation]:
        """What makes up the margin of each sample of `batch`; changes nothing."""
        with self._whole:
            csr = self._lookup.find(batch)
            if self.config.normalize != "none":
                csr = normalized(csr, self.config.normalize)
            margins = self._rule.score(csr).tolist()
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
                    weight = float(self._rule.weight(id))
                    parts.append(
                        Contribution(
                            name_text(name), x, weight, weight * x, self._rule.seen(id), id > 0
                        )
                    )
                explained.append(Explanation(margin, self.bias, parts))
            return explained

    # Python objects.

    def learn(self, samples: Iterable[Sample]) -> NDArray[np.float64]:
        """Learn ``(features, label)`` or ``(features, label, importance)``, one after the other.

        features: an iterable of names, or a mapping name → value. label: −1 or +1. All samples are
        validated before the first is learned. Returns the margin of each before its update,
        float64[n].

        Raises SampleError (LimitError) for the first fault, TypeError for what is no sample.
        """
        return self._over(list(learn_batches(samples, self.kernel, self.limits)), self.learn_batch)

    def learn_one(self, features: Features, label: float, importance: float = 1.0) -> float:
        """Learn one sample; its margin before the update. Raises as `learn` does."""
        batch = one_to_learn(features, label, importance, self.kernel, self.limits)
        return float(self.learn_batch(batch)[0])

    def predict(
        self, samples: Iterable[Features], *, probability: bool = False
    ) -> NDArray[np.float64]:
        """The margins of `samples`, each an iterable of names or a mapping, float64[n]; with
        `probability`, their probabilities of being +1 instead.

        The predicted label is +1 where the margin is above the threshold, 0. Changes nothing.

        Raises SampleError (LimitError) for the first fault, TypeError for what is no sample.
        """
        margins = self._over(predict_batches(samples, self.kernel, self.limits), self.score_batch)
        return self.probabilities(margins) if probability else margins

    def predict_one(self, features: Features, *, probability: bool = False) -> float:
        """The margin of one sample, or its probability of being +1. Raises as `predict` does."""
        margins = self.score_batch(one_to_predict(features, self.kernel, self.limits))
        return float((self.probabilities(margins) if probability else margins)[0])

    def explain(self, features: Features) -> Explanation:
        """What makes up the margin of one sample; changes nothing. Raises as `predict` does."""
        return self.explain_batch(one_to_predict(features, self.kernel, self.limits))[0]

    @staticmethod
    def _over(
        pieces: Iterable[Piece], apply: Callable[[Piece], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        margins = [apply(piece) for piece in pieces]
        return np.concatenate(margins) if margins else np.empty(0)

    # Sparse matrices.

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> OnlineSVM:  # noqa: N803
        """Learn the rows of `X` in order; column j is the feature named ``str(j)``.

        X: scipy sparse or a 2-D array, [n, m]. y: [n], −1 or +1. sample_weight: [n], the
        importances, 1 if left out. Validated whole before the first row is learned.

        Raises SampleError for the first fault.
        """
        columns = matrix.columns_of(X, self.limits, self.kernel)
        labels, importances = matrix.targets_of(y, sample_weight, len(columns.indptr) - 1)
        with self._whole:
            self._fit(columns, labels, importances)
        return self

    def _fit(
        self,
        columns: matrix.Columns,
        labels: NDArray[np.float64],
        importances: NDArray[np.float64] | None,
    ) -> None:
        if self._lookup.prunes:
            n = self._lookup.reserve((columns,))
            self._reserve(n)
            if n >= self.limits.max_features:
                self._fit_pruning(columns, labels, importances)
                return
        if self.config.normalize != "none":
            # Walked more than once: what another thread changes meanwhile must not come between.
            indptr, indices, data = columns
            columns = matrix.Columns(indptr.copy(), indices.copy(), data.copy())
            self._rule.reserve(self._lookup.reserve((columns,)))
            importances = np.ones(len(labels)) if importances is None else importances
            csr = self._lookup.grow_columns(columns, importances)
            full = len(self._lookup) >= self.limits.max_features
            counted = self._lookup.find_columns(columns) if full else None
            self._learn(normalized(csr, self.config.normalize, counted), labels, importances)
            return
        self._scorer = self._asked = None
        weights, counts = self._class_weights.of(labels, importances)
        self.kernel.learn_matrix(
            self._lookup, self._rule, self._judge, self.progressive.totals, columns, labels,
            importances, weights, self.config.threshold,
        )  # fmt: skip
        self._class_weights.counts = counts
        self.position += len(labels)

    def _fit_pruning(
        self,
        columns: matrix.Columns,
        labels: NDArray[np.float64],
        importances: NDArray[np.float64] | None,
    ) -> None:
        """As `_fit`, by the names of the columns: ids change when the model is pruned."""
        most = 2**31 - 2  # a matrix is held by fewer limits than a message
        limits = Limits(
            max_features_per_sample=most, max_samples_per_batch=most, max_name_bytes=most
        )
        importances = np.ones(len(labels)) if importances is None else importances
        for batch in matrix.named(columns, labels, importances):
            self.learn_batch(self.kernel.decode_learn(encode_learn(batch), limits))

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The margins of the rows of `X`, float64[n]; changes nothing."""
        with self._whole:
            if self._scorer is None and self.config.normalize == "none":
                columns = matrix.columns_of(X, self.limits, self.kernel)
                return self.kernel.score_matrix(self._lookup, self._rule, columns)
            return self._over(
                matrix.pieces(X, self.limits, self.kernel),
                lambda columns: self._score(self._lookup.find_columns(columns)),
            )

    # What was learned.

    @property
    def lookup(self) -> LookupView:
        """Feature → id, read-only."""
        return LookupView(self._lookup)

    @property
    def weights(self) -> WeightsView:
        """Feature → weight, read-only; the bias is `bias`."""
        return WeightsView(self._lookup, self._rule)

    def strongest(self, n: int) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The `n` features of largest weight above 0, and of smallest below, strongest first."""
        weights = self._rule.weights(len(self._lookup))
        n = min(n, len(weights))
        ends = []
        for signed in (weights, -weights):
            first = np.argpartition(-signed, n - 1)[:n] if n else np.empty(0, dtype=np.intp)
            first = first[np.lexsort((first, -signed[first]))]
            ends.append([int(i) for i in first if signed[i] > 0])
        wanted = {i for end in ends for i in end}
        names = {i: name_text(name) for i, name in enumerate(self._lookup.names()) if i in wanted}
        up, down = ([(names[i], float(weights[i])) for i in end] for end in ends)
        return up, down

    @property
    def bias(self) -> float:
        """The weight that every sample has; 0.0 for a learner without one."""
        return float(self._rule.bias)

    @property
    def judged(self) -> dict[str, Any]:
        """How well the classes are told apart (`balanced_error`, `precision`, `recall`, `f1`, over
        all and ``recent_``; `recent_auc`), how far probabilities can be trusted
        (`recent_calibration_error`), and `drifts`, `samples_since_drift`. None where unknown.
        """
        return report(self._judge.dump())

    @property
    def refused_features(self) -> int:
        """How often a new feature was left out as the model was full, since it was made here."""
        return self._lookup.refused

    @property
    def drifts(self) -> int:
        """How often drift was told."""
        return self._judge.drifts

    @property
    def experts(self) -> dict[str, dict[str, float | None]] | None:
        """For a hedge, each expert's `weight`, `error`, `loss`, `recent_error`, `recent_loss`; the
        `stack` over them too. None for another rule.
        """
        if self.config.rule != "hedge":
            return None
        return experts(self._rule.scalars())

    # Files.

    def snapshot(self) -> Snapshot:
        """A copy of the whole state, as a snapshot holds it; changes nothing."""
        return self.view().snapshot()

    def view(self) -> ModelView:
        """The state as it is now, to be copied on another thread while this one learns on.

        Takes no time to speak of on the native kernel; the python kernel copies all of it at once.
        """
        head = {  # of the same instant where nobody learns on another thread
            "id": self.id,
            "config": self.config,
            "max_features": self.limits.max_features,
            "kernel": self.kernel.NAME,
            "position": self.position,
            "totals": self.progressive.totals.tolist(),
            "figures": {
                "judge": self._judge.dump().tolist(),
                "labels": self._class_weights.counts.tolist(),
            },
        }
        with self._whole:
            return ModelView(head, self._lookup.view(), self._rule.view(len(self._lookup)))

    @classmethod
    def from_snapshot(
        cls,
        taken: Snapshot,
        *,
        limits: Limits | None = None,
        kernel: str | None = None,
    ) -> OnlineSVM:
        """The model as it stood. Raises SnapshotError if the parts do not make a whole."""
        model = cls.__new__(cls)
        model._born(taken.config, limits or Limits(max_features=taken.max_features), kernel)
        taken.restore(model._lookup, model._rule)
        with restoring():
            model.progressive = Progressive(np.array(taken.totals, dtype=np.float64))
            model.id = taken.id
            model.position = taken.position
            model._judge.restore(np.array(taken.figures["judge"], dtype=np.float64))
            counts = np.array(taken.figures["labels"], dtype=np.float64)
            if counts.shape != (2,) or not bool(((counts >= 0) & (counts <= 2**53)).all()):
                raise ValueError(f"labels: expected 2 counts from 0 to 2**53, got {counts}")
            model._class_weights.counts = counts
        model._asked = 0
        return model

    def save(self, path: str | os.PathLike[str]) -> Saved:
        """Write a snapshot file: whole, durable and read back, or not at all.

        Raises OSError if it cannot be written, SnapshotError if it could not be loaded again; an
        older file at `path` then stays as it was.
        """
        return write(path, self.snapshot(), self.check_snapshot)

    @classmethod
    def check_snapshot(cls, taken: Snapshot) -> None:
        """Raise SnapshotError unless `from_snapshot` takes `taken`; by parts, in little memory."""
        for block in taken.blocks(_CHECKED_FEATURES):
            limits = Limits(max_features=max(taken.max_features, len(block.lengths)))
            cls.from_snapshot(block, limits=limits, kernel=taken.kernel)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        limits: Limits | None = None,
        kernel: str | None = None,
    ) -> OnlineSVM:
        """The model in a snapshot file; it goes on as if it had never stopped.

        Raises OSError if the file cannot be read, SnapshotError if it is not a whole snapshot.
        """
        taken = read(path)
        try:
            return cls.from_snapshot(taken, limits=limits, kernel=kernel)
        except SnapshotError as error:
            raise SnapshotError(f"{os.fspath(path)}: {error}") from None

    def __repr__(self) -> str:
        return (
            f"OnlineSVM(rule={self.config.rule!r}, position={self.position},"
            f" features={len(self._lookup)}, kernel={self.kernel.NAME!r})"
        )
