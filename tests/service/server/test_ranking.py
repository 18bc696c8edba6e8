"""Ranking on the wire: pairs in bodies, the log, snapshots and readers; clients and streams."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from onlinesvm import AsyncClient, Client, OnlineSVM, Worse
from onlinesvm.service.errors import RequestRefused
from tests.daemons import digest_of, following_on_a_thread, on_a_thread
from tests.logs import bench

PEER = b"peer"
ASKED: list[Any] = [["w1"], {"w2": 2.0, "x": 1}, []]


def pairs(n: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(1)
    made: list[tuple[Any, Any]] = []
    for a, b in np.sort(rng.integers(0, 9, (n, 2)), axis=1).tolist():
        made.append(([f"w{b + 1}", "x"], {f"w{a}": 1.5, "x": 1}))
    return made


def marked(given: list[tuple[Any, Any]]) -> list[tuple[Any, Worse]]:
    """As a client has them, which does not know the task."""
    return [(better, Worse(worse)) for better, worse in given]


@pytest.mark.parametrize("rule", ["hedge", "sgd"])
def test_the_daemon_has_the_bits_of_the_library(tmp_path: Path, rule: str) -> None:
    model = OnlineSVM(task="ranking", rule=rule)
    options = {"task": "ranking", "rule": rule}
    with on_a_thread(tmp_path, **options) as endpoint, Client(endpoint) as client:
        assert client.predict(ASKED).tolist() == [0.0] * 3
        assert client.learn(marked(pairs(200))).tolist() == model.learn(pairs(200)).tolist()
        one = pairs(1)[0]
        assert client.learn_one(one[0], Worse(one[1]), 0.5) == model.learn_one(*one, 0.5)
        for ask in ("predict", "decision_function"):
            assert getattr(client, ask)(ASKED).tobytes() == model.predict(ASKED).tobytes()
        assert client.predict_one(["w8"]) == model.predict_one(["w8"])
        assert client.explain(ASKED[:1]) == [model.explain(ASKED[0])]
        with client.stream("p") as stream:
            for better, worse in pairs(50):
                stream.learn(better, Worse(worse), cursor="here")
        for better, worse in pairs(50):
            model.learn_one(better, worse)
        body = msgpack.packb([["w7"], ["w1"]])
        header, answer = client.request("learn", msgpack.packb([msgpack.unpackb(body)]))
        assert (header["samples"], header["position"]) == (1, 252)
        assert msgpack.unpackb(answer) == [model.learn_one(["w7"], ["w1"])]
        stats = client.stats()
        assert (stats["task"], stats["labels"], stats["position"]) == ("ranking", [], 252)
        for name in ("pair_error", "recent_pair_error", "drifts"):
            assert stats[name] == model.metrics[name]
        assert stats["progressive_error"] == stats["pair_error"]
        saved = client.snapshot()
        assert digest_of(OnlineSVM.load(saved["path"])) == digest_of(model)
        with (
            following_on_a_thread(tmp_path, reload_every_s=0.01) as reader,
            Client(reader.endpoint) as reading,
        ):
            assert reading.predict(ASKED).tobytes() == model.predict(ASKED).tobytes()


def test_refusals_name_what_was_expected_and_change_nothing(tmp_path: Path) -> None:
    with on_a_thread(tmp_path, task="ranking") as endpoint, Client(endpoint) as client:
        client.learn(marked(pairs(9)))
        for body, message in (
            ([[1, ["a"]]], r"expected text, an array .*, got 1 at \$\[0\]\[0\]"),
            ([["a"]], r"expected a pair as \[better, worse\] .*, got an array of 1"),
            ([[["a"], {"b": 1}, -1]], r"expected an importance from 0 .*, got -1 at \$\[0\]\[2\]"),
            ([[["a"], ["b"], True]], r"expected an importance from 0 .*, got true"),
        ):
            packed = msgpack.packb(body)
            with pytest.raises(RequestRefused, match="BAD_SAMPLE.*" + message):
                client.learn_packed(packed)
        with pytest.raises(RequestRefused, match=r'BAD_REQUEST.*ranking model, got output "prob'):
            client.predict_proba([["a"]])
        with pytest.raises(RequestRefused, match="of a ranking model, got ask"):
            client.request("predict", msgpack.packb([["a"]]), ask=True)
        with pytest.raises(RequestRefused, match="to hold samples, got a ranking one"):
            client.predict([["a"]], hold=["key"])
        with pytest.raises(RequestRefused, match="expected a multiclass model"):
            client.labels()
        with pytest.raises(RequestRefused, match="rule: expected hedge or sgd for task ranking"):
            client.create("other", task="ranking", rule="pa1")
        client.create("other", task="ranking", rule="sgd")
        assert client.stats()["position"] == 9


def test_pairs_are_in_the_log(tmp_path: Path) -> None:
    expected = OnlineSVM(task="ranking")
    bodies = [msgpack.packb(pairs(n)) for n in (3, 0, 40)]
    for n in (3, 0, 40):
        expected.learn(pairs(n))
    with bench(tmp_path, task="ranking") as found:
        found.turn(*(("learn", body, {}, PEER) for body in bodies))
        assert digest_of(found.model) == digest_of(expected)
    with bench(tmp_path) as found:  # by its log
        assert digest_of(found.model) == digest_of(expected)
        assert found.model.config.task == "ranking" and found.model.position == 43


def test_the_asynchronous_client_has_the_same_calls(tmp_path: Path) -> None:
    model = OnlineSVM(task="ranking")

    async def ask(endpoint: str) -> None:
        async with AsyncClient(endpoint) as client:
            margins = await client.learn(marked(pairs(60)))
            assert margins.tolist() == model.learn(pairs(60)).tolist()
            async with client.stream() as stream:
                for better, worse in pairs(30):
                    await stream.learn(better, Worse(worse))
            model.learn(pairs(30))
            better, worse = pairs(1)[0]
            assert await client.learn_one(better, Worse(worse)) == model.learn_one(better, worse)
            assert (await client.predict(ASKED)).tobytes() == model.predict(ASKED).tobytes()

    with on_a_thread(tmp_path, task="ranking") as endpoint:
        asyncio.run(ask(endpoint))
