"""Cross features: what does learning a sample cost as the model grows, sparse and dense?"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness import Bench, Figures, Job, Target
from bench.published import Claim

FIELDS = 5  # of a user, and as many of an item: 25 crosses a sample
VALUES = (6, 20, 63, 100, 200)  # of a field: 900 to 1,000,000 cross features
PUBLISHED = 250_000
SIZES = [(values, FIELDS**2 * values**2) for values in VALUES]
ETA0 = 0.125  # sums of eighths are exact, in every order
FIRST = 1000  # samples that all contenders learn, and are compared on
PIECE = 1000  # samples of ours in a piece; CALLS of torch
CALLS = 20
MOST_S = 4.0  # the longest that torch is timed at one size

bench = Bench(
    name="cross_features",
    question="Cross features, of which a sample has 25: microseconds a sample as the model grows",
    caveats=(
        "Five fields of a user crossed with five of an item, v values each: 25 crosses a sample of"
        " 25·v² features, 250,000 at v = 100, popular values as often as their rank says. Labels"
        " are by chance, so that about as many samples violate the margin at every size:"
        " `violators@N`. Hinge loss, eta0 1/8, one sample after another, one thread.",
        "Timed is the second half of the samples, in pieces, the median piece: ours is at its size"
        " by then, `learned@N` the features it has met by the end. torch has its size from the"
        " start: timed after 1,000 samples, four seconds at most.",
        "torch, dense: a vector of all weights, and a gradient as long, which is what backward and"
        " an optimizer make of it. torch, sparse: a sparse gradient. Both are float64.",
        "`growth` is the cost at 1,000,000 features over that at 900. What ours grows by is"
        " memory: weights that no cache holds. `error` is progressive, of the"
        " first 1,000 samples at 250,000: all learn the same model.",
    ),
    axis="features",
    short={"rounds": 1, "samples": 4000},
    full={"rounds": 3, "samples": 50_000},
    targets=(
        Target("ours, from names", "torch, dense", f"us@{PUBLISHED}", lower_is_better=True),
        Target("ours, from names", "torch, sparse", f"us@{PUBLISHED}", lower_is_better=True),
        Target("ours, from ids", "torch, dense", f"us@{PUBLISHED}", lower_is_better=True),
    ),
    claims=tuple(
        Claim("A sample costs at 1,000,000 cross features less than twice what it costs at 900",
              "–", name, "growth", at_most=2, unit="×")
        for name in ("ours, from names", "ours, from ids", "torch, dense", "torch, sparse",
                     "torch, dense, CUDA", "torch, sparse, CUDA")
    ),
)  # fmt: skip


def samples(count: int, values: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids of the cross features, int64[count, 25], from 0 on, and labels, −1 or +1.

    The cross of value u of the user's field i and value v of the item's field j is the feature
    ((i·FIELDS + j)·values + u)·values + v.
    """
    random = np.random.default_rng(values)
    drawn = np.exp(random.random((count, 2, FIELDS)) * np.log(values)).astype(np.int64)
    drawn = np.clip(drawn, 1, values) - 1
    crosses = [
        ((i * FIELDS + j) * values + drawn[:, 0, i]) * values + drawn[:, 1, j]
        for i, j in product(range(FIELDS), repeat=2)
    ]
    ids = np.stack(crosses, 1)
    labels = np.where(random.random(count) < 0.5, 1.0, -1.0)
    return ids, labels


def names(ids: NDArray[np.int64], values: int) -> list[list[str]]:
    """The names of cross features: ``u0=3×i4=17``."""
    field, rest = np.divmod(ids, values**2)
    columns = (*np.divmod(field, FIELDS), *np.divmod(rest, values))
    return [
        [f"u{i}={u}×i{j}={v}" for i, j, u, v in zip(*row, strict=True)]
        for row in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _figures(spent: dict[int, float], error: float) -> Figures:
    figures = {f"us@{size}": seconds * 1e6 for size, seconds in spent.items()}
    return {**figures, "growth": spent[max(spent)] / spent[min(spent)], "error": error}


def _timed(
    learn: Callable[[Any], Any], pieces: list[Any], spent: dict[int, float], size: int
) -> list[Any]:
    """The values of `learn` for each piece; the median seconds a sample go into `spent`."""
    found, seconds = [], []
    for piece in pieces:
        start = time.perf_counter()
        found.append(learn(piece))
        seconds.append(time.perf_counter() - start)
    spent[size] = statistics.median(seconds) / PIECE
    return found


# Ours.


@bench.contender("ours, from names", kernel="native")
def from_names(job: Job) -> Figures:
    from onlinesvm import OnlineSVM

    spent, found, error = {}, {}, 0.0
    for values, size in SIZES:
        ids, labels = samples(2 * job.sizes["samples"], values)
        given = list(zip(names(ids, values), labels.tolist(), strict=True))
        half = len(given) // 2
        model = OnlineSVM(rule="sgd", eta0=ETA0)
        model.learn(given[:FIRST])
        if size == PUBLISHED:
            error = model.progressive.error or 0.0
        model.learn(given[FIRST:half])
        pieces = [given[i : i + PIECE] for i in range(half, len(given), PIECE)]
        margins = np.concatenate(_timed(model.learn, pieces, spent, size))
        found[f"learned@{size}"] = float(len(model.lookup))
        found[f"violators@{size}"] = float(np.mean(margins * labels[half:] < 1))
    return _figures(spent, error) | found


@bench.contender("ours, from ids", kernel="native")
def from_ids(job: Job) -> Figures:
    from scipy import sparse

    from onlinesvm import OnlineSVM

    spent, error = {}, 0.0
    for values, size in SIZES:
        ids, labels = samples(2 * job.sizes["samples"], values)
        indptr = np.arange(0, ids.size + 1, ids.shape[1])
        rows = sparse.csr_matrix((np.ones(ids.size), ids.ravel(), indptr), shape=(len(ids), size))
        half = len(ids) // 2
        ends = [0, FIRST, *range(half, len(ids) + 1, PIECE)]
        pieces = [(rows[i:j], labels[i:j]) for i, j in pairwise(ends)]
        model = OnlineSVM(rule="sgd", eta0=ETA0)
        model.partial_fit(*pieces[0])
        if size == PUBLISHED:
            error = model.progressive.error or 0.0
        model.partial_fit(*pieces[1])
        _timed(lambda piece, model=model: model.partial_fit(*piece), pieces[2:], spent, size)
    return _figures(spent, error)


# torch.


def _torch(dense: bool, device: str) -> Callable[[Job], Figures]:
    def run(job: Job) -> Figures:
        spent, error = {}, 0.0
        for values, size in SIZES:
            ids, labels = samples(2 * job.sizes["samples"], values)
            mistakes, spent[size] = _one_by_one(ids, labels, size, dense, device)
            if size == PUBLISHED:
                error = mistakes / FIRST
        return _figures(spent, error)

    return run


def _one_by_one(
    ids: NDArray[np.int64], labels: NDArray[np.float64], size: int, dense: bool, device: str
) -> tuple[int, float]:
    """Mistakes among the first samples, and seconds a sample of those after."""
    import torch

    torch.set_num_threads(1)
    weight = torch.zeros(size, 1, dtype=torch.float64, device=device, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, device=device, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=ETA0)
    rows = torch.from_numpy(ids).to(device)
    mistakes = 0
    marks: list[float] = []  # the clock, every CALLS samples
    for i, y in enumerate(labels.tolist()):
        if i >= FIRST and i % CALLS == 0:
            marks.append(time.perf_counter())
            if marks[-1] - marks[0] > MOST_S:
                break
        found = torch.nn.functional.embedding(rows[i], weight, sparse=not dense)
        margin = found.sum() + bias
        value = float(margin)  # waits for the GPU
        mistakes += i < FIRST and (value > 0) != (y > 0)
        if y * value < 1:
            optimizer.zero_grad()
            (1 - y * margin).backward()
            optimizer.step()
    return mistakes, statistics.median(np.diff(marks).tolist()) / CALLS


for _device, _where in (("cpu", ""), ("cuda", ", CUDA")):
    for _kind in ("dense", "sparse"):
        bench.contender(
            f"torch, {_kind}{_where}", needs=("torch",) if _device == "cpu" else ("cuda",)
        )(_torch(_kind == "dense", _device))

if __name__ == "__main__":
    sys.exit(bench.main())
