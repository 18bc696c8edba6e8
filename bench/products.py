"""The ways to score a batch of ragged rows that `bench.embedding_bag` compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.machine import available
from bench.ragged import Ragged, free_bytes

__all__ = [
    "EMBEDDING", "OFFSETS", "ON_CUDA", "ON_HOST", "OURS", "PADDED", "RESIDENT", "TORCH", "Run",
    "Shape", "made", "missing", "scorer_of", "too_large",
]  # fmt: skip

PADDED = "torch EmbeddingBag, padded"
OFFSETS = "torch EmbeddingBag, offsets"
EMBEDDING = "torch Embedding + sum"
RESIDENT, ON_HOST = ", CUDA, ids resident", ", CUDA, ids on the host"

Run = Callable[[], Any]


@dataclass
class Shape:
    """A cell of a sweep: rows, weights, and a scorer over these."""

    rows: Ragged
    vector: Any
    scorer: Any

    @property
    def csr(self) -> Any:
        from onlinesvm.data.batch import CSR

        return CSR(self.rows.indptr, self.rows.ids, self.rows.values.astype(np.float64, copy=False))


def scorer_of(vector: Any) -> Any:
    """A Scorer of these weights, without the names, which are not asked for here."""
    from onlinesvm import OnlineSVM, Scorer

    scorer = Scorer(OnlineSVM(rule="sgd"))
    scorer.weights = vector.astype(np.float64, copy=False)
    return scorer


# Contenders: the untimed preparation, and the run that is timed.


def auto(shape: Shape) -> Run:
    csr, score = shape.csr, shape.scorer.score
    return lambda: score(csr)


def native_csr(shape: Shape) -> Run:
    csr, score, weights = shape.csr, shape.scorer.kernel.score, shape.scorer.weights
    return lambda: score(csr, weights, 0.0)


def by_path(path: str) -> Callable[[Shape], Run]:
    def make(shape: Shape) -> Run:
        csr, score = shape.csr, shape.scorer.score
        return lambda: score(csr, path=path)

    return make


def scipy_csr(shape: Shape) -> Run:
    from scipy import sparse

    rows, vector = shape.rows, shape.vector
    matrix = sparse.csr_array(
        (rows.values, rows.ids, rows.indptr.astype(np.int32)), shape=(rows.batch, len(vector))
    )
    return lambda: matrix @ vector


def numpy_padded(shape: Shape) -> Run:
    transposed = np.ascontiguousarray(shape.rows.padded.T.astype(np.int32))
    vector = shape.vector
    return lambda: vector.take(transposed).sum(axis=0)


def _torch(run: str) -> Callable[[Shape, str], Run]:
    def make(shape: Shape, device: str) -> Run:
        import torch
        from torch.nn import functional as nn

        weight = torch.from_numpy(shape.vector).reshape(-1, 1).to(device)
        rows = shape.rows
        if run == "offsets":
            given = [
                torch.from_numpy(rows.ids.astype(np.int64)),
                torch.from_numpy(rows.indptr[:-1]),
            ]
        elif run == "sparse":
            given = [torch.from_numpy(rows.indptr), torch.from_numpy(rows.ids.astype(np.int64)),
                     torch.from_numpy(rows.values)]  # fmt: skip
        else:
            given = [torch.from_numpy(rows.padded)]
        if run == "masked":
            given.append((given[0] != 0).to(weight.dtype))
        held = [part.to(device) for part in given]

        def scored(parts: list[Any]) -> Any:
            if run == "padded":
                return nn.embedding_bag(parts[0], weight, mode="sum", padding_idx=0)
            if run == "offsets":
                return nn.embedding_bag(parts[0], weight, parts[1], mode="sum", padding_idx=0)
            if run == "sparse":
                shape_ = (rows.batch, len(shape.vector))
                return torch.sparse_csr_tensor(*parts, size=shape_) @ weight
            found = nn.embedding(parts[0], weight, padding_idx=0)
            if run == "masked":
                found = found * parts[1].unsqueeze(-1)
            return found.sum(1)

        if run == "sparse":  # made once, as scipy's matrix is
            matrix = torch.sparse_csr_tensor(*held, size=(rows.batch, len(shape.vector)))
            resident: Run = lambda: matrix @ weight  # noqa: E731
        else:
            resident = lambda: scored(held)  # noqa: E731
        resident.given, resident.scored = given, scored  # type: ignore[attr-defined]
        return resident

    return make


OURS: dict[str, Callable[[Shape], Run]] = {
    "auto": auto,
    "path csr": by_path("csr"),
    "native csr": native_csr,
    "scipy csr": scipy_csr,
    "path padded": by_path("padded"),
    "numpy padded": numpy_padded,
}
TORCH = {
    PADDED: _torch("padded"),
    OFFSETS: _torch("offsets"),
    EMBEDDING: _torch("sum"),
    "torch Embedding + masked sum": _torch("masked"),
    "torch sparse CSR": _torch("sparse"),
}
ON_CUDA = {name + where: (name, where) for name in TORCH for where in (RESIDENT, ON_HOST)}


def missing(name: str) -> str | None:
    """Why a contender cannot run here; None if it can."""
    if name == "native csr" and not available("onlinesvm.kernel.native"):
        return "onlinesvm.kernel.native not installed"
    if "torch" in name:
        if not available("torch"):
            return "torch not installed"
        import torch

        if "CUDA" in name and not torch.cuda.is_available():
            return "no CUDA device"
    return None


def too_large(name: str, rows: Ragged) -> str | None:
    """Why the rows are more than a contender has memory for; None if they are not."""
    size = np.dtype(rows.dtype).itemsize
    needed = rows.count * (8 + size)
    if "padded" in name or "Embedding +" in name:
        needed = rows.cells * (8 + size + (2 * size if "masked" in name else 0))
    free = free_bytes()
    if "CUDA" in name:
        import torch

        needed += rows.weights * size
        free = min(free, torch.cuda.mem_get_info()[0])
    if needed <= free // 2:
        return None
    return f"needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free"


def made(name: str, shape: Shape) -> Run:
    """The timed part of a contender."""
    if name in OURS:
        return OURS[name](shape)
    if name in TORCH:
        return TORCH[name](shape, "cpu")
    of, where = ON_CUDA[name]
    resident = TORCH[of](shape, "cuda")
    if where == RESIDENT:
        return resident
    given, scored = resident.given, resident.scored  # type: ignore[attr-defined]
    pinned = [part.pin_memory() for part in given]

    def run() -> Any:
        return scored([part.to("cuda", non_blocking=True) for part in pinned]).cpu()

    run.moves = lambda: [part.to("cuda") for part in pinned]  # type: ignore[attr-defined]
    return run
