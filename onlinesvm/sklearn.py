"""OnlineSVMClassifier: an OnlineSVM as a scikit-learn estimator (extra ``onlinesvm[sklearn]``).

It works in pipelines, cross-validation, grid searches and calibration, with dense arrays, sparse
matrices and data frames. Three or more classes take the hedge (task ``multiclass``).
OnlineSVMMultilabelClassifier learns indicator matrices (task ``multilabel``).

Two of scikit-learn's estimator checks cannot hold: a weight of 2 is not a repeated sample, and a
weight of 0 is counted by the running means, since order matters to an online learner. SGDClassifier
fails the same two. EXPECTED_FAILED_CHECKS names them for `check_estimator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.config import Limits
from onlinesvm.data.frames import is_frame
from onlinesvm.svm import OnlineSVM

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        _check_sample_weight,
        assert_all_finite,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise ImportError(
        "onlinesvm.sklearn needs scikit-learn 1.6 or later: pip install 'onlinesvm[sklearn]'"
        f" ({error})"
    ) from None

__all__ = ["EXPECTED_FAILED_CHECKS", "OnlineSVMClassifier", "OnlineSVMMultilabelClassifier"]

_REASON = "order matters to an online learner: a weight is not a number of repetitions"
EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": _REASON,
    "check_sample_weight_equivalence_on_sparse_data": _REASON,
}

# The learner's parameters, by the names of LearnerConfig.
_PARAMETERS = (
    "rule", "eta0", "schedule", "alpha", "average", "C", "r", "forgetting", "bias", "normalize",
    "class_weight", "threshold", "text", "fields", "numbers", "crosses",
)  # fmt: skip


_LOOKED_AT = 100  # rows of a frame, to see if it has texts


class OnlineSVMClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear SVM that learns one sample at a time, as a scikit-learn classifier.

    Parameters are those of LearnerConfig (None: the rule's default; class_weight may be a dict from
    class to weight), and
    passes: how often `fit` goes over the samples.
    shuffle: whether `fit` learns them in a random order, by `random_state`.
    max_value, max_importance, clip: as those of Limits.
    kernel: as OnlineSVM takes it.

    X is a matrix or a frame of numbers, [n, m]; or n texts or records, as OnlineSVM takes them
    ("free prize", {"subject": "free", "known": True}, ["a", "b"]), which `text`, `fields`,
    `numbers` and `crosses` say how to read; or a frame of pandas or polars with columns of text,
    whose rows are records.

    Attributes after fitting: `classes_` [k], in sorted order; `model_`, the OnlineSVM;
    `n_features_in_`, of a matrix or frame of numbers.
    """

    def __init__(
        self,
        *,
        rule: str = "hedge",
        eta0: float | None = None,
        schedule: str | None = None,
        alpha: float | None = None,
        average: bool | None = None,
        C: float | None = None,  # noqa: N803 - as in the papers
        r: float | None = None,
        forgetting: float | None = None,
        bias: bool = True,
        normalize: str = "none",
        class_weight: str | dict[Any, float] | tuple[float, float] | None = None,
        threshold: float = 0.0,
        text: str | None = None,
        fields: Any = (),
        numbers: str = "raw",
        crosses: Any = (),
        max_value: float | None = None,
        max_importance: float | None = None,
        clip: bool = False,
        passes: int = 1,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        kernel: str | None = None,
    ) -> None:
        self.rule = rule
        self.eta0 = eta0
        self.schedule = schedule
        self.alpha = alpha
        self.average = average
        self.C = C
        self.r = r
        self.forgetting = forgetting
        self.bias = bias
        self.normalize = normalize
        self.class_weight = class_weight
        self.threshold = threshold
        self.text = text
        self.fields = fields
        self.numbers = numbers
        self.crosses = crosses
        self.max_value = max_value
        self.max_importance = max_importance
        self.clip = clip
        self.passes = passes
        self.shuffle = shuffle
        self.random_state = random_state
        self.kernel = kernel

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803
        """Learn from scratch. X: [n, m], y: [n] of two or more classes, sample_weight: [n]."""
        from sklearn.utils import check_random_state

        if isinstance(self.passes, bool) or not isinstance(self.passes, int) or self.passes < 1:
            raise ValueError(f"passes: expected an integer from 1, got {self.passes!r}")
        X, y, weights = self._checked(X, y, sample_weight, reset=True)  # noqa: N806
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                "expected two classes or more to fit, got one class: partial_fit with classes="
                f" starts with fewer ({self.classes_[0]!r} alone is in y)"
            )
        self.model_ = self._model()
        labels, weights = self._labels(y, weights)
        random = check_random_state(self.random_state)
        for _ in range(self.passes):
            if self.shuffle:
                order = random.permutation(len(labels))
                part = None if weights is None else weights[order]
                self.model_.partial_fit(X[order], labels[order], part)
            else:
                self.model_.partial_fit(X, labels, weights)
        return self

    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn on, in the order of the rows.

        classes: [k], all that will come; needed in the first call only, and only if `y` lacks some
        there.
        """
        first = not hasattr(self, "model_")
        X, y, weights = self._checked(X, y, sample_weight, reset=first)  # noqa: N806
        if first:
            self.classes_ = np.unique(np.asarray(y if classes is None else classes))
            if len(self.classes_) < 2:
                raise ValueError(
                    "expected two classes or more in the first call of partial_fit, got one class:"
                    " name all by classes="
                )
            self.model_ = self._model()
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes: expected {self.classes_!r} as in the first call, got {classes!r}"
            )
        self.model_.partial_fit(X, *self._labels(y, weights))
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The margins, float64[n]; above `threshold` means `classes_[1]`. Of three classes or more
        their scores, float64[n, k], −∞ of a class without a learned sample.
        """
        check_is_fitted(self)
        return self.model_.decision_function(_rows_to_score(self, X))

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The classes of the rows, [n]."""
        margins = self.decision_function(X)
        is_binary = margins.ndim == 1
        places = (margins > self.threshold).astype(np.intp) if is_binary else margins.argmax(axis=1)
        classes: NDArray[Any] = self.classes_[places]
        return classes

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The probabilities of `classes_`, float64[n, k], calibrated by the progressive margins.

        The largest one is that of the predicted class, unless `threshold` is set.
        """
        check_is_fitted(self)
        return self.model_.predict_proba(_rows_to_score(self, X))

    def _model(self) -> OnlineSVM:
        given = {name: getattr(self, name) for name in _PARAMETERS}
        given = {name: value for name, value in given.items() if value is not None}
        if len(self.classes_) > 2:  # a label is the place of its class
            given |= {"task": "multiclass", "labels": tuple(range(len(self.classes_)))}
        if isinstance(self.class_weight, dict):
            classes = self.classes_.tolist()
            unknown = [name for name in self.class_weight if name not in classes]
            if unknown:
                raise ValueError(f"class_weight: expected classes of {classes}, got {unknown[0]!r}")
            if len(classes) == 2:
                given["class_weight"] = tuple(self.class_weight.get(c, 1.0) for c in classes)
            else:  # of many classes, a factor of the samples' weights
                given.pop("class_weight")
        limits = Limits(
            max_value=self.max_value, max_importance=self.max_importance, clip=self.clip
        )
        return OnlineSVM(limits=limits, kernel=self.kernel, **given)

    def _checked(
        self,
        X: Any,  # noqa: N803
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        *,
        reset: bool,
    ) -> tuple[Any, Any, Any]:
        records = _records_of(X)
        if records is None:
            X, y = validate_data(  # noqa: N806
                self, X, y, reset=reset, accept_sparse="csr", dtype=np.float64,
                accept_large_sparse=True,
            )  # fmt: skip
        else:
            X, y = records, column_or_1d(y, warn=True)  # noqa: N806
            check_consistent_length(X, y)
            assert_all_finite(y, input_name="y")
            if reset:
                _forget_columns(self)
        check_classification_targets(y)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        return X, y, weights

    def _labels(self, y: Any, weights: Any) -> tuple[NDArray[Any], Any]:
        """The model's labels of `y`, and the weights to learn by."""
        places = np.searchsorted(self.classes_, y)
        known = np.take(self.classes_, places, mode="clip") == y
        if not known.all():
            i = int((~known).argmax())
            raise ValueError(f"expected classes of {self.classes_!r}, got {y[i]!r} at y[{i}]")
        if len(self.classes_) == 2:
            return np.where(places == 1, 1.0, -1.0), weights
        if isinstance(self.class_weight, dict):
            factors = np.array([self.class_weight.get(c, 1.0) for c in self.classes_], np.float64)
            weights = factors[places] * (1.0 if weights is None else weights)
        return places, weights

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.string = tags.input_tags.dict = True
        return tags


class OnlineSVMMultilabelClassifier(MultiOutputMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Several labels a sample, learned one sample at a time: an OnlineSVM of task ``multilabel``.

    passes, shuffle, random_state, kernel, and the parameters of texts and records: as those of
    OnlineSVMClassifier. X too.

    Attributes after fitting: `classes_`, the columns of the indicator matrix, arange(k); `model_`,
    the OnlineSVM; `n_features_in_`, of a matrix or frame of numbers.
    """

    def __init__(
        self,
        *,
        bias: bool = True,
        text: str | None = None,
        fields: Any = (),
        numbers: str = "raw",
        crosses: Any = (),
        passes: int = 1,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        kernel: str | None = None,
    ) -> None:
        self.bias = bias
        self.text = text
        self.fields = fields
        self.numbers = numbers
        self.crosses = crosses
        self.passes = passes
        self.shuffle = shuffle
        self.random_state = random_state
        self.kernel = kernel

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803
        """Learn from scratch. X: [n, m] or n records, y: 0 or 1, [n, k], sparse too;
        sample_weight: [n].
        """
        from sklearn.utils import check_random_state

        if isinstance(self.passes, bool) or not isinstance(self.passes, int) or self.passes < 1:
            raise ValueError(f"passes: expected an integer from 1, got {self.passes!r}")
        X, sets, weights = self._checked(X, y, sample_weight, first=True)  # noqa: N806
        random = check_random_state(self.random_state)
        for _ in range(self.passes):
            order = np.arange(len(sets))
            if self.shuffle:
                order = random.permutation(len(sets))
            part = None if weights is None else weights[order]
            self.model_.partial_fit(X[order], [sets[i] for i in order.tolist()], part)
        return self

    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn on, in the order of the rows. Shapes are those of `fit`."""
        first = not hasattr(self, "model_")
        X, sets, weights = self._checked(X, y, sample_weight, first=first)  # noqa: N806
        self.model_.partial_fit(X, sets, weights)
        return self

    def predict(self, X: Any) -> NDArray[np.intp]:  # noqa: N803
        """The predicted labels, 0 or 1, [n, k]."""
        made = np.zeros((X.shape[0] if hasattr(X, "shape") else len(X), len(self._classes)), int)
        for row, labels in zip(made, self.model_.predict(self._rows(X)), strict=True):
            row[list(labels)] = 1
        return made

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The scores of the labels, float64[n, k]; −1 of one without a learned sample."""
        scores = self._columns(self.model_.decision_function(self._rows(X)), -1.0)
        return np.maximum(scores, np.finfo(np.float64).min)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The probability of each label by itself, float64[n, k]."""
        return self._columns(self.model_.predict_proba(self._rows(X)), 0.0)

    @property
    def _classes(self) -> NDArray[Any]:
        check_is_fitted(self)
        classes: NDArray[Any] = self.classes_
        return classes

    def _columns(self, by_label: NDArray[np.float64], missing: float) -> NDArray[np.float64]:
        """The model's columns in the order of `classes_`."""
        made = np.full((len(by_label), len(self._classes)), missing)
        made[:, self.model_.classes_.astype(np.intp)] = np.where(
            np.isfinite(by_label), by_label, missing
        )
        return made

    def _rows(self, X: Any) -> Any:  # noqa: N803
        check_is_fitted(self)
        return _rows_to_score(self, X)

    def _checked(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: ArrayLike | None,
        *,
        first: bool,
    ) -> tuple[Any, list[list[int]], Any]:
        """The rows, the labels of each and the weights; the first time with a new model."""
        records = _records_of(X)
        if records is None:
            X = validate_data(  # noqa: N806
                self, X, reset=first, accept_sparse="csr", dtype=np.float64
            )
        else:
            X = records  # noqa: N806
            if first:
                _forget_columns(self)
        from scipy import sparse

        indicator = sparse.csr_matrix(y)
        if indicator.shape[0] != X.shape[0]:
            raise ValueError(
                f"y: expected an indicator matrix of {X.shape[0]} rows, got {indicator.shape[0]}"
            )
        if not np.isin(indicator.data, (0, 1)).all():
            raise ValueError("y: expected an indicator matrix of 0 and 1, got other numbers")
        if first:
            self.classes_ = np.arange(indicator.shape[1])
            self.model_ = OnlineSVM(
                task="multilabel", bias=self.bias, text=self.text, fields=self.fields,
                numbers=self.numbers, crosses=self.crosses, kernel=self.kernel,
            )  # fmt: skip
        elif indicator.shape[1] != len(self.classes_):
            raise ValueError(
                f"y: expected {len(self.classes_)} columns as in the first call, got"
                f" {indicator.shape[1]}"
            )
        indicator.eliminate_zeros()
        ends = indicator.indptr.tolist()
        ids = indicator.indices.tolist()
        sets = [ids[start:end] for start, end in pairwise(ends)]
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        return X, sets, weights

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.string = tags.input_tags.dict = True
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.multi_label = True
        tags.target_tags.single_output = False
        return tags


def _rows_to_score(estimator: Any, X: Any) -> Any:  # noqa: N803
    """Records, or a matrix as `estimator` was fitted to."""
    records = _records_of(X)
    if records is not None:
        return records
    return validate_data(estimator, X, reset=False, accept_sparse="csr", dtype=np.float64)


def _forget_columns(estimator: Any) -> None:
    """Drop what an earlier fit to a matrix has left."""
    for name in ("n_features_in_", "feature_names_in_"):
        estimator.__dict__.pop(name, None)


def _records_of(X: Any) -> NDArray[np.object_] | None:  # noqa: N803
    """Texts and records, [n]; None for a matrix, a frame of numbers and anything else."""
    if is_frame(X):
        first = _rows_of(X.head(_LOOKED_AT)) if hasattr(X, "head") else []
        if not any(isinstance(value, str) for row in first for value in row.values()):
            return None
        X = _rows_of(X)  # noqa: N806
    elif getattr(X, "ndim", 1) != 1 or not hasattr(X, "__len__") or isinstance(X, str | bytes):
        return None
    rows = X.tolist() if hasattr(X, "tolist") else list(X)
    if not rows or not _is_record(rows[0]):
        return None
    found = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        found[i] = row
    return found


def _rows_of(frame: Any) -> list[dict[str, Any]]:
    """The rows of a frame of pandas or polars; none of another library's."""
    if hasattr(frame, "to_dicts"):
        rows: list[dict[str, Any]] = frame.to_dicts()
        return rows
    return frame.to_dict("records") if hasattr(frame, "to_dict") else []


def _is_record(row: Any) -> bool:
    if isinstance(row, str | Mapping):
        return True
    return isinstance(row, list | tuple) and bool(row) and isinstance(row[0], str | bytes)
