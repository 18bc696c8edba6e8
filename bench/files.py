"""Learn a file from the shell: how long, from the command to the saved model?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import vw_seconds


def prepare(job: Job) -> None:
    stream = job.stream()
    for make in (streams.vw, streams.ids_vw, streams.svmlight):
        make(stream)


bench = Bench(
    name="files",
    question="`onlinesvm learn --file` on a file: wall seconds",
    caveats=(
        "Whole processes, start-up and the saved model included; VW saves none, as its users time"
        " it. Ours has the default rule, the hedge, or sgd where it is named. Both files hold the"
        " same samples; svmlight has numbers for names, and VW reads them as its own text. They lie"
        " in the page cache.",
        "VW parses in a second thread; ours parses in one and looks features up in another.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 100_000},
    full={"rounds": 3, "samples": 400_000},
    targets=(
        Target("onlinesvm, VW text", "VW, VW text", "wall_s", at_least=1.5, lower_is_better=True),
        Target("onlinesvm, svmlight", "VW, ids as VW text", "wall_s", at_least=1.5,
               lower_is_better=True),
        Target("onlinesvm sgd, VW text", "VW, VW text", "wall_s", at_least=1.5, aim=3,
               lower_is_better=True),
    ),
)  # fmt: skip


def _learn(path: Path, samples: int, *flags: str) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "onlinesvm.service", "learn", *flags]
        command += ["--file", str(Path(folder) / "model.msgpack"), str(path)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, timeout=800)
        seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["failed"])[-1])
    said = json.loads(done.stdout)
    if said["samples"] != samples:
        raise RuntimeError(f"expected {samples} samples learned, got {said['samples']}")
    return {
        "wall_s": seconds,
        "samples_per_s": samples / seconds,
        "error": said["progressive_error"],
    }


def _vw(path: Path, samples: int) -> Figures:
    seconds, counted, error = vw_seconds(path)
    if counted != samples:
        raise RuntimeError(f"expected VW to learn {samples} samples, it learned {counted}")
    return {"wall_s": seconds, "samples_per_s": samples / seconds, "error": error}


@bench.contender("onlinesvm, VW text", kernel="native")
def ours_vw(job: Job) -> Figures:
    return _learn(streams.vw(job.stream()), job.stream().samples)


@bench.contender("onlinesvm sgd, VW text", kernel="native")
def ours_sgd(job: Job) -> Figures:
    return _learn(streams.vw(job.stream()), job.stream().samples, "--rule", "sgd")


@bench.contender("VW, VW text", needs=("vowpalwabbit",))
def vw_names(job: Job) -> Figures:
    return _vw(streams.vw(job.stream()), job.stream().samples)


@bench.contender("onlinesvm, svmlight", kernel="native")
def ours_svmlight(job: Job) -> Figures:
    return _learn(streams.svmlight(job.stream()), job.stream().samples)


@bench.contender("VW, ids as VW text", needs=("vowpalwabbit",))
def vw_ids(job: Job) -> Figures:
    return _vw(streams.ids_vw(job.stream()), job.stream().samples)


if __name__ == "__main__":
    sys.exit(bench.main())
