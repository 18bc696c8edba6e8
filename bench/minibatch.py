"""Contenders of `bench.embedding_bag` in training: minibatches against one sample at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench import streams
from bench.harness import Figures, Job

__all__ = ["CONTENDERS", "together"]

RATES = (0.001, 0.01, 0.1, 1.0)
REQUEST = 1024  # rows a call of the online learner


def online(rule: str) -> Callable[[Any, Any, str], Figures]:
    def run(matrix: Any, labels: Any, device: str) -> Figures:
        from onlinesvm import OnlineSVM

        pieces = [
            (matrix[i : i + REQUEST], labels[i : i + REQUEST])
            for i in range(0, len(labels), REQUEST)
        ]
        model = OnlineSVM(rule=rule)
        start = time.perf_counter()
        for rows, signs in pieces:
            model.partial_fit(rows, signs)
        seconds = time.perf_counter() - start
        error = model.progressive.error
        assert error is not None
        return {"samples_per_s": len(labels) / seconds, "error": error}

    return run


def minibatches(size: int) -> Callable[[Any, Any, str], Figures]:
    def run(matrix: Any, labels: Any, device: str) -> Figures:
        _pass(matrix[: 4 * size], labels[: 4 * size], device, size, RATES[0])  # warms up
        found = [_pass(matrix, labels, device, size, rate) for rate in RATES]
        return min(found, key=lambda figures: figures["error"])

    return run


def _pass(matrix: Any, labels: Any, device: str, size: int, rate: float) -> Figures:
    """One pass; each minibatch is scored before it is learned. The hinge losses are added up."""
    import torch

    torch.manual_seed(0)
    bag = torch.nn.EmbeddingBag(
        matrix.shape[1] + 1, 1, mode="sum", sparse=True, padding_idx=0, device=device
    )
    bias = torch.zeros((), device=device, requires_grad=True)
    with torch.no_grad():
        bag.weight.zero_()
    step = torch.optim.SGD([*bag.parameters(), bias], lr=rate)
    signs = torch.tensor(np.asarray(labels), dtype=torch.float32, device=device)
    ids = torch.from_numpy(matrix.indices.astype(np.int64) + 1).to(device)
    indptr = matrix.indptr
    wrong = torch.zeros((), device=device)
    start = time.perf_counter()
    for first in range(0, len(labels), size):
        last = min(first + size, len(labels))
        ends = torch.from_numpy((indptr[first:last] - indptr[first]).astype(np.int64)).to(device)
        margins = bag(ids[indptr[first] : indptr[last]], ends).squeeze(1) + bias
        y = signs[first:last]
        wrong += ((margins > 0) != (y > 0)).sum()
        loss = torch.clamp(1 - y * margins, min=0).sum()
        step.zero_grad()
        loss.backward()
        step.step()
    errors = float(wrong)  # waits for the GPU
    seconds = time.perf_counter() - start
    return {"samples_per_s": len(labels) / seconds, "error": errors / len(labels), "rate": rate}


CONTENDERS: dict[str, tuple[Callable[[Any, Any, str], Figures], str]] = {
    "training: ours, sgd": (online("sgd"), "cpu"),
    "training: ours, hedge": (online("hedge"), "cpu"),
    **{
        f"training: torch, minibatches of {size}{', CUDA' if device == 'cuda' else ''}": (
            minibatches(size),
            device,
        )
        for device in ("cpu", "cuda")
        for size in (32, 256, 2048)
    },
}


def together(
    job: Job, names: Sequence[str], missing: Callable[[str], str | None]
) -> dict[str, Figures | str]:
    """All contenders, one after the other, over the same samples in the same order."""
    stream = streams.Stream(streams.CLASSIC, job.sizes["samples"], job.data)
    matrix, labels = streams.csr(stream)
    found: dict[str, Figures | str] = {}
    for name in names:
        if name in CONTENDERS:
            run, device = CONTENDERS[name]
            found[name] = missing(name) or run(matrix, labels, device)
    return found
