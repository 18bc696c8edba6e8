"""Load a snapshot: how long until a model of many features can serve?"""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np

from bench import streams
from bench.harness import Bench, Figures, Job, Target


def _paths(job: Job) -> tuple[Path, Path]:
    stem = f"load-{job.sizes['features']}"
    return job.data / f"{stem}.msgpack", job.data / f"{stem}.pickle"


def prepare(job: Job) -> None:
    """One model, as our snapshot and as a pickled dict from name to weight."""
    from onlinesvm import OnlineSVM

    snapshot, pickled = _paths(job)
    if snapshot.exists() and pickled.exists():
        return
    model = OnlineSVM(rule="sgd")
    numbers = np.random.default_rng(1).permutation(job.sizes["features"])
    for body in streams.numbered(numbers.reshape(-1, streams.A_SAMPLE)):
        model.learn_batch(model.kernel.decode(body, model.limits, labelled=True))
    model.save(snapshot)
    with open(pickled.with_suffix(".tmp"), "wb") as file:
        pickle.dump(dict(model.weights), file, protocol=pickle.HIGHEST_PROTOCOL)
    os.replace(pickled.with_suffix(".tmp"), pickled)


bench = Bench(
    name="load",
    question="Load a model from disk: seconds",
    caveats=(
        "Names of 17 bytes in random order of their numbers; files in the page cache. Ours checks"
        " its checksum and rebuilds lookup and learner, ready to learn; the pickle holds one dict"
        " name → float, protocol 5, and cannot learn on.",
    ),
    prepare=prepare,
    short={"rounds": 3, "features": 500_000},
    full={"rounds": 5, "features": 5_000_000},
    targets=(
        Target("snapshot, native", "pickle of a dict", "seconds", at_least=5, lower_is_better=True),
    ),
)


@bench.contender("snapshot, native", kernel="native")
@bench.contender("snapshot, python", kernel="python")
def snapshot(job: Job) -> Figures:
    from onlinesvm import OnlineSVM

    path = _paths(job)[0]
    start = time.perf_counter()
    model = OnlineSVM.load(path)
    seconds = time.perf_counter() - start
    if len(model.lookup) != job.sizes["features"]:
        raise RuntimeError(f"expected {job.sizes['features']} features, got {len(model.lookup)}")
    return {"seconds": seconds, "file_mib": path.stat().st_size / 2**20}


@bench.contender("pickle of a dict")
def pickled(job: Job) -> Figures:
    path = _paths(job)[1]
    start = time.perf_counter()
    with open(path, "rb") as file:
        weights = pickle.load(file)
    seconds = time.perf_counter() - start
    if len(weights) != job.sizes["features"]:
        raise RuntimeError(f"expected {job.sizes['features']} features, got {len(weights)}")
    return {"seconds": seconds, "file_mib": path.stat().st_size / 2**20}


if __name__ == "__main__":
    sys.exit(bench.main())
