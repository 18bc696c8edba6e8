"""The published claims that this project starts from, each measured beside ours.

They are about a tutorial's way to score ragged samples with a framework: pad them, look them up in
an embedding whose padding row is zero, sum. Figures of these claims are theirs, on their machines.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Bench, Figures, Job
from bench.published import Claim
from bench.ragged import Ragged, weight_vector

EXAMPLE = [[1, 1, 2, 6, 0], [1, 5, 5, 0, 0]]  # 2 × 5 ids, 0 the padding
FEATURES = 7

bench = Bench(
    name="claims",
    question="The claims that this project starts from, beside ours",
    caveats=(
        "(a) Batching ragged samples by padding against one at a time: published 14,863 → 8,294 ms,"
        " 1.79 times as fast, on an embedding sum. `times` is how many times as fast as one at a"
        " time of the same kind.",
        "(b) `examples.mm(anchor)` against `sum(anchor * examples, 1)`: published about 40 % less,"
        " `saved` 0.4. 10,000 dense examples of 300 numbers; here also in NumPy.",
        "(c) Gradients on the batch [[1,1,2,6,0],[1,5,5,0,0]] over 7 features: `zero_rows` counts"
        " the rows of the gradient that are zero, 0, 3 and 4 to be; `pad_weight` is the weight of"
        " padding after a step. A mask has a zero gradient too, though the weight of its"
        " row is not 0. Ours learns the batch padded and ragged: `same` is 1 where the model is the"
        " same, bit for bit.",
        "(d) The mean over padded rows: `off_by` is the largest error against the mean over true"
        " lengths, 5 to 45, in units of the common size of a mean; ours is off by rounding.",
        "(e) Pack, pad, unpack: `same` is 1 where order and values come back bit for bit.",
        "(f) A dictionary written to a file and read again: `same` is 1 where a batch scores as by"
        " the live model, bit for bit.",
    ),
    short={"rounds": 1, "turns": 3, "batch": 2048},
    full={"rounds": 3, "turns": 9, "batch": 16_384},
    claims=(
        *(
            Claim("Padding beats one sample at a time", "1.79×", contender, "times",
                  at_least=1.79, unit="×")
            for contender in ("(a) torch Embedding + sum, padded", "(a) ours, by padding")
        ),
        *(
            Claim("`mm` saves 40 % over multiply and sum", "0.4", contender, "saved", at_least=0.4)
            for contender in ("(b) torch", "(b) NumPy")
        ),
        *(
            Claim("Three rows of the gradient are zero: padding and the absent", "3", contender,
                  "zero_rows", at_least=3, at_most=3)
            for contender in ("(c) torch, padding_idx", "(c) torch, mask", "(c) ours")
        ),
        *(
            Claim("The weight of padding stays 0", "0", contender, "pad_weight",
                  at_least=0, at_most=0)
            for contender in ("(c) torch, padding_idx", "(c) torch, mask", "(c) ours")
        ),
        *(
            Claim("The mean over padded rows is the mean of a sample", published, contender,
                  "off_by", at_most=1e-12, unit=" off")
            for contender, published in (("(d) naive mean over padded rows", "recipe"),
                                         ("(d) ours, reduce mean", "–"))
        ),
        *(
            Claim("Pack, pad and unpack give back order and values", "stated", contender, "same",
                  at_least=1)
            for contender in ("(e) torch, pack and pad", "(e) ours, pad and unpad")
        ),
        Claim("A dictionary read back from a file scores the same", "stated",
              "(f) ours, snapshot file", "same", at_least=1),
    ),
)  # fmt: skip


def _median(run: Callable[[], Any], turns: int) -> float:
    """Milliseconds."""
    run()
    spent = []
    for _ in range(turns):
        start = time.perf_counter()
        run()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent) * 1e3


def _compared(job: Job, batched: Callable[[], Any], single: Callable[[], Any]) -> Figures:
    one, all_ = _median(single, job.sizes["turns"]), _median(batched, job.sizes["turns"])
    return {"one_at_a_time_ms": one, "batched_ms": all_, "times": one / all_}


def _rows(job: Job) -> tuple[Ragged, Any]:
    return Ragged(job.sizes["batch"], 25, 250_000, False, "float64"), weight_vector(
        250_000, "float64"
    )


@bench.contender("(a) torch Embedding + sum, padded", needs=("torch",))
def torch_padded(job: Job) -> Figures:
    import torch
    from torch.nn import functional as nn

    rows, vector = _rows(job)
    weight = torch.from_numpy(vector).reshape(-1, 1)
    padded = torch.from_numpy(rows.padded)
    single = [torch.from_numpy(ids[:n]) for ids, n in zip(rows.padded, rows.lengths, strict=True)]
    with torch.inference_mode():
        return _compared(
            job,
            lambda: nn.embedding(padded, weight, padding_idx=0).sum(1),
            lambda: [nn.embedding(ids, weight).sum(0) for ids in single],
        )


def _lists(rows: Ragged) -> list[list[str]]:
    ends = rows.indptr.tolist()
    names = [str(id) for id in rows.ids.tolist()]
    return [names[start:end] for start, end in pairwise(ends)]


def _model(rows: Ragged) -> Any:
    from onlinesvm import OnlineSVM

    model = OnlineSVM(rule="sgd")
    samples = _lists(rows)
    model.learn((sample, (-1, 1)[i % 2]) for i, sample in enumerate(samples))
    return model


@bench.contender("(a) ours, by padding", kernel="native")
def ours_padded(job: Job) -> Figures:
    return _ours(job, "padded")


@bench.contender("(a) ours, sparse product", kernel="native")
def ours_product(job: Job) -> Figures:
    return _ours(job, "csr")


def _ours(job: Job, path: str) -> Figures:
    from onlinesvm import Scorer

    rows, _ = _rows(job)
    scorer = Scorer(_model(rows))
    csr = scorer.rows(_lists(rows))
    singles = [csr._replace(indptr=csr.indptr[i : i + 2]) for i in range(len(csr.indptr) - 1)]
    return _compared(
        job,
        lambda: scorer.score(csr, path=path),
        lambda: [scorer.score(one) for one in singles],
    )


def _dense() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.standard_normal((10_000, 300), dtype=np.float32), random.standard_normal(
        300, dtype=np.float32
    )


def _saved(job: Job, product: Callable[[], Any], summed: Callable[[], Any]) -> Figures:
    quick, slow = _median(product, 5 * job.sizes["turns"]), _median(summed, 5 * job.sizes["turns"])
    return {"product_ms": quick, "sum_ms": slow, "saved": 1 - quick / slow}


@bench.contender("(b) torch", needs=("torch",))
def torch_product(job: Job) -> Figures:
    import torch

    examples, anchor = map(torch.from_numpy, _dense())
    column = anchor.reshape(-1, 1)
    return _saved(job, lambda: examples.mm(column), lambda: torch.sum(anchor * examples, 1))


@bench.contender("(b) NumPy")
def numpy_product(job: Job) -> Figures:
    examples, anchor = _dense()
    return _saved(job, lambda: examples @ anchor, lambda: (anchor * examples).sum(1))


@bench.contender("(c) torch, padding_idx", needs=("torch",))
def torch_padding(job: Job) -> Figures:
    return _gradient(masked=False)


@bench.contender("(c) torch, mask", needs=("torch",))
def torch_mask(job: Job) -> Figures:
    return _gradient(masked=True)


def _gradient(masked: bool) -> Figures:
    import torch

    torch.manual_seed(0)
    embedding = torch.nn.Embedding(FEATURES, 1, padding_idx=None if masked else 0)
    with torch.no_grad():
        embedding.weight *= 0.01  # both samples are within the hinge
    ids = torch.tensor(EXAMPLE)
    found = embedding(ids).squeeze(-1)
    if masked:
        found = found * (ids != 0)
    y = torch.tensor([1.0, -1.0])
    torch.clamp(1 - y * found.sum(1), min=0).sum().backward()
    gradient = embedding.weight.grad
    zero = (gradient == 0).all(1)
    if zero.nonzero().ravel().tolist() != [0, 3, 4]:
        raise RuntimeError(
            f"expected rows 0, 3 and 4 of the gradient alone to be zero, got {gradient}"
        )
    torch.optim.SGD(embedding.parameters(), lr=0.1).step()
    return {"zero_rows": float(zero.sum()), "pad_weight": float(embedding.weight[0, 0].detach())}


@bench.contender("(c) ours", kernel="native")
def ours_padding(job: Job) -> Figures:
    from onlinesvm import LearnerConfig, kernel
    from onlinesvm.data.batch import CSR
    from onlinesvm.model.head import Head
    from onlinesvm.model.scorer import unpad

    ids = np.array(EXAMPLE, dtype=np.int32)
    there = ids != 0
    padded = CSR(np.array([0, 5, 10]), ids.ravel(), there.ravel().astype(np.float64))
    ragged = unpad(ids, there.astype(np.float64), there.sum(1))
    rules = []
    for rows in (padded, ragged):
        rule = Head(kernel.load(), LearnerConfig(rule="sgd", bias=False)).rule
        rule.learn(rows, np.array([1.0, -1.0]), np.ones(2))
        rules.append(rule)
    weights = [rule.weights(FEATURES - 1)[0][1:] for rule in rules]
    return {
        "zero_rows": 1.0 + float((weights[0] == 0).sum()),  # PAD's, and those after it
        "pad_weight": rules[0].feature(0)[0],
        "same": float(weights[0].tobytes() == weights[1].tobytes()),
    }


def _off_by(found: Any, true: Any) -> float:
    return float(np.max(np.abs(found - true)) / np.mean(np.abs(true)))


@bench.contender("(d) naive mean over padded rows")
def naive_mean(job: Job) -> Figures:
    rows, vector = _rows(job)
    found = vector[rows.padded]
    true = found.sum(1) / rows.lengths
    return {"off_by": _off_by(found.mean(1), true)}


@bench.contender("(d) ours, reduce mean", kernel="native")
def true_mean(job: Job) -> Figures:
    from onlinesvm import Scorer

    rows, _ = _rows(job)
    model = _model(rows)
    samples = _lists(rows)
    found = Scorer(model).score(samples, path="padded", reduce="mean")
    weights = dict(model.weights)
    true = np.array([
        sum(weights[name] for name in dict.fromkeys(sample)) / len(dict.fromkeys(sample))
        if len(set(sample)) == len(sample) else np.nan
        for sample in samples
    ]) + model.bias  # fmt: skip
    known = ~np.isnan(true)
    return {"off_by": _off_by(found[known], true[known])}


@bench.contender("(e) torch, pack and pad", needs=("torch",))
def torch_packs(job: Job) -> Figures:
    import torch
    from torch.nn import utils

    rows, _ = _rows(job)
    parts = [torch.from_numpy(part) for part in np.split(rows.ids, rows.indptr[1:-1])]
    packed = utils.rnn.pack_sequence(parts, enforce_sorted=False)
    padded, lengths = utils.rnn.pad_packed_sequence(packed, batch_first=True)
    back = utils.rnn.unpad_sequence(padded, lengths, batch_first=True)
    return {"same": float(all(map(torch.equal, parts, back)))}


@bench.contender("(e) ours, pad and unpad")
def ours_pads(job: Job) -> Figures:
    from onlinesvm.data.batch import CSR
    from onlinesvm.model.scorer import pad, unpad

    rows, _ = _rows(job)
    given = CSR(rows.indptr, rows.ids, np.random.default_rng(0).standard_normal(rows.count))
    back = unpad(*pad(given))
    same = all(a.tobytes() == b.tobytes() for a, b in zip(given, back, strict=True))
    return {"same": float(same)}


@bench.contender("(f) ours, snapshot file", kernel="native")
def from_file(job: Job) -> Figures:
    from onlinesvm import Scorer

    rows, _ = _rows(job)
    model, samples = _model(rows), _lists(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.msgpack"
        size = model.save(path).size
        start = time.perf_counter()
        scorer = Scorer(path)
        seconds = time.perf_counter() - start
    same = scorer.score(samples).tobytes() == model.predict(samples).tobytes()
    return {"same": float(same), "file_mib": size / 2**20, "load_ms": seconds * 1e3}


if __name__ == "__main__":
    sys.exit(bench.main())
