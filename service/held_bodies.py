"""The bodies of requests about held samples.

    predict with hold   array of 2: the keys, then as many samples
    label               array of [key, label] or [key, label, importance]

A key is str, bin or int, and is compared by its bytes, as a feature's name is: 1 to 64 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

import msgpack

from onlinesvm.config import MIN_MAGNITUDE, Limits
from onlinesvm.data.bounds import Bounds
from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import MOST_IN_SET, any_label_of, packed
from onlinesvm.data.validation import Reader, check_whole, shown_kind, walk_label
from onlinesvm.errors import LimitError, SampleError

__all__ = [
    "KEYS_AT",
    "MAX_KEY_BYTES",
    "SAMPLES_AT",
    "Labelled",
    "learnable",
    "parse_labels",
    "split_held",
]

MAX_KEY_BYTES = 64
# In the body of predict with hold:
KEYS_AT, SAMPLES_AT = "$[0]", "$[1]"

_HELD = "expected an array of 2, the keys and the samples"
_LABELLED = "expected [key, label] or [key, label, importance]"
_KEY = f"expected a key as text, bytes or integer, of 1 to {MAX_KEY_BYTES} bytes"
_Unreadable = (msgpack.UnpackException, ValueError, TypeError)


class Labelled(NamedTuple):
    """A label that has come. label: packed."""

    key: bytes
    label: bytes
    importance: float


def split_held(body: bytes, limits: Limits) -> tuple[list[bytes], bytes]:
    """The keys in the body of predict with hold, and its samples as the body of predict has them.

    The samples are not read. Raises BodyError, SampleError, LimitError.
    """
    unpacker = msgpack.Unpacker(
        raw=True, max_buffer_size=0, max_array_len=limits.max_samples_per_batch, max_map_len=0,
        max_ext_len=0, list_hook=_at_most(1),
    )  # fmt: skip
    unpacker.feed(body)
    try:
        if unpacker.read_array_header() != 2:
            _refuse_held(body, limits)
        keys = _keys_of(unpacker.unpack())
        at = unpacker.tell()
        if keys is None or unpacker.read_array_header() != len(keys):
            _refuse_held(body, limits)
    except SampleError:
        raise
    except _Unreadable:
        _refuse_held(body, limits)
    return keys, body[at:]


def _keys_of(found: Any) -> list[bytes] | None:
    """The keys of an array; None where one of them is none."""
    if type(found) is not list:
        return None
    kinds = set(map(type, found))
    if kinds - {bytes}:
        if kinds - {bytes, int}:
            return None
        found = [key if type(key) is bytes else b"%d" % key for key in found]
    lengths = set(map(len, found))
    return found if lengths <= _LENGTHS else None


_LENGTHS = frozenset(range(1, MAX_KEY_BYTES + 1))


def _at_most(most: int) -> Callable[[list[Any]], list[Any]]:
    """A hook that refuses more than `most` arrays: many empty ones would take much memory."""
    left = most

    def count(items: list[Any]) -> list[Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError
        return items

    return count


def _refuse_held(body: bytes, limits: Limits) -> NoReturn:
    """Raise the first fault of the body of predict with hold, its samples apart."""
    check_whole(body)
    reader = Reader(body)
    kind, count = reader.next()
    if (kind, count) != ("array", 2):
        raise SampleError(f"{_HELD}, got {_shown(kind, count)}")
    kind, keys = reader.next()
    if kind != "array":
        raise SampleError(f"expected an array of keys, got {shown_kind(kind, keys)}", (), KEYS_AT)
    if keys > limits.max_samples_per_batch:
        raise LimitError(
            f"expected at most {limits.max_samples_per_batch} samples a batch, got {keys} keys"
        )
    for i in range(keys):
        _walk_key(reader, (i,), KEYS_AT)
    kind, samples = reader.next()
    if kind != "array":
        raise SampleError(
            f"expected an array of samples, got {shown_kind(kind, samples)}", (), SAMPLES_AT
        )
    raise SampleError(f"expected a sample for each of {keys} keys, got {samples}", (), SAMPLES_AT)


def _walk_key(reader: Reader, path: tuple[int, ...], root: str = "$") -> None:
    """Step over a key. Raises SampleError for what is none."""
    kind, value = reader.next()
    if kind == "number" and isinstance(value, int):
        return
    if kind not in ("text", "bytes"):
        raise SampleError(f"{_KEY}, got {shown_kind(kind, value)}", path, root)
    if not 1 <= len(value) <= MAX_KEY_BYTES:
        raise SampleError(f"{_KEY}, got {len(value)} bytes", path, root)


def _shown(kind: str, value: Any) -> str:
    return f"an array of {value}" if kind == "array" else shown_kind(kind, value)


def parse_labels(body: bytes, limits: Limits) -> list[Labelled]:
    """The labels in the body of a label request. Raises BodyError, SampleError, LimitError."""
    most = limits.max_samples_per_batch
    bounds = Bounds.of(limits, labelled=True)
    try:
        rows = msgpack.unpackb(
            body, raw=True, max_array_len=max(MOST_IN_SET, most), max_map_len=0, max_ext_len=0,
            list_hook=_at_most(2 * most + 1),  # each row may have an array of labels
        )  # fmt: skip
        labels = [_labelled(row, bounds) for row in rows]
    except _Unreadable:
        labels = [None]
    if None in labels or len(labels) > most or type(rows) is not list:
        _refuse_labels(body, most, bounds)
    return [label for label in labels if label is not None]


def _labelled(row: Any, bounds: Bounds) -> Labelled | None:
    """The label that a row is; None where it is none. Raises ValueError, TypeError likewise."""
    if type(row) is not list or not 2 <= len(row) <= 3:
        return None
    keys = _keys_of(row[:1])
    importance = row[2] if len(row) == 3 else 1.0
    if keys is None or type(importance) not in (int, float):
        return None
    fitting = bounds.fit_importance(importance)
    if fitting is None:
        return None
    label = packed(any_label_of(row[1]))
    return Labelled(keys[0], label, 0.0 if fitting < MIN_MAGNITUDE else float(fitting))


def _refuse_labels(body: bytes, most: int, bounds: Bounds) -> NoReturn:
    """Raise the first fault of the body of a label request."""
    check_whole(body)
    reader = Reader(body)
    kind, count = reader.next()
    if kind != "array":
        raise SampleError(f"expected an array of labels, got {shown_kind(kind, count)}")
    if count > most:
        raise LimitError(f"expected at most {most} labels a request, got {count}")
    for i in range(count):
        kind, parts = reader.next()
        if kind != "array" or not 2 <= parts <= 3:
            raise SampleError(f"{_LABELLED}, got {_shown(kind, parts)}", (i,))
        _walk_key(reader, (i, 0))
        walk_label(reader, (i, 1))
        if parts == 3:
            kind, value = reader.next()
            if kind != "number" or bounds.fit_importance(value) is None:
                got = shown_kind(kind, value)
                raise SampleError(f"expected {bounds.expected_importance}, got {got}", (i, 2))
    raise AssertionError("labels were refused in which no fault can be found")


def learnable(samples: Iterable[tuple[bytes, float, bytes]]) -> bytes:
    """The body of a learn request: of each sample its label, packed, importance and features."""
    pack = msgpack.Packer().pack
    return pack_array(
        [
            b"\x92" + label + features
            if importance == 1
            else b"\x93" + label + features + pack(importance)
            for label, importance, features in samples
        ]
    )
