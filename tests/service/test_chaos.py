"""Chaos: a daemon and its producer, killed at random moments, again and again.

At random, and while it starts and replays its log, while it writes a snapshot, and while a
segment of its log begins. At the end the model is bit for bit the one that learns the same
samples without any fault, and its position is the number of samples. ``CHAOS_KILLS`` says how often
the daemon is killed, in each of the kernels; ``CHAOS_SEED`` which moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import Limits, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.readers.pairs import PairReader
from onlinesvm.readers.reader import Reader
from onlinesvm.service import Client
from onlinesvm.service.cli.demo import lines_of
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused
from onlinesvm.service.storage.snapshots import model_folder, snapshot_name, snapshots_in
from tests.daemons import HOUSE, digest_of, eventually
from tests.logs import newest_snapshot
from tests.nursery import Forked, Nursery

# Twelve meet each moment under each fsync policy.
KILLS = int(os.environ.get("CHAOS_KILLS", "12"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
# The producer's pace: it must not be done before the last kill.
LINES_A_TICK, TICK_S = 10, 0.005
DEADLINE_S = 60.0
KINDS = ("in a snapshot", "at its start", "in a roll", "at any time")


def library_lines() -> Iterator[bytes]:
    """The lines of the standard library, prose or code, as label-tab-text; again and again."""
    folder = Path(json.__file__).parent.parent
    while True:
        for path in sorted(folder.glob("*.py")):
            for text, label in lines_of(path.read_text(encoding="utf-8", errors="replace")):
                if "\t" not in text:
                    yield f"{label}\t{text}\n".encode()


def word_lines() -> Iterator[bytes]:
    """The same with the first letters as the label: new ones come now and then."""
    for line in library_lines():
        words = line.rstrip(b"\n").partition(b"\t")[2].split()
        if len(words) > 1 and words[0].isalpha():
            yield b"%s\t%s\n" % (words[0][:2].lower(), b" ".join(words[1:]))


def tagged_lines() -> Iterator[bytes]:
    """The same with two labels, the other the number of words."""
    for line in word_lines():
        label, _, text = line.partition(b"\t")
        yield b"%s,%d\t%s" % (label, text.count(b" ") + 1, text)


def pair_lines() -> Iterator[bytes]:
    """The same as pairs for a ranking: prose is the better."""
    found: dict[bytes, bytes] = {}
    for line in library_lines():
        label, _, text = line.rstrip(b"\n").partition(b"\t")
        found[label] = text
        if len(found) == 2:
            texts = (text.decode() for _, text in sorted(found.items()))
            better, worse = (text.split() for text in texts)
            yield json.dumps({"better": better, "worse": worse}).encode() + b"\n"
            found = {}


def learn_text(model: OnlineSVM, path: Path) -> None:
    """Learn a file of labelled text."""
    with Reader(
        path, limits=Limits(), format="text", kernel=model.kernel.NAME,
        sets=model.is_multilabel, extractor=model.extractor,
    ) as reader:  # fmt: skip
        for batch in reader:
            model.learn_batch(batch)


def learn_pairs(model: OnlineSVM, path: Path) -> None:
    """Learn a file of pairs."""
    with PairReader(path, limits=model.limits, extractor=model.extractor) as reader:
        for pairs in reader:
            model.learn_batch(model.decode(pairs.learned, labelled=True))


# Task → the learner, its lines, and how the library learns them.
TASKS: dict[str, tuple[dict[str, Any], Callable[[], Iterator[bytes]], Any]] = {
    "binary": ({"rule": "sgd", "alpha": 0.001}, library_lines, learn_text),
    "multiclass": ({"rule": "hedge", "task": "multiclass"}, word_lines, learn_text),
    "multilabel": ({"rule": "hedge", "task": "multilabel"}, tagged_lines, learn_text),
    "ranking": ({"rule": "hedge", "task": "ranking"}, pair_lines, learn_pairs),
}
# Each kernel once; the others are thorough. The python kernel does not keep pace with these lines
# where labels are many: `test_chaos_classes` has its tasks of many labels.
OFTEN = (("native", "binary"), ("python", "ranking"))
TOO_SLOW = (("python", "multiclass"), ("python", "multilabel"))
KERNELS_AND_TASKS = [
    pytest.param(kernel, task, marks=[] if (kernel, task) in OFTEN else pytest.mark.thorough)
    for kernel in ("native", "python")
    for task in TASKS
    if (kernel, task) not in TOO_SLOW
]


class Lines:
    """The samples so far: they are there at a steady pace until `finish`."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self.lines: list[bytes] = []
        self._is_finished = False
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_finished:
            with self._more:
                self.lines += [next(self._source) for _ in range(LINES_A_TICK)]
                self._more.notify_all()
            time.sleep(TICK_S)

    def finish(self) -> None:
        self._is_finished = True
        self._thread.join()
        with self._more:
            self._more.notify_all()

    def feed(self, pipe: int) -> None:
        """Write all lines to `pipe`, from the first on, as they come."""
        at = 0
        # Its reader may be killed.
        with contextlib.suppress(BrokenPipeError), open(pipe, "wb") as file:
            while not (self._is_finished and at == len(self.lines)):
                with self._more:
                    while len(self.lines) == at and not self._is_finished:
                        self._more.wait(DEADLINE_S)
                    piece, at = self.lines[at:], len(self.lines)
                file.write(b"".join(piece))
                file.flush()


class Producer:
    """``onlinesvm learn --producer`` with the lines on its stdin."""

    def __init__(self, lines: Lines, endpoint: str) -> None:
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [
                sys.executable, "-W", "error", "-m", "onlinesvm.service", "learn", "--connect",
                endpoint, "--producer", "chaos", "--timeout-s", str(DEADLINE_S),
                "--wait", str(DEADLINE_S), "-",
            ],
            cwd=HOUSE,
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(reading)
        self._feeder = threading.Thread(target=lines.feed, args=(writing,), daemon=True)
        self._feeder.start()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self._feeder.join(DEADLINE_S)

    def wait(self) -> dict[str, object]:
        """Its outcome; fails if it does."""
        out, errors = self.process.communicate(timeout=DEADLINE_S + KILLS)
        assert self.process.returncode == 0, errors.decode()
        outcome: dict[str, object] = json.loads(out)
        return outcome


def serves(endpoint: str) -> bool:
    """True if a daemon answers there."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    try:
        socket.create_connection((host, int(port)), 1.0).close()
    except OSError:
        return False
    return True


def free_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


class Follower:
    """A follower of the folder, and a client that asks it all the time: no request may fail.

    A reload finds the newest snapshot of that moment, or a newer one.
    """

    def __init__(self, nursery: Nursery, state: Path, log: Path) -> None:
        self._nursery = nursery
        self._state = state
        self._log = log
        self._endpoint = free_endpoint()
        self.positions: list[int] = []
        self.failures: list[BaseException] = []
        state.mkdir()
        self._start()

    def _start(self) -> None:
        self._daemon = self._nursery.serve(
            self._log, bind=self._endpoint, follow=self._state, reload_every_s=0.05
        )
        eventually(lambda: serves(self._endpoint), "a reader that serves", DEADLINE_S)
        self._is_finished = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._is_finished,), daemon=True)
        self._thread.start()

    def _run(self, is_finished: threading.Event) -> None:
        try:
            with Client(self._endpoint, timeout_s=DEADLINE_S) as client:
                while not is_finished.wait(0.005):
                    self._ask(client)
        except BaseException as error:
            self.failures.append(error)

    def _ask(self, client: Client) -> None:
        newest = snapshots_in(model_folder(self._state, "default"))[:1]
        try:
            self.positions.append(client.request("predict", b"\x91\x91\xa1a")[0]["position"])
        except RequestRefused as error:
            if error.code != "BUSY" or self.positions:  # there is no snapshot at first
                raise
        if newest:
            reply = client.reload()
            self.positions.append(reply["position"])
            assert Path(reply["path"]).name >= snapshot_name(newest[0][0])

    def _finish(self) -> None:
        self._is_finished.set()
        self._thread.join(DEADLINE_S)

    def restart(self) -> None:
        """Kill it, and start another."""
        self._finish()
        self._daemon.kill()
        self._start()

    def stop(self) -> None:
        self._finish()
        assert self._daemon.stop() == 0
        text = self._log.read_text(errors="replace")
        assert "Traceback" not in text and "ERROR" not in text, text


def is_there(state: Path, pattern: str) -> bool:
    return next(state.glob(pattern), None) is not None


def holds(state: Path, pid: int) -> bool:
    """True if that process has the folder, and is about to read it."""
    return (state / "LOCK").read_bytes() == b"%d\n" % pid


def moment(kind: str, daemon: Forked, state: Path, endpoint: str, chance: random.Random) -> None:
    """Wait for the moment to kill `daemon`."""

    def seen(condition: Callable[[], bool], within_s: float, every_s: float = 0.0002) -> bool:
        deadline = time.monotonic() + within_s
        while not condition():
            assert daemon.is_running(), "the daemon ended by itself"
            if time.monotonic() > deadline:
                return False
            time.sleep(every_s)  # the daemon needs the processor
        return True

    def until(condition: Callable[[], bool], what: str, every_s: float = 0.0002) -> None:
        assert seen(condition, DEADLINE_S, every_s), f"not in time: {what}"

    if kind == "at its start":
        until(lambda: holds(state, daemon.pid), "the lock", 0.001)
        time.sleep(chance.random() * 0.05)
        return
    until(lambda: serves(endpoint), "a daemon that serves", 0.005)
    if kind == "in a snapshot":
        until(lambda: is_there(state, "models/default/.snapshot-*.tmp"), "a snapshot")
        time.sleep(chance.random() ** 2 * 0.002)
    elif kind == "in a roll":
        # It is there for microseconds, seldom where samples are few: then any moment will do.
        seen(lambda: is_there(state, "log/.*.tmp"), 3.0)
        time.sleep(chance.random() ** 2 * 0.001)
    else:
        time.sleep(chance.random() ** 2 * 0.4)


@pytest.mark.long
@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize(("kernel", "task"), KERNELS_AND_TASKS, indirect=["kernel"])
def test_killed_again_and_again(kernel: kernels.Kernel, task: str, tmp_path: Path) -> None:
    learner, source, learn = TASKS[task]
    chance = random.Random(SEED)
    endpoint = free_endpoint()
    state, log = tmp_path / "state", tmp_path / "log"
    lines = Lines(source())
    nursery = Nursery(kernel.NAME)
    follower = Follower(nursery, state, tmp_path / "follower.log")
    producer = Producer(lines, endpoint)
    options = {"bind": endpoint, "state": state, **learner}
    daemon = None
    try:
        for kill in range(KILLS):
            kind = KINDS[kill % len(KINDS)]
            often = kind in ("in a snapshot", "in a roll")
            daemon = nursery.serve(
                log,
                **options,
                fsync=("everysec", "always", "never")[kill % 3],
                snapshot_every_s=0.02 if often else chance.choice([0.02, 0.3, 300]),
            )
            moment(kind, daemon, state, endpoint, chance)
            if chance.random() < 0.3:
                producer.kill()
                producer = Producer(lines, endpoint)
            if chance.random() < 0.2:
                follower.restart()
            assert daemon.is_running()
            daemon.kill()
        daemon = nursery.serve(log, **options, snapshot_every_s=0.05)
        lines.finish()
        outcome = producer.wait()
        with Client(endpoint, timeout_s=DEADLINE_S) as client:
            position = client.stats()["position"]
            digest = client.snapshot()["digest"]
        eventually(lambda: follower.positions[-1] == position, "the follower to have it all")
        assert daemon.stop() == 0
    except (DaemonLost, DaemonTimeout, AssertionError) as error:
        raise AssertionError(f"{error}: {log.read_text(errors='replace')}") from error
    finally:
        lines.finish()
        producer.kill()
        if daemon is not None:
            daemon.kill()
        follower.stop()
        nursery.close()
    assert follower.failures == []
    assert follower.positions == sorted(follower.positions)
    assert position == len(lines.lines) == outcome["position"]
    assert outcome["known"] + outcome["samples"] == position  # type: ignore[operator]
    path = tmp_path / "all.tsv"
    path.write_bytes(b"".join(lines.lines))
    model = OnlineSVM(kernel=kernel.NAME, **learner)
    learn(model, path)
    assert digest_of(model) == digest
    newest = newest_snapshot(state)
    assert digest_of(OnlineSVM.load(newest)) == digest
    text = log.read_text(errors="replace")
    assert "Traceback" not in text and "ERROR" not in text, text
