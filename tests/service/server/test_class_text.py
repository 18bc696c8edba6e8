"""Texts and fields of many classes through the daemon: replies, the log, snapshots, a reader."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import AsyncClient, Client, OnlineSVM
from onlinesvm.service.errors import RequestRefused
from onlinesvm.text import constants
from tests.daemons import digest_of, following_on_a_thread, on_a_thread
from tests.logs import bench, scratch
from tests.model.test_class_text import TICKETS

PEER = b"peer"
CONFIG: dict[str, Any] = {"task": "multiclass", "numbers": "prefixes", "crosses": [["from", "new"]]}
ASKED = [
    "my card was charged for a parcel", {"text": "the parcel", "from": "mail", "age": 7},
    ["parcel"], "",
]  # fmt: skip


def packed(samples: list[Any]) -> bytes:
    body: bytes = msgpack.packb([[label, record] for record, label in samples])
    return body


def library(samples: list[Any], **given: Any) -> OnlineSVM:
    model = OnlineSVM(**{**CONFIG, **given})
    model.learn(samples)
    return model


def test_the_answers_are_those_of_the_library(tmp_path: Path) -> None:
    model = OnlineSVM(**CONFIG)
    with on_a_thread(tmp_path, **CONFIG) as endpoint, Client(endpoint) as client:
        for part in (TICKETS, TICKETS[3:], TICKETS * 2):
            assert client.learn(part).tolist() == model.learn(part).tolist()
        assert client.learn_one("one more parcel", "shipping") == model.learn_one(
            "one more parcel", "shipping"
        )
        assert client.predict(ASKED).tolist() == model.predict(ASKED).tolist()
        assert np.array_equal(client.predict_proba(ASKED), model.predict_proba(ASKED))
        assert client.top(ASKED, 2) == model.top(ASKED, 2)
        for named in ((), ("account",), ("billing", "shipping")):
            assert client.explain(ASKED, *named) == [model.explain(one, *named) for one in ASKED]
        assert client.features(ASKED[1:2]) == [model.features(ASKED[1])]
        client.create("words", task="multiclass", text="words")
        with pytest.raises(RequestRefused, match="text: expected one of default, words, off"):
            client.create("other", task="multiclass", text="all")
        saved = client.snapshot()
        assert digest_of(OnlineSVM.load(saved["path"])) == digest_of(model)
        with (
            following_on_a_thread(tmp_path, reload_every_s=0.01) as reader,
            Client(reader.endpoint) as reading,
        ):
            assert np.array_equal(reading.decision_function(ASKED), model.decision_function(ASKED))


def test_the_asynchronous_client_has_the_same_calls(tmp_path: Path) -> None:
    async def ask(endpoint: str) -> None:
        async with AsyncClient(endpoint) as client:
            async with client.stream() as stream:
                for record, label in TICKETS:
                    await stream.learn(record, label)
            model = library(TICKETS)
            assert (await client.predict(ASKED)).tolist() == model.predict(ASKED).tolist()
            (shown,) = await client.explain([ASKED[0]], "billing", "shipping")
            assert shown == model.explain(ASKED[0], "billing", "shipping")

    with on_a_thread(tmp_path, **CONFIG) as endpoint:
        asyncio.run(ask(endpoint))


def test_records_are_in_the_log(tmp_path: Path) -> None:
    expected = library(TICKETS * 3)
    with bench(tmp_path, **CONFIG) as found:
        for part in (TICKETS, TICKETS * 2):
            found.turn(("learn", packed(part), {}, PEER))
    with bench(tmp_path) as found:  # by its log
        assert digest_of(found.model) == digest_of(expected)
        assert found.model.config.numbers == "prefixes"


@settings(max_examples=10)
@given(st.lists(st.lists(st.sampled_from(TICKETS), max_size=4), max_size=4), st.booleans())
def test_any_turns_and_a_restart_leave_the_same_model(turns: list[Any], of_sets: bool) -> None:
    task = "multilabel" if of_sets else "multiclass"
    with scratch() as folder:
        with bench(folder, **{**CONFIG, "task": task}) as found:
            for turn in turns[:2]:
                found.turn(("learn", packed(turn), {}, PEER))
        with bench(folder) as found:
            for turn in turns[2:]:
                found.turn(("learn", packed(turn), {}, PEER))
            flat = [sample for turn in turns for sample in turn]
            assert digest_of(found.model) == digest_of(library(flat, task=task))


def test_a_large_request_is_learned_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More features than one piece may have: about half a million."""
    text = " ".join(f"word{k}" for k in range(6000))
    samples = [(f"{label} {text} {k}", label) for k in range(4) for label in "abcdef"]
    assert len(samples) * 6000 * 6 > constants.PIECE_FEATURES
    with on_a_thread(tmp_path, task="multiclass") as endpoint, Client(endpoint) as client:
        margins = client.learn(samples)
        model = OnlineSVM(task="multiclass")
        assert margins.tolist() == [model.learn_one(*sample) for sample in samples]
        asked = [text for text, _ in samples]
        assert np.array_equal(client.decision_function(asked), model.decision_function(asked))
