"""The bodies of requests about held samples: what is read, and the words for what is not."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits
from onlinesvm.errors import BodyError, LimitError, SampleError
from onlinesvm.service.held_bodies import Labelled, learnable, parse_labels, split_held

LIMITS = Limits(max_samples_per_batch=4, max_importance=32.0)
KEY = "expected a key as text, bytes or integer, of 1 to 64 bytes"


def pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def test_keys_are_compared_by_their_bytes() -> None:
    samples = [["a"], {"b": 2.0}, "text", []]
    keys, body = split_held(pack([["k", b"\xff", 17, -3], samples]), LIMITS)
    assert keys == [b"k", b"\xff", b"17", b"-3"]
    assert body == pack(samples)
    assert split_held(pack([[], []]), LIMITS) == ([], pack([]))


@pytest.mark.parametrize(
    ("body", "message", "at"),
    [
        (7, "expected an array of 2, the keys and the samples, got 7", "$"),
        ([["k"]], "expected an array of 2, the keys and the samples, got an array of 1", "$"),
        (["k", [["a"]]], 'expected an array of keys, got text "k"', "$[0]"),
        ([["k", 1.5], [[], []]], f"{KEY}, got 1.5", "$[0][1]"),
        ([["k", True], [[], []]], f"{KEY}, got true", "$[0][1]"),
        ([["k", ["k"]], [[], []]], f"{KEY}, got an array", "$[0][1]"),
        ([[""], [[]]], f"{KEY}, got 0 bytes", "$[0][0]"),
        ([["k" * 65], [[]]], f"{KEY}, got 65 bytes", "$[0][0]"),
        ([["k", "l"], [[]]], "expected a sample for each of 2 keys, got 1", "$[1]"),
        ([["k"], {"a": 1}], "expected an array of samples, got a map", "$[1]"),
        ([["k"] * 5, [[]] * 5], "expected at most 4 samples a batch, got 5 keys", "$"),
        ([[[[]] * 4] * 4, []], f"{KEY}, got an array", "$[0][0]"),
    ],
)
def test_a_body_with_keys_that_is_refused(body: Any, message: str, at: str) -> None:
    with pytest.raises(SampleError) as caught:
        split_held(pack(body), LIMITS)
    assert (caught.value.message, caught.value.at) == (message, at)
    assert caught.value.sample == (int(at[5:-1]) if at.startswith("$[0][") else None)


@pytest.mark.parametrize("cut", [split_held, parse_labels])
@pytest.mark.parametrize("body", [b"", b"\x92\x91", b"\xc1", b"\x90\x90", b"\x91" * 2000 + b"\x90"])
def test_bytes_that_are_no_body(cut: Any, body: bytes) -> None:
    with pytest.raises(BodyError):
        cut(body, LIMITS)


def test_labels_are_as_in_samples() -> None:
    rows = [["k", "spam"], [7, 1.0, 2], [b"\xff", True, 1e-60], ["x", b"\xfe"]]
    assert parse_labels(pack(rows), LIMITS) == [
        Labelled(b"k", pack("spam"), 1.0),
        Labelled(b"7", pack(1), 2.0),
        Labelled(b"\xff", pack(True), 0.0),
        Labelled(b"x", pack(b"\xfe"), 1.0),
    ]
    assert parse_labels(pack([]), LIMITS) == []


@pytest.mark.parametrize(
    ("rows", "message", "at"),
    [
        (7, "expected an array of labels, got 7", "$"),
        ({"k": 1}, "expected an array of labels, got a map", "$"),
        ([["k"]], "expected [key, label] or [key, label, importance], got an array of 1", "$[0]"),
        (
            [["k", 1], "k"],
            'expected [key, label] or [key, label, importance], got text "k"',
            "$[1]",
        ),
        ([["", 1]], f"{KEY}, got 0 bytes", "$[0][0]"),
        ([["k", None]], "expected a label as text, integer or boolean, got nil", "$[0][1]"),
        ([["k", 0.5]], "expected a label as text, integer or boolean, got 0.5", "$[0][1]"),
        ([["k", ""]], "expected a label, got an empty text", "$[0][1]"),
        (
            [["k", 1, 33]],
            "expected an importance from 0 to 32 (max_importance), got 33",
            "$[0][2]",
        ),
        (
            [["k", 1, "2"]],
            'expected an importance from 0 to 32 (max_importance), got text "2"',
            "$[0][2]",
        ),
        ([["k", 1]] * 5, "expected at most 4 labels a request, got 5", "$"),
    ],
)
def test_labels_that_are_refused(rows: Any, message: str, at: str) -> None:
    with pytest.raises(SampleError) as caught:
        parse_labels(pack(rows), LIMITS)
    assert (caught.value.message, caught.value.at) == (message, at)
    assert isinstance(caught.value, LimitError) == ("at most 4" in message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3)
    | st.binary(max_size=70),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)  # fmt: skip


@given(body=JSON)
def test_any_body_is_read_or_refused(body: Any) -> None:
    for cut in (split_held, parse_labels):
        try:
            cut(pack(body), LIMITS)
        except SampleError as error:
            assert error.at.startswith("$")


def test_learnable_samples() -> None:
    rows = [(pack("spam"), 1.0, pack(["a"])), (pack(1), 2.5, pack({"b": 2}))]
    assert msgpack.unpackb(learnable(rows)) == [["spam", ["a"]], [1, {"b": 2}, 2.5]]
