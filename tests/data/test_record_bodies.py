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
from onlinesvm.data.pieces import Pieces, in_pieces
from onlinesvm.errors import LimitError, OnlineSVMError, SampleError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.text.constants import OF_TEXT, PIECE_FEATURES, TEXT_BYTES
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


def decoded(
    kernel: Kernel, body: bytes, limits: Limits, options: TextOptions, learn: bool, most_made: int
) -> Any:
    """All that a decoder says about a body."""
    extractor = kernel.Extractor(options, limits, TEXT_BYTES)
    try:
        found = kernel.decode(
            body, limits, labelled=learn, extractor=extractor, most_made=most_made
        )
    except OnlineSVMError as error:
        return type(error), getattr(error, "path", None), str(error)
    whole: tuple[list[Any], ...] = ([], [], [], [], [], [])
    for batch in in_pieces(found):
        count = len(batch.names)
        columns = (
            labels_of(batch), [float(x).hex() for x in batch.importances],
            [len(whole[3]) + int(end) for end in batch.indptr[1:]], list(batch.names),
            [float(x).hex() for x in batch.values], list(batch.tags) or [0] * count,
        )  # fmt: skip
        for all_of_it, part in zip(whole, columns, strict=True):
            all_of_it += part
    assert len(found) == len(whole[0])
    assert labels_of(found) == whole[0]
    assert [float(x).hex() for x in found.importances] == whole[1]
    return whole


def agree(body: bytes, limits: Limits, options: TextOptions, learn: bool) -> Any:
    """The outcome of a body: the same by both kernels, at once and in pieces."""
    first, *others = (
        decoded(kernels.load(name), body, limits, options, learn, most_made)
        for name in kernels.KERNELS
        for most_made in (PIECE_FEATURES, 0, 7)
    )
    assert others == [first] * len(others)
    return first


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


def test_a_large_message_comes_in_pieces_of_bounded_size() -> None:
    """It is validated whole: the first fault is found wherever it stands."""
    kernel = kernels.load("native")
    text = " ".join(f"w{i}" for i in range(12_000))
    samples = [["spam", text], ["ham", ["a"]], [1, {"t": text, "n": 2.5}, 0.5]] * 6
    extractor = kernel.Extractor(TextOptions(text="words"), Limits(), TEXT_BYTES)
    many = [*samples, *([["spam", text]] * (2 * PIECE_FEATURES // 12_000))]

    def decode(body: list[Any]) -> Any:
        return kernel.decode(pack(body), Limits(), labelled=True, extractor=extractor)

    assert not isinstance(decode(samples), Pieces)
    pieces = decode(many)
    assert isinstance(pieces, Pieces) and len(pieces) == len(many)
    sizes = [int(piece.indptr[-1]) for piece in pieces]
    assert len(sizes) == 3
    assert all(PIECE_FEATURES / 2 < size <= PIECE_FEATURES + 12_001 for size in sizes[:-1])
    assert [label for piece in pieces for label in labels_of(piece)] == labels_of(pieces)
    with pytest.raises(SampleError, match=r"got 3.5 at \$\[104\]\[1\]"):
        decode([*many[:104], ["ham", 3.5]])
    with pytest.raises(LimitError, match="bytes a feature name"):
        decode([*many, ["ham", {"n" * 5000: 1.0, "t": "a text"}]])


@pytest.mark.parametrize("name", kernels.KERNELS)
@pytest.mark.parametrize("options", OPTIONS)
@given(record=records, longest=st.integers(1, 12))
@settings(max_examples=60)
def test_a_record_is_checked_as_it_is_extracted(
    name: str, options: TextOptions, record: Any, longest: int
) -> None:
    extractor = kernels.load(name).Extractor(options, Limits(), longest)
    try:
        found = extractor.extract(pack(record))
    except OnlineSVMError as error:
        with pytest.raises(type(error)) as caught:
            extractor.check(pack(record))
        assert str(caught.value) == str(error)
    else:
        assert extractor.check(pack(record)) == (found.cut, max(map(abs, [1.0, *found.values])))


def test_tags_stand_at_their_features() -> None:
    body = [["a", "b"], "Hi", {"n": 2.0, "t": "you two"}, {"m": 1.0}]
    *_, found, _, tags = agree(pack(body), Limits(), TextOptions(), False)
    by_name = dict(zip(found, tags, strict=True))
    assert by_name[b"a"] == by_name[b"n"] == by_name[b"m"] == 0
    assert by_name[b"hi"] == by_name[b"t^you"] == OF_TEXT
    assert by_name[b"t^you two"] == OF_TEXT + 1
    assert by_name[b"t^~ you"] == OF_TEXT + 2
