"""Labels on the wire: planned with the requests before them, shown in every output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Client, Limits, OnlineSVM
from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.protocol import RequestError
from tests.daemons import digest_of, following_on_a_thread, on_a_thread
from tests.logs import bench, scratch

ROWS: list[Any] = [(["free"], "spam"), (["minutes"], "ham")] * 20
PEER = b"peer"


def learn(*labels: Any, sequence: int | None = None) -> tuple[Any, ...]:
    body = msgpack.packb([[label, [f"f{label}"]] for label in labels])
    keys = {} if sequence is None else {"producer": b"p", "sequence": sequence}
    return "learn", body, keys, PEER


def outcome(answer: Any) -> tuple[str, int | None] | int:
    return (
        (answer.message, answer.sample) if isinstance(answer, RequestError) else answer["samples"]
    )


@given(
    turns=st.lists(
        st.lists(st.lists(st.sampled_from(["a", "b", 1, 0, True]), max_size=3), max_size=4),
        max_size=4,
    ),
    part_bytes=st.sampled_from([1, 2**20]),
)
def test_requests_see_each_others_labels_however_they_are_taken(
    turns: list[list[list[Any]]], part_bytes: int
) -> None:
    expected = OnlineSVM()
    outcomes = []
    for labels in (labels for turn in turns for labels in turn):
        try:
            expected.learn([([f"f{label}"], label) for label in labels])
        except OnlineSVMError:
            outcomes.append(False)
        else:
            outcomes.append(True)
    with scratch() as folder:
        with bench(folder, part_bytes=part_bytes) as found:
            got = [
                not isinstance(answer, RequestError)
                for turn in turns if turn
                for answer in found.turn(*(learn(*labels) for labels in turn))
            ]  # fmt: skip
            assert got == outcomes
            assert digest_of(found.model) == digest_of(expected)
        with bench(folder) as found:  # by its log
            assert digest_of(found.model) == digest_of(expected)
            assert found.model.labels.dump() == expected.labels.dump()


def test_a_third_label_is_refused_by_name_and_place(tmp_path: Path) -> None:
    message = (
        'expected one of the model\'s two labels, "spam" or "ham", got "eggs"; other labels'
        " need a model of their own, of --task multiclass if more than two"
    )
    with bench(tmp_path) as found:
        answers = found.turn(
            learn("spam", sequence=1), learn("ham", "spam", "eggs", sequence=2),
            learn("ham", sequence=2), learn("eggs"), learn("spam", sequence=1),
        )  # fmt: skip
        assert [outcome(answer) for answer in answers] == [1, (message, 2), 1, (message, 0), 1]
        assert answers[1].at == "$[2][0]"
        assert answers[1].code == "BAD_SAMPLE"
        assert answers[4]["duplicate"]
        assert (found.model.position, found.model.labels.names()) == (2, ("spam", "ham"))


@pytest.mark.parametrize("names", [("spam", "ham"), (0, 1), (False, True), ("\udcff", -7)])
def test_the_outputs_of_predict(tmp_path: Path, names: tuple[Any, Any]) -> None:
    rows = [(["a"], names[0]), (["b"], names[1])] * 20
    asked: list[Any] = [["a"], ["b"], []]
    model = OnlineSVM()
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        assert client.stats()["labels"] == [None, None]
        assert client.predict(asked).tolist() == [None] * 3
        for part in (rows[:1], rows[1:]):
            assert client.learn(part).tolist() == model.learn(part).tolist()
            y = client.predict(asked)
            assert (y.dtype, y.tolist()) == (
                model.predict(asked).dtype,
                model.predict(asked).tolist(),
            )
        assert y[:2].tolist() == list(names)
        for ask in ("decision_function", "predict_proba"):
            assert np.array_equal(getattr(client, ask)(asked), getattr(model, ask)(asked))
        for ask in ("decision_function_one", "predict_one"):
            assert getattr(client, ask)(["b"]) == getattr(model, ask)(["b"])
        assert np.array_equal(client.predict_proba_one(["a"]), model.predict_proba_one(["a"]))
        assert client.learn_one(["a"], names[0], 0.5) == model.learn_one(["a"], names[0], 0.5)
        assert [part.label for part in client.explain(asked[:2])] == list(names)
        shown = client.stats()["labels"]
        assert shown == [b"\xff" if name == "\udcff" else name for name in names]
        saved = client.snapshot()
        assert OnlineSVM.load(saved["path"]).labels.names() == names
        with (
            following_on_a_thread(tmp_path, reload_every_s=3600) as reader,
            Client(reader.endpoint) as following,
        ):
            assert following.predict(asked).tolist() == client.predict(asked).tolist()
            assert following.stats()["labels"] == shown


def test_labels_that_are_closed_and_positive_ones(tmp_path: Path) -> None:
    closed = on_a_thread(tmp_path / "a", labels=("spam", "ham"))
    with closed as endpoint, Client(endpoint) as client:
        assert client.stats()["labels"] == ["spam", "ham"]
        with pytest.raises(
            RequestRefused, match=r'"spam" or "ham", got "eggs"; .* at \$\[1\]\[0\]'
        ):
            client.learn([(["a"], "ham"), (["a"], "eggs")])
        assert client.stats()["position"] == 0
    with on_a_thread(tmp_path / "b", positive=("spam",)) as endpoint, Client(endpoint) as client:
        client.learn([(["a"], "ham"), (["b"], "eggs"), (["c"], "spam")])
        assert client.stats()["labels"] == ["rest", "spam"]


def test_a_hostile_stream_of_labels_stays_in_bounds(tmp_path: Path) -> None:
    """A label of its own for each sample: those beyond `max_labels` are refused whole, and counted;
    others go on, and so does a start from the log.
    """
    most, limits = 500, Limits(max_labels=500)
    with (
        on_a_thread(tmp_path, task="multiclass", limits=limits) as endpoint,
        Client(endpoint) as client,
    ):
        client.learn([(["a", "x"], "mine"), (["b", "x"], "yours")] * 5)
        refused = 0
        for start in range(0, 10_000, 50):
            hostile = [(["x", f"n{i % 40}"], f"one-off {i}") for i in range(start, start + 50)]
            try:
                client.learn(hostile)
            except RequestRefused as refusal:
                assert "has had 500 labels (max_labels)" in str(refusal)
                refused += 1
        assert refused == (10_000 - (most - 2)) // 50 + 1
        stats = client.stats()
        assert (stats["labels"], stats["errors"]) == (most - 48, {"BAD_SAMPLE": refused})
        client.learn([(["a", "x"], "mine"), (["b", "x"], "yours")] * 50)
        assert client.predict([["a"], ["b"]]).tolist() == ["mine", "yours"]
        client.drop_label("one-off 3")
        with pytest.raises(RequestRefused, match="max_labels"):  # dropped ones count too
            client.learn([(["x"], f"late {i}") for i in range(49)])
        client.learn([(["x"], f"late {i}") for i in range(48)])
        digest = OnlineSVM.load(client.snapshot()["path"]).snapshot().digest()
    with on_a_thread(tmp_path, limits=limits) as endpoint, Client(endpoint) as client:
        assert client.stats()["labels"] == most - 1
        assert OnlineSVM.load(client.snapshot()["path"]).snapshot().digest() == digest
