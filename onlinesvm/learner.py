"""OnlineSVM: a linear SVM that learns one sample at a time."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm import matrix
from onlinesvm.body import encode_learn
from onlinesvm.class_weights import ClassWeights
from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import Path, SampleError, SnapshotError
from onlinesvm.explanation import Contribution, Explanation
from onlinesvm.judge import report
from onlinesvm.lookup import LookupView, WeightsView, name_text, quarter
from onlinesvm.norms import normalized
from onlinesvm.progressive import Progressive
from onlinesvm.pruning import Pruning
from onlinesvm.rules.hedge import experts
from onlinesvm.samples import CSR, BatchColumns, Features, Packer, pack_array
from onlinesvm.snapshot import Saved, Snapshot, read, restoring, write
from onlinesvm.view import ModelView

__all__ = ["OnlineSVM"]

Sample = tuple[Features, float] | tuple[Features, float, float]

# Python samples are packed and decoded in pieces of this size, so that a long list costs
# little more than its columns.
_PIECE_BYTES = 4 * 2**20


class OnlineSVM:
    """A sparse online linear SVM: hinge loss, features named by strings, no vocabulary beforehand.

    `parameters` are the fields of LearnerConfig (``rule="sgd", eta0=0.1``). `kernel` forces
    ``"native"`` or ``"python"``; without it the best available is used.

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
        margins = self._rule.learn(csr, labels, self._class_weights.learn(labels, importances))
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
        if self.config.normalize != "none":
            csr = normalized(csr, self.config.normalize)
        return self._rule.score(csr)

    def probabilities(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of +1 of samples with these margins, float64[n], as calibrated by the
        progressive margins so far; changes nothing.
        """
        return self._judge.probabilities(margins)

    def explain_batch(self, batch: BatchColumns) -> list[Explanation]:
        """What makes up the margin of each sample of `batch`; changes nothing."""
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
        return self._over(list(self._decoded_samples(samples)), self.learn_batch)

    def learn_one(self, features: Features, label: float, importance: float = 1.0) -> float:
        """Learn one sample; its margin before the update. Raises as `learn` does."""
        body = pack_array([Packer().sample(features, label, importance)])
        try:
            batch = self.kernel.decode_learn(body, self.limits)
        except SampleError as error:
            raise type(error)(error.message, _features_first(error.path)[1:]) from None
        return float(self.learn_batch(batch)[0])

    def predict(
        self, samples: Iterable[Features], *, probability: bool = False
    ) -> NDArray[np.float64]:
        """The margins of `samples`, each an iterable of names or a mapping, float64[n]; with
        `probability`, their probabilities of being +1 instead.

        The predicted label is +1 where the margin is above the threshold, 0. Changes nothing.

        Raises SampleError (LimitError) for the first fault, TypeError for what is no sample.
        """
        margins = self._over(self._decoded_features(samples), self.score_batch)
        return self.probabilities(margins) if probability else margins

    def predict_one(self, features: Features, *, probability: bool = False) -> float:
        """The margin of one sample, or its probability of being +1. Raises as `predict` does."""
        margins = self.score_batch(self._decoded_one(features))
        return float((self.probabilities(margins) if probability else margins)[0])

    def explain(self, features: Features) -> Explanation:
        """What makes up the margin of one sample; changes nothing. Raises as `predict` does."""
        return self.explain_batch(self._decoded_one(features))[0]

    def _decoded_one(self, features: Features) -> BatchColumns:
        body = pack_array([Packer().features(features)])
        try:
            return self.kernel.decode_predict(body, self.limits)
        except SampleError as error:
            raise type(error)(error.message, error.path[1:]) from None

    def _decoded_samples(self, samples: Iterable[Sample]) -> Iterator[BatchColumns]:
        def pack(i: int, sample: Sample) -> bytes:
            if not isinstance(sample, tuple | list) or not 2 <= len(sample) <= 3:
                raise TypeError(
                    "expected (features, label) or (features, label, importance), got"
                    f" {type(sample).__name__} at $[{i}]"
                )
            importance = sample[2] if len(sample) == 3 else 1.0
            return packer.sample(sample[0], sample[1], importance, index=i)

        packer = Packer()
        for start, body in self._bodies(samples, pack):
            try:
                yield self.kernel.decode_learn(body, self.limits)
            except SampleError as error:
                path = _features_first(error.path)
                raise type(error)(error.message, _moved(path, start)) from None

    def _decoded_features(self, samples: Iterable[Features]) -> Iterator[BatchColumns]:
        packer = Packer()
        if isinstance(samples, str | bytes):
            raise TypeError(f"expected an iterable of samples, got a bare {type(samples).__name__}")
        for start, body in self._bodies(samples, lambda i, s: packer.features(s, (i,))):
            try:
                yield self.kernel.decode_predict(body, self.limits)
            except SampleError as error:
                raise type(error)(error.message, _moved(error.path, start)) from None

    def _bodies(
        self, samples: Iterable[Any], pack: Callable[[int, Any], bytes]
    ) -> Iterator[tuple[int, bytes]]:
        """`samples` packed in pieces: the index of the first of a piece, and the piece."""
        parts: list[bytes] = []
        size = start = 0
        for i, sample in enumerate(samples):
            parts.append(pack(i, sample))
            size += len(parts[-1])
            if size >= _PIECE_BYTES or len(parts) == self.limits.max_samples_per_batch:
                yield start, pack_array(parts)
                parts, size, start = [], 0, i + 1
        if parts:
            yield start, pack_array(parts)

    @staticmethod
    def _over(
        batches: Iterable[BatchColumns], apply: Callable[[BatchColumns], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        margins = [apply(batch) for batch in batches]
        return np.concatenate(margins) if margins else np.empty(0)

    # Sparse matrices.

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> OnlineSVM:  # noqa: N803
        """Learn the rows of `X` in order; column j is the feature named ``str(j)``.

        X: scipy sparse or a 2-D array, [n, m]. y: [n], −1 or +1. sample_weight: [n], the
        importances, 1 if left out. Validated whole before the first row is learned.

        Raises SampleError for the first fault.
        """
        columns = matrix.columns_of(X, self.limits)
        labels, importances = matrix.targets_of(y, sample_weight, len(columns.indptr) - 1)
        n = self._lookup.reserve((columns,))
        self._reserve(n)
        if self._lookup.prunes and n >= self.limits.max_features:
            return self._fit_pruning(columns, labels, importances)
        csr = self._lookup.grow_columns(columns, importances)
        if self.config.normalize != "none":
            full = len(self._lookup) >= self.limits.max_features
            counted = self._lookup.find_columns(columns) if full else None
            csr = normalized(csr, self.config.normalize, counted)
        self._learn(csr, labels, importances)
        return self

    def _fit_pruning(
        self, columns: matrix.Columns, labels: NDArray[np.float64], importances: NDArray[np.float64]
    ) -> OnlineSVM:
        """As `partial_fit`, by the names of the columns: ids change when the model is pruned."""
        most = 2**31 - 2  # a matrix is held by fewer limits than a message
        limits = Limits(
            max_features_per_sample=most, max_samples_per_batch=most, max_name_bytes=most
        )
        for batch in matrix.named(columns, labels, importances):
            self.learn_batch(self.kernel.decode_learn(encode_learn(batch), limits))
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The margins of the rows of `X`, float64[n]; changes nothing."""
        columns = matrix.columns_of(X, self.limits)
        with self._whole:
            return self._score(self._lookup.find_columns(columns))

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

    def fingerprint(self) -> int:
        """64 bits that tell histories apart: of the position and the progressive totals."""
        told = struct.pack("<Q7d", self.position, *self.progressive.totals.tolist())
        return int.from_bytes(hashlib.sha256(told).digest()[:8], "little")

    def snapshot(self) -> Snapshot:
        """A copy of the whole state, as a snapshot holds it; changes nothing."""
        return self.view().snapshot()

    def view(self) -> ModelView:
        """The state as it is now, to be copied on another thread while this one learns on.

        Takes no time to speak of on the native kernel; the python kernel copies all of it at once.
        """
        head = {  # of the same instant where nobody learns on another thread
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
        with restoring():
            for name, array in taken.arrays.items():
                if len(array) != len(taken.lengths):
                    raise ValueError(
                        f"{name}: expected {len(taken.lengths)} numbers, got {len(array)}"
                    )
            model._lookup.restore(taken.lengths, taken.names)
            model._rule.restore(taken.arrays, taken.scalars)
            model.progressive = Progressive(np.array(taken.totals, dtype=np.float64))
            model.position = taken.position
            if taken.figures:  # none in a file of format 1: they start anew
                model._judge.restore(np.array(taken.figures["judge"], dtype=np.float64))
                counts = np.array(taken.figures["labels"], dtype=np.float64)
                if counts.shape != (2,) or not bool(((counts >= 0) & (counts <= 2**53)).all()):
                    raise ValueError("labels: expected 2 counts from 0 to 2**53, got others")
                model._class_weights.counts = counts
        return model

    def save(self, path: str | os.PathLike[str]) -> Saved:
        """Write a snapshot file: whole and durable, or not at all. The model stays as it is.

        Raises OSError if it cannot be written; an older file at `path` then stays as it was.
        """
        return write(path, self.snapshot())

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


def _features_first(path: Path) -> Path:
    """A path into wire samples (label first) as one into Python samples (features first)."""
    if len(path) < 2 or path[1] not in (0, 1):
        return path
    return (path[0], 1 - int(path[1]), *path[2:])


def _moved(path: Path, start: int) -> Path:
    """A path into a piece as one into the whole."""
    return (int(path[0]) + start, *path[1:]) if path else path
