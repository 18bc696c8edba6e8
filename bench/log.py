"""The log: its cost for a stream that the daemon learns."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice

from bench import streams
from bench.harness import SCRATCH, Bench, Figures, Job, Target

BATCHES = "requests of 1,024"
SINGLES = "requests of 1"
NOTHING = "nothing written"
TURN = {BATCHES: 8, SINGLES: 64}  # requests; a turn of the loop ends at 64, or at 4 MiB


def prepare(job: Job) -> None:
    streams.bodies(job.stream())


bench = Bench(
    name="log",
    question="The log's cost: samples a second through turns of the daemon's loop",
    caveats=(
        "Turns of the loop without its socket, so that everything but the log is as small as"
        " possible: validate, write, apply, answer.",
        f"The state folder is on a disk; `{NOTHING}` leaves the write out, and is no choice that a"
        " daemon has.",
        "`always` is what the disk makes of it: one fsync a turn.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 100_000, "singles": 20_000},
    full={"rounds": 5, "samples": 1_000_000, "singles": 100_000},
    targets=(
        Target(f"everysec, {BATCHES}", f"{NOTHING}, {BATCHES}", "samples_per_s",
               at_least=0.67, aim=0.8),
        Target(f"everysec, {SINGLES}", f"{NOTHING}, {SINGLES}", "samples_per_s",
               at_least=0.67, aim=0.8),
        Target(f"never, {BATCHES}", f"{NOTHING}, {BATCHES}", "samples_per_s", note="beside it"),
        Target(f"always, {BATCHES}", f"{NOTHING}, {BATCHES}", "samples_per_s", note="beside it"),
        Target(f"always, {SINGLES}", f"{NOTHING}, {SINGLES}", "samples_per_s", note="beside it"),
    ),
)  # fmt: skip


def _run(job: Job, fsync: str, size: str) -> Figures:
    import msgpack

    from onlinesvm import Limits
    from onlinesvm.service.protocol import encode_request, parse_request
    from onlinesvm.service.server.counters import Counters
    from onlinesvm.service.server.service import Leading
    from onlinesvm.service.server.slices import finish
    from onlinesvm.service.server.snapshotter import Schedule
    from onlinesvm.service.storage.log import Written
    from onlinesvm.service.storage.recovery import start as start_state
    from onlinesvm.service.storage.state_dir import StateDir

    bodies = list(streams.bodies(job.stream()))
    if size == SINGLES:
        samples = (sample for body in bodies for sample in msgpack.unpackb(body))
        pack = msgpack.Packer().pack
        bodies = [pack([sample]) for sample in islice(samples, job.sizes["singles"])]
    frames = [[encode_request("learn", i), body] for i, body in enumerate(bodies)]
    limits = Limits()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as state,
        StateDir(state) as folder,
    ):
        policy = "never" if fsync == NOTHING else fsync
        started = start_state(folder, {"rule": "sgd"}, limits, fsync=policy)
        service = Leading(folder, started, Counters(), lambda: None, Schedule(1e9))
        if fsync == NOTHING:
            started.log.append = lambda entries: Written(1, 1, 1)  # type: ignore[method-assign]
        start = time.perf_counter()
        for at in range(0, len(frames), TURN[size]):
            turn = [parse_request(request, limits) for request in frames[at : at + TURN[size]]]
            for request, plan in zip(turn, finish(service.plan(turn)), strict=True):
                finish(service.handle(request, plan))
        seconds = time.perf_counter() - start
        started.log.close()
        return {"samples_per_s": started.default.model.position / seconds}


def _contend(fsync: str, size: str) -> Callable[[Job], Figures]:
    return lambda job: _run(job, fsync, size)


for _fsync in (NOTHING, "never", "everysec", "always"):
    for _size in (BATCHES, SINGLES):
        bench.contender(f"{_fsync}, {_size}", kernel="native")(_contend(_fsync, _size))


if __name__ == "__main__":
    sys.exit(bench.main())
