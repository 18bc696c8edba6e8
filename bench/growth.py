"""A growing model: what does a feature cost as the model grows from 10^4 to 10^7 features?"""

from __future__ import annotations

import sys
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench import streams
from bench.harness import Bench, Figures, Job, Target

PROBES = 8  # requests a size, of each kind
STEPS = (1, 3)  # sizes in each power of ten

bench = Bench(
    name="growth",
    question="A growing model: nanoseconds a feature, from the bytes of a request to margins",
    caveats=(
        "At each size: requests of 1,024 samples of 25 features of those the model has, drawn"
        " uniformly (no cache can help) and log-uniformly (as real streams are); and what a new"
        " feature costs on the way to the next size. The first probe at each size warms up and is"
        " not counted.",
        "The reference is a gather of one float64 each from an array of 64 bytes a feature, at"
        " independent random places by numpy.take: what a cache miss costs on this machine, with"
        " as many in flight as it can. A feature learned takes about three dependent ones: table,"
        " name, state.",
        "`stall_ms` is the slowest single request of 1,024 samples of new features while growing"
        " to that size: no rehash or copy of the whole may show in it.",
    ),
    short={"rounds": 2, "features": 1_000_000},
    full={"rounds": 3, "features": 10_000_000},
    targets=(
        Target("native", "random reads", "uniform@growth", at_most=1, lower_is_better=True,
               note="uniform: growth of the cost, ours over the machine's own"),
        Target("native", "random reads", "popular@growth", at_most=1, lower_is_better=True,
               note="log-uniform: the same"),
    ),
)  # fmt: skip


def _sizes(job: Job) -> list[int]:
    sizes = [step * 10**power for power in range(4, 8) for step in STEPS]
    return [size // 25 * 25 for size in sizes if size <= job.sizes["features"]]


def _probe(size: int, random: np.random.Generator, *, uniform: bool) -> NDArray[np.int64]:
    shape = ((PROBES + 1) * streams.BODY_SAMPLES, streams.A_SAMPLE)
    if uniform:
        return random.integers(0, size, shape)
    ranks = np.exp(random.random(shape) * np.log(size)).astype(np.int64)
    places: NDArray[np.int64] = ranks * 7_368_787 % size  # popular ones are anywhere in the model
    return places


def _with_growth(figures: Figures, sizes: list[int]) -> Figures:
    for kind in ("uniform", "popular"):
        if f"{kind}@{sizes[-1]}" in figures:
            figures[f"{kind}@max"] = figures[f"{kind}@{sizes[-1]}"]
            figures[f"{kind}@growth"] = figures[f"{kind}@max"] / figures[f"{kind}@{sizes[0]}"]
    return figures


@bench.contender("native", kernel="native")
def native(job: Job) -> Figures:
    from onlinesvm import OnlineSVM

    model = OnlineSVM(rule="sgd")
    decode, limits, clock = (
        partial(model.kernel.decode, labelled=True),
        model.limits,
        time.perf_counter,
    )

    def learn(numbers: NDArray[np.int64]) -> list[float]:
        spent = []
        for body in streams.numbered(numbers):
            start = clock()
            model.learn_batch(decode(body, limits))
            spent.append(clock() - start)
        return spent

    random = np.random.default_rng(1)
    figures: Figures = {}
    have = 0
    for size in _sizes(job):
        spent = learn(np.arange(have, size).reshape(-1, streams.A_SAMPLE))
        figures[f"new@{size}"] = sum(spent) / (size - have) * 1e9
        figures[f"stall_ms@{size}"] = max(spent) * 1e3
        have = size
        for kind in ("uniform", "popular"):
            spent = learn(_probe(size, random, uniform=kind == "uniform"))[1:]
            count = PROBES * streams.BODY_SAMPLES * streams.A_SAMPLE
            figures[f"{kind}@{size}"] = sum(spent) / count * 1e9
    if len(model.lookup) != have:
        raise RuntimeError(f"expected {have} features, got {len(model.lookup)}")
    return _with_growth(figures, _sizes(job))


@bench.contender("random reads")
def random_reads(job: Job) -> Figures:
    random = np.random.default_rng(1)
    figures: Figures = {}
    for size in _sizes(job):
        array = np.ones(size * 8)
        for kind in ("uniform", "popular"):
            places = _probe(size, random, uniform=kind == "uniform").ravel() * 8
            skipped = len(places) // (PROBES + 1)
            array.take(places[:skipped])
            start = time.perf_counter()
            array.take(places[skipped:])
            figures[f"{kind}@{size}"] = (
                (time.perf_counter() - start) / (len(places) - skipped) * 1e9
            )
    return _with_growth(figures, _sizes(job))


if __name__ == "__main__":
    sys.exit(bench.main())
