"""Scoring ragged samples in batches: sparse product, padding, or a framework's embedding bag?"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from bench import minibatch, named
from bench.harness import Bench, Figures, Job, Target
from bench.products import (
    EMBEDDING,
    OFFSETS,
    ON_CUDA,
    ON_HOST,
    OURS,
    PADDED,
    TORCH,
    Run,
    Shape,
    made,
    missing,
    scorer_of,
    too_large,
)  # fmt: skip
from bench.ragged import Ragged, random_reads_ns, weight_vector

CENTRE = {"batch": 16_384, "length": 25, "weights": 250_000}
SWEEPS: dict[str, tuple[str, list[int], bool]] = {
    "batch": ("batch", [1, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144], False),
    "skewed lengths": ("batch", [64, 1024, 16_384, 65_536], True),
    "mean length": ("length", [5, 10, 25, 50, 100, 250, 500], False),
    "weights": ("weights", [10**5, 10**6, 10**7, 10**8], False),
}
DTYPES = ("float64", "float32")
LONG_S = 0.05  # a run of this length warms itself up
OFTEN = 5  # turns of the others while torch, which takes the longest, has one


HELD = (1024, 16_384)  # sizes of a batch that targets are for


def _targets(peer: str, at_least: float, aim: float | None = None) -> list[Target]:
    return [
        Target("auto", peer, figure, at_least=at_least, aim=aim, lower_is_better=True)
        for batch in HELD
        for figure in (f"us@{batch}", f"fastest_us_{batch}")
    ]


bench = Bench(
    name="embedding_bag",
    question="Score ragged samples in batches by fixed weights: microseconds a batch",
    caveats=(
        "All contenders of a case run in one process, in turn, over the same rows; a figure is the"
        " median over the turns, and then over the rounds. Each is checked against float64 first.",
        "Rows hold ids, all of value 1. The sparse products and ours multiply by the values; torch"
        " and NumPy padded are spared that, and are given rows that were padded beforehand.",
        "`auto` is Scorer.score over ids; `path csr` and `path padded` (which pads by itself) are"
        " its other paths, `native csr` is the kernel's function that they call: float64 in all"
        " cases, one thread, and the bits of the sum over a dictionary. torch has as many threads"
        " as there are cores, and the case's dtype. Each run is preceded by one that is not"
        " counted, so that it finds its data where its own last run left them.",
        "Where the machine has other work to do, contenders of two threads wait for both: medians"
        " then say more of that than of them. The fastest turns, `fastest_us`, say what each can"
        " do, and are held to the same targets; ratios of ours over the sizes are of them.",
        "Centre: 16,384 rows, 25 ids in the mean (5 to 45), 250,000 weights; a case varies one of"
        " them. Skewed lengths are log-normal.",
        "On CUDA, with the ids on the host, their way there and the margins' way back count;"
        " `transfer_us` is the ids' share. Resident ids are the GPU's best case. Timed by events.",
        "`share_of_random_reads` is the machine's own time for as many reads of float64 at random"
        " places, measured here, over that of the product.",
        "named: from the named features of each sample, where every side looks them up. training:"
        " the classic stream from ids; minibatches of embedding bag, hinge loss and sparse SGD, of"
        " the learning rates 0.001 to 1 the one of least error, against one sample after another.",
    ),
    axis="size",
    short={"rounds": 1, "turns": 5, "batch": 16_384, "length": 100, "weights": 10**6,
           "samples": 50_000},
    full={"rounds": 3, "turns": 21, "batch": 262_144, "length": 500, "weights": 10**8,
          "samples": 200_000},
    cases=[f"{sweep}, {dtype}" for dtype in DTYPES for sweep in SWEEPS] + ["named", "training"],
    targets=(
        *_targets(EMBEDDING, 1.5, aim=2.5),
        *_targets(PADDED, 10),
        *_targets(OFFSETS, 10),
        Target("auto", None, "over_best_path", at_most=1.15, lower_is_better=True,
               note="of the fastest turns, the worst size from 64 rows on"),
        Target("native csr", None, "least_over_scipy", at_least=0.95, aim=1.3,
               note="of the fastest turns, at the worst size"),
        Target("native csr", None, "median_over_scipy", note="at the median size"),
        Target("native csr", None, "share_of_random_reads@10000000",
               note="10^7 weights: of the machine's random reads"),
    ),
)  # fmt: skip

for _name in (*OURS, *TORCH, *ON_CUDA, *named.CONTENDERS, *minibatch.CONTENDERS):
    bench.contender(_name)(lambda job: {})


# A case.


def together(job: Job, names: Sequence[str]) -> dict[str, Figures | str]:
    """All contenders of a case, in turn."""
    if job.case == "named":
        return named.together(job, names, missing)
    if job.case == "training":
        return minibatch.together(job, names, missing)
    found: dict[str, Figures | str] = {}
    wanted = [name for name in names if name in OURS or name in TORCH or name in ON_CUDA]
    for name in wanted:
        reason = missing(name)
        found[name] = {} if reason is None else reason
    sweep, _, dtype = job.case.rpartition(", ")
    variable, _, _ = SWEEPS[sweep]
    over_scipy: list[float] = []
    over_path: list[float] = []
    vector = None
    for rows in _cells(job, sweep, dtype):
        if vector is None or len(vector) != rows.weights + 1:
            vector = weight_vector(rows.weights, dtype)
            shape = Shape(rows, vector, scorer_of(vector))
        shape.rows = rows
        size = getattr(rows, variable)
        runs: dict[str, Run] = {}
        for name in wanted:
            if isinstance(found[name], str):
                continue
            too_much = too_large(name, rows)
            if too_much is not None:
                found[f"{name} at {variable} {size:,}"] = too_much
                continue
            runs[name] = made(name, shape)
        _check(runs, shape)
        spent = _timed(runs, job.sizes["turns"])
        for name, seconds in spent.items():
            figures = found[name]
            assert not isinstance(figures, str)
            figures[f"us@{size}"] = statistics.median(seconds) * 1e6
            if sweep == "batch" and size in HELD:
                figures[f"fastest_us_{size}"] = min(seconds) * 1e6
            if name.endswith(ON_HOST):
                figures[f"transfer_us@{size}"] = _transfer(runs[name]) * 1e6
        if dtype == "float64":
            over_scipy += _over(spent, "scipy csr", "native csr")
        if size >= 64 or variable != "batch":
            over_path += _over(spent, "auto", "path csr") + _over(spent, "auto", "path padded")
        if isinstance(found.get("native csr"), dict) and variable == "weights":
            limit = random_reads_ns(shape.scorer.weights, rows.ids, 5) * rows.count / 1e3
            figures = found["native csr"]
            assert not isinstance(figures, str)
            fastest = min(spent["native csr"]) * 1e6
            figures[f"share_of_random_reads@{size}"] = limit / fastest
    ours, chosen = found.get("native csr"), found.get("auto")
    if over_scipy and isinstance(ours, dict):
        ours["least_over_scipy"] = min(over_scipy)
        ours["median_over_scipy"] = statistics.median(over_scipy)
    if over_path and isinstance(chosen, dict):
        chosen["over_best_path"] = max(over_path)
    return found


def _cells(job: Job, sweep: str, dtype: str) -> Iterator[Ragged]:
    variable, sizes, skewed = SWEEPS[sweep]
    for size in sizes:
        if size <= job.sizes[variable]:
            cell = {**CENTRE, variable: size}
            yield Ragged(cell["batch"], cell["length"], cell["weights"], skewed, dtype)


def _check(runs: dict[str, Run], shape: Shape) -> None:
    """Every contender's margins against float64, before any is timed."""
    rows = shape.rows
    terms = shape.vector.astype(np.float64, copy=False).take(rows.ids)
    exact = np.add.reduceat(terms, rows.indptr[:-1])
    scale = np.add.reduceat(np.abs(terms), rows.indptr[:-1])
    for name, run in runs.items():
        margins = run()
        if not isinstance(margins, np.ndarray):
            margins = margins.cpu().numpy()
        margins = margins.reshape(-1)
        epsilon = float(np.finfo(margins.dtype).eps)
        if not bool((np.abs(margins - exact) <= epsilon * rows.longest * scale).all()):
            raise RuntimeError(f"{name}: its margins are not those of float64")


def _timed(runs: dict[str, Run], turns: int) -> dict[str, list[float]]:
    """Seconds of each, turn by turn; a second a contender at most, after three turns."""
    from contextlib import nullcontext

    torch = sys.modules.get("torch")
    spent: dict[str, list[float]] = {name: [] for name in runs}
    repeats: dict[str, int] = {}
    with torch.inference_mode() if torch else nullcontext():
        for name, run in runs.items():
            once = _seconds(name, run, 1)
            if once < LONG_S:
                once = _seconds(name, run, 3)
            repeats[name] = max(1, min(200, int(200e-6 / max(once, 1e-7))))
        alone = [name for name in runs if not name.startswith("torch")]
        for turn in range(OFTEN * turns):
            first = alone[turn % len(alone)] if alone else next(iter(runs))
            if turn % OFTEN == 0:
                _settle(runs[first])
            # The order rotates; contenders that leave spinning threads come last.
            for name in sorted(runs, key=lambda name: (name not in alone, name < first)):
                if name not in alone and turn % OFTEN != OFTEN - 1:
                    continue
                if len(spent[name]) < 3 or sum(spent[name]) * repeats[name] < 1.0:
                    if repeats[name] > 1 or spent[name][-1:] < [LONG_S]:
                        runs[name]()
                    spent[name].append(_seconds(name, runs[name], repeats[name]))
    return spent


def _settle(run: Run) -> None:
    """Wait for the threads of the last turn, which spin for a while, and wake up again."""
    time.sleep(0.03)
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        run()


def _seconds(name: str, run: Run, repeat: int) -> float:
    """Seconds a run; by events on the GPU."""
    if "CUDA" in name:
        import torch

        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeat):
            run()
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) / 1e3 / repeat
    start = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - start) / repeat


def _transfer(run: Run) -> float:
    moves: Run = run.moves  # type: ignore[attr-defined]
    _seconds("CUDA", moves, 1)
    return statistics.median(_seconds("CUDA", moves, 1) for _ in range(5))


def _over(spent: dict[str, list[float]], slow: str, fast: str) -> list[float]:
    """How many times as fast, in their fastest turns; nothing where either is not there."""
    if slow not in spent or fast not in spent:
        return []
    return [min(spent[slow]) / min(spent[fast])]


bench.together = together

if __name__ == "__main__":
    sys.exit(bench.main())
