"""Memory of a large model: how many bytes a feature stay resident?"""

from __future__ import annotations

import gc
import sys

import numpy as np

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.machine import resident_bytes

bench = Bench(
    name="memory",
    question="Memory of a model: resident bytes a feature, names apart",
    caveats=(
        "Growth of the resident memory of a process from after its imports to the whole model,"
        " learned in requests of 1,024 samples of 25 new features each.",
        "Names of 17 bytes are counted apart: for ours their bytes alone (their lengths and"
        " whatever finds them again are ours to pay), for the dictionaries the whole str objects.",
        "The peer is the plain pair of dictionaries, word → id and id → float, nothing else.",
    ),
    short={"rounds": 2, "features": 500_000},
    full={"rounds": 3, "features": 5_000_000},
    targets=(
        Target("native", "two dicts", "bytes_a_feature", at_least=2, aim=3, lower_is_better=True),
        Target("native", "two dicts", "bytes_with_name", lower_is_better=True,
               note="names included"),
    ),
)  # fmt: skip


def _numbers(job: Job) -> np.ndarray:
    return np.arange(job.sizes["features"]).reshape(-1, streams.A_SAMPLE)


def _figures(job: Job, grown: int, a_name: float) -> Figures:
    whole = grown / job.sizes["features"]
    return {"bytes_a_feature": whole - a_name, "bytes_with_name": whole}


@bench.contender("native", kernel="native")
@bench.contender("python", kernel="python")
def ours(job: Job) -> Figures:
    from onlinesvm import OnlineSVM

    numbers = _numbers(job)
    model = OnlineSVM(rule="sgd")
    # Memory that the first request takes once is not counted.
    model.predict([["a"]])
    gc.collect()
    before = resident_bytes()
    for body in streams.numbered(numbers):
        model.learn_batch(model.kernel.decode(body, model.limits, labelled=True))
    gc.collect()
    grown = resident_bytes() - before
    name = len(streams.numbered_name(0))
    if model.kernel.NAME == "python":
        name = sys.getsizeof(streams.numbered_name(0))
    return _figures(job, grown, name)


@bench.contender("two dicts")
def two_dicts(job: Job) -> Figures:
    gc.collect()
    before = resident_bytes()
    ids: dict[str, int] = {}
    weights: dict[int, float] = {}
    for number in range(job.sizes["features"]):
        id = len(ids) + 1
        ids[streams.numbered_name(number).decode()] = id
        weights[id] = number * 0.1
    gc.collect()
    grown = resident_bytes() - before
    return _figures(job, grown, sys.getsizeof(streams.numbered_name(0).decode()))


if __name__ == "__main__":
    sys.exit(bench.main())
