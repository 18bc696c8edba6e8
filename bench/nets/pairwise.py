"""The pairwise hinge over pairs of feature vectors: which of two is the better, by one weight each.

    loss = Σ max(0, 1 − w·(better − worse))

Violators alone move the weights: ours by the task `ranking`, torch's by minibatches.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness import Figures

__all__ = ["alike", "ours", "products", "torch_hinge"]

BATCH = 256


def _scaled(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (
        rows * np.sqrt(rows.shape[1]) / np.linalg.norm(rows, axis=1, keepdims=True)
    )
    return found


def products(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The features of pairs of rows: the elementwise products of the rows, each of norm √d.

    With a weight for each, they sum to a weighted cosine similarity, times d.
    """
    return _scaled(a) * _scaled(b)


def alike(
    a: NDArray[np.float64], b: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The weighted similarities of the rows of `a` to those of `b`, [m, n]."""
    found: NDArray[np.float64] = (_scaled(a) * weights) @ _scaled(b).T
    return found


def ours(
    better: NDArray[np.float64], worse: NDArray[np.float64], rule: str
) -> tuple[NDArray[np.float64], Figures]:
    """The weights after one pass of an online learner over pairs of dicts, and its figures."""
    from onlinesvm import OnlineSVM

    model, seconds = OnlineSVM(task="ranking", rule=rule), 0.0
    for first in range(0, len(better), BATCH):
        rows = (part[first : first + BATCH].tolist() for part in (better, worse))
        pairs = [tuple(dict(enumerate(item)) for item in pair) for pair in zip(*rows, strict=True)]
        start = time.perf_counter()
        model.learn(pairs)
        seconds += time.perf_counter() - start
    weights = dict(model.weights)
    error: Any = model.metrics["pair_error"]
    return np.array([weights.get(str(j), 0.0) for j in range(better.shape[1])]), {
        "progressive_pair_error": error,
        "pairs_per_s": len(better) / seconds,
    }


def torch_hinge(
    better: NDArray[np.float64], worse: NDArray[np.float64], rate: float, device: str
) -> tuple[NDArray[np.float64], Figures]:
    """As `ours`, by minibatches of SGD on the mean loss of the violators."""
    import torch

    from bench.nets.convolution import hinge

    torch.set_num_threads(1)
    weights = torch.zeros(better.shape[1], device=device, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=rate)
    given = [torch.from_numpy(rows.astype(np.float32)).to(device) for rows in (better, worse)]
    wrong = torch.zeros((), device=device)
    start = time.perf_counter()
    for first in range(0, len(better), BATCH):
        own, other = (rows[first : first + BATCH] @ weights for rows in given)
        wrong += (own <= other).sum()
        loss, _ = hinge(own, other, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    errors = float(wrong)  # waits for the GPU
    seconds = time.perf_counter() - start
    return weights.detach().cpu().numpy().astype(np.float64), {
        "progressive_pair_error": errors / len(better),
        "pairs_per_s": len(better) / seconds,
    }
