"""Entries to packed samples, and the entries that are none."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.data.codec import pack_array
from onlinesvm.errors import ConfigError
from onlinesvm.service.ingest.form import FORMATS, Form
from onlinesvm.service.ingest.source import BadEntry


def one(form: Form, value: Any) -> Any:
    (packed,) = form.pack([value])
    if isinstance(packed, BadEntry):
        raise packed
    return msgpack.unpackb(packed, strict_map_key=False, unicode_errors="surrogateescape")


def fault(form: Form, value: Any) -> str:
    (packed,) = form.pack([value])
    assert isinstance(packed, BadEntry)
    return str(packed)


names = st.text(st.characters(codec="utf-8"), max_size=4)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
features = st.lists(names, max_size=4) | st.dictionaries(names, numbers, max_size=4)
labels = st.text(st.characters(codec="utf-8"), max_size=4) | st.booleans() | st.integers(-9, 9)


@given(
    label=labels, features=features, importance=st.none() | st.floats(0, 9), binary=st.booleans()
)
def test_a_sample_is_the_same_in_json_and_msgpack(
    label: Any, features: Any, importance: float | None, binary: bool
) -> None:
    sample = [label, features] if importance is None else [label, features, importance]
    keyed = dict(zip(("label", "features", "importance"), sample, strict=False))
    assert one(Form(format="json"), json.dumps(keyed, ensure_ascii=binary).encode()) == sample
    assert one(Form(format="msgpack"), msgpack.packb(keyed)) == sample
    assert one(Form(format="msgpack"), msgpack.packb(sample)) == sample


@given(better=features, worse=features, importance=st.none() | st.floats(0, 9))
def test_a_pair_is_the_same_in_json_and_msgpack(
    better: Any, worse: Any, importance: float | None
) -> None:
    pair = [better, worse] if importance is None else [better, worse, importance]
    keyed = dict(zip(("better", "worse", "importance"), pair, strict=False))
    assert one(Form(format="json"), json.dumps(keyed).encode()) == pair
    assert one(Form(format="msgpack"), msgpack.packb(keyed)) == pair
    assert one(Form(format="msgpack"), msgpack.packb(pair)) == pair
    record = {"better": 1, "worse": 2.5, "y": "label"}
    assert one(Form(label_field="y"), json.dumps(record).encode()) == [
        "label", {"better": 1, "worse": 2.5},
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["1" + "0" * 40, '"\\ud800"'], ids=["number", "text"])
def test_a_value_that_cannot_be_packed_leaves_nothing_in_the_next_sample(value: str) -> None:
    record = f'{{"y": 1, "a": 1, "b": {value}, "c": 3}}'
    bad, good = Form(label_field="y").pack([record.encode(), b'{"y": 0, "a": 2}'])
    assert isinstance(bad, BadEntry)
    assert good == msgpack.packb([0, {"a": 2}])


def test_repeated_names_are_kept() -> None:
    (packed,) = Form().pack([b'{"label": 1, "features": {"a": 1, "b": 2, "a": 3}}'])
    assert isinstance(packed, bytes)
    rows = msgpack.unpackb(packed, object_pairs_hook=list)
    assert rows == [1, [("a", 1), ("b", 2), ("a", 3)]] or rows == [
        1,
        [["a", 1], ["b", 2], ["a", 3]],
    ]


def test_bytes_that_are_no_utf_8_are_kept() -> None:
    (packed,) = Form().pack([b'{"label": "\xff", "features": ["\xfe", "\\udcfd"]}'])
    assert packed == b"\x92\xa1\xff\x92\xa1\xfe\xa1\xfd"


def test_an_object_is_a_record_with_a_label_field() -> None:
    form = Form(label_field="spam")
    value = b'{"subject": "free prize", "spam": true, "len": 3, "tags": ["a"], "sent": null}'
    expected = [True, {"subject": "free prize", "len": 3, "tags": ["a"], "sent": None}]
    assert one(form, value) == expected
    assert (
        one(Form(format="msgpack", label_field="spam"), msgpack.packb(json.loads(value)))
        == expected
    )
    assert "expected a key 'spam', got text" in fault(form, b'{"label": 1, "features": []}')


def test_fields_are_a_record() -> None:
    form = Form(format="fields", label_field="spam")
    fields = [b"subject", b"free prize", b"spam", b"ham", b"len", b"2.5", b"n", b"-1e3", b"x", b""]
    assert one(form, fields) == ["ham", {"subject": "free prize", "len": 2.5, "n": -1000.0}]
    assert one(form, [b"spam", b"1", b"a", b"1.2.3"]) == ["1", {"a": "1.2.3"}]
    for text in (b"nan", b"inf", b"0x10", b"1_000", b"1 ", b"\xd9\xa1"):
        assert one(form, [b"spam", b"1", b"a", text])[1]["a"] == text.decode()
    assert fault(form, [b"a", b"1"]) == "expected a field 'spam', got \"a\""
    assert fault(form, [b"spam", b"1", b"spam", b"0"]) == "expected one field 'spam', got it twice"
    assert fault(form, b"bytes") == "expected an entry with fields, got bytes"


def test_the_field_that_holds_the_sample() -> None:
    value = b'{"label": 1, "features": ["a"]}'
    assert one(Form(), [b"any", value]) == [1, ["a"]]
    assert one(Form(field="s"), [b"x", b"1", b"s", value]) == [1, ["a"]]
    assert "expected one field (--field names it), got" in fault(Form(), [b"x", b"1", b"s", value])
    assert fault(Form(field="s"), [b"x", b"1"]) == "expected one field 's', got \"x\""
    assert fault(Form(field="s"), [b"s", value, b"s", value]).startswith("expected one field 's'")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", "expected one JSON object, got a fault at column 1"),
        (b"{", "got a fault at column 2"),
        (b"[1]", "expected one JSON object, got an array"),
        (b"7", "expected one JSON object, got 7"),
        (b"{}{}", "Extra data"),
        (b'{"label": 1}', "expected a key 'features', got text \"label\""),
        (b'{"label": 1, "label": 1, "features": []}', "expected each key once, got 'label' twice"),
        (b'{"label": {}, "features": []}', "expected a label as text, integer or boolean"),
        (b'{"label": 1, "features": {"a": {}}}', 'got an object at text "a"'),
        (b'{"label": 1, "features": {"a": %s}}' % (b"9" * 30), "numbers of 64 bits"),
        (b'{"label": 1, "features": {"a": %s}}' % (b"9" * 5000), "expected one JSON object of a"),
        (b'{"label": 1, "features": ["\\ud800"]}', "expected names, text and numbers"),
        (b"[" * 100_000, "expected one JSON object of a sample"),
    ],
)
def test_json_that_is_no_sample(value: bytes, text: str) -> None:
    assert text in fault(Form(), value)


GOOD = msgpack.packb([1, ["a"]])


@pytest.mark.parametrize(
    "bad",
    [
        b"", GOOD[:-1], GOOD + GOOD, GOOD + b"\xc0", b"\x92", b"\xc1", b"\x01", b"\x93\x01\x90",
        b"\x92\x01\xdd\xff\xff\xff\xff", b"\x92\xc1\x90", b"\x92\x01" + b"\x91" * 5000, b"\x81",
        b"\x80", b"\xd9\xff",
    ],
)  # fmt: skip
def test_msgpack_that_is_no_whole_sample_spoils_no_other(bad: bytes) -> None:
    """Nor does one that ends early take its end from the next."""
    form = Form(format="msgpack")
    values = [GOOD, bad, GOOD, bad, bad, GOOD]
    packed = form.pack(values)
    assert [isinstance(part, BadEntry) for part in packed] == [value is bad for value in values]
    assert [part for part in packed if isinstance(part, bytes)] == [GOOD] * 3


@given(st.lists(st.binary(max_size=12) | st.just(GOOD), max_size=12), st.sampled_from(FORMATS))
def test_any_bytes_are_one_object_or_a_bad_entry(values: list[bytes], format: str) -> None:
    form = Form(format=format, label_field="a" if format == "fields" else None)
    packed = form.pack(values)
    assert len(packed) == len(values)
    for part in packed:
        if isinstance(part, bytes):
            unpacker = msgpack.Unpacker(strict_map_key=False, raw=True, object_pairs_hook=list)
            unpacker.feed(part)
            unpacker.skip()
            assert unpacker.tell() == len(part)


def test_a_sample_that_no_message_holds() -> None:
    form = Form(format="msgpack", max_bytes=20)
    assert fault(form, msgpack.packb([1, ["n" * 20]])) == (
        "expected a sample of at most 20 bytes, got 24"
    )
    # Before it is read, and after: 1.5 takes nine bytes.
    assert fault(Form(max_bytes=20), b" " * 21).endswith("got 21")
    value = b'{"label":1,"features":{%s}}' % b",".join(b'"%d":1.5' % i for i in range(9))
    assert fault(Form(max_bytes=len(value)), value).endswith(f"got {3 + 9 * 11}")
    text = fault(
        Form(format="fields", label_field="y", max_bytes=20), [b"y", b"1", b"a", b"x" * 20]
    )
    assert text == "expected a sample of at most 20 bytes, got 23"


def test_what_is_packed_is_learned_as_the_samples_are() -> None:
    samples = [({"a": 1.5, "b": 2}, "x"), (["b", "c"], "y"), ({"c": -1}, "x", 0.5)]
    lines = [
        json.dumps(dict(zip(("features", "label", "importance"), sample, strict=False))).encode()
        for sample in samples
    ]
    model, expected = OnlineSVM(), OnlineSVM()
    packed = [part for part in Form().pack(lines) if isinstance(part, bytes)]
    got = model.learn_batch(model.decode(pack_array(packed), labelled=True))
    assert got.tobytes() == expected.learn(samples).tobytes()


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"format": "csv"}, "format: expected one of json, msgpack, fields, got 'csv'"),
        ({"format": "fields"}, "label_field: expected one"),
        ({"format": "fields", "label_field": "a", "field": "b"}, "field: expected none"),
    ],
)
def test_forms_that_are_none(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Form(**keys)
