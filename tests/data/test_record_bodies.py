"""Bodies of records, text and fields among names and numbers: both decoders on any bytes."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits
from onlinesvm import kernel as kernels
from onlinesvm.errors import LimitError, OnlineSVMError, SampleError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.text.constants import MESSAGE_TEXT_BYTES, OF_TEXT, TEXT_BYTES
from onlinesvm.text.options import TextOptions
from tests.columns import labels_of
from tests.strategies import damaged, names, objects, values

LIMITS = (
    Limits(),
    Limits(max_features_per_sample=3, max_samples_per_batch=4, max_name_bytes=5),
    Limits(max_value=2.0),
    Limits(max_value=2.0, clip=True),
)
OPTIONS = (
    TextOptions(),
    TextOptions(text="words", numbers="prefixes"),
    TextOptions(text="off"),
    TextOptions(fields={"a": "date", "b": "text", "c": "category"}),
)

texts = st.one_of(
    st.text(max_size=12), st.sampled_from(["free prize", "2026-11-28", "Élan vital!"])
)
field_values = st.one_of(
    texts, values(), st.booleans(), st.none(), st.lists(names(), max_size=3), st.floats()
)
keys = st.one_of(names(), st.sampled_from(["a", "b", "c"]))
records = st.one_of(
    texts, st.lists(names(), max_size=4), st.dictionaries(keys, field_values, max_size=4),
    st.dictionaries(names(), values(), max_size=3), objects(),
)  # fmt: skip
labelled = st.tuples(st.sampled_from(["spam", "ham", 1, True, 2.5]), records) | st.tuples(
    st.just("spam"), records, st.sampled_from([1, 0.0, 3, -1.0, math.inf])
)


def pack(body: Any) -> bytes:
    packed: bytes = msgpack.packb(body, unicode_errors="surrogateescape")
    return packed


def decoded(kernel: Kernel, body: bytes, limits: Limits, options: TextOptions, learn: bool) -> Any:
    """All that a decoder says about a body."""
    extractor = kernel.Extractor(options, limits, TEXT_BYTES)
    try:
        batch = kernel.decode(body, limits, labelled=learn, extractor=extractor)
    except OnlineSVMError as error:
        return type(error), getattr(error, "path", None), str(error)
    return (
        labels_of(batch), [float(x).hex() for x in batch.importances],
        list(batch.indptr), list(batch.names), [float(x).hex() for x in batch.values],
        list(batch.tags),
    )  # fmt: skip


def agree(body: bytes, limits: Limits, options: TextOptions, learn: bool) -> Any:
    native, python = (
        decoded(kernels.load(name), body, limits, options, learn) for name in kernels.KERNELS
    )
    assert native == python
    return native


ways = st.sampled_from(LIMITS), st.sampled_from(OPTIONS)


@given(st.lists(labelled, max_size=4), *ways)
def test_both_kernels_decode_records_to_learn(
    body: list[Any], limits: Limits, options: TextOptions
) -> None:
    agree(pack(body), limits, options, True)


@given(st.lists(records, max_size=4), *ways)
def test_both_kernels_decode_records_to_predict(
    body: list[Any], limits: Limits, options: TextOptions
) -> None:
    agree(pack(body), limits, options, False)


@given(st.data(), st.lists(labelled, max_size=3), *ways)
def test_both_kernels_refuse_damaged_records_alike(
    data: st.DataObject, body: list[Any], limits: Limits, options: TextOptions
) -> None:
    agree(data.draw(damaged(pack(body))), limits, options, True)


@given(st.lists(st.one_of(st.lists(names()), st.dictionaries(names(), values())), max_size=4))
@settings(max_examples=30)
def test_names_and_numbers_are_as_without_an_extractor(body: list[Any]) -> None:
    for name in kernels.KERNELS:
        kernel = kernels.load(name)
        plain = kernel.decode(pack(body), Limits(), labelled=False)
        batch = kernel.decode(
            pack(body), Limits(), labelled=False,
            extractor=kernel.Extractor(TextOptions(), Limits(), TEXT_BYTES),
        )  # fmt: skip
        assert (list(plain.names), list(plain.values)) == (list(batch.names), list(batch.values))
        assert list(batch.tags) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([3], "expected text, an array of names or a map from name to value, got 3 at $[0]"),
        ([["a"], {"x": {}}], 'got a map at $[1]["x"]'),
        ([{"x": 1, "l": ["a", 2.5]}], '(text, bytes or an integer), got 2.5 at $[0]["l"][1]'),
        ([{"x": math.nan, "t": "a text"}], 'expected a finite number, got nan at $[0]["x"]'),
    ],
)  # fmt: skip
def test_the_fault_of_a_record_is_shown_with_its_path(body: Any, message: str) -> None:
    _, _, error = agree(pack(body), Limits(), TextOptions(), False)
    assert message in error


def test_a_message_has_so_much_text_at_most() -> None:
    text = "x" * TEXT_BYTES
    fitting = MESSAGE_TEXT_BYTES // TEXT_BYTES
    words = TextOptions(text="words")
    assert agree(pack([text + "y"] * fitting), Limits(), words, False)
    kind, path, error = agree(pack([text] * fitting + ["z", 3.5]), Limits(), words, False)
    assert kind is LimitError
    assert path == (fitting,)
    assert f"expected at most {MESSAGE_TEXT_BYTES} bytes of text a message" in error
    # A faulty sample before is the first fault.
    kind, path, _ = agree(pack([3.5] + [text] * (fitting + 1)), Limits(), words, False)
    assert (kind, path) == (SampleError, (0,))


def test_tags_stand_at_their_features() -> None:
    body = [["a", "b"], "Hi", {"n": 2.0, "t": "you two"}, {"m": 1.0}]
    *_, found, _, tags = agree(pack(body), Limits(), TextOptions(), False)
    by_name = dict(zip(found, tags, strict=True))
    assert by_name[b"a"] == by_name[b"n"] == by_name[b"m"] == 0
    assert by_name[b"hi"] == by_name[b"t^you"] == OF_TEXT
    assert by_name[b"t^you two"] == OF_TEXT + 1
    assert by_name[b"t^~ you"] == OF_TEXT + 2
