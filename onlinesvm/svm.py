"""OnlineSVM: a linear SVM that learns one sample at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data import matrix
from onlinesvm.data.batch import BatchColumns, Features
from onlinesvm.data.label import Written
from onlinesvm.data.objects import (
    Sample,
    alone,
    learn_batches,
    moved,
    one_to_learn,
    one_to_predict,
    predict_batches,
)
from onlinesvm.errors import SampleError, SnapshotError
from onlinesvm.model.model import Explanation, Model, sided
from onlinesvm.snapshot.reader import read
from onlinesvm.snapshot.writer import Saved, write

__all__ = ["OnlineSVM"]


class OnlineSVM(Model):
    """A sparse online linear SVM: hinge loss, features named by strings, no vocabulary beforehand.

    `parameters` are the fields of LearnerConfig (``rule="sgd", eta0=0.1``). `kernel` forces
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
        super().__init__(LearnerConfig(**parameters), limits or Limits(), kernel)

    # Python objects.

    def learn(self, samples: Iterable[Sample]) -> NDArray[np.float64]:
        """Learn ``(features, label)`` or ``(features, label, importance)``, one after the other.

        features: an iterable of names, or a mapping name → value. label: text, an integer or a
        boolean. All samples are validated before the first is learned. Returns the margin of each
        before its update, float64[n].

        Raises SampleError (LimitError) for the first fault, a third label too, TypeError for
        anything but a sample.
        """
        batches = list(learn_batches(samples, self.kernel, self.limits))
        labels, start = self.labels, 0
        for batch in batches:
            try:
                labels = sided(labels, batch)
            except SampleError as error:
                raise moved(error, start) from None
            start += len(batch)
        return _over(batches, self.learn_batch)

    def learn_one(self, features: Features, label: Written, importance: float = 1.0) -> float:
        """Learn one sample; its margin before the update. Raises as `learn` does."""
        batch = one_to_learn(features, label, importance, self.kernel, self.limits)
        try:
            return float(self.learn_batch(batch)[0])
        except SampleError as error:
            raise alone(error) from None

    def predict(self, samples: Any) -> NDArray[Any]:
        """The label of each of `samples`, [n]; changes nothing.

        samples: iterables of names or mappings, or a matrix, as `decision_function` takes them. An
        array of int64, bool or text where the labels are of that kind, else of objects; None before
        the first label.

        Raises SampleError (LimitError) for the first fault, TypeError for anything but a sample.
        """
        return self.label_margins(self.decision_function(samples))

    def predict_proba(self, samples: Any) -> NDArray[np.float64]:
        """The probabilities of the labels of the sides −1 and +1, as `classes_` has them,
        float64[n, 2]. Raises as `predict` does.
        """
        positive = self.probabilities(self.decision_function(samples))
        return np.column_stack((1.0 - positive, positive))

    def decision_function(self, samples: Any) -> NDArray[np.float64]:
        """The margins of `samples`, float64[n]; above the threshold, 0, they mean the label of side
        +1. Changes nothing.

        samples: iterables of names or mappings; or the rows of a matrix, scipy sparse or a 2-D
        array, [n, m], in which column j is the feature named ``str(j)``.

        Raises as `predict` does.
        """
        if matrix.is_matrix(samples):
            rows = matrix.columns_of(samples, self.limits, self.kernel.screen_matrix)
            return self.score_batch(rows)
        return _over(predict_batches(samples, self.kernel, self.limits), self.score_batch)

    def predict_one(self, features: Features) -> Written | None:
        """The label of one sample. Raises as `predict` does."""
        margin = self.decision_function_one(features)
        return self.labels.name(1.0 if margin > self.config.threshold else -1.0)

    def predict_proba_one(self, features: Features) -> NDArray[np.float64]:
        """The probabilities of both labels for one sample, float64[2]. Raises as `predict` does."""
        positive = self.probabilities(np.array([self.decision_function_one(features)]))
        return np.concatenate((1.0 - positive, positive))

    def decision_function_one(self, features: Features) -> float:
        """The margin of one sample. Raises as `predict` does."""
        return float(self.score_batch(one_to_predict(features, self.kernel, self.limits))[0])

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels known so far, that of side −1 first."""
        return self.labels.classes

    def explain(self, features: Features) -> Explanation:
        """The parts of the margin of one sample; changes nothing. Raises as `predict` does."""
        return self.explain_batch(one_to_predict(features, self.kernel, self.limits))[0]

    # Sparse matrices.

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Learn the rows of `X` in order; column j is the feature named ``str(j)``.

        X: scipy sparse or a 2-D array, [n, m]. y: labels of any kind, [n] or [n, 1]. sample_weight:
        [n], the importances, 1 if left out. Validated whole before the first row is learned.

        Raises SampleError for the first fault.
        """
        rows = matrix.columns_of(X, self.limits, self.kernel.screen_matrix)
        self.learn_batch(matrix.with_targets(rows, y, sample_weight))
        return self

    # Files.

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

    def __repr__(self) -> str:
        return (
            f"OnlineSVM(rule={self.config.rule!r}, position={self.position},"
            f" features={len(self._lookup)}, kernel={self.kernel.NAME!r})"
        )


def _over(
    batches: Iterable[BatchColumns], apply: Callable[[BatchColumns], NDArray[np.float64]]
) -> NDArray[np.float64]:
    margins = [apply(batch) for batch in batches]
    return margins[0] if len(margins) == 1 else np.concatenate([np.empty(0), *margins])
