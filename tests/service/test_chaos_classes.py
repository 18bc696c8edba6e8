"""Chaos with many classes: a daemon is killed while models of every task of many labels learn, get
labels that they have not seen, drop labels, and hold samples until their labels come. At the end
each is bit for bit what it is without any fault, on both kernels.

``CHAOS_KILLS`` says how often the daemon is killed, ``CHAOS_SEED`` which moments.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest

from onlinesvm import OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer, Worse
from onlinesvm.model.given import Given
from onlinesvm.service import Client
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused
from tests.daemons import digest_of
from tests.service.test_chaos import DEADLINE_S, SEED
from tests.service.test_chaos_models import KILLS, STEP_S, Daemons

TASKS = ("multiclass", "multilabel", "ranking")
FEWEST = 100  # steps, where few fit between the kills


class Steps:
    """Teaches a model of each task, each step exactly once, beside models that have no daemon."""

    def __init__(self, client: Client, chance: random.Random, kernel: str) -> None:
        self.models = {task: OnlineSVM(rule="hedge", task=task, kernel=kernel) for task in TASKS}
        self.done = self.drops = 0
        self._client = client
        self._chance = chance
        self._sequences = dict.fromkeys(TASKS, 0)
        self._held: dict[str, list[tuple[bytes, list[str], bytes]]] = {task: [] for task in TASKS}
        self._keys = 0
        self._labels = 2  # so many are in use, more as time goes on
        for task in TASKS:
            config = {"rule": "hedge", "task": task}
            self._insist("create", model=task, config=config, if_exists="same")

    def step(self) -> None:
        self.done += 1
        task = self._chance.choice(TASKS)
        if self._chance.random() < 0.1:
            self._labels += 1
        labels = [] if task == "ranking" else self.models[task].classes_.tolist()
        kind = self._chance.random()
        if len(labels) > 2 and kind < 0.1:
            self._drop(task, self._chance.choice(labels))
        elif labels and kind < 0.25:
            self._hold(task)
        elif self._held[task] and kind < 0.4:
            self._label(task)
        else:
            self._learn(task)

    def finish(self) -> None:
        """Name the labels of what is held still."""
        for task, held in self._held.items():
            while held:
                self._label(task)

    def _features(self, labels: list[int]) -> list[str]:
        words = [f"w{label}" for label in labels]
        return [*words, *{f"n{self._chance.randrange(40)}" for _ in range(3)}]

    def _sample(self, task: str) -> Any:
        if task == "ranking":
            better, worse = sorted(self._chance.sample(range(self._labels), 2))
            return self._features([better]), Worse(self._features([worse]))
        count = self._chance.randrange(3) if task == "multilabel" else 1
        labels = self._chance.sample(range(self._labels), count)
        names: Any = [f"L{label}" for label in labels]
        return self._features(labels), names if task == "multilabel" else names[0]

    def _learn(self, task: str) -> None:
        batch = [self._sample(task) for _ in range(self._chance.randint(1, 6))]
        self._sequences[task] += 1
        body = pack_array([Packer().sample(*sample) for sample in batch])
        self._insist("learn", body, model=task, producer="chaos", sequence=self._sequences[task])
        model = self.models[task]
        model.learn_batch(model.decode(body, labelled=True))

    def _hold(self, task: str) -> None:
        """Hold a sample; a repeated request answers as the first did."""
        self._keys += 1
        key, model = b"k%d" % self._keys, self.models[task]
        features = self._features([self._chance.randrange(self._labels)])
        (given,) = model.give_batch(model.decode(msgpack.packb([features]), labelled=False))
        body = msgpack.packb([[key], [features]])
        self._insist("predict", body, model=task, hold=True, ttl_s=86_400)
        self._held[task].append((key, features, given))

    def _label(self, task: str) -> None:
        """Name the label of the sample held longest, whatever was learned meanwhile."""
        key, features, given = self._held[task].pop(0)
        label = f"L{self._chance.randrange(self._labels)}"
        (outcome,) = msgpack.unpackb(
            self._insist("label", msgpack.packb([[key, label]]), model=task)
        )
        assert outcome in ("learned", "duplicate"), outcome
        model, body = self.models[task], pack_array([Packer().sample(features, label)])
        model.learn_batch(model.decode(body, labelled=True), given=Given.unpacked([given]))

    def _drop(self, task: str, label: str) -> None:
        self._insist("drop_label", model=task, label=label)
        self.models[task].drop_label(label)
        self.drops += 1

    def _insist(self, op: str, body: bytes | None = None, **keys: Any) -> bytes:
        """Ask until it is done; a drop that was done before its answer was lost is done."""
        deadline = time.monotonic() + STEP_S
        is_first = True
        while True:
            try:
                return self._client.request(op, body, **keys)[1]
            except (DaemonLost, DaemonTimeout):
                is_first = False
            except RequestRefused as refusal:
                if op == "drop_label" and refusal.code == "BAD_SAMPLE" and not is_first:
                    return b""
                if refusal.code not in ("BUSY", "NOT_DURABLE"):
                    raise
            assert time.monotonic() < deadline, f"not in time: {op} {keys}"


@pytest.mark.long
@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize(
    "kernel", ["native", pytest.param("python", marks=pytest.mark.thorough)], indirect=True
)
def test_killed_again_and_again_with_many_classes(kernel: kernels.Kernel, tmp_path: Path) -> None:
    daemons = Daemons(tmp_path, random.Random(SEED + 1), kernel.NAME)
    try:
        with Client(daemons.endpoint, timeout_s=5.0, wait_s=DEADLINE_S) as client:
            steps = Steps(client, random.Random(SEED), kernel.NAME)
            daemons.begin()
            while not daemons.is_done or steps.done < FEWEST:
                steps.step()
            steps.finish()
            for task, model in steps.models.items():
                found = client.model(task)
                assert found.snapshot()["digest"] == digest_of(model), task
                if task != "ranking":
                    listed = [row["label"] for row in found.labels()["labels"]]
                    assert listed == model.classes_.tolist()[:100]
                    assert len(model.classes_) > 5
        assert daemons.kills == KILLS
        assert steps.drops
        assert daemons.finish() == 0
    except (AssertionError, RequestRefused) as error:
        raise AssertionError(f"{error}: {daemons.log.read_text(errors='replace')}") from error
    finally:
        daemons.close()
    text = daemons.log.read_text(errors="replace")
    assert "Traceback" not in text and "ERROR" not in text, text
