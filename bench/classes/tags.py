"""The peers of several labels a row: the labels that each predicted, progressively."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.classes.peers import sparse_matrix, vw_command, write_vw
from bench.classes.sets import Tagged
from onlinesvm import kernel as kernels
from onlinesvm.model.sets import SetHead

__all__ = ["TAG_PEERS", "TagPeer", "micro_f1", "ours"]

_BATCH = 512

Predicted = list[list[int]]


class TagPeer(NamedTuple):
    """package: what it needs. is_fast: measured in other orders than the first too."""

    package: str
    learn: Callable[[Tagged], Predicted]
    is_fast: bool = True


def micro_f1(data: Tagged, predicted: Predicted) -> float:
    both = both_of = 0
    for own, guess in zip(data.labels.lists(), predicted, strict=True):
        both += len(set(own) & set(guess))
        both_of += len(own) + len(set(guess))
    return 2 * both / both_of


def ours(data: Tagged) -> Predicted:
    learner = SetHead(kernels.load(), True, 100_000, 128).rule
    n = len(data.labels)
    predicted: Predicted = []
    for start in range(0, n, _BATCH):
        stop = min(n, start + _BATCH)
        weights = np.ones(stop - start)
        learned = learner.learn(data.csr.rows(start, stop), data.labels[start:stop], weights)
        predicted += learned.predicted.lists()
    return predicted


def vowpal_wabbit(data: Tagged) -> Predicted:
    with tempfile.TemporaryDirectory() as folder:
        text, reported = Path(folder) / "in.vw", Path(folder) / "out"
        write_vw(text, [",".join(map(str, row)) for row in data.labels.lists()], data.csr)
        command = vw_command(data, text, "--multilabel_oaa", "K", "-p", str(reported))
        subprocess.run(command, check=True, capture_output=True)
        lines = reported.read_text().splitlines()
        return [[int(label) for label in line.split(",") if label.strip()] for line in lines]


def scikit_learn(data: Tagged) -> Predicted:
    from sklearn.linear_model import SGDClassifier
    from sklearn.multiclass import OneVsRestClassifier

    learner: Any = OneVsRestClassifier(SGDClassifier(random_state=0))
    matrix, n = sparse_matrix(data.csr, len(data.names)), len(data.labels)
    truths = np.zeros((n, data.classes), dtype=np.int8)
    truths[data.labels.rows, data.labels.ids] = 1
    predicted: Predicted = []
    for start in range(0, n, 32):
        x = matrix[start : start + 32]
        found = learner.predict(x) if start else np.zeros((x.shape[0], data.classes))
        predicted += [np.flatnonzero(row).tolist() for row in np.asarray(found)]
        learner.partial_fit(x, truths[start : start + 32], classes=np.arange(data.classes))
    return predicted


def dense(kind: str) -> Callable[[Tagged], Predicted]:
    """One binary PA-I or AROW a label; a label starts at its first row."""

    def learn(data: Tagged) -> Predicted:
        d, k = len(data.names) + 1, data.classes
        weights, variances = np.zeros((d, k)), np.ones((d if kind == "AROW" else 1, k))
        indptr, indices, values = data.csr
        predicted: Predicted = []
        known = 0
        for i, own in enumerate(data.labels.lists()):
            row = slice(indptr[i], indptr[i + 1])
            ids, x = np.append(indices[row], d - 1), np.append(values[row], 1.0)
            predicted.append(np.flatnonzero(x @ weights[ids, :known] > 0).tolist())
            known = max([known, *(label + 1 for label in own)])
            scores, signs = x @ weights[ids, :known], np.full(known, -1.0)
            signs[own] = 1.0
            loss = np.maximum(0.0, 1.0 - signs * scores)
            if kind == "PA-I":
                weights[ids, :known] += np.outer(x, np.minimum(1.0, loss / (x @ x)) * signs)
                continue
            own_variances = variances[ids, :known]
            spread = own_variances * x[:, None]
            beta = (loss > 0) / (x @ spread + 0.1)
            weights[ids, :known] += spread * (loss * beta * signs)
            variances[ids, :known] = own_variances - beta * spread**2
        return predicted

    return learn


TAG_PEERS = {
    "VW multilabel_oaa": TagPeer("vowpalwabbit", vowpal_wabbit),
    "sklearn SGD": TagPeer("scikit-learn", scikit_learn, is_fast=False),
    "PA-I": TagPeer("numpy", dense("PA-I")),
    "AROW": TagPeer("numpy", dense("AROW")),
}
