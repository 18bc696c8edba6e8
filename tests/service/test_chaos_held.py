"""Chaos with held samples: a daemon is killed between hold, label and expiry. Each label is learned
exactly once, and the model is bit for bit what it is without any fault.

``CHAOS_KILLS`` says how often the daemon is killed, ``CHAOS_SEED`` which moments.
"""

from __future__ import annotations

import random
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service import Client
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused
from tests.daemons import digest_of, eventually
from tests.logs import body_of
from tests.service.test_chaos import DEADLINE_S, SEED
from tests.service.test_chaos_models import CONFIG, KILLS, Daemons


class Steps:
    """Holds samples and labels them, each exactly once, beside a model that has no daemon.

    Samples of the model `defaults` are left to their default label, which comes at a time that only
    the daemon knows: they are counted alone, `uncertain` those whose reply was lost.
    """

    def __init__(self, client: Client, chance: random.Random) -> None:
        self.model = OnlineSVM(**CONFIG)
        self.defaults = self.uncertain = 0
        self._client = client
        self._chance = chance
        self._number = 0
        self._held: deque[tuple[bytes, list[str], float]] = deque()
        self._labelled: list[bytes] = []
        for name in ("labels", "defaults"):
            self._insist("create", model=name, config=CONFIG, if_exists="same")

    def step(self) -> None:
        kind = self._chance.random()
        if kind < 0.4:
            self._hold()
        elif kind < 0.7 and self._held:
            self._label(self._chance.randint(1, len(self._held)))
        elif kind < 0.8:
            self._learn()
        else:
            self._leave_to_default()

    def finish(self) -> None:
        """Label what is held still."""
        while self._held:
            self._label(len(self._held))

    def _samples(self) -> tuple[list[bytes], list[list[str]]]:
        count = self._chance.randint(1, 8)
        samples = [[f"f{self._chance.randrange(300)}", "all"] for _ in range(count)]
        self._number += count
        return [b"k%d" % (self._number - i) for i in range(count)], samples

    def _hold(self) -> None:
        keys, samples = self._samples()
        margins = self.model.decision_function(samples)
        body = msgpack.packb([keys, samples])
        given = msgpack.unpackb(
            self._insist("predict", body, model="labels", hold=True, ttl_s=86_400)
        )
        assert given == margins.tolist()
        self._held.extend(zip(keys, samples, margins.tolist(), strict=True))

    def _label(self, count: int) -> None:
        chosen = [self._held.popleft() for _ in range(count)]
        self._chance.shuffle(chosen)
        labels = [self._chance.choice([-1, 1]) for _ in chosen]
        rows: list[list[Any]] = [[key, y] for (key, _, _), y in zip(chosen, labels, strict=True)]
        if self._labelled:  # again, and one that was never held
            rows += [[self._chance.choice(self._labelled), 1], [b"never", 1]]
        outcomes = msgpack.unpackb(self._insist("label", msgpack.packb(rows), model="labels"))
        own = set(outcomes[:count])
        # What is lost with a connection may have been done; then all of it was.
        assert own in ({"learned"}, {"duplicate"}), outcomes
        assert outcomes[count:] in ([], ["duplicate", "unknown"]), outcomes
        body = body_of([(sample, y) for (_, sample, _), y in zip(chosen, labels, strict=True)])
        margins = np.array([margin for _, _, margin in chosen])
        self.model.learn_batch(self.model.decode(body, labelled=True), given=margins)
        self._labelled += [key for key, _, _ in chosen]

    def _learn(self) -> None:
        """Learn one sample: by a hold and a label at once, as these can be sent again."""
        self._hold()
        self.finish()

    def _leave_to_default(self) -> None:
        keys, samples = self._samples()
        ttl = self._chance.choice([0.01, 0.1, 0.5])
        body = msgpack.packb([keys, samples])
        options = {"hold": True, "ttl_s": ttl, "default_label": -1}
        try:
            self._client.request("predict", body, model="defaults", **options)
            self.defaults += len(keys)
        except (DaemonLost, DaemonTimeout):
            self.uncertain += len(keys)
        except RequestRefused as refusal:
            if refusal.code not in ("BUSY", "NOT_DURABLE"):
                raise

    def _insist(self, op: str, body: bytes | None = None, **keys: Any) -> bytes:
        """Ask until it is done; the reply's body."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self._client.request(op, body, **keys)[1]
            except (DaemonLost, DaemonTimeout):
                pass
            except RequestRefused as refusal:
                if refusal.code not in ("BUSY", "NOT_DURABLE"):
                    raise
            assert time.monotonic() < deadline, f"not in time: {op} {keys}"


@pytest.mark.long
@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_again_and_again_with_held_samples(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path, random.Random(SEED + 1))
    try:
        with Client(daemons.endpoint, timeout_s=5.0, wait_s=DEADLINE_S) as client:
            steps = Steps(client, random.Random(SEED))
            daemons.begin()
            while not daemons.is_done:
                steps.step()
            steps.finish()
            saved = client.model("labels").snapshot()
            assert saved["digest"] == digest_of(steps.model)
            defaults = client.model("defaults")
            eventually(lambda: not defaults.stats()["held"], "the default labels")
            position = defaults.stats()["position"]
            assert steps.defaults <= position <= steps.defaults + steps.uncertain
        assert daemons.kills == KILLS
        assert daemons.finish() == 0
    except (AssertionError, RequestRefused) as error:
        raise AssertionError(f"{error}: {daemons.log.read_text(errors='replace')}") from error
    finally:
        daemons.close()
    text = daemons.log.read_text(errors="replace")
    assert "Traceback" not in text and "ERROR" not in text, text
