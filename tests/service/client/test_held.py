"""Held samples through the clients."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service import AsyncClient, Client
from onlinesvm.service.errors import RequestRefused
from tests.daemons import eventually, following_on_a_thread, on_a_thread

TAUGHT = [(["a"], "yes"), (["b"], "no")] * 5


def test_labels_that_come_later(tmp_path: Path) -> None:
    with on_a_thread(tmp_path, rule="sgd") as endpoint, Client(endpoint) as client:
        client.learn(TAUGHT)
        plain = client.predict([["a"], ["b"]]).tolist()
        held = client.predict([["a"], ["b"]], hold=["k1", b"k2"], ttl_s=60, default_label="no")
        assert held.tolist() == plain
        assert client.predict_proba([["a"]], hold=[3]).shape == (1, 2)
        assert client.decision_function([["a"]], hold=np.array([4])) < 0
        assert client.predict_one(["b"], hold="k5") == "no"
        assert client.predict_proba_one(["b"], hold="k6")[1] > 0.5
        assert client.decision_function_one(["b"], hold="k7", ttl_s=5.0) > 0
        assert client.stats()["held"] == 7
        labels: list[Any] = [("k1", "yes"), ("k2", "no", 2.0), (np.int64(3), "yes"), ("k1", "no")]
        assert client.label(labels) == ["learned", "learned", "learned", "duplicate"]
        assert client.label_one("4", "yes") == "learned"
        assert client.label_one("k8", "yes") == "unknown"
        stats = client.stats()
        assert (stats["position"], stats["held"], stats["labelled"]) == (14, 3, 4)
        assert 0 <= stats["label_delay_p50_s"] <= stats["label_delay_p99_s"] < 60
        with pytest.raises(RequestRefused, match="one of the model's two labels"):
            client.label([("k5", "perhaps")])
        assert client.label_one("k5", "no") == "learned"


def test_a_default_label_is_learned_in_time(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        client.predict([["a"]], hold=["k"], ttl_s=0.02, default_label=-1)
        eventually(lambda: client.stats()["position"] == 1, "the default label")
        assert client.stats()["expired"] == 1


def test_labels_that_come_later_in_asyncio(tmp_path: Path) -> None:
    async def run(endpoint: str) -> None:
        async with AsyncClient(endpoint) as client:
            await client.learn(TAUGHT)
            await client.predict([["a"]], hold=["k1"])
            await client.predict_proba([["a"]], hold=["k2"])
            await client.decision_function([["a"]], hold=["k3"])
            await client.predict_one(["a"], hold="k4")
            await client.predict_proba_one(["a"], hold="k5")
            await client.decision_function_one(["a"], hold="k6")
            assert await client.label([("k1", "yes"), ("k0", "no")]) == ["learned", "unknown"]
            assert await client.label_one("k2", "yes") == "learned"
            assert (await client.stats())["held"] == 4

    with on_a_thread(tmp_path) as endpoint:
        asyncio.run(run(endpoint))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"hold": "k1"}, "hold: expected a key for each sample, got str"),
        ({"ttl_s": 5}, "hold: expected a key for each sample, got NoneType"),
        ({"hold": [1.5]}, "expected a key as text, bytes or integer, got float"),
        ({"hold": [True]}, "expected a key as text, bytes or integer, got bool"),
        ({"hold": ["k"], "for_s": 5}, "expected hold, ttl_s and default_label, got for_s"),
        ({"hold": ["k"], "default_label": 1.5}, "expected a label as text, integer or boolean"),
    ],
)
def test_arguments_that_are_refused(tmp_path: Path, keys: dict[str, Any], text: str) -> None:
    client = Client("tcp://127.0.0.1:9")  # nothing is sent
    with pytest.raises((TypeError, ValueError), match=text):
        client.predict([["a"]], **keys)


def test_labels_that_are_no_labels() -> None:
    client = Client("tcp://127.0.0.1:9")
    for labels in (["k"], [("k",)], [("k", 1, 2.0, 3)], [(1.5, 1)], [("k", None)]):
        with pytest.raises(TypeError):
            client.label(labels)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="64 bits"):
        client.label([(2**70, 1)])


def test_asking_is_alike_everywhere(tmp_path: Path) -> None:
    """By a leader, a reader, and a model without a daemon; text too."""
    rows: list[Any] = [([f"f{i % 50}", f"g{i % 7}"], 1 if i % 3 else -1) for i in range(300)]
    asked: list[Any] = [features for features, _ in rows]
    asked += ["Free prize!", {"f1": 2.0, "known": True}]
    model = OnlineSVM()
    model.learn(rows)
    expected = model.ask(asked), model.ask(asked, b=1.5)
    assert 0 < expected[0][1].sum() < expected[1][1].sum() < len(asked)
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        client.learn(rows)
        client.snapshot()
        with following_on_a_thread(tmp_path, reload_every_s=60) as reader:
            found = [client.ask(asked), client.ask(asked, 1.5)]
            keys = [f"k{i}" for i in range(len(asked))]
            found += [client.ask(asked, hold=keys), client.ask(asked, b=1.5)]
            with Client(reader.endpoint) as other:
                found += [other.ask(asked), other.ask(asked, b=1.5)]
        assert client.stats()["held"] == len(asked)
    for i, (labels, worth) in enumerate(found):
        assert labels.tolist() == expected[i % 2][0].tolist()
        assert worth.tolist() == expected[i % 2][1].tolist(), i


def test_asking_in_asyncio(tmp_path: Path) -> None:
    async def run(endpoint: str) -> None:
        async with AsyncClient(endpoint) as client:
            await client.learn(TAUGHT)
            labels, worth = await client.ask([["a"], ["b"]], 0.5, hold=["k1", "k2"])
            assert (labels.tolist(), worth.tolist()) == (["yes", "no"], [True, True])

    with on_a_thread(tmp_path) as endpoint:
        asyncio.run(run(endpoint))
