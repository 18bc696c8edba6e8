"""Memory of a bounded model: does a daemon stay flat that is fed ever-new features?"""

from __future__ import annotations

import sys

import msgpack
import numpy as np
import zmq

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import served
from onlinesvm.service import Client

WINDOW = 16  # learn requests under way
POINTS = 10  # of the curve

bench = Bench(
    name="flat",
    question="A bounded model fed ever-new features: MiB of the daemon",
    caveats=(
        "Every feature of every sample is new, 25 a sample, 1,024 samples a request, over TCP."
        " `mib@n` is the daemon's resident memory when it has met n names; `growth` that at the"
        " end over that at half the way. State on disk, snapshots as they become due.",
    ),
    short={"rounds": 1, "names": 4_000_000, "max_features": 200_000},
    full={"rounds": 1, "names": 50_000_000, "max_features": 1_000_000},
    targets=tuple(
        Target(policy, None, "growth", at_most=1.1, lower_is_better=True)
        for policy in ("prune", "refuse-new", "prune, hedge")
    ),
)  # fmt: skip


def _fed(job: Job, policy: str, rule: str = "sgd") -> Figures:
    names, most = job.sizes["names"], job.sizes["max_features"]
    flags = f"--max-features {most} --max-features-policy {policy}"
    figures: Figures = {}
    a_request = streams.BODY_SAMPLES * streams.A_SAMPLE
    with served(on_disk=True, rule=rule, flags=flags) as endpoint:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        socket.linger, socket.rcvtimeo = 0, 60_000
        socket.connect(endpoint)
        header = msgpack.packb({"v": 1, "op": "learn", "id": 1})

        def received() -> None:
            if len(socket.recv_multipart()) != 2:
                raise RuntimeError("expected margins, got an error")

        with Client(endpoint, timeout_s=60) as client:
            for point in range(POINTS):
                start, stop = (names // POINTS * k // a_request for k in (point, point + 1))
                for request in range(start, stop):
                    numbers = np.arange(request * a_request, (request + 1) * a_request)
                    for body in streams.numbered(numbers.reshape(-1, streams.A_SAMPLE)):
                        socket.send_multipart((header, body), copy=False)
                    if request - start >= WINDOW:
                        received()
                for _ in range(min(WINDOW, stop - start)):
                    received()
                reported = client.stats()
                figures[f"mib@{names // POINTS * (point + 1)}"] = reported["memory_bytes"] / 2**20
        socket.close()
    figures["growth"] = (
        figures[f"mib@{names // POINTS * POINTS}"]
        / figures[f"mib@{names // POINTS * (POINTS // 2)}"]
    )
    figures["features"] = reported["features"]
    figures["prunes"] = reported["prunes"]
    figures["longest_prune_ms"] = reported["longest_prune_s"] * 1e3
    figures["refused"] = reported["refused_features"]
    figures["samples_per_s"] = reported["samples_per_s"]
    return figures


@bench.contender("prune", kernel="native")
def prune(job: Job) -> Figures:
    return _fed(job, "prune")


@bench.contender("prune, hedge", kernel="native")
def prune_hedge(job: Job) -> Figures:
    return _fed(job, "prune", "hedge")


@bench.contender("refuse-new", kernel="native")
def refuse_new(job: Job) -> Figures:
    return _fed(job, "refuse-new")


if __name__ == "__main__":
    sys.exit(bench.main())
