"""Several labels a sample on the wire: replies, the log, drops, pages, readers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from onlinesvm import AsyncClient, Client, OnlineSVM
from onlinesvm.service.errors import RequestRefused
from tests.daemons import digest_of, following_on_a_thread, on_a_thread

ASKED = [["w1"], ["w0", "w4"], ["n1"]]


def rows(n: int) -> list[Any]:
    rng = np.random.default_rng(1)
    samples = []
    for _ in range(n):
        labels = rng.choice(5, rng.integers(0, 3), replace=False).tolist()
        samples.append(([*(f"w{k}" for k in labels), "n1"], [f"L{k}" for k in labels]))
    return samples


def test_the_outputs_are_those_of_the_library(tmp_path: Path) -> None:
    model = OnlineSVM(task="multilabel")
    with on_a_thread(tmp_path) as endpoint, Client(endpoint, model="tags") as client:
        client.create("tags", task="multilabel")
        assert client.predict(ASKED).tolist() == [(), (), ()]
        for part in (rows(300)[:100], rows(300)[100:]):
            assert client.learn(part).tolist() == model.learn(part).tolist()
        assert client.predict(ASKED).tolist() == model.predict(ASKED).tolist()
        assert client.predict_one(ASKED[1]) == model.predict_one(ASKED[1])
        for ask in ("decision_function", "predict_proba"):
            assert np.array_equal(getattr(client, ask)(ASKED), getattr(model, ask)(ASKED))
        assert client.top(ASKED, 2) == model.top(ASKED, 2)
        assert client.explain(ASKED[:1], "L1") == [model.explain(ASKED[0], "L1")]
        _, body = client.request("predict", msgpack.packb(ASKED), output="probability")
        found = msgpack.unpackb(body)
        assert [[label for label, _ in row] for row in found] == [
            list(row) for row in model.predict(ASKED)
        ]
        stats = client.stats()
        assert (stats["task"], stats["labels"]) == ("multilabel", 5)
        assert stats["micro_f1"] == model.metrics["micro_f1"]
        page = client.labels()
        assert page["labels"] == model.label_figures(0, 100)[0] and page["confusion"] is None
        client.drop_label("L3")
        model.drop_label("L3")
        saved = client.snapshot()
        assert digest_of(OnlineSVM.load(saved["path"])) == digest_of(model)
    with on_a_thread(tmp_path) as endpoint, Client(endpoint, model="tags") as client:
        client.learn(rows(20))
        model.learn(rows(20))
        assert client.predict(ASKED).tolist() == model.predict(ASKED).tolist()
        with (
            following_on_a_thread(tmp_path, reload_every_s=0.01) as reader,
            Client(reader.endpoint, model="tags") as reading,
        ):
            assert len(reading.labels()["labels"]) == 4  # as the snapshot has it
            assert reading.predict(ASKED).shape == (3,)


def test_the_log_alone_gives_the_same_model(tmp_path: Path) -> None:
    model = OnlineSVM(task="multilabel")
    with on_a_thread(tmp_path, task="multilabel") as endpoint, Client(endpoint) as client:
        client.learn(rows(50))
        client.drop_label("L1")
        client.learn([(["q"], "single", 2.0), (["r"], [])])
    model.learn(rows(50))
    model.drop_label("L1")
    model.learn([(["q"], "single", 2.0), (["r"], [])])
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        assert np.array_equal(client.predict_proba(ASKED), model.predict_proba(ASKED))
        assert digest_of(OnlineSVM.load(client.snapshot()["path"])) == digest_of(model)


def test_the_asynchronous_client_has_the_same_calls(tmp_path: Path) -> None:
    model = OnlineSVM(task="multilabel")

    async def ask(endpoint: str) -> None:
        async with AsyncClient(endpoint) as client:
            await client.learn(rows(100))
            model.learn(rows(100))
            assert (await client.predict(ASKED)).tolist() == model.predict(ASKED).tolist()

    with on_a_thread(tmp_path, task="multilabel") as endpoint:
        asyncio.run(ask(endpoint))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([["a"]], "expected a label as text, integer or boolean, got an array at $[0][0][0]"),
        (["a"] * 65, "expected at most 64 labels a sample, got an array of 65 at $[0][0]"),
        (["a", 1.5], "expected a label as text, integer or boolean, got 1.5 at $[0][0][1]"),
        ({"a": 1}, "expected a label as text, integer or boolean, got a map at $[0][0]"),
    ],
)
def test_labels_are_checked(tmp_path: Path, label: Any, message: str) -> None:
    with on_a_thread(tmp_path, task="multilabel") as endpoint, Client(endpoint) as client:
        with pytest.raises(RequestRefused) as caught:
            client.request("learn", msgpack.packb([[label, ["x"]]]))
        assert message in str(caught.value)
        assert client.stats()["position"] == 0


def test_a_binary_model_takes_one_label(tmp_path: Path) -> None:
    refused = pytest.raises(RequestRefused, match="BAD_SAMPLE: expected one label, got 2 in an")
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client, refused:
        client.learn([(["x"], ["a", "b"])])


def test_held_samples_get_sets_of_labels(tmp_path: Path) -> None:
    model = OnlineSVM(task="multilabel")
    with on_a_thread(tmp_path, task="multilabel") as endpoint, Client(endpoint) as client:
        client.predict([["w1"], ["w2"]], hold=["a", "b"])
        outcomes = client.label([("a", ["L1", "L2"]), ("b", "L2"), ("c", ["L1"])])
        assert outcomes == ["learned", "learned", "unknown"]
        model.learn([(["w1"], ["L1", "L2"]), (["w2"], "L2")])
        assert digest_of(OnlineSVM.load(client.snapshot()["path"])) == digest_of(model)
