"""The first fault of a message body, in reading order, in words.

The decoders only notice that a body is faulty; this walk finds where and says why. msgpack's own
reader does the reading, a scalar or the head of a container at a time, so that no nested or
oversized thing is ever built. This is the one place where faults are worded: both kernels call it.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

import msgpack

from onlinesvm.config import Limits
from onlinesvm.data.bounds import Bounds
from onlinesvm.data.label import MOST_IN_SET, label_of
from onlinesvm.errors import BodyError, LimitError, Path, SampleError, format_text

__all__ = [
    "Reader", "check_whole", "raise_first_fault", "sample_starts", "shown_kind", "walk_label",
]  # fmt: skip

_FEATURES = "expected features as an array of names or a map from name to value"
_SAMPLE = "expected a sample as [label, features] or [label, features, importance]"
_PAIR = "expected a pair as [better, worse] or [better, worse, importance]"

# The library counts an extension's type byte with its bytes, in 32 bits: this one is empty to it.
_LONGEST_EXTENSION = b"\xc9\xff\xff\xff\xff"


class Extractor(Protocol):
    """Reads records; see `onlinesvm.text.records.Extractor`."""

    @property
    def reads_maps(self) -> bool: ...
    def extract(self, packed: bytes) -> Any: ...


def raise_first_fault(
    body: bytes,
    limits: Limits,
    *,
    labelled: bool,
    first: int = 0,
    extractor: Extractor | None = None,
    pairs: bool = False,
    learnable: bool = False,
) -> NoReturn:
    """Raise the first error in `body`: BodyError, LimitError or SampleError.

    `labelled`: whether it was to hold samples to learn, or features to predict. `pairs`: the
    samples to learn are pairs of items. `first`: the samples before this one are known to be good;
    walking them all again would be slow. `extractor`: reads the records among them, where the
    decoder had one. `learnable`: as it had.
    """
    check_whole(body)
    reader = Reader(body)
    what = "samples" if labelled else "samples' features"
    kind, count = reader.next()
    if kind != "array":
        raise SampleError(f"expected an array of {what}, got {shown_kind(kind, count)}")
    if count > limits.max_samples_per_batch:
        raise LimitError(
            f"expected at most {limits.max_samples_per_batch} samples a batch, got {count}"
        )
    bounds = Bounds.of(limits, labelled=labelled or learnable)
    reader.skip(first)
    for i in range(first, count):
        if labelled:
            _walk_sample(reader, limits, bounds, extractor, (i,), pairs)
        else:
            _walk_features(reader, limits, bounds, extractor, (i,))
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


def _walk_sample(
    reader: Reader,
    limits: Limits,
    bounds: Bounds,
    extractor: Extractor | None,
    path: Path,
    is_pair: bool,
) -> None:
    expected = _PAIR if is_pair else _SAMPLE
    kind, count = reader.next()
    if kind != "array":
        raise SampleError(f"{expected}, got {shown_kind(kind, count)}", path)
    if not 2 <= count <= 3:
        raise SampleError(f"{expected}, got an array of {count}", path)
    if is_pair:
        _walk_features(reader, limits, bounds, extractor, (*path, 0))
    else:
        walk_label(reader, (*path, 0))
    _walk_features(reader, limits, bounds, extractor, (*path, 1))
    if count == 3:
        kind, value = reader.next()
        if kind != "number" or bounds.fit_importance(value) is None:
            raise SampleError(
                f"expected {bounds.expected_importance}, got {shown_kind(kind, value)}", (*path, 2)
            )


def walk_label(reader: Reader, path: Path) -> None:
    if reader.kind() == "array":
        _, count = reader.next()
        if count > MOST_IN_SET:
            raise SampleError(
                f"expected at most {MOST_IN_SET} labels a sample, got an array of {count}", path
            )
        for i in range(count):
            _walk_one_label(reader, (*path, i))
    else:
        _walk_one_label(reader, path)


def _walk_one_label(reader: Reader, path: Path) -> None:
    kind, value = reader.next()
    if kind in ("true", "false"):
        return
    if kind not in ("number", "text", "bytes"):
        raise SampleError(
            f"expected a label as text, integer or boolean, got {shown_kind(kind, value)}", path
        )
    try:
        label_of(value)
    except ValueError as error:
        raise SampleError(str(error), path) from None


class _FieldError(Exception):
    """A value that is no number: its map is a record."""


def _walk_features(
    reader: Reader, limits: Limits, bounds: Bounds, extractor: Extractor | None, path: Path
) -> None:
    if extractor is None:
        _walk_names(reader, limits, bounds, path)
        return
    kind = reader.kind()
    if kind == "array" or (kind == "map" and not extractor.reads_maps):
        ahead = reader.copy()
        try:
            _walk_names(ahead, limits, bounds, path, fields=True)
        except _FieldError:
            pass
        else:
            reader.skip(1)
            return
    packed = reader.take()
    try:
        found = extractor.extract(packed)
    except SampleError as error:
        raise type(error)(error.message, (*path, *error.path)) from None
    for name, value in zip(found.names, found.values, strict=True):
        if bounds.fit_value(value) is None:
            raise SampleError(f"expected {bounds.expected_value}, got {value:g}", (*path, name))


def _walk_names(
    reader: Reader, limits: Limits, bounds: Bounds, path: Path, *, fields: bool = False
) -> None:
    """`fields`: raise _FieldError for a value that is no number."""
    kind, count = reader.next()
    if kind not in ("array", "map"):
        raise SampleError(f"{_FEATURES}, got {shown_kind(kind, count)}", path)
    if count > limits.max_features_per_sample:
        raise LimitError(
            f"expected at most {limits.max_features_per_sample} features a sample, got {count}",
            path,
        )
    for i in range(count):
        name = _walk_name(reader, limits, path if kind == "map" else (*path, i))
        if kind == "map":
            if fields and reader.kind() != "number":
                raise _FieldError
            _walk_value(reader, bounds, (*path, name))


def _walk_name(reader: Reader, limits: Limits, path: Path) -> bytes:
    kind, value = reader.next()
    if kind == "number" and isinstance(value, int):
        value = b"%d" % value
    elif kind not in ("text", "bytes"):
        raise SampleError(
            f"expected a feature name (text, bytes or an integer), got {shown_kind(kind, value)}",
            path,
        )
    if len(value) > limits.max_name_bytes:
        raise LimitError(
            f"expected at most {limits.max_name_bytes} bytes a feature name, got {len(value)}",
            path,
        )
    name: bytes = value
    return name


def _walk_value(reader: Reader, bounds: Bounds, path: Path) -> None:
    kind, value = reader.next()
    if kind != "number":
        raise SampleError(f"expected a number, got {shown_kind(kind, value)}", path)
    if value != value or value in (float("inf"), -float("inf")):
        raise SampleError(f"expected a finite number, got {value}", path)
    if bounds.fit_value(value) is None:
        raise SampleError(f"expected {bounds.expected_value}, got {value}", path)


class Reader:
    """msgpack's reader of a whole body, one scalar or one container's head at a time."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._unpacker = msgpack.Unpacker(raw=True, max_buffer_size=0)
        self._unpacker.feed(body)

    def skip(self, n: int) -> None:
        """Step over `n` objects, whatever is in them."""
        for _ in range(n):
            self._unpacker.skip()

    def copy(self) -> Reader:
        """Another reader of the rest."""
        return Reader(self._body[self._unpacker.tell() :])

    def take(self) -> bytes:
        """Step over an object; its bytes."""
        start = self._unpacker.tell()
        self._unpacker.skip()
        return self._body[start : self._unpacker.tell()]

    def kind(self) -> str:
        """The kind of the next object, as `next` names it."""
        return _kind_of(self._body[self._unpacker.tell()])

    def next(self) -> tuple[str, Any]:
        """The next object: its kind, and its count, number or bytes.

        An extension is not read: nothing of it is wanted, and the library makes a timestamp of one.
        """
        first = self._body[self._unpacker.tell()]
        if first in _ARRAYS:
            return "array", self._unpacker.read_array_header()
        if first in _MAPS:
            return "map", self._unpacker.read_map_header()
        if first in _EXTENSIONS:
            return "extension", None
        value = self._unpacker.unpack()
        if isinstance(value, bytes):
            return "text" if first in _TEXTS else "bytes", value
        if value is None:
            return "nil", None
        if isinstance(value, bool):
            return "true" if value else "false", None
        return "number", value


# The first bytes of msgpack's objects, by kind: what the library's objects do not say.
_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
_TEXTS = frozenset((*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB))
_EXTENSIONS = frozenset((0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)))


def _kind_of(first: int) -> str:
    """The kind of the object that begins with this byte."""
    kinds = {0xC0: "nil", 0xC2: "false", 0xC3: "true", 0xC4: "bytes", 0xC5: "bytes", 0xC6: "bytes"}
    for kind, firsts in (
        ("array", _ARRAYS), ("map", _MAPS), ("extension", _EXTENSIONS), ("text", _TEXTS),
    ):  # fmt: skip
        if first in firsts:
            return kind
    return kinds.get(first, "number")


def shown_kind(kind: str, value: Any) -> str:
    """A description of the object that came, for a message."""
    if kind == "number":
        return str(value)
    if kind in ("text", "bytes"):
        return f"{kind} {format_text(value[:200])}"
    return {"array": "an array", "map": "a map", "extension": "an extension"}.get(kind, kind)
