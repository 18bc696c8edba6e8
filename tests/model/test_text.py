"""Models that read text and fields: Python objects, snapshots, scorers and the daemon."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import LearnerConfig, Limits, OnlineSVM, Scorer
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.data.pieces import Pieces
from onlinesvm.errors import ConfigError, SampleError
from onlinesvm.kernel import KERNELS
from onlinesvm.service import Client
from onlinesvm.service.errors import RequestRefused
from tests.daemons import digest_of, on_a_thread, serve

MESSAGES: list[tuple[Any, str]] = [
    ("Free prize now!! Call 08001234", "spam"),
    ("are you home tonight, my dear?", "ham"),
    ({"text": "win a FREE prize", "from": "shop", "known": False, "n": 3}, "spam"),
    (["free", "prize"], "spam"),
    ({"text": "see you at home", "from": "mum", "known": True, "tags": ["home"]}, "ham"),
    ("free prize, free prize", "spam"),
    ("home, dear", "ham"),
]
texts = st.one_of(
    st.text(st.sampled_from("abc !é日A1"), max_size=20),
    st.dictionaries(
        st.sampled_from(["subject", "from", "n"]),
        st.one_of(st.sampled_from(["a b", "x", ""]), st.floats(-9, 9), st.booleans(), st.none()),
        max_size=3,
    ),
    st.lists(st.sampled_from("abcd"), max_size=4),
)
streams = st.lists(st.tuples(texts, st.sampled_from(["spam", "ham"])), max_size=12)
configurations = st.sampled_from(
    [
        {}, {"text": "words"}, {"bias": False}, {"numbers": "prefixes"}, {"normalize": "l2"},
        {"fields": {"subject": "text", "from": "category"}}, {"rule": "sgd", "text": "default"},
        {"max_features_policy": "prune"}, {"class_weight": "balanced"},
    ]
)  # fmt: skip


@settings(max_examples=40)
@given(streams, configurations, st.integers(0, 12), st.sampled_from([25, 10_000]))
def test_both_kernels_and_any_split_give_one_model(
    stream: list[Any], config: dict[str, Any], cut: int, most: int
) -> None:
    asked = [record for record, _ in stream]
    found = []
    for kernel in KERNELS:
        for split in (False, True):
            model = OnlineSVM(kernel=kernel, limits=Limits(max_features=most), **config)
            if split:
                margins = [*model.learn(stream[:cut])]
                model = OnlineSVM.from_bytes(model.to_bytes(), kernel=kernel)
                margins += [model.learn_one(*sample) for sample in stream[cut:]]
            else:
                margins = [*model.learn(stream)]
            scores = model.decision_function(asked).tobytes()
            assert Scorer(model).score(asked).tobytes() == scores
            found.append((digest_of(model), np.array(margins).tobytes(), scores))
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_text_is_learned_and_the_parts_of_its_margin_add_up(kernel: str) -> None:
    model = OnlineSVM(kernel=kernel)
    for _ in range(3):
        model.learn(MESSAGES)
    assert model.predict(["a free prize", "at home, dear"]).tolist() == ["spam", "ham"]
    explained = model.explain("a free prize")
    total = 0.0
    for part in explained.contributions:
        total += part.contribution
    assert total + explained.bias == explained.margin == model.decision_function_one("a free prize")
    assert {"free", "free prize", "^~free"} <= {part.name for part in explained.contributions}
    assert {"words.scw", "scw", "ngrams.arow", "characters.scw", "stack"} - set(
        model.experts or ()
    ) == {"words.scw"}


def test_a_scorer_of_a_text_model_reads_text() -> None:
    model = OnlineSVM()
    model.learn(MESSAGES)
    scorer = Scorer(model)
    again = Scorer.from_bytes(scorer.to_bytes())
    asked = ["a free prize", "home", {"text": "see you at home"}]
    margins = model.decision_function(asked).tobytes()
    assert scorer.score(asked).tobytes() == again.score(asked).tobytes() == margins


def test_a_model_without_text_refuses_one() -> None:
    for model in (OnlineSVM(rule="sgd"), OnlineSVM(text="off")):
        with pytest.raises(TypeError, match="got a bare str"):
            model.learn_one("free prize", "spam")
        model.learn_one({"from": "shop", "n": 1}, "spam")  # categories are features of any rule
        assert "from=shop" in model.lookup
    OnlineSVM(rule="sgd", text="words").learn_one("free prize", "spam")


def test_names_and_numbers_alone_leave_a_model_as_it_was() -> None:
    model, off = OnlineSVM(), OnlineSVM(text="off")
    for one in (model, off):
        one.learn([(["a", "b"], 1), ({"c": 2.0}, 0)])
    taken = model.snapshot()
    assert "views" not in taken.arrays
    assert "views" not in taken.scalars
    assert taken.arrays.keys() == off.snapshot().arrays.keys()
    assert LearnerConfig().as_dict() == {"rule": "hedge", "bias": True}


def test_the_options_of_records_are_part_of_the_configuration(tmp_path: Path) -> None:
    model = OnlineSVM(text="words", fields={"sent": "date", "subject": "text"}, numbers="prefixes")
    model.learn_one({"sent": "2026-11-28", "subject": "free", "n": 3}, "spam")
    assert {"sent.dow=6", "sent.month=11", "subject^free", "n@0:2"} <= set(model.lookup)
    model.save(tmp_path / "m")
    again = OnlineSVM.load(tmp_path / "m")
    assert again.config == model.config
    with pytest.raises(SampleError, match=r'expected a date as .* at \$\["sent"\]'):
        again.predict_one({"sent": "yesterday"})
    again.config.check_given({"fields": {"subject": "text", "sent": "date"}})
    with pytest.raises(ConfigError, match="text: the model was created with 'words'"):
        again.config.check_given({"text": "default"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": "all"}, "text: expected one of default, words, off, got 'all'"),
        ({"numbers": 5}, "numbers: expected one of raw, prefixes, got 5"),
        ({"fields": {"a": "number"}}, "fields: a: expected one of text, category, date"),
        ({"fields": "subject"}, "fields: expected a mapping from field to kind, got 'subject'"),
        ({"fields": 3}, "fields: expected a mapping from field to kind, got 3"),
        ({"fields": {1: "text"}}, "fields: expected names and kinds as text"),
        ({"rule": "sgd", "fields": {"a": "text"}}, "fields: a: expected one of category, date"),
    ],
)
def test_options_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LearnerConfig(**given)
    assert message in str(caught.value)


def test_the_daemon_reads_text_and_its_log_keeps_it(tmp_path: Path) -> None:
    model = OnlineSVM()
    with serve(tmp_path / "state") as daemon, daemon.client() as client:
        assert client.learn_one(*MESSAGES[0]) == model.learn_one(*MESSAGES[0])
        assert client.learn(MESSAGES[1:]).tobytes() == model.learn(MESSAGES[1:]).tobytes()
        asked = ["a free prize", {"text": "see you at home"}, ["home"]]
        margins = model.decision_function(asked).tobytes()
        assert client.decision_function(asked).tobytes() == margins
        shown = [*asked, "\udcff free", {"n": 2, "known": True}]
        assert client.explain(shown) == [model.explain(features) for features in shown]
        assert client.features(shown) == [model.features(features) for features in shown]
        long = "".join(
            random.Random(1).choices(string.ascii_lowercase + string.digits + 9 * " ", k=65_536)
        )
        assert len(model.features(long)) > 50_000
        assert client.explain([long]) == [model.explain(long)]
        with pytest.raises(RequestRefused, match=r"got a map"):
            client.learn_one({"text": {}}, "ham")  # type: ignore[dict-item]
        daemon.kill()
    log = b"".join(path.read_bytes() for path in (tmp_path / "state" / "log").iterdir())
    assert b"Free prize now!! Call 08001234" in log
    with serve(tmp_path / "state") as daemon, daemon.client() as client:
        assert client.decision_function(asked).tobytes() == margins


def test_a_daemon_without_text_refuses_one(tmp_path: Path) -> None:
    with (
        on_a_thread(tmp_path, rule="sgd") as endpoint,
        Client(endpoint) as client,
        pytest.raises(RequestRefused, match="its option text is off"),
    ):
        client.learn_one("free prize", "spam")


@pytest.mark.parametrize(
    "config", [{}, {"max_features_policy": "prune"}, {"normalize": "l2"}, {"rule": "pa1"}]
)
def test_a_large_message_is_learned_in_pieces_as_it_would_be_at_once(
    config: dict[str, Any],
) -> None:
    limits = Limits(max_features=50_000)
    how: dict[str, Any] = {"text": "default", **config, "limits": limits}
    texts = [" ".join(f"w{7 * i + k} {k}" for i in range(5000)) for k in range(45)]
    samples = [(text, "ab"[k % 3 > 0]) for k, text in enumerate(texts)]
    body = pack_array([Packer().sample(*sample) for sample in samples])
    pieces, listed, single = (OnlineSVM(**how) for _ in range(3))
    decoded = pieces.decode(body, labelled=True)
    assert isinstance(decoded, Pieces)
    margins = pieces.learn_batch(decoded)
    assert margins.tolist() == listed.learn(samples).tolist()
    assert margins.tolist() == [single.learn_one(*sample) for sample in samples]
    assert digest_of(pieces) == digest_of(listed) == digest_of(single)
    asked = pieces.decode(pack_array([Packer().features(text) for text in texts]), labelled=False)
    assert isinstance(asked, Pieces)
    assert pieces.score_batch(asked).tolist() == single.decision_function(texts).tolist()
    assert pieces.score_batch(asked).tolist() == [
        single.decision_function_one(text) for text in texts
    ]


def test_a_large_message_with_a_fault_is_refused_whole(tmp_path: Path) -> None:
    samples: list[Any] = [("x y " * 16_000, "a")] * 200
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        assert len(client.learn(samples)) == 200
        assert client.stats()["cut_texts"] == 0
        with pytest.raises(RequestRefused, match='got "c"'):
            client.learn([*samples, ("a", "b"), ("a", "c")])
        assert client.stats()["position"] == 200
        client.learn([("word " * 14_000, "b")])
        figures = client.stats()
    assert (figures["position"], figures["cut_texts"]) == (201, 1)
