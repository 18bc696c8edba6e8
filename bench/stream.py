"""Stream through the daemon: how many samples a second does one producer get learned?"""

from __future__ import annotations

import sys
import time

import msgpack
import zmq

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import echo, served, vw_figures

VW = "VW, text file"
PACKED = "daemon, packed ahead"
DISK = f"{PACKED}, state on disk"
APART = f"{PACKED}, log apart"
WINDOW = 16  # requests under way


def prepare(job: Job) -> None:
    streams.bodies(job.stream())
    streams.vw(job.stream())
    streams.bodies(job.stream(job.sizes["objects"]))


bench = Bench(
    name="stream",
    question="Stream through the daemon over TCP on one machine, one producer: samples a second",
    caveats=(
        "State on disk: the daemon as a user has it. The row below has the folder in memory. Log"
        " apart: the same daemon, whose log's bytes are made and summed up, then written nowhere;"
        " targets are set for it alone, since the rate at which a system takes bytes into its"
        " cache varies tenfold from run to run here.",
        "Producer and daemon share the machine's cores; each also has a ZeroMQ I/O thread. From the"
        " first request to the last acknowledgement, which carries the margins.",
        "Packed ahead: requests of 1,024 samples that the producer holds as bytes, 16 under way,"
        " over a raw DEALER; replies are received, not decoded.",
        "Objects: Client.stream() packs Python lists of str as it goes; the same client code for"
        " both kernels, on the first samples of the stream.",
        "The echo is a bare pyzmq ROUTER that moves the same requests and replies of the same size,"
        " without copying them: what the socket allows.",
        "VW's rate is its wall time over the text file less its start-up.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 100_000, "objects": 20_000},
    full={"rounds": 5, "samples": 1_000_000, "objects": 100_000},
    targets=(
        Target(DISK, VW, "samples_per_s", note="as a user has it"),
        Target(DISK, "in memory", "samples_per_s", note="as a user has it"),
        Target(PACKED, VW, "samples_per_s", note="the folder in memory"),
        Target(PACKED, "in memory", "samples_per_s", note="the folder in memory"),
        Target(APART, VW, "samples_per_s", at_least=2.5),
        Target(APART, "in memory", "samples_per_s", at_least=0.6),
        Target(APART, None, "samples_per_s", aim=1e6, note="aim: a million"),
        Target(APART, "bare echo", "samples_per_s", note="beside it"),
        Target("objects, native", "objects, python", "samples_per_s", at_least=5),
    ),
)


def _pump(endpoint: str, bodies: streams.Bodies) -> float:
    """Seconds from the first request sent to the last reply received."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.rcvtimeo = 60_000
    socket.linger = 0
    socket.connect(endpoint)
    header = msgpack.packb({"v": 1, "op": "learn", "id": 1})
    requests = [(header, body) for body in bodies]
    # A request that changes nothing much, so that the connection stands.
    socket.send_multipart((msgpack.packb({"v": 1, "op": "predict", "id": 0}), b"\x90"))
    socket.recv_multipart()
    start = time.perf_counter()
    sent = received = 0
    while received < len(requests):
        while sent < len(requests) and sent - received < WINDOW:
            socket.send_multipart(requests[sent], copy=False)
            sent += 1
        reply = socket.recv_multipart()
        if len(reply) != 2:
            raise RuntimeError(f"expected margins, got {msgpack.unpackb(reply[0])}")
        received += 1
    seconds = time.perf_counter() - start
    socket.close()
    return seconds


@bench.contender(DISK, kernel="native")
def packed_on_disk(job: Job) -> Figures:
    bodies = streams.bodies(job.stream())
    with served(on_disk=True) as endpoint:
        return {"samples_per_s": bodies.samples / _pump(endpoint, bodies)}


@bench.contender(PACKED, kernel="native")
def packed(job: Job) -> Figures:
    bodies = streams.bodies(job.stream())
    with served() as endpoint:
        return {"samples_per_s": bodies.samples / _pump(endpoint, bodies)}


@bench.contender(APART, kernel="native")
def packed_apart(job: Job) -> Figures:
    bodies = streams.bodies(job.stream())
    with served(log=False) as endpoint:
        return {"samples_per_s": bodies.samples / _pump(endpoint, bodies)}


@bench.contender("bare echo")
def bare_echo(job: Job) -> Figures:
    bodies = streams.bodies(job.stream())
    with echo("margins") as endpoint:
        return {"samples_per_s": bodies.samples / _pump(endpoint, bodies)}


@bench.contender("in memory", kernel="native")
def in_memory(job: Job) -> Figures:
    from onlinesvm import OnlineSVM

    bodies = streams.bodies(job.stream())
    model = OnlineSVM(rule="sgd")
    requests = list(bodies)
    start = time.perf_counter()
    for body in requests:
        model.learn_batch(model.kernel.decode(body, model.limits, labelled=True))
    return {"samples_per_s": bodies.samples / (time.perf_counter() - start)}


@bench.contender(VW, needs=("vowpalwabbit",))
def vw(job: Job) -> Figures:
    return vw_figures(streams.vw(job.stream()), job.stream().samples)


@bench.contender("objects, native", kernel="native")
@bench.contender("objects, python", kernel="python")
def objects(job: Job) -> Figures:
    from onlinesvm.service import Client

    bodies = streams.bodies(job.stream(job.sizes["objects"]))
    samples = [sample for body in bodies for sample in msgpack.unpackb(body)]
    with served() as endpoint, Client(endpoint) as client:
        client.ping()
        start = time.perf_counter()
        with client.stream() as stream:
            learn = stream.learn
            for label, features in samples:
                learn(features, label)
        seconds = time.perf_counter() - start
        if stream.applied != len(samples):
            raise RuntimeError(f"expected {len(samples)} samples learned, got {stream.applied}")
    return {"samples_per_s": len(samples) / seconds}


if __name__ == "__main__":
    sys.exit(bench.main())
