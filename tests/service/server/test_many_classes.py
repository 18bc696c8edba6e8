"""Many classes on the wire: labels of a turn, drops in the log, replies, pages, readers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import AsyncClient, Client, Limits, OnlineSVM
from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.protocol import RequestError
from tests.daemons import digest_of, following_on_a_thread, on_a_thread
from tests.logs import bench, scratch

PEER = b"peer"
STEPS = st.lists(
    st.one_of(
        st.lists(st.sampled_from(["a", "b", 1, True, "c"]), max_size=3),
        st.sampled_from(["a", "b", "1", "c"]),
    ),
    max_size=4,
)


def rows(n: int) -> list[Any]:
    rng = np.random.default_rng(1)
    return [
        ([f"w{k}", *[f"c{j}" for j in rng.integers(0, 30, 3).tolist()]], f"L{k}")
        for k in rng.integers(0, 5, n).tolist()
    ]


def request_of(step: Any) -> tuple[Any, ...]:
    """To learn samples of a list of labels, or to drop a label."""
    if isinstance(step, list):
        return "learn", msgpack.packb([[label, [f"f{label}", "x"]] for label in step]), {}, PEER
    return "drop_label", None, {"label": step}, PEER


@given(turns=st.lists(STEPS, max_size=4), part_bytes=st.sampled_from([1, 2**20]))
def test_drops_take_their_place_among_learn_requests(
    turns: list[list[Any]], part_bytes: int
) -> None:
    expected = OnlineSVM(task="multiclass")
    outcomes = []
    for step in (step for turn in turns for step in turn):
        try:
            if isinstance(step, list):
                expected.learn([([f"f{label}", "x"], label) for label in step])
            else:
                expected.drop_label(step)
        except OnlineSVMError:
            outcomes.append(False)
        else:
            outcomes.append(True)
    with scratch() as folder:
        with bench(folder, part_bytes=part_bytes, task="multiclass") as found:
            got = [
                not isinstance(answer, RequestError)
                for turn in turns if turn
                for answer in found.turn(*map(request_of, turn))
            ]  # fmt: skip
            assert got == outcomes
            assert digest_of(found.model) == digest_of(expected)
        with bench(folder) as found:  # by its log
            assert digest_of(found.model) == digest_of(expected)
            assert found.model.labels.names() == expected.labels.names()


def test_a_changed_bound_of_labels_a_feature_is_in_the_log(tmp_path: Path) -> None:
    samples = [[f"L{k}", ["x"]] for k in range(30)]
    for most in (8, 16):
        limits = Limits(max_labels_per_feature=most)
        with bench(tmp_path, limits=limits, task="multiclass") as found:
            found.turn(("learn", msgpack.packb(samples), {}, PEER))
            digest = digest_of(found.model)
    with bench(tmp_path, limits=limits) as found:
        assert digest_of(found.model) == digest
        assert found.model.limits.max_labels_per_feature == 16


def test_the_outputs_are_those_of_the_library(tmp_path: Path) -> None:
    model, asked = OnlineSVM(task="multiclass"), [["w1"], ["w4", "c2"], []]
    with on_a_thread(tmp_path, task="multiclass") as endpoint, Client(endpoint) as client:
        assert client.predict(asked).tolist() == [None] * 3
        assert client.decision_function(asked).shape == (3, 0)
        assert client.stats()["labels"] == 0
        for part in (rows(300)[:100], rows(300)[100:]):
            assert client.learn(part).tolist() == model.learn(part).tolist()
        assert client.predict(asked).tolist() == model.predict(asked).tolist()
        for ask in ("decision_function", "predict_proba"):
            assert np.array_equal(getattr(client, ask)(asked), getattr(model, ask)(asked))
        for ask in ("decision_function_one", "predict_proba_one", "predict_one"):
            assert np.array_equal(getattr(client, ask)(["w2"]), getattr(model, ask)(["w2"]))
        for n in (0, 1, 3):
            assert client.top(asked, n) == model.top(asked, n)
        for named in ((), ("L1",), ("L1", "L2")):
            assert client.explain(asked[:1], *named) == [model.explain(asked[0], *named)]
        header, body = client.request("predict", msgpack.packb([["w3"]]), top=2)
        ((best, second),) = msgpack.unpackb(body)
        assert best[0] == "L3" and best[1] > second[1] and "labels" not in header
        stats = client.stats()
        assert (stats["task"], stats["labels"], stats["rule"]) == ("multiclass", 5, "hedge")
        for name in ("balanced_error", "macro_f1", "recent_calibration_error", "drifts"):
            assert stats[name] == model.metrics[name]
        assert stats["experts"] == model.experts
        page = client.labels(0, 3)
        assert [row["label"] for row in page["labels"]] == model.classes_.tolist()[:3]
        assert page["labels"][0] == model.label_figures(0, 1)[0][0]
        names, weights = model.confusion()
        assert page["confusion"] == {"labels": names, "weights": weights.tolist()}
        rest = client.labels(page["next"])
        assert (len(rest["labels"]), rest["next"], rest["confusion"]) == (2, None, None)
        client.drop_label("L3")
        model.drop_label("L3")
        assert client.decision_function(asked).shape == (3, 4)
        saved = client.snapshot()
        assert digest_of(OnlineSVM.load(saved["path"])) == digest_of(model)
        with (
            following_on_a_thread(tmp_path, reload_every_s=0.01) as reader,
            Client(reader.endpoint) as reading,
        ):
            assert np.array_equal(reading.predict_proba(asked), model.predict_proba(asked))
            assert len(reading.labels()["labels"]) == 4
            with pytest.raises(RequestRefused, match="READ_ONLY"):
                reading.drop_label("L1")


def test_the_asynchronous_client_has_the_same_calls(tmp_path: Path) -> None:
    model = OnlineSVM(task="multiclass")

    async def ask(endpoint: str) -> None:
        async with AsyncClient(endpoint) as client:
            await client.learn(rows(100))
            model.learn(rows(100))
            assert await client.top([["w1"]], 2) == model.top([["w1"]], 2)
            found = await client.decision_function_one(["w1"])
            assert np.array_equal(found, model.decision_function_one(["w1"]))
            assert await client.explain([["w1"]], "L1") == [model.explain(["w1"], "L1")]
            await client.drop_label("L1")
            assert len((await client.labels())["labels"]) == 4

    with on_a_thread(tmp_path, task="multiclass") as endpoint:
        asyncio.run(ask(endpoint))


@pytest.mark.parametrize(
    ("op", "keys", "message"),
    [
        ("predict", {"top": -1}, "BAD_REQUEST: expected top as an integer from 0"),
        ("predict", {"top": True}, "expected top as an integer"),
        ("labels", {"count": 1001}, "expected count as an integer from 1 to 1000, got 1001"),
        ("labels", {"first": "a"}, "expected first as an integer"),
        ("labels", {"top": 1}, 'expected no key "top" for labels'),
        ("drop_label", {}, "expected a label as text, integer or boolean"),
        ("drop_label", {"label": "?"}, 'expected a label of the model, "a", got "?" at label'),
        ("drop_label", {"label": [1]}, "expected a label as text, integer or boolean"),
        ("explain", {"label": "?"}, 'expected a label of the model, "a", got "?"'),
    ],
)
def test_requests_about_labels_are_checked(
    tmp_path: Path, op: str, keys: dict[str, Any], message: str
) -> None:
    body = msgpack.packb([["x"]]) if op in ("predict", "explain") else None
    with on_a_thread(tmp_path, task="multiclass") as endpoint, Client(endpoint) as client:
        client.learn([(["x"], "a")])
        with pytest.raises(RequestRefused) as caught:
            client.request(op, body, **keys)
        assert message in str(caught.value)
        assert client.predict([["x"]]).tolist() == ["a"]


def test_a_reply_of_too_many_scores_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onlinesvm.service.server.answer._MOST_SCORES", 5)
    with on_a_thread(tmp_path, task="multiclass") as endpoint, Client(endpoint) as client:
        client.learn([(["x"], "a"), (["y"], "b")] * 5)
        assert client.predict_proba([["x"]] * 2).shape == (2, 2)
        with pytest.raises(RequestRefused, match="TOO_LARGE: expected at most 5 scores"):
            client.predict_proba([["x"]] * 3)
        assert client.predict([["x"]] * 5).tolist() == ["a"] * 5


def test_a_binary_model_has_no_labels_to_drop(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        client.learn([(["x"], "a")])
        for use in (
            lambda: client.drop_label("a"), lambda: client.labels(),
            lambda: client.explain([["x"]], "a"),
        ):  # fmt: skip
            with pytest.raises(RequestRefused, match="expected a multiclass model for"):
                use()


def test_one_daemon_has_models_of_every_task(tmp_path: Path) -> None:
    model = OnlineSVM(task="multiclass", labels=["L0", "L1", "L2", "L3", "L4"])
    with on_a_thread(tmp_path) as endpoint, Client(endpoint, model="many") as client:
        client.create("many", task="multiclass", labels=["L0", "L1", "L2", "L3", "L4"])
        client.learn(rows(50))
        client.drop_label("L2")
        model.learn(rows(50))
        model.drop_label("L2")
        with Client(endpoint) as other:
            other.learn([(["x"], "a")])
            with pytest.raises(RequestRefused, match="expected a multiclass model for labels"):
                other.labels()
        with pytest.raises(RequestRefused, match="expected one of the model's labels"):
            client.learn([(["x"], "new")])
        with pytest.raises(RequestRefused, match="NO_MODEL"), Client(endpoint, model="none") as no:
            no.drop_label("L1")
    with on_a_thread(tmp_path) as endpoint, Client(endpoint, model="many") as client:
        assert client.stats()["task"] == "multiclass"
        assert [row["label"] for row in client.labels()["labels"]] == ["L0", "L1", "L3", "L4"]
        asked = [["w1"], ["w2", "c3"]]
        assert np.array_equal(client.predict_proba(asked), model.predict_proba(asked))
        digest = OnlineSVM.load(client.snapshot()["path"]).snapshot().digest()
        assert digest == digest_of(model)


def test_a_turn_drops_a_label_of_a_model_that_it_creates(tmp_path: Path) -> None:
    config = {"task": "multiclass"}
    with bench(tmp_path) as found:
        answers = found.turn(
            ("create", None, {"model": "m", "config": config}, PEER),
            ("learn", msgpack.packb([["a", ["x"]], ["b", ["y"]]]), {"model": "m"}, PEER),
            ("drop_label", None, {"model": "m", "label": "a"}, PEER),
            ("drop_label", None, {"model": "m", "label": "a"}, PEER),
            ("drop", None, {"model": "m"}, PEER),
            ("drop_label", None, {"model": "m", "label": "b"}, PEER),
        )
        assert [getattr(answer, "code", None) for answer in answers] == [
            None, None, None, "BAD_SAMPLE", None, "NO_MODEL",
        ]  # fmt: skip
