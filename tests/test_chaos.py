"""Chaos: a daemon and its producer, killed at random moments, again and again.

At the end the model is bit for bit the one that learns the same samples without any fault, and its
position is the number of samples. ``CHAOS_KILLS`` says how often the daemon is killed, in each of
the kernels; ``CHAOS_SEED`` which moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import HOUSE, DaemonProcess, digest_of, eventually, flags_of

from onlinesvm import Limits, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.errors import DaemonLost, DaemonTimeout, RequestRefused
from onlinesvm.formats import Reader
from onlinesvm.service import Client
from onlinesvm.service.demo import lines_of

KILLS = int(os.environ.get("CHAOS_KILLS", "13"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
# The producer's pace: it must not be done before the last kill.
LINES_A_TICK, TICK_S = 20, 0.005
DEADLINE_S = 60.0


def library_lines() -> Iterator[bytes]:
    """The lines of the standard library, prose or code, as label-tab-text; again and again."""
    folder = Path(json.__file__).parent.parent
    while True:
        for path in sorted(folder.glob("*.py")):
            for text, label in lines_of(path.read_text(encoding="utf-8", errors="replace")):
                if "\t" not in text:
                    yield f"{label}\t{text}\n".encode()


class Lines:
    """The samples so far: they are there at a steady pace until `finish`."""

    def __init__(self) -> None:
        self._source = library_lines()
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
        # Who reads it may be killed.
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
                endpoint, "--producer", "chaos", "--timeout-s", str(DEADLINE_S), "-",
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
        out, errors = self.process.communicate(timeout=DEADLINE_S)
        assert self.process.returncode == 0, errors.decode()
        outcome: dict[str, object] = json.loads(out)
        return outcome


def started(
    kernel: str, state: Path, endpoint: str, log: Path, **flags: object
) -> subprocess.Popen[bytes]:
    options = flags_of({"bind": endpoint, "state": state, "rule": "sgd", "alpha": 0.001, **flags})
    with open(log, "ab") as stderr:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "onlinesvm.service", "serve", *options],
            cwd=HOUSE,
            env={**os.environ, "ONLINESVM_KERNEL": kernel},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )


def serves(endpoint: str) -> bool:
    """Whether a daemon answers there."""
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
    """A follower of the folder, and one who asks it all the time: no request may fail."""

    def __init__(self, state: Path) -> None:
        state.mkdir()
        self._daemon = DaemonProcess(follow=state, reload_every_s=0.05)
        self._is_finished = threading.Event()
        self.failures: list[BaseException] = []
        self.positions: list[int] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._daemon.client() as client:
            while not self._is_finished.wait(0.005):
                try:
                    self.positions.append(
                        client.request("predict", b"\x91\x91\xa1a")[0]["position"]
                    )
                except RequestRefused as error:
                    if error.code != "BUSY" or self.positions:  # there is no snapshot at first
                        self.failures.append(error)
                except Exception as error:
                    self.failures.append(error)
                    return

    def stop(self) -> None:
        self._is_finished.set()
        self._thread.join(DEADLINE_S)
        with self._daemon:
            assert self._daemon.stop() == 0


@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_again_and_again(kernel: kernels.Kernel, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    endpoint = free_endpoint()
    state, log = tmp_path / "state", tmp_path / "log"
    lines = Lines()
    follower = Follower(state)
    producer = Producer(lines, endpoint)
    daemon = None
    try:
        for kill in range(KILLS):
            daemon = started(
                kernel.NAME, state, endpoint, log,
                fsync=("everysec", "always", "never")[kill % 3],
                snapshot_every_s=chance.choice([0.02, 0.3, 300]),
            )  # fmt: skip
            if chance.random() < 0.25:
                # While it starts and replays: it takes about as long as this machine is fast.
                time.sleep(chance.random() * 0.5)
            else:
                deadline = time.monotonic() + DEADLINE_S
                while not serves(endpoint):
                    assert daemon.poll() is None, log.read_text(errors="replace")
                    assert time.monotonic() < deadline, "the daemon does not serve"
                    time.sleep(0.01)
                time.sleep(chance.random() ** 2 * 0.6)
            assert daemon.poll() is None, log.read_text(errors="replace")
            if chance.random() < 0.3:
                producer.kill()
                producer = Producer(lines, endpoint)
            daemon.kill()
            daemon.wait()
        daemon = started(kernel.NAME, state, endpoint, log, snapshot_every_s=0.05)
        lines.finish()
        outcome = producer.wait()
        with Client(endpoint, timeout_s=DEADLINE_S) as client:
            position = client.stats()["position"]
            digest = client.snapshot()["digest"]
        eventually(lambda: follower.positions[-1] == position, "the follower to have it all")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(DEADLINE_S) == 0
    except (DaemonLost, DaemonTimeout) as error:
        raise AssertionError(f"{error}: {log.read_text(errors='replace')}") from error
    finally:
        lines.finish()
        producer.kill()
        if daemon is not None:
            daemon.kill()
            daemon.wait()
        follower.stop()
    assert follower.failures == []
    assert follower.positions == sorted(follower.positions)
    assert position == len(lines.lines) == outcome["position"]
    assert outcome["known"] + outcome["samples"] == position  # type: ignore[operator]
    path = tmp_path / "all.tsv"
    path.write_bytes(b"".join(lines.lines))
    model = OnlineSVM(rule="sgd", alpha=0.001, kernel=kernel.NAME)
    with Reader(path, limits=Limits(), format="text", kernel=kernel.NAME) as reader:
        for batch in reader:
            model.learn_batch(batch)
    assert digest_of(model) == digest
    newest = max(state.glob("snapshot-*.msgpack"))
    assert digest_of(OnlineSVM.load(newest)) == digest
    text = log.read_text(errors="replace")
    assert "Traceback" not in text and "ERROR" not in text, text
