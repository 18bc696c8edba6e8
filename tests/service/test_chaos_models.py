"""Chaos with many models: a daemon is killed while models are created, learn, are dropped, leave
the memory and come back. At the end each is bit for bit what it is without any fault.

``CHAOS_KILLS`` says how often the daemon is killed, ``CHAOS_SEED`` which moments.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.service import Client
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused
from tests.daemons import digest_of, eventually
from tests.nursery import Forked, Nursery
from tests.service.test_chaos import DEADLINE_S, SEED, free_endpoint, serves

KILLS = int(os.environ.get("CHAOS_KILLS", "12"))
MODELS = 50
IDLE = 70  # more, which learn once
STEP_S = 300.0  # on a machine at full load a daemon is often killed before it answers
CONFIG: dict[str, Any] = {"rule": "sgd", "alpha": 0.001}


class Daemons:
    """A daemon that is killed and started again, until `finish`."""

    def __init__(self, folder: Path, chance: random.Random, kernel: str = "native") -> None:
        self.endpoint = free_endpoint()
        self.log = folder / "log"
        self.kills = 0
        self._folder = folder
        self._chance = chance
        self._nursery = Nursery(kernel)
        self._daemon = self._serve()
        self._is_finished = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Begin to kill."""
        self._thread.start()

    def _serve(self) -> Forked:
        return self._nursery.serve(
            self.log,
            bind=self.endpoint,
            state=self._folder / "state",
            fsync=("everysec", "always", "never")[self.kills % 3],
            snapshot_every_s=self._chance.choice([0.02, 0.3, 300]),
            max_memory="1MiB",
        )

    def _run(self) -> None:
        while self.kills < KILLS:
            if self._chance.random() < 0.8:  # else while it starts
                deadline = time.monotonic() + DEADLINE_S
                while not serves(self.endpoint) and time.monotonic() < deadline:
                    time.sleep(0.005)  # the daemon needs the processor
            if self._is_finished.wait(self._chance.random() * 0.5):
                return
            self._daemon.kill()
            self.kills += 1
            self._daemon = self._serve()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> int:
        """End the last daemon; its exit code."""
        self._is_finished.set()
        self._thread.join()
        return self._daemon.stop()

    def close(self) -> None:
        self._is_finished.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._daemon.kill()
        self._nursery.close()


class Steps:
    """Creates models, teaches them and drops them, each step exactly once."""

    def __init__(self, client: Client, chance: random.Random) -> None:
        self.models: dict[str, OnlineSVM] = {}
        self.samples = 0
        self._client = client
        self._chance = chance
        self._sequences: dict[str, int] = {}

    def step(self, number: int) -> None:
        """Do something with the model of a number."""
        name = f"m{number}"
        if name not in self.models:
            self._insist("create", model=name, config=CONFIG, if_exists="same")
            self.models[name], self._sequences[name] = OnlineSVM(**CONFIG), 0
        elif self._chance.random() < 0.05:
            self._insist("drop", model=name)
            del self.models[name]
        else:
            self._learn(name)

    def _learn(self, name: str) -> None:
        batch = [
            ([f"f{self._chance.randrange(500)}", "all"], self._chance.choice([-1, 1]))
            for _ in range(self._chance.randint(1, 8))
        ]
        self._sequences[name] += 1
        body = pack_array([Packer().sample(*sample) for sample in batch])
        self._insist("learn", body, model=name, producer="chaos", sequence=self._sequences[name])
        self.models[name].learn(batch)
        self.samples += len(batch)

    def _insist(self, op: str, body: bytes | None = None, **keys: Any) -> None:
        """Ask until it is done; a drop that was done before its answer was lost is done."""
        deadline = time.monotonic() + STEP_S
        is_first = True
        while True:
            try:
                self._client.request(op, body, **keys)
            except (DaemonLost, DaemonTimeout):
                is_first = False
            except RequestRefused as refusal:
                if op == "drop" and refusal.code == "NO_MODEL" and not is_first:
                    return
                if refusal.code not in ("BUSY", "NOT_DURABLE"):
                    raise
            else:
                return
            assert time.monotonic() < deadline, f"not in time: {op} {keys}"


@pytest.mark.long
@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_again_and_again_with_many_models(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    daemons = Daemons(tmp_path, random.Random(SEED + 1))
    try:
        with Client(daemons.endpoint, timeout_s=5.0, wait_s=DEADLINE_S) as client:
            steps = Steps(client, chance)
            for number in (*range(MODELS + IDLE), *range(MODELS + IDLE)):
                steps.step(number)  # together they are more than the memory takes
            eventually(lambda: client.stats()["unloaded_models"], "a model that is unloaded")
            daemons.begin()
            while not daemons.is_done:
                steps.step(chance.randrange(MODELS))
            names = [row["name"] for row in client.models()]
            assert names == sorted(["default", *steps.models])
            for name, model in steps.models.items():
                assert client.model(name).snapshot()["digest"] == digest_of(model), name
        assert daemons.kills == KILLS
        assert daemons.finish() == 0
    except (AssertionError, RequestRefused) as error:
        raise AssertionError(f"{error}: {daemons.log.read_text(errors='replace')}") from error
    finally:
        daemons.close()
    text = daemons.log.read_text(errors="replace")
    assert "Traceback" not in text and "ERROR" not in text, text
