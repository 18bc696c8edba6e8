"""The peers of one label a row: which rows each predicted wrongly, progressively."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.classes.sets import Data, Tagged
from onlinesvm import LearnerConfig
from onlinesvm import kernel as kernels
from onlinesvm.data.batch import CSR
from onlinesvm.model.head import Head

__all__ = ["HEDGES", "PEERS", "Peer", "hedges", "sparse_matrix", "vw_command", "write_vw"]

Mistakes = NDArray[np.bool_]

_FEW = 100  # labels of peers that take K times as long
_SLOW = (_FEW, 0)


class Peer(NamedTuple):
    """package: what it needs. most: labels that it takes in reasonable time. often: labels at which
    it is measured in other orders than the first too.
    """

    package: str
    learn: Callable[[Data], Mistakes]
    most: int = 2000
    often: int = 2000


def write_vw(path: Path, labels: list[str], csr: CSR, names: list[str] | None = None) -> None:
    """VW's text: the label of each row, and its features by id, or by name."""
    indptr, indices, values = (column.tolist() for column in csr)
    with path.open("w", encoding="utf-8") as file:
        for i, label in enumerate(labels):
            row = slice(indptr[i], indptr[i + 1])
            pairs = zip(indices[row], values[row], strict=True)
            shown = (
                f"{names[j] if names else j}" if x == 1 else f"{names[j] if names else j}:{x!r}"
                for j, x in pairs
            )
            file.write(f"{label} | {' '.join(shown)}\n")


def vw_command(data: Data | Tagged, path: Path, *flags: str) -> list[str]:
    """VW's driver over `path`; K among the flags stands for the number of labels."""
    width = max(2, data.classes) * len(data.names)
    bits = min(28, max(18, math.ceil(math.log2(width)) + 1))
    command = [sys.executable, "-m", "vowpalwabbit", "-d", str(path), "-b", str(bits), "--quiet"]
    return [*command, *(str(data.classes) if flag == "K" else flag for flag in flags)]


def vowpal_wabbit(*flags: str) -> Callable[[Data], Mistakes]:
    def learn(data: Data) -> Mistakes:
        with tempfile.TemporaryDirectory() as folder:
            text, reported = Path(folder) / "in.vw", Path(folder) / "out"
            write_vw(text, [str(label + 1) for label in data.labels.tolist()], data.csr)
            command = vw_command(data, text, *flags, "-p", str(reported))
            subprocess.run(command, check=True, capture_output=True)
            return np.asarray(np.loadtxt(reported).astype(int) - 1 != data.labels)

    return learn


def sparse_matrix(csr: CSR, width: int, *, positive: bool = False) -> Any:
    """The rows as a matrix of scipy; absolute values where they must be `positive`."""
    from scipy import sparse

    indptr, indices, values = csr
    shape = len(indptr) - 1, width
    return sparse.csr_matrix((np.abs(values) if positive else values, indices, indptr), shape=shape)


def scikit_learn(name: str) -> Callable[[Data], Mistakes]:
    def learn(data: Data) -> Mistakes:
        from sklearn import linear_model, naive_bayes

        made: Any = {
            "SGD": lambda: linear_model.SGDClassifier(random_state=0),
            "PA": lambda: linear_model.SGDClassifier(
                random_state=0, loss="hinge", penalty=None, learning_rate="pa1", eta0=1.0
            ),
            "MNB": naive_bayes.MultinomialNB,
        }[name]()
        matrix = sparse_matrix(data.csr, len(data.names), positive=name == "MNB")
        parts, every = [np.empty(0, int)], np.arange(data.classes)
        for start in range(0, len(data.labels), 32):
            x, y = matrix[start : start + 32], data.labels[start : start + 32]
            # Before the first batch nothing can be predicted.
            parts.append(made.predict(x) if start else np.full(len(y), -1))
            made.partial_fit(x, y, classes=every)
        return np.asarray(np.concatenate(parts) != data.labels)

    return learn


def river(made: Callable[[Any, Any], Any]) -> Callable[[Data], Mistakes]:
    def learn(data: Data) -> Mistakes:
        from river import linear_model, multiclass

        learner = made(linear_model, multiclass)
        indptr, indices, values = (column.tolist() for column in data.csr)
        wrong = np.ones(len(data.labels), dtype=bool)
        for i, y in enumerate(data.labels.tolist()):
            row = slice(indptr[i], indptr[i + 1])
            x = dict(zip(indices[row], values[row], strict=True))
            wrong[i] = learner.predict_one(x) != y
            learner.learn_one(x, y)
        return wrong

    return learn


def dense(kind: str) -> Callable[[Data], Mistakes]:
    """Multi-class PA-I or AROW: the truth against the strongest rival."""

    def learn(data: Data) -> Mistakes:
        d, k = len(data.names) + 1, data.classes
        weights, variances = np.zeros((d, k)), np.ones((d if kind == "AROW" else 1, k))
        indptr, indices, values = data.csr
        wrong, known = np.ones(len(data.labels), dtype=bool), 0
        for i, y in enumerate(data.labels.tolist()):
            row = slice(indptr[i], indptr[i + 1])
            ids, x = np.append(indices[row], d - 1), np.append(values[row], 1.0)
            scores = x @ weights[ids]
            wrong[i] = y >= known or int(scores[:known].argmax()) != y
            known = max(known, y + 1)
            if known < 2:
                continue
            scores[known:] = scores[y] = -np.inf
            rival = int(scores.argmax())
            loss = 1 - float(x @ (weights[ids, y] - weights[ids, rival]))
            if loss <= 0:
                continue
            if kind == "PA-I":
                step = min(1.0, loss / (2 * float(x @ x))) * x
                weights[ids, y] += step
                weights[ids, rival] -= step
            else:
                own, other = variances[ids, y], variances[ids, rival]
                beta = 1 / (float(x**2 @ (own + other)) + 0.1)
                weights[ids, y] += loss * beta * own * x
                weights[ids, rival] -= loss * beta * other * x
                variances[ids, y] -= beta * (own * x) ** 2
                variances[ids, rival] -= beta * (other * x) ** 2
        return wrong

    return learn


def hedges(data: Data) -> Mistakes:
    """As many binary hedges as labels, one against the rest each; one starts at its label's first
    row, as it would.
    """
    n, best = len(data.labels), np.full(len(data.labels), -np.inf)
    predicted = np.full(n, -1)
    for label in range(data.classes):
        first = int(np.flatnonzero(data.labels == label)[0])
        rule = Head(kernels.load(), LearnerConfig()).rule
        signs = np.where(data.labels[first:] == label, 1.0, -1.0)
        margins = rule.learn(data.csr.rows(first, n), signs, np.ones(n - first))
        margins[0] = -np.inf  # not known yet
        better = margins > best[first:]
        best[first:][better], predicted[first:][better] = margins[better], label
    return np.asarray(predicted != data.labels)


HEDGES = "K hedges"
_OAA = ("--oaa", "K", "--loss_function")
PEERS = {
    "VW oaa squared": Peer("vowpalwabbit", vowpal_wabbit(*_OAA, "squared")),
    "VW oaa hinge": Peer("vowpalwabbit", vowpal_wabbit(*_OAA, "hinge")),
    "VW oaa logistic": Peer("vowpalwabbit", vowpal_wabbit(*_OAA, "logistic"), often=_FEW),
    "VW ect": Peer("vowpalwabbit", vowpal_wabbit("--ect", "K")),
    "sklearn SGD": Peer("scikit-learn", scikit_learn("SGD"), *_SLOW),
    "sklearn PA": Peer("scikit-learn", scikit_learn("PA"), *_SLOW),
    "sklearn MNB": Peer("scikit-learn", scikit_learn("MNB"), *_SLOW),
    "river softmax": Peer("river", river(lambda linear, _: linear.SoftmaxRegression()), *_SLOW),
    "river PA": Peer(
        "river",
        river(lambda linear, many: many.OneVsRestClassifier(linear.PAClassifier())),
        *_SLOW,
    ),
    "PA-I": Peer("numpy", dense("PA-I")),
    "AROW": Peer("numpy", dense("AROW")),
}
