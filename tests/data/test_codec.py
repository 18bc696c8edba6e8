"""Message bodies: reading, writing, and the text of each error."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits
from onlinesvm.config import MIN_MAGNITUDE
from onlinesvm.data.batch import Batch, BatchColumns
from onlinesvm.data.codec import encode_margins
from onlinesvm.data.label import label_of
from onlinesvm.data.validation import raise_first_fault
from onlinesvm.errors import (
    BodyError,
    LimitError,
    OnlineSVMError,
    SampleError,
    format_text,
)
from onlinesvm.kernel.contract import Kernel
from onlinesvm.service.protocol import code_of
from tests.columns import labels_of
from tests.oracle import first_fault
from tests.strategies import bodies, damaged, objects, samples

SMALL = Limits(max_features_per_sample=3, max_samples_per_batch=4, max_name_bytes=5)


def contents(batch: BatchColumns) -> tuple[list[Any], ...]:
    return (
        labels_of(batch), list(batch.importances), list(batch.indptr),
        list(batch.names), list(batch.values),
    )  # fmt: skip


def expected_contents(rows: list[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    """The columns of Python samples, duplicates still there."""
    batch = Batch()
    for given_features, label, *importance in rows:
        pairs = given_features.items() if isinstance(given_features, dict) else None
        kept = [
            (name if isinstance(name, bytes) else str(name).encode("utf-8", "surrogateescape"), x)
            for name, x in (pairs or [(name, 1) for name in given_features])
            if abs(x) >= MIN_MAGNITUDE
        ]
        h = importance[0] if importance else 1
        batch.append(
            label_of(label),
            float(h) if h >= MIN_MAGNITUDE else 0.0,
            [name for name, _ in kept],
            [float(x) for _, x in kept],
        )
    return contents(batch)


# Reading and writing.


@given(data=st.data(), rows=st.lists(samples(), max_size=5))
def test_every_form_of_msgpack_reads_the_same(
    kernel: Kernel, data: st.DataObject, rows: list[tuple[Any, ...]]
) -> None:
    batch = kernel.decode(data.draw(bodies(rows)), Limits(), labelled=True)
    assert len(batch) == len(rows)
    assert contents(batch) == expected_contents(rows)


@given(data=st.data(), rows=st.lists(samples(), max_size=5))
def test_decoding_what_was_encoded_gives_it_back(
    kernel: Kernel, data: st.DataObject, rows: list[tuple[Any, ...]]
) -> None:
    batch = kernel.decode(data.draw(bodies(rows)), Limits(), labelled=True)
    again = kernel.decode(kernel.encode(batch, labelled=True), Limits(), labelled=True)
    assert contents(again) == contents(batch)
    asked = kernel.decode(kernel.encode(batch, labelled=False), Limits(), labelled=False)
    assert contents(asked) == ([None] * len(rows), [1.0] * len(rows), *contents(batch)[2:])


LABELS = [1, -1, 0, True, False, 1.0, "1", "+1", "1.0", "spam", b"spam", "\xe9", 2**64 - 1, 7e20]


@given(labels=st.lists(st.sampled_from(LABELS), max_size=20), single=st.booleans())
def test_labels_are_told_apart_by_their_text(
    kernel: Kernel, labels: list[Any], single: bool
) -> None:
    body = msgpack.packb([[label, []] for label in labels], use_single_float=single)
    if single and 7e20 in labels:
        labels = [float(np.float32(label)) if label == 7e20 else label for label in labels]
    batch = kernel.decode(body, Limits(), labelled=True)
    texts = [label_of(label).text for label in labels]
    assert labels_of(batch) == texts
    assert [label.text for label in batch.label_table] == list(dict.fromkeys(texts))
    firsts = [label_of(labels[texts.index(label.text)]) for label in batch.label_table]
    assert [label.written for label in batch.label_table] == [label.written for label in firsts]
    again = kernel.decode(kernel.encode(batch, labelled=True), Limits(), labelled=True)
    assert contents(again) == contents(batch)
    assert again.label_table == batch.label_table


@pytest.mark.parametrize("use_bin_type", [True, False])
@pytest.mark.parametrize("use_single_float", [True, False])
def test_what_the_library_packs_is_read(
    kernel: Kernel, use_bin_type: bool, use_single_float: bool
) -> None:
    # Each side of each border between two forms.
    integers = [
        value
        for edge in (0, 2**5, 2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 2**63, 2**64)
        for value in (edge - 1, edge, -edge, -edge - 1, 1 - edge)
        if -(2**63) <= value < 2**64 and value
    ]
    texts = ["é" * (n // 2) + "a" * (n % 2) for n in (0, 1, 15, 31, 32, 255, 256, 4095, 4096)]
    raws = [b"\xff" * n for n in (1, 31, 32, 255, 256, 4096)]
    floats = [0.5, -1.5, 3.25e30, 1e-40 if not use_single_float else 2.0**-140]
    pack = msgpack.Packer(use_bin_type=use_bin_type, use_single_float=use_single_float).pack
    values = [*integers, *floats]
    rows = [
        ([*texts, *raws, *integers], 1),
        ({f"n{i}": value for i, value in enumerate(values)}, -1, 0.5),
        (dict.fromkeys(integers, 2), 1.0, 3),
        ([str(n) for n in range(15)], 1),
        ([str(n) for n in range(16)], 1),
        ({str(n): n + 1 for n in range(65_536)}, 1),
        ([str(n) for n in range(65_536)], 1),
    ]
    if use_single_float:  # what a float32 makes of these
        rows[1][0].update(  # type: ignore[attr-defined, index]
            {f"n{i}": float(np.float32(x)) for i, x in enumerate(values) if isinstance(x, float)}
        )
    body = pack([[row[1], row[0], *row[2:]] for row in rows])
    assert contents(kernel.decode(body, Limits(), labelled=True)) == expected_contents(rows)
    body = pack([row[0] for row in rows])
    assert (
        contents(kernel.decode(body, Limits(), labelled=False))[2:] == expected_contents(rows)[2:]
    )


def test_keys_that_come_twice_are_both_read(kernel: Kernel) -> None:
    body = b"\x91\x92\x01\x84\xa1a\x01\xa15\x02\x05\x03\xc4\x01a\xcb" + b"\x3f\xe0" + b"\0" * 6
    batch = kernel.decode(body, Limits(), labelled=True)
    assert list(batch.names) == [b"a", b"5", b"5", b"a"]
    assert list(batch.values) == [1.0, 2.0, 3.0, 0.5]


def test_empty_batches_and_empty_samples_are_legal(kernel: Kernel) -> None:
    for body in (b"\x90", b"\xdc\0\0", b"\xdd\0\0\0\0"):
        assert contents(kernel.decode(body, Limits(), labelled=True)) == ([], [], [0], [], [])
        assert contents(kernel.decode(body, Limits(), labelled=False)) == ([], [], [0], [], [])
    body = msgpack.packb([[1, []], [-1, {}], [1, {"a": 0}, 0]])
    assert contents(kernel.decode(body, Limits(), labelled=True)) == (
        [b"1", b"-1", b"1"], [1.0, 1.0, 0.0], [0, 0, 0, 0], [], [],
    )  # fmt: skip


def test_limits_are_reached_exactly(kernel: Kernel) -> None:
    full = [[1, {"aaaaa": 1, b"bbbbb": 1, 12345: 1}]] * 4
    assert len(kernel.decode(msgpack.packb(full), SMALL, labelled=True)) == 4
    assert len(kernel.decode(msgpack.packb([row[1] for row in full]), SMALL, labelled=False)) == 4
    assert len(kernel.decode(msgpack.packb([[1, ["a", "b", "c"]]]), SMALL, labelled=True)) == 1


@given(margins=st.lists(st.floats(allow_nan=False), max_size=40))
def test_margins_are_an_array_of_float64(kernel: Kernel, margins: list[float]) -> None:
    array = np.array(margins, dtype=np.float64)
    expected = msgpack.packb(margins)
    assert encode_margins(array) == expected
    assert encode_margins(np.repeat(array, 2)[::2]) == expected  # not contiguous


def test_margins_of_any_number(kernel: Kernel) -> None:
    for n in (0, 15, 16, 65_535, 65_536):
        array = np.linspace(-1, 1, n)
        assert encode_margins(array) == msgpack.packb(array.tolist())


# Errors.

WHOLE = (
    "expected a body of one whole msgpack object, got {} bytes that are not msgpack or end early"
)
SAMPLES = "expected an array of samples, got "
SAMPLE = "expected a sample as [label, features] or [label, features, importance], got "
LABEL = "expected a label as text, integer or boolean, got "
FEATURES = "expected features as an array of names or a map from name to value, got "
NAME = "expected a feature name (text, bytes or an integer), got "
IMPORTANCE = "expected an importance from 0 to 1e+50, got "
MAGNITUDE = "expected a number of magnitude at most 1e+50, got "
GOOD = [1, ["a"]]
EXTENSION = msgpack.ExtType(5, b"xyz")
NAN, INF = float("nan"), float("inf")

DEEP = "expected a body nested a few levels deep, got one nested deeper than msgpack reads"
NOT_WHOLE: list[tuple[bytes, str]] = [
    (b"", "expected a body of one msgpack object, got an empty one"),
    (b"\xc1", WHOLE.format(1)),
    (b"\x91", WHOLE.format(1)),
    (b"\x91\x92\x01\x91\xa5abc", WHOLE.format(8)),
    (b"\xdd\xff\xff\xff\xff", WHOLE.format(5)),
    (b"\xdb\xff\xff\xff\xff", WHOLE.format(5)),
    (b"\xdf\xff\xff\xff\xff", WHOLE.format(5)),
    (b"\xc9\xff\xff\xff\xff\x05", WHOLE.format(6)),
    (b"\x91\x92\x00\xc9\xff\xff\xff\xff", WHOLE.format(8)),
    (b"\x91\x92\x00\xc1", WHOLE.format(4)),  # before any fault of a sample
    (b"\x90\x90", "expected a body of one msgpack object, got 1 bytes after its end"),
    (b"\x91\x92\x00\x90abc", "expected a body of one msgpack object, got 3 bytes after its end"),
    (b"\x91" * 2000, DEEP),
    (b"\x91" * 2000 + b"\xc1", DEEP),
    (b"\x91" * 2000 + b"\xa5abc", DEEP),
    (
        b"\x91" * 2000 + b"\xc0\xc0",
        DEEP,
    ),
    (b"GET / HTTP/1.1", "expected a body of one msgpack object, got 13 bytes after its end"),
]

LEARN_FAULTS: list[tuple[Any, str, str, str]] = [
    (None, "BAD_SAMPLE", SAMPLES + "nil", "$"),
    ({}, "BAD_SAMPLE", SAMPLES + "a map", "$"),
    ("abc", "BAD_SAMPLE", SAMPLES + 'text "abc"', "$"),
    (b"\xff", "BAD_SAMPLE", SAMPLES + 'bytes "\\xff"', "$"),
    (3, "BAD_SAMPLE", SAMPLES + "3", "$"),
    (EXTENSION, "BAD_SAMPLE", SAMPLES + "an extension", "$"),
    ([GOOD] * 5, "TOO_LARGE", "expected at most 4 samples a batch, got 5", "$"),
    ([0] * 5, "TOO_LARGE", "expected at most 4 samples a batch, got 5", "$"),
    ([GOOD, 5], "BAD_SAMPLE", SAMPLE + "5", "$[1]"),
    ([GOOD, {}], "BAD_SAMPLE", SAMPLE + "a map", "$[1]"),
    ([GOOD, []], "BAD_SAMPLE", SAMPLE + "an array of 0", "$[1]"),
    ([GOOD, [1]], "BAD_SAMPLE", SAMPLE + "an array of 1", "$[1]"),
    ([GOOD, [1, [], 1, 1]], "BAD_SAMPLE", SAMPLE + "an array of 4", "$[1]"),
    ([GOOD, [1.5, ["a"]]], "BAD_SAMPLE", LABEL + "1.5", "$[1][0]"),
    ([GOOD, [NAN, ["a"]]], "BAD_SAMPLE", LABEL + "nan", "$[1][0]"),
    ([GOOD, [None, ["a"]]], "BAD_SAMPLE", LABEL + "nil", "$[1][0]"),
    ([GOOD, [[["a"]], 1]], "BAD_SAMPLE", LABEL + "an array", "$[1][0][0]"),
    ([GOOD, [{}, 1]], "BAD_SAMPLE", LABEL + "a map", "$[1][0]"),
    ([GOOD, [EXTENSION, ["a"]]], "BAD_SAMPLE", LABEL + "an extension", "$[1][0]"),
    ([[1, ["a"], -1]], "BAD_SAMPLE", IMPORTANCE + "-1", "$[0][2]"),
    ([[1, ["a"], -1e-60]], "BAD_SAMPLE", IMPORTANCE + "-1e-60", "$[0][2]"),
    ([[1, ["a"], NAN]], "BAD_SAMPLE", IMPORTANCE + "nan", "$[0][2]"),
    ([[1, ["a"], INF]], "BAD_SAMPLE", IMPORTANCE + "inf", "$[0][2]"),
    ([[1, ["a"], None]], "BAD_SAMPLE", IMPORTANCE + "nil", "$[0][2]"),
    ([[1, ["a"], True]], "BAD_SAMPLE", IMPORTANCE + "true", "$[0][2]"),
    ([[1, ["a"], {}]], "BAD_SAMPLE", IMPORTANCE + "a map", "$[0][2]"),
    (
        [[1, ["abcdef"], -1]],
        "TOO_LARGE",
        "expected at most 5 bytes a feature name, got 6",
        "$[0][1][0]",
    ),
    ([[0.5, ["abcdef"]]], "BAD_SAMPLE", LABEL + "0.5", "$[0][0]"),
    # The first fault wins.
    ([["1.5", []], [1, [None]]], "BAD_SAMPLE", LABEL + '"1.5"', "$[0][0]"),
    ([["", []]], "BAD_SAMPLE", "expected a label, got an empty text", "$[0][0]"),
    (
        [["x" * 257, []]],
        "BAD_SAMPLE",
        "expected a label of at most 256 bytes, got 257",
        "$[0][0]",
    ),  # the first fault wins
    ([[1, [None]], [1, ["abcdef"]]], "BAD_SAMPLE", NAME + "nil", "$[0][1][0]"),
]

FEATURE_FAULTS: list[tuple[Any, str, str, str]] = [
    (None, "BAD_SAMPLE", FEATURES + "nil", ""),
    ("free prize", "BAD_SAMPLE", FEATURES + 'text "free prize"', ""),
    (b"free", "BAD_SAMPLE", FEATURES + 'bytes "free"', ""),
    (7, "BAD_SAMPLE", FEATURES + "7", ""),
    (EXTENSION, "BAD_SAMPLE", FEATURES + "an extension", ""),
    (["a"] * 4, "TOO_LARGE", "expected at most 3 features a sample, got 4", ""),
    ({n: 0 for n in range(4)}, "TOO_LARGE", "expected at most 3 features a sample, got 4", ""),
    (["a", None], "BAD_SAMPLE", NAME + "nil", "[1]"),
    (["a", 1.0], "BAD_SAMPLE", NAME + "1.0", "[1]"),
    (["a", False], "BAD_SAMPLE", NAME + "false", "[1]"),
    (["a", ["b"]], "BAD_SAMPLE", NAME + "an array", "[1]"),
    (["a", {"b": 1}], "BAD_SAMPLE", NAME + "a map", "[1]"),
    (["a", EXTENSION], "BAD_SAMPLE", NAME + "an extension", "[1]"),
    (["abcdef"], "TOO_LARGE", "expected at most 5 bytes a feature name, got 6", "[0]"),
    ([b"abcdef"], "TOO_LARGE", "expected at most 5 bytes a feature name, got 6", "[0]"),
    ([-12345], "TOO_LARGE", "expected at most 5 bytes a feature name, got 6", "[0]"),
    ({"a": 1, 1.5: 1}, "BAD_SAMPLE", NAME + "1.5", ""),
    ({"a": 1, None: 1}, "BAD_SAMPLE", NAME + "nil", ""),
    ({"a": 1, "abcdef": 0}, "TOO_LARGE", "expected at most 5 bytes a feature name, got 6", ""),
    ({123456: 0}, "TOO_LARGE", "expected at most 5 bytes a feature name, got 6", ""),
    ({"a": 1, "len": NAN}, "BAD_SAMPLE", "expected a finite number, got nan", '["len"]'),
    ({"a": 1, b"\xff": INF}, "BAD_SAMPLE", "expected a finite number, got inf", '["\\xff"]'),
    ({"a": 1, 5: -INF}, "BAD_SAMPLE", "expected a finite number, got -inf", '["5"]'),
    ({"a": -2e50}, "BAD_SAMPLE", MAGNITUDE + "-2e+50", '["a"]'),
    ({"a": 1e300}, "BAD_SAMPLE", MAGNITUDE + "1e+300", '["a"]'),
    ({"a": None}, "BAD_SAMPLE", "expected a number, got nil", '["a"]'),
    ({"a": True}, "BAD_SAMPLE", "expected a number, got true", '["a"]'),
    ({"a": "1"}, "BAD_SAMPLE", 'expected a number, got text "1"', '["a"]'),
    ({"a": b"1"}, "BAD_SAMPLE", 'expected a number, got bytes "1"', '["a"]'),
    ({"a": [1]}, "BAD_SAMPLE", "expected a number, got an array", '["a"]'),
    ({"a": {}}, "BAD_SAMPLE", "expected a number, got a map", '["a"]'),
    ({"a": EXTENSION}, "BAD_SAMPLE", "expected a number, got an extension", '["a"]'),
    ({'"\n\u2028é': None}, "TOO_LARGE", "expected at most 5 bytes a feature name, got 7", ""),
    ({'"\né': None}, "BAD_SAMPLE", "expected a number, got nil", '["\\"\\né"]'),
]  # fmt: skip


def refused(kernel: Kernel, body: bytes, limits: Limits, labelled: bool) -> OnlineSVMError:
    decode = partial(kernel.decode, labelled=labelled)
    with pytest.raises(OnlineSVMError) as caught:
        decode(body, limits)
    return caught.value


def check(error: OnlineSVMError, code: str, message: str, at: str) -> None:
    assert isinstance(error, SampleError)
    assert type(error) is (LimitError if code == "TOO_LARGE" else SampleError)
    assert (code_of(error), error.message, error.at) == (code, message, at)
    assert str(error) == f"{message} at {at}"


@pytest.mark.parametrize(("body", "message"), NOT_WHOLE, ids=lambda v: repr(v)[:30])
@pytest.mark.parametrize("labelled", [True, False])
def test_bytes_that_are_not_one_object(
    kernel: Kernel, labelled: bool, body: bytes, message: str
) -> None:
    error = refused(kernel, body, Limits(), labelled)
    assert type(error) is BodyError
    assert (code_of(error), str(error)) == ("BAD_REQUEST", message)


@pytest.mark.parametrize(
    ("rows", "code", "message", "at"), LEARN_FAULTS, ids=lambda v: repr(v)[:30]
)
def test_faults_of_a_learn_body(
    kernel: Kernel, rows: Any, code: str, message: str, at: str
) -> None:
    check(refused(kernel, msgpack.packb(rows), SMALL, True), code, message, at)


@pytest.mark.parametrize(
    ("features", "code", "message", "at"), FEATURE_FAULTS, ids=lambda v: repr(v)[:30]
)
def test_faults_of_features(
    kernel: Kernel, features: Any, code: str, message: str, at: str
) -> None:
    for further in ([], [[0]]):  # the decoder sees the fault itself, and it is the first
        learn = msgpack.packb([GOOD, [1, features, 1], *further])
        check(refused(kernel, learn, SMALL, True), code, message, f"$[1][1]{at}")
        predict = msgpack.packb([[], features, *further])
        check(refused(kernel, predict, SMALL, False), code, message, f"$[1]{at}")


def test_faults_of_a_predict_body(kernel: Kernel) -> None:
    what = "expected an array of samples' features, got "
    for rows, code, message in [
        ({}, "BAD_SAMPLE", what + "a map"),
        ("free", "BAD_SAMPLE", what + 'text "free"'),
        (None, "BAD_SAMPLE", what + "nil"),
        ([[]] * 5, "TOO_LARGE", "expected at most 4 samples a batch, got 5"),
    ]:
        check(refused(kernel, msgpack.packb(rows), SMALL, False), code, message, "$")


def test_the_default_limits(kernel: Kernel) -> None:
    for rows, message, at in [
        ([[1, []]] * 16_385, "expected at most 16384 samples a batch, got 16385", "$"),
        ([[1, ["a"] * 65_537]], "expected at most 65536 features a sample, got 65537", "$[0][1]"),
        (
            [[1, {n: 1 for n in range(65_537)}]],
            "expected at most 65536 features a sample, got 65537",
            "$[0][1]",
        ),
        (
            [[1, {"é" * 2049: 1}]],
            "expected at most 4096 bytes a feature name, got 4098",
            "$[0][1]",
        ),
    ]:
        check(refused(kernel, msgpack.packb(rows), Limits(), True), "TOO_LARGE", message, at)


@pytest.mark.parametrize("depth", [2, 500, 511, 512, 513, 1000])
@pytest.mark.parametrize("head", [b"\x91", b"\x81\x01", b"\xdd\0\0\0\1"])
def test_nesting_of_any_depth_is_refused(kernel: Kernel, depth: int, head: bytes) -> None:
    for leaf in (b"\xc0", b"\x90", b"\xa3abc", b"\xcb" + b"\0" * 8, b"\xd5\x05ab"):
        error = refused(kernel, b"\x91\x92\x01\x91" + head * depth + leaf, Limits(), True)
        what = "a map" if head == b"\x81\x01" else "an array"
        check(error, "BAD_SAMPLE", NAME + what, "$[0][1][0]")
    error = refused(kernel, b"\x91\x92\x01\x91" + head * depth, Limits(), True)
    assert type(error) is BodyError
    # Deeper than msgpack's own reader goes: refused at once, whatever else is wrong.
    error = refused(kernel, b"\x91\x92\x01\x91" + head * 100 * depth, Limits(), True)
    assert type(error) is BodyError


MEMORY = """
import resource, sys
from onlinesvm import Limits, kernel
from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.protocol import code_of

kernel = kernel.load(sys.argv[1])
bodies = [
    b"\\xdc\\xff\\xff" + b"\\x90" * 2**24,                               # not whole
    b"\\xdd\\x00\\xff\\xff\\xff" + b"\\x90" * 0xFFFFFF,                  # too many samples
    b"\\x91\\x92\\x01\\xdd\\x00\\xff\\xff\\xf0" + b"\\x90" * 0xFFFFF0,   # too many features
    b"\\xdc\\x3f\\xff" + (b"\\xdc\\x04\\x00" + b"\\x90" * 1024) * 16383, # within every count
    b"\\xdc\\x3f\\xff" + (b"\\xde\\x02\\x00" + b"\\x80" * 1024) * 16383,
    b"\\x91" * 2**19,
    b"\\x91" * 2**19 + b"\\xc0",
    b"\\xdd\\x00\\x01\\x00\\x00" * 2**16,                                # heads that promise much
    b"\\xdf\\x00\\x01\\x00\\x00" * 2**16,
    b"\\xdd\\xff\\xff\\xff\\xff" * 2**16,
]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 5 * 2**25, -1))
for body in bodies:
    for labelled in (True, False):
        try:
            kernel.decode(body, Limits(), labelled=labelled)
        except OnlineSVMError as error:
            print(code_of(error))
        else:
            print("accepted")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, limits its memory")
def test_a_nest_of_empty_containers_is_refused_without_building_it(kernel: Kernel) -> None:
    # Ten times a message of 16 MiB is far below what its 16 million lists would take.
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, kernel.NAME], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    codes = done.stdout.split()
    assert len(codes) == 20
    assert set(codes) == {"BAD_REQUEST", "BAD_SAMPLE", "TOO_LARGE"}


def check_against_the_oracle(kernel: Kernel, body: bytes, limits: Limits) -> None:
    for labelled in (True, False):
        decode = partial(kernel.decode, labelled=labelled)
        expected = first_fault(body, limits, labelled=labelled)
        try:
            batch = decode(body, limits)
        except (BodyError, SampleError) as error:
            path = error.path if isinstance(error, SampleError) else None
            assert (code_of(error), path) == expected
            assert str(error)
        else:
            assert expected is None
            again = partial(kernel.encode, labelled=labelled)
            assert contents(decode(again(batch), limits)) == contents(batch)


@settings(max_examples=300)
@given(body=st.binary(max_size=40))
def test_random_bytes(kernel: Kernel, body: bytes) -> None:
    check_against_the_oracle(kernel, body, SMALL)


@settings(max_examples=300)
@given(data=st.data(), rows=st.lists(samples(), min_size=1, max_size=3))
def test_damaged_bodies(kernel: Kernel, data: st.DataObject, rows: list[tuple[Any, ...]]) -> None:
    body = data.draw(damaged(data.draw(bodies(rows))))
    check_against_the_oracle(kernel, body, SMALL)
    check_against_the_oracle(kernel, body, Limits())


@settings(max_examples=300)
@given(
    value=st.one_of(
        objects(),
        st.lists(objects(), max_size=5),
        st.lists(st.tuples(st.sampled_from([1, -1, 0]), objects()), max_size=5),
        st.lists(st.tuples(st.just(1), st.lists(objects(), max_size=4), objects()), max_size=3),
    )
)
def test_objects_of_the_wrong_shape(kernel: Kernel, value: Any) -> None:
    body = msgpack.Packer(unicode_errors="surrogateescape").pack(value)
    check_against_the_oracle(kernel, body, SMALL)


def test_a_fault_that_is_not_there_is_a_bug_and_not_a_client_s() -> None:
    with pytest.raises(AssertionError, match="no fault can be found"):
        raise_first_fault(msgpack.packb([GOOD]), Limits(), labelled=True)


def test_what_came_is_shown_as_json_and_cut() -> None:
    assert format_text(b'a"b\n\t\r') == r'"a\"b\n\t\r"'
    assert format_text(b"\xff\xc3") == r'"\xff\xc3"'
    assert format_text(b"a" * 40) == '"' + "a" * 40 + '"'
    assert format_text(b"a" * 41) == '"' + "a" * 40 + '…"'
    assert format_text("é".encode() * 10_000) == '"' + "é" * 40 + '…"'
    assert format_text("\u2028\x00".encode()) == r'"\u2028\u0000"'
