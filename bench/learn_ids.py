"""Learn from ids: how many samples a second from a CSR matrix in memory, in one large batch?"""

from __future__ import annotations

import sys
import time

from bench import streams
from bench.harness import Bench, Figures, Job, Target


def prepare(job: Job) -> None:
    streams.csr(job.stream())


bench = Bench(
    name="learn_ids",
    question="Learn from ids, a CSR matrix in memory, in one call: samples a second",
    caveats=(
        "First pass over float64 values, all 1. Ours validates, looks up each column by name and"
        " keeps progressive figures; SGDClassifier indexes by column after a check.",
        "SGDClassifier, hinge, tol=None, one partial_fit. Its default is to shuffle the rows, which"
        " costs it cache misses; with shuffle=False it learns in the order of the stream, as ours.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 100_000},
    full={"rounds": 5, "samples": 1_000_000},
    targets=(
        Target("native", "SGDClassifier, in order", "samples_per_s", note="for comparison"),
        Target("native", "SGDClassifier, shuffling", "samples_per_s", note="for comparison"),
        Target("native, again", "native", "samples_per_s", note="columns known already"),
    ),
)


@bench.contender("native", kernel="native")
def native(job: Job) -> Figures:
    return _ours(job, passes=1)


@bench.contender("native, again", kernel="native")
def native_again(job: Job) -> Figures:
    return _ours(job, passes=2)


def _ours(job: Job, passes: int) -> Figures:
    from onlinesvm import OnlineSVM

    matrix, labels = streams.csr(job.stream())
    model = OnlineSVM(rule="sgd")
    for _ in range(passes):
        start = time.perf_counter()
        model.partial_fit(matrix, labels)
        seconds = time.perf_counter() - start
    return {"samples_per_s": len(labels) / seconds, "features": len(model.lookup)}


@bench.contender("SGDClassifier, in order", needs=("sklearn",))
def in_order(job: Job) -> Figures:
    return _sklearn(job, shuffle=False)


@bench.contender("SGDClassifier, shuffling", needs=("sklearn",))
def shuffling(job: Job) -> Figures:
    return _sklearn(job, shuffle=True)


def _sklearn(job: Job, shuffle: bool) -> Figures:
    from sklearn.linear_model import SGDClassifier

    matrix, labels = streams.csr(job.stream())
    model = SGDClassifier(loss="hinge", tol=None, shuffle=shuffle, random_state=0)
    # Imports on first use and the like are not its learning rate.
    SGDClassifier(loss="hinge", tol=None).partial_fit(matrix[:8], labels[:8], classes=[-1, 1])
    start = time.perf_counter()
    model.partial_fit(matrix, labels, classes=[-1, 1])
    return {"samples_per_s": len(labels) / (time.perf_counter() - start)}


if __name__ == "__main__":
    sys.exit(bench.main())
