"""The scikit-learn estimator: its checks, and its place among scikit-learn's tools."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy import sparse

pytest.importorskip("sklearn", reason="scikit-learn is not installed: onlinesvm[sklearn]")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from onlinesvm import OnlineSVM
from onlinesvm.sklearn import (
    EXPECTED_FAILED_CHECKS,
    OnlineSVMClassifier,
    OnlineSVMMultilabelClassifier,
)

TEXTS = ["free prize now", "minutes of the meeting", "free lunch prize", "the next meeting"] * 10
KINDS = ["spam", "ham", "spam", "ham"] * 10


def drawn(n: int = 200) -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(n, 5))  # noqa: N806
    return X, np.where(X @ np.array([2.0, -1.0, 0.0, 0.5, 1.0]) > 0, "yes", "no")


@pytest.mark.filterwarnings("ignore")  # the checks warn of what they skip
@parametrize_with_checks(
    [OnlineSVMClassifier()], expected_failed_checks=lambda _: EXPECTED_FAILED_CHECKS
)
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_fit_is_the_model_of_the_same_rows() -> None:
    X, y = drawn()  # noqa: N806
    fitted = OnlineSVMClassifier(shuffle=False).fit(X, y)
    model = OnlineSVM().partial_fit(X, np.where(y == "yes", 1, -1))
    assert fitted.decision_function(X).tobytes() == model.decision_function(X).tobytes()
    assert fitted.classes_.tolist() == ["no", "yes"]
    in_parts = OnlineSVMClassifier()
    for part in (slice(0, 70), slice(70, 200)):
        in_parts.partial_fit(X[part], y[part], classes=["no", "yes"])
    assert in_parts.decision_function(X).tobytes() == fitted.decision_function(X).tobytes()
    assert fitted.score(X, y) > 0.9


RECORDS: list[Any] = [
    "Free prize now!!", {"subject": "minutes", "known": True, "n": 3}, ["free", "prize"],
    {"subject": "the next meeting", "known": True, "n": 1},
] * 10  # fmt: skip


@pytest.mark.parametrize("given", [list, tuple, lambda rows: np.array(rows, dtype=object)])
def test_texts_and_records_are_learned_as_the_model_learns_them(given: Any) -> None:
    settings = {"fields": {"subject": "text"}, "numbers": "prefixes", "crosses": "*"}
    fitted = OnlineSVMClassifier(shuffle=False, **settings).fit(given(RECORDS), KINDS)
    model, pairs = OnlineSVM(**settings), zip(RECORDS, KINDS, strict=True)
    model.learn([(row, 1 if kind == "spam" else -1) for row, kind in pairs])
    assert fitted.decision_function(given(RECORDS)).tobytes() == (
        model.decision_function(RECORDS).tobytes()
    )
    asked = ["a free prize", {"subject": "next meeting", "known": True}]
    assert fitted.predict(asked).tolist() == ["spam", "ham"]
    assert not hasattr(fitted, "n_features_in_")
    assert "n@1:3" in fitted.model_.lookup
    again = pickle.loads(pickle.dumps(fitted))
    assert again.predict(given(RECORDS)).tolist() == fitted.predict(given(RECORDS)).tolist()


def test_texts_go_through_scikit_learns_tools() -> None:
    assert cross_val_score(OnlineSVMClassifier(), TEXTS, KINDS, cv=4).mean() == 1.0
    search = GridSearchCV(OnlineSVMClassifier(), {"text": ["words", "default"]}, cv=2)
    assert search.fit(TEXTS, KINDS).best_score_ == 1.0
    weighted = OnlineSVMClassifier(passes=2, random_state=1)
    weighted.fit(TEXTS, KINDS, sample_weight=np.arange(40))
    assert weighted.partial_fit(TEXTS[:2], KINDS[:2]).score(TEXTS, KINDS) == 1.0
    calibrated = CalibratedClassifierCV(OnlineSVMClassifier(), cv=2).fit(TEXTS, KINDS)
    assert calibrated.predict(TEXTS[:2]).tolist() == KINDS[:2]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_rows_of_a_frame_with_text_are_records(library: str) -> None:
    frame = pytest.importorskip(library).DataFrame(
        {"from": ["shop", "mum"] * 9, "text": ["free prize", "at home"] * 9, "n": range(18)}
    )
    kinds = ["spam", "ham"] * 9
    fitted = OnlineSVMClassifier(shuffle=False, crosses=[("from", "text")]).fit(frame, kinds)
    assert {"from=shop", "text^free prize", "n"} <= set(fitted.model_.lookup)
    assert fitted.score(frame, kinds) == 1.0
    numbers = OnlineSVMClassifier().fit(frame[["n"]], kinds)
    assert numbers.n_features_in_ == 1
    numbers.fit(frame, kinds)
    assert not hasattr(numbers, "n_features_in_")


def test_texts_and_labels_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        OnlineSVMClassifier().fit(TEXTS, KINDS[1:])
    with pytest.raises(ValueError, match="2D array"):
        OnlineSVMClassifier().fit([1.0, 2.0], KINDS[:2])


def test_many_classes_are_the_model_of_their_places() -> None:
    X, _ = drawn(400)  # noqa: N806
    y = np.array(["c", "a", "d", "b"])[X[:, :4].argmax(axis=1)]
    fitted = OnlineSVMClassifier(shuffle=False).fit(X, y)
    assert fitted.classes_.tolist() == ["a", "b", "c", "d"]
    places = np.searchsorted(fitted.classes_, y)
    model = OnlineSVM(task="multiclass", labels=(0, 1, 2, 3)).partial_fit(X, places)
    scores, shares = fitted.decision_function(X), fitted.predict_proba(X)
    assert scores.tobytes() == model.decision_function(X).tobytes()
    assert scores.shape == shares.shape == (400, 4)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert fitted.classes_[shares.argmax(axis=1)].tolist() == fitted.predict(X).tolist()
    assert fitted.score(X, y) > 0.85
    in_parts = OnlineSVMClassifier()
    for part in (slice(0, 1), slice(1, 400)):
        in_parts.partial_fit(X[part], y[part], classes=["d", "c", "b", "a"])
    assert in_parts.decision_function(X).tobytes() == scores.tobytes()
    assert cross_val_score(OnlineSVMClassifier(random_state=0), X, y, cv=3).min() > 0.8
    balanced = OnlineSVMClassifier(class_weight="balanced", shuffle=False).fit(X, y)
    assert balanced.model_.config.class_weight == "balanced"


def test_texts_of_many_classes() -> None:
    texts = ["free prize now", "minutes of the meeting", "where is my parcel", "parcel and prize"]
    kinds = ["spam", "work", "shop", "shop"]
    fitted = OnlineSVMClassifier(shuffle=False, numbers="prefixes").fit(texts * 10, kinds * 10)
    assert fitted.classes_.tolist() == ["shop", "spam", "work"]
    model = OnlineSVM(task="multiclass", labels=(0, 1, 2), numbers="prefixes")
    model.learn([*zip(texts, [1, 2, 0, 0], strict=True)] * 10)
    assert fitted.predict_proba(texts).tobytes() == model.predict_proba(texts).tobytes()
    assert fitted.predict([*texts, {"subject": "my parcel", "n": 3}]).tolist() == [*kinds, "shop"]
    assert "free prize" in fitted.model_.lookup
    assert cross_val_score(OnlineSVMClassifier(), texts * 9, kinds * 9, cv=3).mean() == 1.0
    sets = OnlineSVMMultilabelClassifier().fit(texts * 10, [[1, 0], [0, 1], [1, 1], [0, 0]] * 10)
    assert sets.predict(texts).tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]


def test_class_weights_of_many_classes_are_factors() -> None:
    X, _ = drawn(200)  # noqa: N806
    y = X[:, :3].argmax(axis=1) + 5
    weights = np.linspace(0.5, 2.0, 200)
    weighted = OnlineSVMClassifier(class_weight={5: 3.0}, shuffle=False).fit(X, y, weights)
    given = OnlineSVMClassifier(shuffle=False).fit(X, y, weights * np.where(y == 5, 3.0, 1.0))
    assert weighted.decision_function(X).tobytes() == given.decision_function(X).tobytes()


def test_sparse_matrices_are_dense_ones() -> None:
    X, y = drawn()  # noqa: N806
    X[np.abs(X) < 0.5] = 0.0
    dense, other = (OnlineSVMClassifier(random_state=0).fit(x, y) for x in (X, sparse.csr_array(X)))
    margins = dense.decision_function(X)
    assert other.decision_function(sparse.csc_array(X)).tobytes() == margins.tobytes()


def test_a_sample_weight_is_an_importance() -> None:
    X, y = drawn()  # noqa: N806
    weights = np.linspace(0.0, 2.0, len(y))
    fitted = OnlineSVMClassifier(shuffle=False).fit(X, y, sample_weight=weights)
    model = OnlineSVM().partial_fit(X, np.where(y == "yes", 1, -1), weights)
    assert fitted.decision_function(X).tobytes() == model.decision_function(X).tobytes()
    for wrong in (-weights, weights[1:]):
        with pytest.raises(ValueError, match=r"[Nn]egative|shape"):
            OnlineSVMClassifier().fit(X, y, sample_weight=wrong)


def test_probabilities_and_labels_agree() -> None:
    X, y = drawn()  # noqa: N806
    fitted = OnlineSVMClassifier(random_state=0).fit(X, y)
    probabilities = fitted.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    best = fitted.classes_[probabilities.argmax(axis=1)]
    assert best.tolist() == fitted.predict(X).tolist()


def test_in_pipelines_cross_validation_and_searches() -> None:
    X, y = drawn()  # noqa: N806
    pipeline = make_pipeline(StandardScaler(), OnlineSVMClassifier(random_state=0))
    assert cross_val_score(pipeline, X, y, cv=3).min() > 0.85
    search = GridSearchCV(
        pipeline, {"onlinesvmclassifier__rule": ["hedge", "pa1"]}, cv=3, n_jobs=1
    ).fit(X, y)
    assert search.best_score_ > 0.85
    calibrated = CalibratedClassifierCV(OnlineSVMClassifier(random_state=0), cv=3).fit(X, y)
    assert calibrated.score(X, y) > 0.85
    assert clone(pipeline[1]).get_params() == pipeline[1].get_params()


def test_with_vectorizers() -> None:
    texts = make_pipeline(HashingVectorizer(n_features=2**12), OnlineSVMClassifier(passes=3))
    assert texts.fit(TEXTS, KINDS).predict(["free prize", "the meeting"]).tolist() == [
        "spam", "ham",
    ]  # fmt: skip
    dicts = [{word: 1 for word in text.split()} for text in TEXTS]
    named = make_pipeline(DictVectorizer(), OnlineSVMClassifier(passes=3)).fit(dicts, KINDS)
    assert named.predict([{"free": 1}, {"meeting": 1}]).tolist() == ["spam", "ham"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_keep_their_names(library: str) -> None:
    frames = pytest.importorskip(library)
    X, y = drawn()  # noqa: N806
    frame = frames.DataFrame({name: X[:, j] for j, name in enumerate("abcde")})
    scaler = StandardScaler().set_output(transform=library)
    pipeline = make_pipeline(scaler, OnlineSVMClassifier(random_state=0)).fit(frame, y)
    assert pipeline[1].feature_names_in_.tolist() == list("abcde")
    assert (
        pipeline.predict(frame).tolist()
        == (
            make_pipeline(StandardScaler(), OnlineSVMClassifier(random_state=0))
            .fit(X, y)
            .predict(X)
        ).tolist()
    )
    with pytest.raises(ValueError, match="same order"):
        pipeline[1].predict(scaler.transform(frame)[list("edcba")])


def test_a_pickled_estimator_learns_on_alike() -> None:
    X, y = drawn()  # noqa: N806
    fitted = OnlineSVMClassifier(random_state=0, kernel="python").fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    for estimator in (fitted, again):
        estimator.partial_fit(X[:50], y[:50])
    assert again.decision_function(X).tobytes() == fitted.decision_function(X).tobytes()
    assert again.model_.kernel.NAME == "python"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda e, x, y: e.predict(x), NotFittedError, "not fitted"),
        (lambda e, x, y: e.fit(x, ["a"] * len(y)), ValueError, "classes or more to fit, got one"),
        (
            lambda e, x, y: e.set_params(rule="pa1").fit(x, ["a", "b", "c", "a"] * 50),
            ValueError, "expected hedge for task multiclass, got 'pa1'",
        ),
        (lambda e, x, y: e.partial_fit(x[:1], y[:1]), ValueError, "all by classes="),
        (lambda e, x, y: e.fit(x, y).partial_fit(x, ["z"] * 200), ValueError, r"'z'\S* at y\[0\]"),
        (lambda e, x, y: e.set_params(passes=0).fit(x, y), ValueError, "passes: expected an int"),
        (lambda e, x, y: e.set_params(rule="svm").fit(x, y), ValueError, "rule: expected one of"),
        (
            lambda e, x, y: e.set_params(class_weight={"spam": 2.0, y[0]: 1.0}).fit(x, y),
            ValueError,
            r"class_weight: expected classes of \[.*\], got 'spam'",
        ),
    ],
)  # fmt: skip
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(OnlineSVMClassifier(), *drawn())


def test_without_scikit_learn_the_import_names_the_extra() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import onlinesvm.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ImportError: onlinesvm.sklearn needs scikit-learn 1.6 or later: pip install"
        " 'onlinesvm[sklearn]'"
    )


@pytest.mark.parametrize("kernel", ["native", "python"])
def test_several_labels_a_sample_by_an_indicator_matrix(kernel: str) -> None:
    from sklearn.datasets import make_multilabel_classification
    from sklearn.metrics import f1_score

    x, y = make_multilabel_classification(n_samples=400, n_classes=5, random_state=0)
    made = OnlineSVMMultilabelClassifier(random_state=0, kernel=kernel, passes=2)
    made.fit(x, y)
    found = made.predict(x)
    assert found.shape == y.shape and set(np.unique(found)) <= {0, 1}
    assert f1_score(y, found, average="micro") > 0.7
    assert made.decision_function(x).shape == made.predict_proba(x).shape == y.shape
    assert np.isfinite(made.decision_function(x)).all()
    parts = OnlineSVMMultilabelClassifier(kernel=kernel)
    whole = OnlineSVMMultilabelClassifier(kernel=kernel, shuffle=False)
    parts.partial_fit(x[:100], sparse.csr_matrix(y[:100])).partial_fit(x[100:], y[100:])
    whole.fit(sparse.csr_matrix(x), y)
    assert np.array_equal(parts.predict_proba(x), whole.predict_proba(x))
    with pytest.raises(ValueError, match="expected 5 columns as in the first call, got 3"):
        parts.partial_fit(x, y[:, :3])
    with pytest.raises(ValueError, match="indicator matrix of 0 and 1"):
        made.fit(x, y + 1)


def test_lists_of_labels_with_a_matrix() -> None:
    model = OnlineSVM(task="multilabel")
    x = np.eye(3).repeat(20, axis=0)
    model.partial_fit(x, [["a", "b"]] * 20 + [["a"]] * 20 + [[]] * 20)
    found = model.predict(np.eye(3)).tolist()
    assert [set(labels) for labels in found] == [{"a", "b"}, {"a"}, set()]
