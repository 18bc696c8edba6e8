"""The first fault of a message body, in reading order, in words.

The decoders only notice that a body is faulty; this walk finds where and says why. It reads
header by header, so that no nested or oversized thing is ever built, and it is the one place
where faults are worded: both kernels call it.
"""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import msgpack

from onlinesvm.config import MAX_MAGNITUDE, Limits
from onlinesvm.errors import BodyError, LimitError, Path, SampleError, format_text

__all__ = ["check_whole", "raise_first_fault"]

_FEATURES = "expected features as an array of names or a map from name to value"
_SAMPLE = "expected a sample as [label, features] or [label, features, importance]"

# The library counts an extension's type byte with its bytes, in 32 bits: this one is empty to it.
_LONGEST_EXTENSION = b"\xc9\xff\xff\xff\xff"


def raise_first_fault(body: bytes, limits: Limits, *, labelled: bool, first: int = 0) -> NoReturn:
    """Raise what is wrong with `body`: BodyError, LimitError or SampleError.

    `labelled`: whether it was to hold samples to learn, or features to predict. `first`: the
    samples before this one are known to be good; walking them all again would be slow.
    """
    check_whole(body)
    cursor = _Cursor(body)
    what = "samples" if labelled else "samples' features"
    kind, count = cursor.head()
    if kind != "array":
        raise SampleError(f"expected an array of {what}, got {cursor.shown(kind, count)}")
    if count > limits.max_samples_per_batch:
        raise LimitError(
            f"expected at most {limits.max_samples_per_batch} samples a batch, got {count}"
        )
    cursor.at = sample_starts(body, first)[first]
    for i in range(first, count):
        if labelled:
            _walk_sample(cursor, limits, (i,))
        else:
            _walk_features(cursor, limits, (i,))
    raise AssertionError("a decoder refused a body in which no fault can be found")


def sample_starts(body: bytes, last: int) -> list[int]:
    """Where in `body`, an array, its elements 0 … `last` start; to the end if there are fewer.

    Raises what msgpack raises where there is no such array.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(body)
    count = unpacker.read_array_header()
    starts = [unpacker.tell()]
    for _ in range(min(count, last)):
        unpacker.skip()
        starts.append(unpacker.tell())
    return starts


def check_whole(body: bytes) -> None:
    """Raise BodyError unless `body` is exactly one msgpack object."""
    if not body:
        raise BodyError("expected a body of one msgpack object, got an empty one")
    end = _end(body)
    if end != len(body):
        raise BodyError(
            f"expected a body of one msgpack object, got {len(body) - end} bytes after its end"
        )


def _end(body: bytes) -> int:
    """The end of the object at the start of `body`. Raises BodyError if there is none."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    # The library takes an extension of this length for an empty one. One less is as impossible,
    # and wherever else these bytes stand, in a name or a number, the change does no harm.
    unpacker.feed(body.replace(_LONGEST_EXTENSION, _LONGEST_EXTENSION[:-1] + b"\xfe"))
    try:
        unpacker.skip()
    except msgpack.StackError:
        raise BodyError(
            "expected a body nested a few levels deep, got one nested deeper than msgpack reads"
        ) from None
    except (msgpack.UnpackException, ValueError):
        raise _not_whole(body) from None
    return int(unpacker.tell())


def _not_whole(body: bytes) -> BodyError:
    return BodyError(
        "expected a body of one whole msgpack object, got"
        f" {len(body)} bytes that are not msgpack or end early"
    )


def _walk_sample(cursor: _Cursor, limits: Limits, path: Path) -> None:
    kind, count = cursor.head()
    if kind != "array":
        raise SampleError(f"{_SAMPLE}, got {cursor.shown(kind, count)}", path)
    if not 2 <= count <= 3:
        raise SampleError(f"{_SAMPLE}, got an array of {count}", path)
    kind, value = cursor.head()
    if kind != "number" or value not in (-1, 1):
        raise SampleError(
            f"expected a label of -1 or +1, got {cursor.shown(kind, value)}", (*path, 0)
        )
    _walk_features(cursor, limits, (*path, 1))
    if count == 3:
        kind, value = cursor.head()
        if kind != "number" or not 0 <= value <= MAX_MAGNITUDE:
            raise SampleError(
                f"expected an importance from 0 to {MAX_MAGNITUDE:g},"
                f" got {cursor.shown(kind, value)}",
                (*path, 2),
            )


def _walk_features(cursor: _Cursor, limits: Limits, path: Path) -> None:
    kind, count = cursor.head()
    if kind not in ("array", "map"):
        raise SampleError(f"{_FEATURES}, got {cursor.shown(kind, count)}", path)
    if count > limits.max_features_per_sample:
        raise LimitError(
            f"expected at most {limits.max_features_per_sample} features a sample, got {count}",
            path,
        )
    for i in range(count):
        name = _walk_name(cursor, limits, path if kind == "map" else (*path, i))
        if kind == "map":
            _walk_value(cursor, (*path, name))


def _walk_name(cursor: _Cursor, limits: Limits, path: Path) -> bytes:
    kind, value = cursor.head()
    if kind == "number" and isinstance(value, int):
        value = b"%d" % value
    elif kind not in ("text", "bytes"):
        raise SampleError(
            f"expected a feature name (text, bytes or an integer), got {cursor.shown(kind, value)}",
            path,
        )
    if len(value) > limits.max_name_bytes:
        raise LimitError(
            f"expected at most {limits.max_name_bytes} bytes a feature name, got {len(value)}",
            path,
        )
    return bytes(value)


def _walk_value(cursor: _Cursor, path: Path) -> None:
    kind, value = cursor.head()
    if kind != "number":
        raise SampleError(f"expected a number, got {cursor.shown(kind, value)}", path)
    if value != value or value in (float("inf"), -float("inf")):
        raise SampleError(f"expected a finite number, got {value}", path)
    if abs(value) > MAX_MAGNITUDE:
        raise SampleError(
            f"expected a number of magnitude at most {MAX_MAGNITUDE:g}, got {value}", path
        )


class _Cursor:
    """Reads one msgpack head at a time; never builds what is inside a container."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)
        self.at = 0

    def head(self) -> tuple[str, Any]:
        """Step over the next head: its kind, and its count, number or bytes.

        Raises IndexError or struct.error at the end of the bytes, KeyError for the one byte that
        begins nothing.
        """
        first = self._body[self.at]
        self.at += 1
        if first <= 0x7F:
            return "number", first
        if first <= 0x8F:
            return "map", first & 0x0F
        if first <= 0x9F:
            return "array", first & 0x0F
        if first <= 0xBF:
            return "text", self._take(first & 0x1F)
        if first >= 0xE0:
            return "number", first - 0x100
        kind, form = _HEADS[first]
        if kind in ("nil", "false", "true"):
            return kind, None
        if kind == "extension" and form is None:  # fixext: a type byte and 1, 2, 4, 8 or 16 bytes
            return kind, self._take(1 + (1 << (first - 0xD4)))
        (value,) = struct.unpack(form, self._take(struct.calcsize(form)))
        if kind in ("text", "bytes"):
            return kind, self._take(value)
        if kind == "extension":
            return kind, self._take(value + 1)
        return kind, value

    def _take(self, size: int) -> memoryview:
        if self.at + size > len(self._body):
            raise IndexError
        taken = self._body[self.at : self.at + size]
        self.at += size
        return taken

    @staticmethod
    def shown(kind: str, value: Any) -> str:
        """What came, for a message."""
        if kind == "number":
            return str(value)
        if kind in ("text", "bytes"):
            return f"{kind} {format_text(bytes(value[:200]))}"
        return {"array": "an array", "map": "a map", "extension": "an extension"}.get(kind, kind)


_HEADS: dict[int, tuple[str, Any]] = {
    0xC0: ("nil", None), 0xC2: ("false", None), 0xC3: ("true", None),
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xC7: ("extension", ">B"), 0xC8: ("extension", ">H"), 0xC9: ("extension", ">I"),
    0xCA: ("number", ">f"), 0xCB: ("number", ">d"),
    0xCC: ("number", ">B"), 0xCD: ("number", ">H"), 0xCE: ("number", ">I"), 0xCF: ("number", ">Q"),
    0xD0: ("number", ">b"), 0xD1: ("number", ">h"), 0xD2: ("number", ">i"), 0xD3: ("number", ">q"),
    0xD4: ("extension", None), 0xD5: ("extension", None), 0xD6: ("extension", None),
    0xD7: ("extension", None), 0xD8: ("extension", None),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
