"""Start-up: how long do an import, a command and a daemon take until they are ready?"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.harness import Bench, Figures, Job, Target
from bench.processes import served

TIMES = 5  # each is started, the median counts

bench = Bench(
    name="start",
    question="Start-up: milliseconds",
    caveats=(
        "An import is a whole ``python -c 'import ...'`` less ``python -c pass``, compiled files"
        " and page cache warm. A daemon is ready when it has answered its first request; Python's"
        " own start is in that. The other libraries are there for comparison.",
    ),
    short={"rounds": 3},
    full={"rounds": 3},
    targets=(
        Target("import onlinesvm", None, "ms", at_most=150, lower_is_better=True),
        Target("daemon ready", None, "ms", at_most=500, lower_is_better=True),
    ),
)


def _milliseconds(*command: str) -> float:
    spent = []
    for _ in range(TIMES):
        start = time.perf_counter()
        subprocess.run((sys.executable, *command), check=True, capture_output=True)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent) * 1e3


def _import(module: str) -> Figures:
    bare = _milliseconds("-c", "pass")
    return {"ms": _milliseconds("-c", f"import {module}") - bare, "python_ms": bare}


@bench.contender("import onlinesvm", kernel="native")
def import_ours(job: Job) -> Figures:
    return _import("onlinesvm")


@bench.contender("import onlinesvm.service", kernel="native")
def import_service(job: Job) -> Figures:
    return _import("onlinesvm.service")


@bench.contender("import numpy")
def import_numpy(job: Job) -> Figures:
    return _import("numpy")


@bench.contender("import sklearn.linear_model", needs=("sklearn",))
def import_sklearn(job: Job) -> Figures:
    return _import("sklearn.linear_model")


@bench.contender("import river.linear_model", needs=("river",))
def import_river(job: Job) -> Figures:
    return _import("river.linear_model")


@bench.contender("daemon ready", kernel="native")
def daemon(job: Job) -> Figures:
    from onlinesvm.service import Client

    spent = []
    for _ in range(TIMES):
        start = time.perf_counter()
        with served() as endpoint, Client(endpoint) as client:
            client.ping()
            spent.append(time.perf_counter() - start)
    return {"ms": statistics.median(spent) * 1e3}


if __name__ == "__main__":
    sys.exit(bench.main())
