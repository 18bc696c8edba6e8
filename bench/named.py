"""Contenders of `bench.embedding_bag` from named features, end to end."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgpack
import numpy as np

from bench import streams
from bench.harness import Figures, Job

__all__ = ["CONTENDERS", "together"]

BATCHES = (1, 64, 1024, 16_384)

Run = Callable[[], Any]
Samples = list[list[str]]


class Model:
    """The weights learned from the stream, as ours and as a plain dictionary and a vector."""

    def __init__(self, job: Job) -> None:
        from onlinesvm import OnlineSVM, Scorer

        stream = streams.Stream(streams.CLASSIC, job.sizes["samples"], job.data)
        model = OnlineSVM(rule="sgd", bias=False)
        bodies = list(streams.bodies(stream))
        for body in bodies:
            model.learn_batch(model.kernel.decode(body, model.limits, labelled=True))
        self.asked: Samples = [
            names for body in bodies[: -(-max(BATCHES) // streams.BODY_SAMPLES)]
            for _, names in msgpack.unpackb(body)
        ]  # fmt: skip
        self.scorer = Scorer(model)
        self.ids = dict(model.lookup)
        self.weights = {name: float(w) for name, w in model.weights.items()}

    def batch(self, n: int) -> Samples:
        return (self.asked * -(-n // len(self.asked)))[:n]


def from_bytes(model: Model, samples: Samples, device: str) -> Run:
    scorer, body = model.scorer, msgpack.packb(samples)
    decode = partial(scorer.kernel.decode, labelled=False)
    return lambda: scorer.score_batch(decode(body, scorer.limits))


def from_lists(model: Model, samples: Samples, device: str) -> Run:
    return lambda: model.scorer.score(samples)


def one_at_a_time(model: Model, samples: Samples, device: str) -> Run:
    weights = model.weights.get

    def margin(sample: list[str]) -> float:
        total = 0.0
        for name in sample:
            total += weights(name, 0.0)
        return total

    return lambda: np.array([margin(sample) for sample in samples])


def _flat(model: Model, samples: Samples) -> tuple[list[int], list[int]]:
    """Ids end to end, and where each sample ends."""
    find, ids, ends = model.ids.get, [], [0]
    for sample in samples:
        ids += [find(name, 0) for name in sample]
        ends.append(len(ids))
    return ids, ends


def scipy_csr(model: Model, samples: Samples, device: str) -> Run:
    from scipy import sparse

    weights = model.scorer.weights

    def run() -> Any:
        ids, ends = _flat(model, samples)
        shape = len(samples), len(weights)
        return sparse.csr_array((np.ones(len(ids)), ids, ends), shape=shape) @ weights

    return run


def embedding_bag(model: Model, samples: Samples, device: str) -> Run:
    import torch
    from torch.nn import functional as nn

    weight = torch.from_numpy(np.array(model.scorer.weights)).reshape(-1, 1).to(device)

    def run() -> Any:
        ids, ends = _flat(model, samples)
        given = torch.tensor(ids, device=device), torch.tensor(ends[:-1], device=device)
        found = nn.embedding_bag(given[0], weight, given[1], mode="sum", padding_idx=0)
        return found.reshape(-1).cpu().numpy()

    return run


def embedding(model: Model, samples: Samples, device: str) -> Run:
    import torch
    from torch.nn import functional as nn

    weight = torch.from_numpy(np.array(model.scorer.weights)).reshape(-1, 1).to(device)

    def run() -> Any:
        find = model.ids.get
        longest = max(map(len, samples))
        rows = [
            [find(name, 0) for name in sample] + [0] * (longest - len(sample)) for sample in samples
        ]
        ids = torch.tensor(rows, device=device)
        return nn.embedding(ids, weight, padding_idx=0).sum(1).reshape(-1).cpu().numpy()

    return run


CONTENDERS: dict[str, tuple[Callable[[Model, Samples, str], Run], str]] = {
    "named: ours, bytes": (from_bytes, "cpu"),
    "named: ours, lists": (from_lists, "cpu"),
    "named: dictionary, one at a time": (one_at_a_time, "cpu"),
    "named: dictionary + scipy csr": (scipy_csr, "cpu"),
    "named: dictionary + torch EmbeddingBag, offsets": (embedding_bag, "cpu"),
    "named: dictionary + torch Embedding + sum": (embedding, "cpu"),
    "named: dictionary + torch EmbeddingBag, offsets, CUDA": (embedding_bag, "cuda"),
    "named: dictionary + torch Embedding + sum, CUDA": (embedding, "cuda"),
}


def together(
    job: Job, names: Sequence[str], missing: Callable[[str], str | None]
) -> dict[str, Figures | str]:
    """All contenders in turn, at each size of a batch."""
    found: dict[str, Figures | str] = {}
    for name in names:
        if name in CONTENDERS:
            reason = missing(name)
            found[name] = {} if reason is None else reason
    model = Model(job)
    for n in (n for n in BATCHES if n <= job.sizes["batch"]):
        samples = model.batch(n)
        expected = model.scorer.score(samples)
        runs: dict[str, Run] = {}
        for name, figures in found.items():
            if isinstance(figures, str):
                continue
            make, device = CONTENDERS[name]
            runs[name] = make(model, samples, device)
            if not np.allclose(runs[name](), expected, rtol=1e-9, atol=1e-9):
                raise RuntimeError(f"{name}: its margins are not those of float64")
        spent: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(job.sizes["turns"]):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                spent[name].append(time.perf_counter() - start)
        for name, seconds in spent.items():
            figures = found[name]
            assert not isinstance(figures, str)
            figures[f"us@{n}"] = statistics.median(seconds) * 1e6
    return found
