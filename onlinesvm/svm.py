"""OnlineSVM: a linear SVM that learns one sample at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data import matrix
from onlinesvm.data.batch import BatchColumns, Features
from onlinesvm.data.bounds import Bounds
from onlinesvm.data.label import Written
from onlinesvm.data.objects import (
    Packer,
    Sample,
    Worse,
    alone,
    labelled_batches,
    learn_batches,
    moved,
    of_columns,
    one_decoded,
    one_packed,
    one_to_learn,
    one_to_predict,
    predict_batches,
    rows_to_score,
)
from onlinesvm.data.pairs import one_pair, pair_batches
from onlinesvm.data.pieces import Decoded
from onlinesvm.data.rows import samples_of
from onlinesvm.errors import ConfigError, SampleError, SnapshotError
from onlinesvm.kernel.contract import Rows
from onlinesvm.model.asking import B, distances_of, worth_asking
from onlinesvm.model.labels import label_array
from onlinesvm.model.model import Model, sided
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.snapshot.reader import from_bytes, read
from onlinesvm.snapshot.writer import Saved, to_bytes, write

if TYPE_CHECKING:
    from onlinesvm.model.explanation import Explanation

__all__ = ["OnlineSVM"]


_CHECKED_FEATURES = 2**16  # of a snapshot at a time, some megabytes


class OnlineSVM(Model):
    """A sparse online linear SVM: hinge loss, features named by strings, no vocabulary beforehand.

    `parameters` are the fields of LearnerConfig (``rule="sgd", eta0=0.1``); `vectors` may be a
    file's name. `kernel` forces
    ``"native"`` or ``"python"``; without it the best available is used.

    A Model whose samples are Python objects and matrices, and that lies in files. One thread learns
    and saves; on the native kernel others may predict meanwhile. `view` gives a state that another
    thread can copy while this one learns on. A matrix or a batch belongs to the call that it is
    given to until that returns.

    Raises ConfigError for a parameter out of range, KernelError for a kernel that is missing.

    >>> model = OnlineSVM(rule="sgd", eta0=0.1)
    >>> model.learn_one(["free", "prize"], "spam"), model.learn_one(["minutes"], "ham")
    (0.0, -0.1)
    >>> model.predict_one(["free"])
    'spam'
    """

    def __init__(
        self, *, limits: Limits | None = None, kernel: str | None = None, **parameters: Any
    ) -> None:
        if "vectors" in parameters:
            from onlinesvm.text.word_vectors import named  # few models have any: it loads much

            parameters["vectors"] = named(parameters["vectors"])
        super().__init__(LearnerConfig(**parameters), limits or Limits(), kernel)

    @classmethod
    def of(
        cls, config: LearnerConfig, *, limits: Limits | None = None, kernel: str | None = None
    ) -> Self:
        """A new model of a whole configuration. Raises KernelError for a kernel that is missing."""
        model = cls.__new__(cls)
        Model.__init__(model, config, limits or Limits(), kernel)
        return model

    # Python objects.

    def learn(self, samples: Iterable[Sample]) -> NDArray[np.float64]:
        """Learn ``(features, label)`` or ``(features, label, importance)``, one after the other; of
        a ranking ``(better, worse)`` or ``(better, worse, importance)``, two items each.

        features: an iterable of names, or a mapping name → value. label: text, an integer or a
        boolean. All samples are validated before the first is learned. Returns the margin of each
        before its update, float64[n].

        Raises SampleError (LimitError) for the first fault, a third label too, TypeError for
        anything but a sample.
        """
        made = pair_batches if self.is_ranking else learn_batches
        batches = list(made(samples, self.kernel, self.limits, self.extractor))
        self._check_labels(batches)
        return _over(batches, self.learn_batch)

    def _check_labels(self, batches: Iterable[Decoded]) -> None:
        """Raise SampleError for a label that the model has no side for."""
        labels, start = self.labels, 0
        for batch in batches:
            try:
                labels = sided(labels, batch)
            except SampleError as error:
                raise moved(error, start) from None
            start += len(batch)

    def learn_one(
        self, features: Features, label: Written | Worse | Features, importance: float = 1.0
    ) -> float:
        """Learn one sample; its margin before the update. Raises as `learn` does.

        features: an iterable of names, a mapping, a text, or a matrix or frame of one row. Of a
        ranking it is the better item, and `label` the worse one.
        """
        if self.is_ranking:
            worse: Any = label
            batch = one_pair(features, worse, importance, self.kernel, self.limits, self.extractor)
            return float(self.learn_batch(batch)[0])
        truth: Any = label
        batch = one_to_learn(features, truth, importance, self.kernel, self.limits, self.extractor)
        try:
            return float(self.learn_batch(batch)[0])
        except SampleError as error:
            raise alone(error) from None

    def predict(self, samples: Any) -> NDArray[Any]:
        """The label of each of `samples`, [n], or the score of each, float64[n], of a ranking: the
        better the larger. Changes nothing.

        samples: as `decision_function` takes them. The array is of int64, bool or text where all
        labels are of that kind, else of objects; None before the first label is known.

        Raises SampleError (LimitError) for the first fault, TypeError for anything but a sample.
        """
        return _over(self._rows(samples), self.predict_batch)

    def predict_proba(self, samples: Any) -> NDArray[np.float64]:
        """The probabilities of the labels, float64[n, labels]: the columns are `classes_`, once
        it has two labels; of a binary model those of the sides −1 and +1. Raises as `predict` does.
        """
        made = self.probabilities(self.decision_function(samples))
        return made if made.ndim == 2 else np.column_stack((1.0 - made, made))

    def top(self, samples: Any, n: int = 3) -> list[list[tuple[Written, float]]]:
        """The `n` best labels of each of `samples` with their probabilities, the best first.

        Of a multiclass model; n: 0 for all. Raises as `predict` does, ConfigError for a binary one.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ConfigError(f"n: expected an integer from 0, got {n!r}")
        _, labels = self.many
        names = dict(zip(labels.ids.tolist(), labels.names(), strict=True))
        best = []
        for rows in self._rows(samples):
            found = self.top_batch(rows, n, probability=True)
            for ids, shares in zip(*(part.tolist() for part in found), strict=True):
                best.append([(names[id], share) for id, share in zip(ids, shares, strict=True)])
        return best

    def decision_function(self, samples: Any) -> NDArray[np.float64]:
        """The margins of `samples`, float64[n]; above the threshold, 0, they mean the label of side
        +1. Of many classes the scores of their labels, as `classes_` has them, float64[n, labels];
        −∞ of a label without a learned sample. Changes nothing.

        samples: each an iterable of names or a mapping; or the rows of a matrix or data frame, as
        `partial_fit` takes them.

        Raises as `predict` does.
        """
        scores = _over(self._rows(samples), self.score_batch)
        if self.is_multiclass and not len(scores):
            return np.empty((0, len(self.classes_)))
        return scores

    def ask(
        self, samples: Iterable[Features], b: float = B
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The labels that `predict` gives, and which of the true ones are worth asking for, [n].

        A label of margin m is asked for with probability `b/(b + |m|)`, by a hash of the sample and
        of the position; up to 100 samples every one is. See `onlinesvm.model.asking`. Changes
        nothing. Raises as `predict` does, ValueError for a `b` that is not above 0.
        """
        if not 0 < b < float("inf"):
            raise ValueError(f"b: expected a number above 0, got {b!r}")
        given = list(samples_of(samples))
        batches = list(predict_batches(given, self.kernel, self.limits, self.extractor))
        labels = [self.predict_batch(batch).tolist() for batch in batches]
        distances = [distances_of(self, batch) for batch in batches]
        pack = Packer(self.extractor.reads_text).features
        packed = [pack(sample, (i,)) for i, sample in enumerate(given)]
        worth = worth_asking(np.concatenate([np.empty(0), *distances]), packed, self.position, b)
        return label_array([label for part in labels for label in part]), worth

    def predict_one(self, features: Features) -> Written | float | None:
        """The label of one sample, or its score. Raises as `predict` does."""
        labels = self.predict_batch(self._one(features))
        label: Written | float | None = labels.tolist()[0]
        return label

    def predict_proba_one(self, features: Features) -> NDArray[np.float64]:
        """The probabilities of the labels for one sample, float64[labels]. Raises as `predict`
        does.
        """
        scores = self.score_batch(self._one(features))
        made: NDArray[np.float64] = self.probabilities(scores)[0]
        return made if made.ndim else np.array([1.0 - made, made])

    def decision_function_one(self, features: Features) -> float | NDArray[np.float64]:
        """The margin of one sample; of many classes the scores of its labels, float64[labels].

        Raises as `predict` does.
        """
        scores = self.score_batch(self._one(features))[0]
        return scores if self.is_multiclass else float(scores)

    def _rows(self, samples: Any) -> Iterator[Rows]:
        """Samples to score, in batches."""
        return rows_to_score(samples, self.kernel, self.limits, self.extractor)

    def _one(self, features: Features) -> BatchColumns:
        """A batch of one sample to score."""
        return one_to_predict(features, self.kernel, self.limits, self.extractor)

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels known so far: that of side −1 first, or in order of first sight."""
        return self.labels.classes

    def features(self, features: Features) -> list[tuple[str, float]]:
        """The features of one sample: the names and values of its features, as `explain` has them.

        Raises as `predict` does.
        """
        return self.features_batch(self._one(features))[0]

    def explain(
        self, features: Features, label: Written | None = None, other: Written | None = None
    ) -> Explanation:
        """The parts of the margin of one sample, by feature and by field; changes nothing.

        label, other: of many classes, explain the score of `label`, or its lead over `other`; left
        out, the score of the predicted label. Raises as `predict` does.
        """
        body = one_packed(features, self.extractor)
        batch = one_decoded(body, self.kernel, self.limits, self.extractor)
        from onlinesvm.model.fields import with_fields

        return with_fields(self, self.explain_batch(batch, label, other), body)[0]

    # Matrices and data frames.

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Learn the rows of `X` in order.

        X: scipy sparse or a 2-D array of numbers, [n, m]: column j is the feature named ``str(j)``;
        a data frame: its columns' names are the features; or samples, as `predict` takes them.
        y: labels of any kind, [n] or [n, 1]; lists of labels for a multilabel model.
        sample_weight: the importances, 1 if left out.
        Validated whole before the first row is learned.

        Raises SampleError for the first fault, TypeError for anything but these.
        """
        if matrix.is_matrix(X):
            bounds = Bounds.of(self.limits, labelled=True)
            columns = matrix.columns_of(X, self.limits, bounds)
            targets = matrix.targets_of(columns.samples, y, sample_weight, bounds)
            batches = [matrix.rows_of_columns(columns, self.kernel, targets)]
        else:
            batches = list(
                labelled_batches(X, y, sample_weight, self.kernel, self.limits, self.extractor)
            )
        with of_columns():
            self._check_labels(batches)
        _over(batches, self.learn_batch)
        return self

    # Files and bytes.

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
            limits = taken.limits
            if len(block.lengths) > limits.max_features:
                limits = replace(limits, max_features=len(block.lengths))
            cls.from_snapshot(block, limits=limits, kernel=taken.kernel)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        limits: Limits | None = None,
        kernel: str | None = None,
    ) -> Self:
        """The model in a snapshot file, frozen until it learns; it goes on as if it had never
        stopped.

        Raises OSError if the file cannot be read, SnapshotError if it is not a whole snapshot.
        """
        taken = read(path)
        try:
            model = cls.from_snapshot(taken, limits=limits, kernel=kernel)
        except SnapshotError as error:
            raise SnapshotError(f"{os.fspath(path)}: {error}") from None
        model.freeze()
        return model

    def to_bytes(self) -> bytes:
        """The bytes of the snapshot file that `save` writes. The model stays as it is."""
        return to_bytes(self.snapshot())

    @classmethod
    def from_bytes(
        cls, raw: bytes, *, limits: Limits | None = None, kernel: str | None = None
    ) -> Self:
        """The model of a snapshot's bytes, as `load` makes it.

        Raises SnapshotError if they are not a whole snapshot.
        """
        model = cls.from_snapshot(from_bytes(raw), limits=limits, kernel=kernel)
        model.freeze()
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle, copy and deepcopy by the snapshot's bytes, with limits and kernel: a whole model
        that shares nothing.
        """
        return _of_bytes, (type(self), self.to_bytes(), self.limits, self.kernel.NAME)

    def __repr__(self) -> str:
        return (
            f"OnlineSVM(rule={self.config.rule!r}, position={self.position},"
            f" features={len(self._lookup)}, kernel={self.kernel.NAME!r})"
        )


def _of_bytes(cls: type[OnlineSVM], raw: bytes, limits: Limits, kernel: str) -> OnlineSVM:
    return cls.from_bytes(raw, limits=limits, kernel=kernel)


def _over(
    batches: Iterable[Rows], apply: Callable[[Any], NDArray[np.float64]]
) -> NDArray[np.float64]:
    margins = [apply(batch) for batch in batches]
    return margins[0] if len(margins) == 1 else np.concatenate([np.empty(0), *margins])
