"""Python objects as samples: packed, or refused with the place of the error."""

from __future__ import annotations

from collections import Counter, OrderedDict, UserDict, deque
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given

from onlinesvm import Limits
from onlinesvm.data.codec import decode, pack_array
from onlinesvm.data.label import label_of
from onlinesvm.data.objects import Packer
from onlinesvm.errors import SampleError
from tests.columns import labels_of
from tests.oracle import row_of
from tests.strategies import features, samples


def columns(given: Any) -> list[tuple[bytes, float]]:
    """The names and values of one sample's features after packing and decoding."""
    batch = decode(pack_array([Packer().features(given)]), Limits(), labelled=False)
    return list(zip(batch.names, batch.values, strict=True))


@given(given_features=features())
def test_packed_features_are_those_given(given_features: Any) -> None:
    row: dict[bytes, float] = {}
    for name, value in columns(given_features):
        row[name] = row[name] + value if name in row else value
    assert list(row.items()) == list(row_of(given_features).items())


@given(sample=samples())
def test_a_packed_sample_carries_label_and_importance(sample: tuple[Any, ...]) -> None:
    batch = decode(pack_array([Packer().sample(*sample)]), Limits(), labelled=True)
    h = sample[2] if len(sample) == 3 else 1
    assert labels_of(batch) == [label_of(sample[1]).text]
    assert batch.importances == [h if h >= 1e-50 else 0]


@pytest.mark.parametrize(
    "iterable",
    [
        ["a", 5, b"\xff"],
        ("a", 5, b"\xff"),
        deque(["a", 5, b"\xff"]),
        {"a": None, 5: None, b"\xff": None}.keys(),
        np.array(["a", 5, b"\xff"], dtype=object),
    ],
    ids=lambda v: type(v).__name__,
)
def test_names_in_any_iterable(iterable: Any) -> None:
    assert columns(iterable) == [(b"a", 1.0), (b"5", 1.0), (b"\xff", 1.0)]
    assert columns(iter(iterable)) == columns(iterable)
    assert columns(name for name in iterable) == columns(iterable)


def test_names_in_a_set() -> None:
    assert sorted(columns({"a", "b"})) == sorted(columns(frozenset("ab"))) == columns(["a", "b"])


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict, Counter, MappingProxyType])
def test_values_in_any_mapping(kind: Any) -> None:
    assert columns(kind({"a": 2, 5: 3})) == [(b"a", 2.0), (b"5", 3.0)]


@pytest.mark.parametrize("kind", [np.int8, np.uint64, np.int64, np.float16, np.float32, np.float64])
def test_numpy_scalars_are_numbers(kind: Any) -> None:
    assert columns({"a": kind(3)}) == [(b"a", 3.0)]
    body = pack_array([Packer().sample(["a"], kind(1), kind(3))])
    batch = decode(body, Limits(), labelled=True)
    assert (labels_of(batch), batch.importances) == ([b"1"], [3.0])


@pytest.mark.parametrize(
    "name", [np.int8(3), np.uint64(3), np.str_("3"), np.bytes_(b"3")], ids=repr
)
def test_numpy_scalars_are_names(name: Any) -> None:
    assert columns([name, "a"]) == columns({name: 1, "a": 1}) == [(b"3", 1.0), (b"a", 1.0)]


def test_integers_beyond_64_bits_are_numbers_and_no_names() -> None:
    assert columns({"a": 10**30, "b": -(10**40), "c": 2}) == [
        (b"a", 1e30), (b"b", -1e40), (b"c", 2.0),
    ]  # fmt: skip
    body = pack_array([Packer().sample(["a"], 1, 10**30)])
    assert decode(body, Limits(), labelled=True).importances == [1e30]
    for wrong in (2**64, -(2**63) - 1):
        for given_features, at in ((["a", wrong], "[1]"), ({wrong: 1}, ""), (("a", wrong), "[1]")):
            with pytest.raises(SampleError) as caught:
                Packer().features(given_features, (7,))  # type: ignore[arg-type]
            assert str(caught.value) == (
                "expected an integer name from -2**63 to 2**64 - 1, got an integer of"
                f" {wrong.bit_length()} bits at $[7]{at}"
            )
    for sample, at in ((({"a": 10**400}, 1), '[0]["a"]'), ((["a"], 1, 10**400), "[2]")):
        with pytest.raises(SampleError) as caught:
            Packer().sample(*sample, index=3)  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"expected a number of magnitude at most 1e+50, got an integer of 1329 bits at $[3]{at}"
        )
    for nested in ([["a", 10**30]], [{"a": 10**30}], {(10**30,): 1}):
        with pytest.raises(
            SampleError, match=r"expected a feature name .* got \w+ at \$\[3\]\[0\]"
        ):
            Packer().sample(nested, 1, index=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("bare", ["free prize", b"free", bytearray(b"free"), memoryview(b"free")])
def test_a_bare_string_is_no_iterable_of_names(bare: Any) -> None:
    kind = type(bare).__name__
    with pytest.raises(TypeError, match=rf"got a bare {kind} at \$\[4\]\[0\] \(its letters"):
        Packer(reads_text=False).sample(bare, 1, index=4)
    with pytest.raises(TypeError, match=rf"got a bare {kind} at \$\[4\]"):
        Packer(reads_text=False).features(bare, (4,))


@pytest.mark.parametrize("none", [5, None, 1.5, object()], ids=lambda v: type(v).__name__)
def test_only_iterables_of_features_are_accepted(none: Any) -> None:
    with pytest.raises(TypeError, match=rf"got {type(none).__name__} at \$\[2\]\[0\]"):
        Packer().sample(none, 1, index=2)


@pytest.mark.parametrize("boolean", [True, False, np.True_, np.False_])
def test_booleans_are_labels_and_neither_names_nor_numbers(boolean: Any) -> None:
    word = str(bool(boolean)).lower()
    for given_features, message in [
        ([boolean], "expected a feature name (text, bytes or an integer), got {} at $[0][0]"),
        ({boolean: 1}, "expected a feature name (text, bytes or an integer), got {} at $[0]"),
        ({"a": boolean}, 'expected a number, got {} at $[0]["a"]'),
    ]:
        with pytest.raises(SampleError) as caught:
            columns(given_features)
        assert str(caught.value) == message.format(word)
    batch = decode(pack_array([Packer().sample(["a"], boolean)]), Limits(), labelled=True)
    assert labels_of(batch) == [b"1" if boolean else b"0"]
    with pytest.raises(SampleError, match=f"an importance from 0 to .* got {word}"):
        decode(pack_array([Packer().sample(["a"], 1, boolean)]), Limits(), labelled=True)


def test_what_msgpack_cannot_hold_is_refused_with_its_place() -> None:
    for wrong in (Decimal(1), object(), 1j, np.array([1.0])):
        for arguments in (([wrong], 1), ({"a": wrong}, 1), (["a"], wrong), (["a"], 1, wrong)):
            with pytest.raises(TypeError) as caught:
                Packer().sample(*arguments, index=6)  # type: ignore[arg-type]
            assert str(caught.value) == (
                f"expected text, bytes or a number, got {type(wrong).__name__} at $[6]"
            )
    # Also where an integer beyond 64 bits came before it.
    with pytest.raises(TypeError, match=r"got Decimal at \$\[6\]"):
        Packer().sample({"a": 10**30, "b": Decimal(1)}, 1, index=6)  # type: ignore[dict-item]
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ValueError, match=r"recursion limit exceeded.* at \$\[6\]"):
        Packer().sample(deep, 1, index=6)


def test_text_that_has_no_bytes_is_refused() -> None:
    assert columns(["\udcff"]) == [(b"\xff", 1.0)]  # as the views show undecodable bytes
    for wrong in (["a\ud800"], {"a\ud800": 1}, {"b": 10**30, "a\ud800": 1}):
        with pytest.raises(SampleError) as caught:
            Packer().features(wrong, (1,))  # type: ignore[arg-type]
        assert str(caught.value) == "expected text that UTF-8 can hold, got 'a\\ud800' at $[1]"


def test_a_packer_goes_on_after_an_error() -> None:
    packer = Packer()
    with pytest.raises(TypeError):
        packer.features(["a", object()])  # type: ignore[list-item]
    assert packer.features(["a"]) == msgpack.packb(["a"])
