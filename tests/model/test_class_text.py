"""Models of many classes, of sets of labels and of rankings that read text and fields."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.batch import CSR
from onlinesvm.data.objects import Packer
from onlinesvm.errors import ConfigError
from onlinesvm.kernel import KERNELS
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.rules.class_layout import ClassLayout
from onlinesvm.text.word_vectors import know
from tests.daemons import digest_of

TICKETS: list[tuple[Any, str]] = [
    ("I was charged twice for my order", "billing"),
    ("Where is my parcel? It was due on Monday", "shipping"),
    ("I forgot my password and cannot log in", "account"),
    ("Please refund the second charge!!", "billing"),
    ({"text": "The parcel arrived broken", "from": "shop", "age": 3, "new": True}, "shipping"),
    ({"text": "How do I change my password?", "from": "mail", "age": 40, "new": False}, "account"),
    (["parcel", "late"], "shipping"),
    ({"text": "my card was charged", "tags": ["card"], "from": None}, "billing"),
    ("荷物はどこですか", "shipping"),
]
records = st.one_of(
    st.text(st.sampled_from("abc !é日A1"), max_size=20),
    st.fixed_dictionaries(
        {},
        optional={
            "subject": st.sampled_from(["a b", "x", ""]),
            "from": st.one_of(st.sampled_from(["a b", "x"]), st.booleans(), st.none()),
            "n": st.one_of(st.floats(-9, 9), st.sampled_from(["a b", "x"]), st.booleans()),
        },
    ),
    st.lists(st.sampled_from("abcd"), max_size=4),
)
labels = st.sampled_from(["a", "b", "c", "d", 1])
importances = st.sampled_from([1.0, 1.0, 1.0, 0.0, 2.5])
configurations = st.sampled_from(
    [
        {}, {"text": "words"}, {"bias": False}, {"numbers": "prefixes"}, {"normalize": "l2"},
        {"fields": {"subject": "text", "from": "category"}}, {"crosses": "*"}, {"text": "off"},
        {"max_features_policy": "prune"},
    ]
)  # fmt: skip


def new(kernel: str, **given: Any) -> OnlineSVM:
    return OnlineSVM(**{"task": "multiclass", "kernel": kernel, **given})


def compare(stream: list[Any], given: dict[str, Any], cut: int, most: int) -> None:
    """Both kernels and any split give one model."""
    reads = given.get("text") != "off"
    stream = [sample for sample in stream if reads or not isinstance(sample[0], str)]
    asked = [record for record, *_ in stream]
    found = []
    for kernel in KERNELS:
        for split in (False, True):
            model = new(kernel, limits=Limits(max_features=most), **given)
            if split:
                margins = [*model.learn(stream[:cut])]
                model = OnlineSVM.from_bytes(model.to_bytes(), kernel=kernel)
                margins += [model.learn_one(*sample) for sample in stream[cut:]]
            else:
                margins = [*model.learn(stream)]
            scores = model.decision_function(asked).tobytes()
            found.append((digest_of(model), np.array(margins).tobytes(), scores))
    assert all(one == found[0] for one in found)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(records, labels, importances), max_size=12),
    configurations, st.integers(0, 12), st.sampled_from([25, 10_000]),
)  # fmt: skip
def test_both_kernels_and_any_split_give_one_model(
    stream: list[Any], given: dict[str, Any], cut: int, most: int
) -> None:
    compare(stream, given, cut, most)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(records, st.lists(labels, unique=True), importances), max_size=10),
    configurations, st.integers(0, 10),
)  # fmt: skip
def test_the_same_of_sets_of_labels(stream: list[Any], given: dict[str, Any], cut: int) -> None:
    compare(stream, {"task": "multilabel", **given}, cut, 10_000)


@settings(max_examples=25)
@given(st.lists(st.tuples(records, records), max_size=8), st.integers(0, 8))
def test_the_same_of_pairs(stream: list[Any], cut: int) -> None:
    compare(stream, {"task": "ranking"}, cut, 10_000)


def test_it_is_the_learner_of_the_features_in_their_views(kernel: Kernel) -> None:
    """The oracle: the features that a record has, entered by hand."""
    model = new(kernel.NAME, numbers="prefixes", crosses="*")
    margins = model.learn(TICKETS * 3)
    learner = kernel.Multiclass(True, 1000, 128, ClassLayout)
    ids: dict[bytes, int] = {}
    known: dict[str, int] = {}
    packer, found = Packer(), []
    for record, label in TICKETS * 3:
        extracted = model.extractor.extract(packer.features(record))
        row: dict[int, float] = {}
        for name, value, view in zip(
            extracted.names, extracted.values, extracted.views, strict=True
        ):
            if name not in ids:
                ids[name] = len(ids) + 1
                learner.enter(ids[name], bytes([view]))
            row[ids[name]] = row.get(ids[name], 0.0) + value
        csr = CSR(
            np.array([0, len(row)]), np.array([*row], dtype=np.int32), np.array([*row.values()])
        )
        truth = known.setdefault(label, len(known))
        found.append(float(learner.learn(csr, [truth], [1.0]).margins[0]))
    assert margins.tolist() == found
    arrays, taken = learner.view(len(ids)).arrays(), model.snapshot().arrays
    assert set(model.lookup) == {name.decode() for name in ids}
    assert all(taken[name].tobytes() == array.tobytes() for name, array in arrays.items())


def test_the_margin_of_learning_is_that_of_a_prediction(kernel: Kernel) -> None:
    model = new(kernel.NAME)
    model.learn(TICKETS)
    for record, label in [
        ("never seen words, all of them", "billing"), ("parcel parcel zebra", "shipping"),
        ({"text": "another zebra", "who": "unheard of", "n": 4}, "account"), ("", "billing"),
    ]:  # fmt: skip
        scores = dict(zip(model.classes_, model.decision_function([record])[0], strict=True))
        own = scores.pop(label)
        assert model.learn_one(record, label) == own - max(scores.values())


def test_texts_are_told_apart_and_explained_by_token(kernel: Kernel) -> None:
    model = new(kernel.NAME)
    for _ in range(4):
        model.learn(TICKETS)
    text = "my card was charged for a zebra"
    assert model.predict([text, "where is the parcel"]).tolist() == ["billing", "shipping"]
    scores = dict(zip(model.classes_, model.decision_function([text])[0], strict=True))
    asked: list[tuple[str | None, str | None]] = [
        (None, None), ("account", None), ("billing", "shipping"), ("shipping", "billing"),
    ]  # fmt: skip
    for label, other in asked:
        shown = model.explain(text, label, other)
        wanted = scores[label or "billing"] - (scores[other] if other else 0.0)
        assert shown.label == (label or "billing")
        assert shown.margin == pytest.approx(wanted, abs=1e-6)
        parts = [part.contribution for part in shown.contributions]
        assert math.fsum(parts) + shown.bias == pytest.approx(wanted, abs=1e-4)
        (field,) = shown.fields
        assert field.contribution == pytest.approx(math.fsum(parts), abs=1e-9)
        assert "".join(part.text for part in field.text) == text
        tokens = {part.text: part.contribution for part in field.text}
        if other:
            sign = 1.0 if label == "billing" else -1.0
            assert sign * tokens["charged"] > 0.1
        unheard = [p for p in shown.contributions if p.name == "zebra"]
        assert [(p.known, p.weight, p.seen) for p in unheard] == [(False, 0.0, 0)]


def test_fields_of_a_record_are_explained(kernel: Kernel) -> None:
    model = new(kernel.NAME, numbers="prefixes", crosses="*")
    model.learn(TICKETS * 3)
    shown = model.explain(TICKETS[4][0], "shipping", "account")
    assert [field.field for field in shown.fields] == ["text", "from", "age", "new"]
    total = math.fsum(field.contribution for field in shown.fields)
    assert total + shown.bias == pytest.approx(shown.margin, abs=1e-4)


def test_sets_of_labels_are_learned_from_texts(kernel: Kernel) -> None:
    model = new(kernel.NAME, task="multilabel")
    stream = [("a parcel", ["shipping"]), ("a charge", ["billing"]),
              ("a parcel and a charge", ["shipping", "billing"])]  # fmt: skip
    model.learn(stream * 10)
    assert set(model.predict_one("a charge and a parcel")) == {"shipping", "billing"}
    assert model.explain("the parcel", "shipping").fields[0].text[-1].contribution > 0.0


def test_names_and_numbers_alone_leave_a_model_as_it_was(kernel: Kernel) -> None:
    model, off = new(kernel.NAME), new(kernel.NAME, text="off")
    for one in (model, off):
        one.learn([(["a", "b"], 1), ({"c": 2.0}, 0), ({"a": 1.5}, 2)])
    taken, other = model.snapshot(), off.snapshot()
    assert "views" not in taken.arrays
    assert all(other.arrays[name].tobytes() == a.tobytes() for name, a in taken.arrays.items())
    assert taken.scalars == other.scalars
    assert "text" not in model.config.as_dict()
    with pytest.raises(TypeError, match="got a bare str"):
        off.learn_one("free prize", "spam")


def test_a_matrix_goes_on_with_a_model_of_texts(kernel: Kernel) -> None:
    """Its columns are features of view 0."""
    whole, split = new(kernel.NAME), new(kernel.NAME)
    x, y = np.eye(4), ["a", "b", "c", "billing"]
    for one in (whole, split):
        one.learn(TICKETS)
    whole.partial_fit(x, y)
    for row, label in zip(x, y, strict=True):
        split.partial_fit(row[None], [label])
    assert digest_of(whole) == digest_of(split)
    assert whole.predict(x).tolist() == y


def test_word_vectors_are_a_view(kernel: Kernel) -> None:
    path = Path(__file__).resolve().parent.parent / "golden" / "fasttext" / "skipgram.bin"
    digest = know(path)
    model = new(kernel.NAME, vectors=digest)
    model.learn(TICKETS)
    assert "vec[0]" in model.lookup
    arrays = model.snapshot().arrays
    place = list(model.lookup).index("vec[0]")
    assert arrays["views"][place] == 3


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_options_of_records_are_checked_as_for_two_labels(task: str) -> None:
    for name, value in {"text": "all", "numbers": 5, "fields": {"a": "number"}}.items():
        with pytest.raises(ConfigError, match=name):
            OnlineSVM(**{"task": task, name: value})
    config = OnlineSVM(task=task, text="words", numbers="prefixes", crosses="*").config
    assert (config.text, config.numbers, config.crosses) == ("words", "prefixes", "*")
    with pytest.raises(ConfigError, match="text: the model was created with 'words'"):
        config.check_given({"text": "default"})
