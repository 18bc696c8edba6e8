"""The wire: headers, envelopes, and their errors."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits
from onlinesvm.data.codec import encode_margins
from onlinesvm.errors import BodyError, LimitError, SampleError
from onlinesvm.service import protocol
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.protocol import (
    CODES,
    LAG_FIGURES,
    OPERATIONS,
    Numbering,
    Request,
    RequestError,
    encode_error,
    encode_reply,
    encode_request,
    numbering_of,
    parse_reply,
    parse_request,
    refusal_of,
    request_error_of,
    split_envelope,
)
from tests.strategies import damaged, objects

LIMITS = Limits(max_message_bytes=300, max_header_bytes=200)


def ids() -> st.SearchStrategy[Any]:
    """Every kind of id that a request may have."""
    text = st.text(max_size=64).filter(lambda s: len(s.encode("utf-8", "replace")) <= 64)
    return st.one_of(
        st.none(), st.integers(-(2**63), 2**64 - 1), text.filter(_is_utf8), st.binary(max_size=64)
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def header(**keys: Any) -> bytes:
    packed: bytes = msgpack.packb({"v": 1, "op": "ping", **keys})
    return packed


def fault(frames: list[bytes], limits: Limits = LIMITS) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_request(frames, limits)
    assert caught.value.code in CODES
    return caught.value


# Operation → its own keys, and what they are read as.
PIECE = {"offset": 0, "size": 9, "checksum": 1}
WITH_KEYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "predict": ({"hold": True, "ttl_s": 5}, {"ttl_ms": 5000, "default": None}),
    "resume": ({"producer": "p"}, {}),
    "lag": (
        {"producer": "p", "entries": 3, "seconds": 0.5},
        {"entries": 3, "seconds": 0.5, "bytes": None},
    ),
    "explain": ({"label": "a", "other": 7}, {"label": "a", "other": 7}),
    "labels": ({"first": 3, "count": 4}, {"first": 3, "count": 4}),
    "inspect": ({"contains": "a", "label": 1}, {"top": 20, "contains": b"a", "label": 1}),
    "drop_label": ({"label": "a"}, {"label": "a"}),
    "create": (
        {"config": {"rule": "sgd"}, "if_exists": "same"},
        {"config": {"rule": "sgd"}, "copy_of": None, "if_exists": "same", "upload": None},
    ),
    "models": ({"after": "m", "limit": 7}, {"after": "m", "limit": 7}),
    "upload": (PIECE, {"upload": None, **PIECE}),
    "fetch": ({"lsn": 5, "offset": 6}, {"lsn": 5, "offset": 6}),
}


@pytest.mark.parametrize("op", OPERATIONS)
@given(id=ids(), body=st.binary(min_size=1, max_size=20))
def test_a_request_is_read_as_it_was_written(op: str, id: Any, body: bytes) -> None:
    keys, options = WITH_KEYS.get(op, ({}, {}))
    header = encode_request(op, id, **keys)
    parsed = parse_request([header, body] if OPERATIONS[op] else [header], LIMITS)
    producer = b"p" if op in ("resume", "lag") else b""
    expected = Request(op, id, body if OPERATIONS[op] else b"", header, producer, options=options)
    assert parsed == expected
    assert type(parsed.id) is type(id)


@given(id=ids(), keys=st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 9)))
def test_a_reply_is_read_as_it_was_written(id: Any, keys: dict[str, Any]) -> None:
    parsed, body = parse_reply([encode_reply(id, keys), b"margins"])
    assert (parsed, body) == ({"v": 1, "id": id, "ok": True, **keys}, b"margins")
    assert type(parsed["id"]) is type(id)
    assert parse_reply([encode_reply(id, keys)])[1] == b""


@given(id=ids(), at=st.none() | st.just('$[3][1]["len"]'), sample=st.none() | st.integers(0, 2**31))
def test_an_error_is_read_as_it_was_written(id: Any, at: str | None, sample: int | None) -> None:
    written = RequestError("BUSY", "expected a, got b", at, id, sample)
    parsed, body = parse_reply([encode_error(written)])
    error = {"code": "BUSY", "message": "expected a, got b", "at": at, "sample": sample}
    assert (parsed, body) == ({"v": 1, "id": id, "ok": False, "error": error}, b"")
    assert type(parsed["id"]) is type(id)
    refusal = refusal_of(parsed)
    assert (refusal.code, refusal.message, refusal.at) == ("BUSY", "expected a, got b", at)
    assert (refusal.sample, refusal.retry_after_s) == (sample, None)


@given(at=objects(), sample=objects(), seconds=objects())
def test_an_error_with_keys_of_other_types_is_an_error(at: Any, sample: Any, seconds: Any) -> None:
    error = {"code": "BUSY", "message": "no", "at": at, "sample": sample, "retry_after_s": seconds}
    refusal = refusal_of({"ok": False, "error": error})
    assert isinstance(refusal.at, str | None) and type(refusal.sample) in (int, type(None))
    assert isinstance(refusal.retry_after_s, float | int | None)
    assert str(refusal).startswith("BUSY: no")


def test_a_refusal_names_the_sample_once() -> None:
    """By its path in the request; from a stream, whose requests are batches, by its index too."""
    assert str(RequestRefused("C", "no", "$[3][1]", sample=3)) == "C: no at $[3][1]"
    streamed = RequestRefused("C", "no", "$[3][1]", sample=3, applied=2)
    assert str(streamed) == "C: no at $[3][1] (sample 3 of the stream); 2 samples applied"
    moved = RequestRefused("C", "no", "$[3][1]", sample=70)
    assert str(moved) == "C: no at $[3][1] (sample 70 of the stream)"


def test_an_error_says_when_to_try_again() -> None:
    parsed, _ = parse_reply([encode_error(RequestError("BUSY", "later", retry_after_s=2.5))])
    assert parsed["error"]["retry_after_s"] == 2.5
    assert refusal_of(parsed).retry_after_s == 2.5


def test_text_that_is_no_utf8_does_not_stop_a_reply() -> None:
    path = "/states/\udcff"
    assert parse_reply([encode_reply(1, {"path": path})])[0]["path"] == r"/states/\udcff"
    assert rb"\udcff" in encode_error(RequestError("INTERNAL", path))


@given(frames=st.lists(st.binary(max_size=3) | st.just(b""), max_size=6))
def test_an_envelope_reaches_to_the_first_empty_frame(frames: list[bytes]) -> None:
    envelope, rest = split_envelope(frames)
    assert [*envelope, *rest] == frames
    if b"" in frames:
        assert envelope[-1] == b""
        assert b"" not in envelope[:-1]
    else:
        assert not envelope


# Faults, in the order of the checks.

OTHER_BYTES = "expected a header of one msgpack map, got {} bytes that are none"
KNOWN = ", ".join(OPERATIONS)
MODEL_NAME = "expected a model's name of 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot"
LONG = header(pad="p" * 300)

FAULTS: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "BAD_REQUEST", OTHER_BYTES),
    "not msgpack": (b"\xc1", "BAD_REQUEST", OTHER_BYTES),
    "cut short": (header()[:-1], "BAD_REQUEST", OTHER_BYTES),
    "two objects": (header() * 2, "BAD_REQUEST", OTHER_BYTES),
    "text that is no utf-8": (header()[:1] + b"\xa1v\x01\xa2op\xa1\xff", "UNKNOWN_OP",
        f'expected one of {KNOWN}, got "\\xff"',
    ),
    "a key that is an array": (
        b"\x81\x90\x01", "BAD_REQUEST", "expected a header whose keys are text, got an array"
    ),
    "deep nesting": (b"\x91" * 190, "BAD_REQUEST", OTHER_BYTES),
    "a head of more than there is": (b"\xdf\xff\xff\xff\xff", "BAD_REQUEST", OTHER_BYTES),
    "an array": (b"\x90", "BAD_REQUEST", "expected a header as a map, got an array"),
    "a number": (b"\x07", "BAD_REQUEST", "expected a header as a map, got 7"),
    "text": (b"\xa1a", "BAD_REQUEST", 'expected a header as a map, got "a"'),
    "an extension": (
        b"\xd4\x05\x00", "BAD_REQUEST", "expected a header as a map, got an extension"
    ),
    "a key twice": (
        b"\x83" + header()[1:] + b"\xa1v\x01",
        "BAD_REQUEST", "expected a header of distinct keys, got one twice",
    ),
    "1 and 1.0 as keys": (
        b"\x84" + header()[1:] + b"\x01\xc0" + b"\xca\x3f\x80\x00\x00\xc0",
        "BAD_REQUEST", "expected a header whose keys are text, got 1",
    ),
    "an id of true": (
        header(id=True), "BAD_REQUEST", "expected an id as integer, text or bytes, got true"
    ),
    "an id of 1.5": (
        header(id=1.5), "BAD_REQUEST", "expected an id as integer, text or bytes, got 1.5"
    ),
    "an id of an array": (
        header(id=[]), "BAD_REQUEST", "expected an id as integer, text or bytes, got an array"
    ),
    "an id of a map": (
        header(id={}), "BAD_REQUEST", "expected an id as integer, text or bytes, got a map"
    ),
    "a long id": (
        header(id="i" * 65), "BAD_REQUEST", "expected an id of at most 64 bytes, got 65"
    ),
    "a long id of few characters": (
        header(id="é" * 33), "BAD_REQUEST", "expected an id of at most 64 bytes, got 66"
    ),
    "a long id of bytes": (
        header(id=b"i" * 65), "BAD_REQUEST", "expected an id of at most 64 bytes, got 65"
    ),
    "no version": (msgpack.packb({"op": "ping"}), "BAD_REQUEST", "expected v = 1, got nil"),
    "another version": (header(v=2), "BAD_REQUEST", "expected v = 1, got 2"),
    "a version of true": (header(v=True), "BAD_REQUEST", "expected v = 1, got true"),
    "a version of 1.0": (header(v=1.0), "BAD_REQUEST", "expected v = 1, got 1.0"),
    "no operation": (msgpack.packb({"v": 1}), "BAD_REQUEST", "expected op as text, got nil"),
    "an operation of bytes": (
        header(op=b"ping"), "BAD_REQUEST", 'expected op as text, got bytes "ping"'
    ),
    "another operation": (
        header(op="Ping"), "UNKNOWN_OP", f'expected one of {KNOWN}, got "Ping"'
    ),
    "a long operation": (
        header(op="p" * 50), "UNKNOWN_OP", f'expected one of {KNOWN}, got "{"p" * 40}…"'
    ),
    "another key": (header(extra=1), "BAD_REQUEST", 'expected no key "extra" for ping'),
    "a key that is no text": (
        b"\x83" + header()[1:] + b"\x05\x06", "BAD_REQUEST",
        "expected a header whose keys are text, got 5",
    ),
    "no model": (header(model=None), "BAD_REQUEST", f"{MODEL_NAME}, got nil"),
    "a model of a map": (header(model={"a": 1}), "BAD_REQUEST", f"{MODEL_NAME}, got a map"),
    "an empty name of a model": (header(model=""), "BAD_REQUEST", f'{MODEL_NAME}, got ""'),
    "a hidden name of a model": (header(model=".m"), "BAD_REQUEST", f'{MODEL_NAME}, got ".m"'),
    "a model of another folder": (header(model="a/b"), "BAD_REQUEST", f'{MODEL_NAME}, got "a/b"'),
    "a name with a new line": (header(model="a\n"), "BAD_REQUEST", f'{MODEL_NAME}, got "a\\n"'),
    "a long name of a model": (
        header(model="m" * 65), "BAD_REQUEST", f'{MODEL_NAME}, got "{"m" * 40}…"'
    ),
    "an id of a time": (
        header(id=msgpack.Timestamp(1)), "BAD_REQUEST",
        'expected a header without extensions, got one for "id"',
    ),
    "an unknown key of an extension": (
        header(x=msgpack.ExtType(5, b"")), "BAD_REQUEST",
        'expected a header without extensions, got one for "x"',
    ),
    "a key of a time": (
        b"\x83" + header()[1:] + msgpack.packb(msgpack.Timestamp(1)) + b"\x01", "BAD_REQUEST",
        "expected a header whose keys are text, got an extension",
    ),
    "a key of bytes": (
        b"\x83" + header()[1:] + b"\xc4\x01x\x01", "BAD_REQUEST",
        'expected a header whose keys are text, got bytes "x"',
    ),
    "too many keys": (
        msgpack.packb({f"k{i}": i for i in range(17)}), "BAD_REQUEST",
        "expected a header of at most 16 keys, got 17",
    ),
    "learn without a body": (
        header(op="learn"), "BAD_REQUEST", "expected a body for learn, got none"
    ),
    "predict without a body": (
        header(op="predict"), "BAD_REQUEST", "expected a body for predict, got none"
    ),
    "a long header": (
        LONG, "TOO_LARGE", f"expected a header of at most 200 bytes, got {len(LONG)}"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_faults_of_a_header(case: str) -> None:
    raw, code, message = FAULTS[case]
    found = fault([raw])
    assert (found.code, found.message, found.at) == (code, message.format(len(raw)), None)


@pytest.mark.parametrize("op", [op for op, has_body in OPERATIONS.items() if not has_body])
def test_a_body_where_none_belongs(op: str) -> None:
    found = fault([header(op=op), b"\x90"])
    assert (found.code, found.message) == ("BAD_REQUEST", f"expected no body for {op}, got one")


@pytest.mark.parametrize("frames", [0, 3, 4])
def test_frame_counts(frames: int) -> None:
    found = fault([header()] * frames)
    assert found.code == "BAD_REQUEST"
    assert found.message.startswith("expected 1 or 2 frames after the envelope")
    assert found.message.endswith(f"got {frames}")


@pytest.mark.parametrize(
    "keys", [{"v": 2}, {"op": "no"}, {"op": 1}, {"extra": 1}, {"model": ""}, {"op": "learn"}]
)
@given(id=ids())
def test_an_error_carries_the_requests_id(keys: dict[str, Any], id: Any) -> None:
    found = fault([header(id=id, **keys)], Limits())
    assert found.id == id
    assert type(found.id) is type(id)


@pytest.mark.parametrize("name", ["default", "a", "spam-v2.1_b", "m" * 64])
def test_a_request_names_its_model(name: str) -> None:
    assert parse_request([header(model=name)], LIMITS).model == name


def test_a_request_without_a_name_is_for_the_default_model() -> None:
    assert parse_request([header()], LIMITS).model == "default"


def test_a_request_cannot_be_changed() -> None:
    request = parse_request([header()], LIMITS)
    with pytest.raises(AttributeError):
        request.op = "learn"  # type: ignore[misc]


def colliding_times(count: int) -> list[bytes]:
    """Times whose hashes are equal: Python hashes two integers without a secret."""
    modulus, p1, p2, p5 = 2**64, 11400714785074694791, 14029467366897019727, 2870177450012600261
    found: list[bytes] = []
    nanoseconds = 0
    while len(found) < count:
        nanoseconds += 1
        mixed = (12345678901234567 - nanoseconds * p2) * pow(p1, -1, modulus) % modulus
        mixed = (mixed << 33 | mixed >> 31) % modulus
        seconds = (mixed - p5) * pow(p2, -1, modulus) % modulus
        seconds -= modulus * (seconds >> 63)
        if abs(seconds) < 2**61 - 2:
            found.append(b"\xc7\x0c\xff" + struct.pack(">Iq", nanoseconds, seconds))
    return found


def test_times_that_collide_are_never_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dict of them takes time quadratic in their number."""
    large = Limits(max_header_bytes=2**17)
    times = colliding_times(4000)
    assert len({hash(msgpack.unpackb(time)) for time in times[:20]}) == 1
    pairs = b"".join(time + b"\x00" for time in times)
    many = b"\xde" + struct.pack(">H", len(times)) + pairs
    few = b"\x8f" + b"".join(time + b"\x00" for time in times[:15])
    nested = header()[:1].replace(b"\x82", b"\x83") + header()[1:] + b"\xa1x" + many

    def hashed(_: object) -> int:
        raise AssertionError("a time was hashed")

    monkeypatch.setattr(msgpack.Timestamp, "__hash__", hashed)
    assert fault([many], large).message == "expected a header of at most 16 keys, got 4000"
    assert fault([few], large).message == (
        "expected a header whose keys are text, got an extension"
    )
    assert fault([nested], large).message == 'expected no key "x" for ping'


def test_a_message_may_have_just_its_limit() -> None:
    head = header(op="learn")
    room = 300 - len(head)
    assert parse_request([head, b"x" * room], LIMITS).body == b"x" * room
    found = fault([head, b"x" * (room + 1)])
    assert (found.code, found.message, found.at) == (
        "TOO_LARGE", "expected a message of at most 300 bytes, got 301", None
    )  # fmt: skip


def test_a_header_may_have_just_its_limit() -> None:
    id = "i" * 60
    spare = 200 - len(header(id=id, model="x" * 40))
    assert fault([header(id=id, model="x" * (40 + spare))]).code == "BAD_REQUEST"
    assert fault([header(id=id, model="x" * (41 + spare))]).code == "TOO_LARGE"


def test_the_header_is_checked_before_the_size_and_the_size_before_the_body() -> None:
    assert fault([header(op="learn", v=2), b"x" * 400]).code == "BAD_REQUEST"
    assert fault([header(op="learn"), b"\xc1" * 400]).code == "TOO_LARGE"
    assert parse_request([header(op="learn"), b"\xc1"], LIMITS).body == b"\xc1"


@given(frames=st.lists(st.binary(max_size=30), max_size=3))
def test_no_bytes_at_all_raise_anything_else(frames: list[bytes]) -> None:
    assert fault(frames).code in CODES


@given(data=st.data())
def test_no_damage_raises_anything_else(data: st.DataObject) -> None:
    raw = data.draw(damaged(header(op="learn", id=b"one", model="default")))
    try:
        assert parse_request([raw, b"body"], LIMITS).op in OPERATIONS
    except RequestError as found:
        assert found.code in CODES
        encode_error(found)


@given(value=objects(), key=st.sampled_from(["v", "op", "id", "model", "x"]))
def test_no_value_raises_anything_else(value: Any, key: str) -> None:
    try:
        raw = msgpack.packb({"v": 1, "op": "ping", key: value}, unicode_errors="surrogateescape")
    except (OverflowError, ValueError):
        return  # more than msgpack can carry
    try:
        assert parse_request([raw], Limits()).op == "ping"
    except RequestError as found:
        assert found.code in CODES
        parse_reply([encode_error(found)])


def test_faults_of_a_body() -> None:
    found = request_error_of(SampleError("expected a, got b", (3, 1, b"len")), 7)
    assert (found.code, found.at, found.id) == ("BAD_SAMPLE", '$[3][1]["len"]', 7)
    assert found.sample == 3
    found = request_error_of(LimitError("expected less"), 7)
    assert (found.code, found.message, found.at) == ("TOO_LARGE", "expected less", "$")
    assert found.sample is None
    found = request_error_of(BodyError("expected a body"), "seven")
    assert (found.code, found.at, found.id) == ("BAD_REQUEST", None, "seven")


# Replies, as a client reads them.


@given(frames=st.lists(st.binary(max_size=20), max_size=3))
def test_no_reply_of_another_protocol_raises_anything_but_value_error(frames: list[bytes]) -> None:
    with pytest.raises(ValueError):
        parse_reply(frames)


@given(reply=objects())
def test_nor_does_a_reply_of_the_wrong_shape(reply: Any) -> None:
    try:
        raw = msgpack.packb(reply, unicode_errors="surrogateescape")
    except (OverflowError, ValueError):
        return
    with pytest.raises(ValueError):
        parse_reply([raw])


@pytest.mark.parametrize("error", [None, "BUSY", 7, ["BUSY"]])
def test_an_error_without_a_map_is_no_reply(error: object) -> None:
    with pytest.raises(ValueError, match="a map error"):
        parse_reply([msgpack.packb({"v": 1, "id": 1, "ok": False, "error": error})])


@given(margins=st.lists(st.floats(allow_nan=False), max_size=20))
def test_margins_keep_their_bits(margins: list[float]) -> None:
    sent = np.array(margins, dtype=np.float64)
    got = protocol.decode_margins(encode_margins(sent))
    assert got.dtype == np.float64
    assert got.tobytes() == sent.tobytes()


@pytest.mark.parametrize(
    ("op", "keys", "text"),
    [
        ("create", {"config": [1]}, "expected config as a map"),
        ("create", {"config": {1: 2}}, "distinct keys that are text"),
        ("create", {"config": {"rule": "sgd"}, "copy_of": "a"}, "expected config or copy_of"),
        ("create", {"copy_of": "../a"}, "expected a model's name"),
        ("create", {"if_exists": "never"}, "expected if_exists"),
        ("create", {"upload": "a"}, "expected an upload as 16 bytes"),
        ("create", {"model": "a/b"}, "expected a model's name"),
        ("drop", {"model": "." * 3}, "expected a model's name"),
        ("drop", {"model": "a" * 65}, "expected a model's name"),
        ("drop", {"model": "a\n"}, "expected a model's name"),
        ("models", {"after": "a/b"}, "expected a model's name"),
        ("models", {"limit": 1001}, "expected limit as an integer from 1 to 1000"),
        ("models", {"limit": True}, "expected limit as an integer"),
        ("fetch", {"lsn": -1, "offset": 0}, "expected lsn as an integer from 0"),
        ("fetch", {"lsn": 1, "offset": 2**63}, "expected offset as an integer from 0"),
    ],
)
def test_keys_that_name_no_model_or_piece(op: str, keys: dict[str, Any], text: str) -> None:
    refused = fault([encode_request(op, 1, **keys)])
    assert refused.code == "BAD_REQUEST"
    assert text in refused.message


@pytest.mark.parametrize(
    ("cursor", "kept"),
    [("1-0", b"1-0"), (b"\xff\0", b"\xff\0"), ("c" * 256, b"c" * 256), (None, b"")],
)
def test_a_numbered_request_may_have_a_cursor(cursor: Any, kept: bytes) -> None:
    header = encode_request("learn", 1, producer="p", sequence=5, cursor=cursor)
    parsed = parse_request([header, b"\x90"], Limits())
    assert (parsed.producer, parsed.sequence, parsed.cursor) == (b"p", 5, kept)
    assert numbering_of(header) == Numbering(b"p", 5, kept)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cursor": "c"}, "expected a producer and a sequence with a cursor, got none"),
        (
            {"producer": "p", "sequence": 1, "cursor": ""},
            "expected a cursor of 1 to 256 bytes, got 0",
        ),
        (
            {"producer": "p", "sequence": 1, "cursor": "é" * 129},
            "expected a cursor of 1 to 256 bytes, got 258",
        ),
        (
            {"producer": "p", "sequence": 1, "cursor": 7},
            "expected a cursor as text or bytes, got 7",
        ),
    ],
)
def test_cursors_that_are_none(keys: dict[str, Any], message: str) -> None:
    error = fault([encode_request("learn", 1, **keys), b"\x90"], Limits())
    assert (error.code, error.message, error.id) == ("BAD_REQUEST", message, 1)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(-1, "-1"), (2**63, str(2**63)), (float("nan"), "nan"), ("1", '"1"'), (True, "true")],
)
@pytest.mark.parametrize("name", LAG_FIGURES)
def test_lags_that_are_none(name: str, value: Any, shown: str) -> None:
    error = fault([encode_request("lag", 1, producer="p", **{name: value})])
    assert error.message == f"expected {name} as a number from 0, got {shown}"
