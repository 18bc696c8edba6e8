"""Soak: everything at once and at full load, for minutes or hours, with kills all the while.

    python tests/soak.py [--minutes 3] [--seed 1] [--p99-ms 500]

Producers that stream as fast as they can, a peer whose samples are refused, predictors at a steady
pace at the learner and at its follower, snapshots on request; learner, follower and producers are
killed again and again. Checked at the end: received = applied + refused, producer by producer; a
start from the older snapshot and the log gives the same model; memory is flat; latency is
bounded; nothing was logged that is not explained. Prints a report; exits 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from test_chaos import free_endpoint, serves

from onlinesvm.service import Client
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused
from tests.daemons import HOUSE, digest_of, eventually
from tests.logs import bench, newest_snapshot
from tests.nursery import Forked, Nursery

PRODUCERS = ("first", "second")
FEATURES, A_SAMPLE = 200_000, 12
DEADLINE_S = 60.0
# Lines that a kill, a restart or a drifting stream may leave in the log.
EXPLAINED = (
    " INFO ", " leader at ", " reader at ", "bytes are cut off", "drift: the error rose",
    "no model to serve yet",
)  # fmt: skip


def samples(name: str, start: int) -> Iterator[tuple[list[str], int]]:
    """The endless stream of a producer, from sample `start` on."""
    # Made once and gone round and round, so that the daemon is the slow part.
    rng = random.Random(name)
    ring = [
        ([f"w{min(rng.randrange(FEATURES), rng.randrange(FEATURES))}" for _ in range(A_SAMPLE)],
         rng.choice((-1, 1)))
        for _ in range(20_000)
    ]  # fmt: skip
    while True:
        yield ring[start % len(ring)]
        start += 1


def produce(endpoint: str, name: str) -> None:
    """A producer's process: streams until SIGTERM, then tells how many samples were applied."""
    is_finished = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_finished.set())
    with Client(endpoint, timeout_s=DEADLINE_S) as client:
        with client.stream(name) as stream:
            print("streaming", flush=True)
            for features, label in samples(name, stream.applied):
                stream.learn(features, label)
                if is_finished.is_set():
                    break
        print(stream.applied, flush=True)


class Worker:
    """A thread that does `work` with a client at a steady pace, over what breaks on the way."""

    def __init__(self, endpoint: str, pace_s: float, work: Callable[[Client], None]) -> None:
        self._endpoint = endpoint
        self._pace_s = pace_s
        self._work = work
        self.done = self.broken = 0
        self.failures: list[str] = []
        self.latencies_s: list[float] = []
        self.is_disturbed = threading.Event()  # while what it talks to is killed and starts again
        self._is_finished = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        with Client(self._endpoint, timeout_s=DEADLINE_S) as client:
            while not self._is_finished.wait(max(0.0, due - time.monotonic())):
                disturbed = self.is_disturbed.is_set()
                try:
                    self._work(client)
                    self.done += 1
                except (DaemonLost, DaemonTimeout):
                    self.broken += 1
                except Exception as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                else:
                    if not (disturbed or self.is_disturbed.is_set()):
                        # From when it was due: a closed loop would hide the wait.
                        self.latencies_s.append(time.monotonic() - due)
                # After an outage the pace starts anew; what waits in a pause without one counts.
                anew = disturbed or self.is_disturbed.is_set()
                due = (time.monotonic() if anew else due) + self._pace_s

    def finish(self) -> None:
        self._is_finished.set()
        self._thread.join(DEADLINE_S)


class Soak:
    """The whole run."""

    def __init__(self, folder: Path, seconds: float, seed: int, p99_s: float) -> None:
        self._state = folder / "state"
        self._log = folder / "log"
        self._seconds = seconds
        self._p99_s = p99_s
        self._chance = random.Random(seed)
        self._nursery = Nursery("native")
        self._endpoint, self._follower_endpoint = free_endpoint(), free_endpoint()
        self.report: dict[str, Any] = {"seconds": round(seconds), "kills": {}}
        self.failures: list[str] = []
        self._memory: list[tuple[float, int]] = []
        self._refused = 0
        self._snapshots = 0

    # The parts that run.

    def _serve(self, endpoint: str, **options: Any) -> Forked:
        daemon = self._nursery.serve(self._log, bind=endpoint, **options)
        eventually(lambda: serves(endpoint), f"a daemon at {endpoint}", DEADLINE_S)
        return daemon

    def _learner(self) -> Forked:
        return self._serve(self._endpoint, state=self._state, rule="sgd", snapshot_every_s=5)

    def _follower(self) -> Forked:
        return self._serve(self._follower_endpoint, follow=self._state, reload_every_s=1)

    def _producer(self, name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, __file__, "--produce", self._endpoint, name],
            cwd=HOUSE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _predict(self, client: Client) -> None:
        client.predict([["w1", "w2", "w3"], {"w4": 0.5}])

    def _be_refused(self, client: Client) -> None:
        try:
            client.learn([(["w1"], 1), ({"w2": float("nan")}, 1)])
        except RequestRefused as error:
            if error.code != "BAD_SAMPLE":
                raise
            self._refused += 1
        else:
            raise AssertionError("a sample that is none was learned")

    def _watch(self, client: Client) -> None:
        stats = client.stats()
        self._memory.append((time.monotonic(), stats["memory_bytes"]))
        for key in ("snapshot_error", "log_error"):
            if stats[key] is not None:
                raise AssertionError(f"{key}: {stats[key]}")

    def _snapshot(self, client: Client) -> None:
        client.snapshot()
        self._snapshots += 1

    def run(self) -> None:
        learner, follower = self._learner(), self._follower()
        producers = {name: self._producer(name) for name in PRODUCERS}
        at_learner = {
            "predictions": Worker(self._endpoint, 0.05, self._predict),
            "refusals": Worker(self._endpoint, 0.05, self._be_refused),
            "snapshots": Worker(self._endpoint, 3.0, self._snapshot),
            "figures": Worker(self._endpoint, 0.25, self._watch),
        }
        at_follower = {
            "predictions, follower": Worker(self._follower_endpoint, 0.005, self._predict)
        }
        workers = at_learner | at_follower
        begin = time.monotonic()
        try:
            while time.monotonic() - begin < self._seconds:
                time.sleep(self._chance.uniform(2.0, 8.0))
                kind = self._chance.choice(("learner", "follower", "producer"))
                self.report["kills"][kind] = self.report["kills"].get(kind, 0) + 1
                if kind == "learner":
                    with _disturbing(at_learner):
                        learner.kill()
                        learner = self._learner()
                elif kind == "follower":
                    with _disturbing(at_follower):
                        follower.kill()
                        follower = self._follower()
                else:
                    name = self._chance.choice(PRODUCERS)
                    producers[name].kill()
                    producers[name].communicate()
                    producers[name] = self._producer(name)
            for worker in workers.values():
                worker.finish()
            self._check_producers(producers)
            self._check_workers(workers)
            for name, daemon in (("leader", learner), ("reader", follower)):
                if daemon.stop() != 0:
                    self.failures.append(f"the {name} did not end well")
        finally:
            for producer in producers.values():
                producer.kill()
            learner.kill()
            follower.kill()
            self._nursery.close()
        self._check_memory(begin)
        self._check_log()
        self._check_replay()

    # Checks.

    def _check_producers(self, producers: dict[str, subprocess.Popen[str]]) -> None:
        """Received = applied + refused."""
        acknowledged = {}
        for name, producer in producers.items():
            assert producer.stdout is not None
            producer.stdout.readline()  # from then on it ends well
            producer.send_signal(signal.SIGTERM)
            acknowledged[name] = int(producer.communicate(timeout=DEADLINE_S)[0])
        with Client(self._endpoint, timeout_s=DEADLINE_S) as client:
            applied = {
                name: client.request("resume", producer=name)[0]["samples"] for name in PRODUCERS
            }
            position = client.stats()["position"]
        self.report.update(
            acknowledged=acknowledged, applied=applied, position=position, refused=self._refused
        )
        if not (acknowledged == applied and sum(applied.values()) == position):
            self.failures.append("received is not applied + refused")

    def _check_workers(self, workers: dict[str, Worker]) -> None:
        for name, worker in workers.items():
            figures: dict[str, Any] = {"done": worker.done, "broken": worker.broken}
            if worker.latencies_s:
                latencies = sorted(worker.latencies_s)
                at = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
                for key, share in at.items():
                    figures[key] = round(1e3 * latencies[int(share * (len(latencies) - 1))], 2)
                figures["max_ms"] = round(1e3 * latencies[-1], 2)
                if "predictions" in name and figures["p99_ms"] > 1e3 * self._p99_s:
                    self.failures.append(f"{name}: p99 {figures['p99_ms']} ms")
            self.report[name] = figures
            if not worker.done:
                self.failures.append(f"{name}: nothing was done")
            self.failures += [f"{name}: {failure}" for failure in worker.failures[:3]]

    def _check_memory(self, begin: float) -> None:
        """In the last third about as much as in the second."""
        thirds: list[list[int]] = [[], [], []]
        for at, size in self._memory:
            thirds[min(2, int(3 * (at - begin) / self._seconds))].append(size)
        medians = [round(statistics.median(third) / 2**20, 1) for third in thirds if third]
        self.report["memory_mib_by_thirds"] = medians
        if len(medians) < 3 or medians[2] > 1.2 * medians[1] + 32:
            self.failures.append(f"memory is not flat: {medians} MiB")

    def _check_log(self) -> None:
        lines = self._log.read_text(errors="replace").splitlines()
        strange = [line for line in lines if not any(sign in line for sign in EXPLAINED)]
        self.report["log_lines"] = len(lines)
        self.failures += [f"logged: {line}" for line in strange[:10]]

    def _check_replay(self) -> None:
        """The older snapshot and the log make the model of the newest."""
        with bench(self._state) as found:
            whole = digest_of(found.model), found.model.position
        newest = newest_snapshot(self._state)
        newest.unlink()
        with bench(self._state) as found:
            if (digest_of(found.model), found.model.position) != whole:
                self.failures.append("the log does not make the model of the newest snapshot")


@contextlib.contextmanager
def _disturbing(workers: dict[str, Worker]) -> Iterator[None]:
    """While a daemon is down, what its workers meet is no failure and no latency."""
    for worker in workers.values():
        worker.is_disturbed.set()
    try:
        yield
    finally:
        for worker in workers.values():
            worker.is_disturbed.clear()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--p99-ms", type=float, default=500.0)
    parser.add_argument("--produce", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.produce:
        produce(*arguments.produce)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(folder, 60 * arguments.minutes, arguments.seed, arguments.p99_ms / 1e3)
    soak.run()
    print(json.dumps(soak.report, indent=2))
    for failure in soak.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    if soak.failures:
        print(f"its folder: {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    print("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
