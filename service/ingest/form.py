"""Entries to packed samples: JSON, msgpack, or the fields of the entry.

    json       {"label": 1, "features": ["free", "prize"], "importance": 0.5}, as JSON lines; of a
               ranking {"better": ["fresh"], "worse": ["stale"], "importance": 0.5}
    msgpack    [label, features] or [label, features, importance], as a learn request has them, or
               as [better, worse] of a ranking; or a map as in JSON
    fields     the names and values of an entry's fields, for sources that have them

With `label_field` an object, a map or the fields are a record, and that one of them is its label.
Of fields, numbers are written as in JSON and empty values left out; all others are text. What a
sample may be is checked by the daemon; here each entry becomes one msgpack object, or is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import msgpack

from onlinesvm.errors import ConfigError, format_text
from onlinesvm.service.ingest.source import BadEntry, Value

__all__ = ["FORMATS", "Form"]

FORMATS = ("json", "msgpack", "fields")

_SAMPLE_HEADS = {b"\x92", b"\x93"}  # of arrays of 2 and 3
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BETTER, _WORSE = "better", "worse"
_SHOWN = 5
# Objects come as tuples of pairs, so that repeated names are kept; arrays come as lists.
_decode = json.JSONDecoder(object_pairs_hook=tuple).decode
_Pairs = tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of a source's entries.

    field: the one that holds the sample; None: the only one. label_field: see the module.
    label_key, features_key: of an object or map that is no record. max_bytes: of a packed sample.
    """

    format: str = "json"
    field: str | None = None
    label_field: str | None = None
    label_key: str = "label"
    features_key: str = "features"
    max_bytes: int = 2**24

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(f"format: expected one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.format == "fields":
            if self.label_field is None:
                raise ConfigError("label_field: expected one with the format fields, got none")
            if self.field is not None:
                raise ConfigError("field: expected none with the format fields, got one")

    def pack(self, values: Sequence[Value]) -> list[bytes | BadEntry]:
        """The packed sample of each entry, or why there is none."""
        if self.format == "fields":
            return [self._packed(value, self._of_fields) for value in values]
        if self.format == "json":
            return [self._packed(value, self._of_json) for value in values]
        parts = self._samples_alone(values)
        if parts is None:
            parts = [self._packed(value, self._of_msgpack) for value in values]
        _check_whole(parts)
        return parts

    def _samples_alone(self, values: Sequence[Value]) -> list[bytes | BadEntry] | None:
        """The entries as they are, where all look like packed samples in their only field; else
        None. Four times as fast as one after the other.
        """
        if self.field is not None or not {list, tuple}.issuperset(map(type, values)):
            return None
        if set(map(len, values)) != {2}:  # type: ignore[arg-type]
            return None
        parts: list[Any] = [fields[1] for fields in values]  # type: ignore[index]
        if max(map(len, parts)) > self.max_bytes:
            return None
        return parts if {part[:1] for part in parts} <= _SAMPLE_HEADS else None

    def _packed(self, value: Value, read: Callable[[Any], bytes]) -> bytes | BadEntry:
        try:
            if isinstance(value, BadEntry):
                raise value
            if self.format != "fields" and not isinstance(value, bytes):
                value = self._one_of(value)
            self._check_size(value if isinstance(value, bytes) else b"".join(value))
            packed = read(value)
            self._check_size(packed)  # numbers take more bytes than their digits
        except BadEntry as error:
            return error
        return packed

    def _check_size(self, sample: bytes) -> None:
        if len(sample) > self.max_bytes:
            raise BadEntry(
                f"expected a sample of at most {self.max_bytes} bytes, got {len(sample)}"
            )

    def _one_of(self, fields: Sequence[bytes]) -> bytes:
        """The field that holds the sample."""
        if self.field is None:
            if len(fields) == 2:
                return fields[1]
            raise BadEntry(f"expected one field (--field names it), got {_names_of(fields)}")
        wanted = _bytes_of(self.field)
        found = [
            value for name, value in zip(fields[::2], fields[1::2], strict=True) if name == wanted
        ]
        if len(found) != 1:
            raise BadEntry(f"expected one field {self.field!r}, got {_names_of(fields)}")
        return found[0]

    # Formats.

    def _of_json(self, value: bytes) -> bytes:
        try:
            read = _decode(value.decode("utf-8", "surrogateescape"))
        except json.JSONDecodeError as error:
            raise BadEntry(
                f"expected one JSON object, got a fault at column {error.colno}: {error.msg}"
            ) from None
        except (ValueError, RecursionError) as error:  # too many digits, too deep
            raise BadEntry(f"expected one JSON object of a sample, got a fault: {error}") from None
        if type(read) is not tuple:
            raise BadEntry(f"expected one JSON object, got {_shown(read)}")
        return self._of_pairs(read)

    def _of_msgpack(self, value: bytes) -> bytes:
        if value[:1] in _SAMPLE_HEADS:
            return value  # `_check_whole` looks at its end
        try:
            read = msgpack.unpackb(
                value,
                object_pairs_hook=tuple,
                strict_map_key=False,
                unicode_errors="surrogateescape",
            )
        except (msgpack.UnpackException, ValueError, TypeError, RecursionError) as error:
            raise BadEntry(f"expected one msgpack sample, got a fault: {error}") from None
        if type(read) is not tuple:
            raise BadEntry(f"expected a msgpack array of a sample, or a map, got {_shown(read)}")
        return self._of_pairs(read)

    def _of_fields(self, value: Value) -> bytes:
        if isinstance(value, bytes):
            raise BadEntry("expected an entry with fields, got bytes")
        assert not isinstance(value, BadEntry)
        wanted = _bytes_of(self.label_field or "")
        label: bytes | None = None
        pairs: list[tuple[bytes, bytes | float]] = []
        for name, text in zip(value[::2], value[1::2], strict=True):
            if name == wanted:
                if label is not None:
                    raise BadEntry(f"expected one field {self.label_field!r}, got it twice")
                label = text
            elif text:
                pairs.append((name, float(text) if _NUMBER.fullmatch(text) else text))
        if label is None:
            raise BadEntry(f"expected a field {self.label_field!r}, got {_names_of(value)}")
        return b"".join((b"\x92", _pack(label), _pack_pairs(pairs)))

    # Samples.

    def _of_pairs(self, pairs: _Pairs) -> bytes:
        """The sample of an object or a map."""
        if self.label_field is not None:
            label = _value_of(pairs, self.label_field)
            record = tuple(pair for pair in pairs if pair[0] != self.label_field)
            return _sample(label, record, None)
        importance = _value_of(pairs, "importance", optional=True)
        if {_BETTER, _WORSE} <= {name for name, _ in pairs}:
            return _row([_value_of(pairs, key) for key in (_BETTER, _WORSE)], importance)
        label = _value_of(pairs, self.label_key)
        return _sample(label, _value_of(pairs, self.features_key), importance)


def _sample(label: Any, features: Any, importance: Any) -> bytes:
    if type(label) is tuple:
        raise BadEntry("expected a label as text, integer or boolean, got an object")
    return _row((label, features), importance)


def _row(parts: Sequence[Any], importance: Any) -> bytes:
    """A label or features, and features, packed as the wire has them."""
    try:
        packed = [_features(part) if type(part) is tuple else _pack(part) for part in parts]
        if importance is None:
            return b"".join((b"\x92", *packed))
        return b"".join((b"\x93", *packed, _pack(importance)))
    except (OverflowError, ValueError, TypeError) as error:
        if isinstance(error, BadEntry):
            raise
        _packer.reset()  # a map that could not be packed whole would begin the next sample
        raise BadEntry(
            f"expected names, text and numbers of 64 bits, got others: {error}"
        ) from None


def _features(features: _Pairs) -> bytes:
    for name, value in features:
        if type(value) is tuple:
            raise BadEntry(
                "expected a number, text, boolean, null or array of names, got an object at"
                f" {_shown(name)}"
            )
    packed: bytes = _pack_pairs(features)
    return packed


def _value_of(pairs: _Pairs, key: str, *, optional: bool = False) -> Any:
    """The value of `key`, which stands once. None for one that may be missing, and is."""
    found = [value for name, value in pairs if name == key]
    if len(found) > 1:
        raise BadEntry(f"expected each key once, got {key!r} twice")
    if not found:
        if optional:
            return None
        names = ", ".join(_shown(name) for name, _ in pairs[:_SHOWN]) or "none"
        more = ", …" if len(pairs) > _SHOWN else ""
        raise BadEntry(f"expected a key {key!r}, got {names}{more}")
    return found[0]


def _check_whole(parts: list[bytes | BadEntry]) -> None:
    """Replace those of `parts` that are not one msgpack object by why."""
    given = [i for i, part in enumerate(parts) if type(part) is bytes]
    ranges = [(0, len(given))]
    while ranges:  # halved until the bad ones stand alone: many of them take little longer
        first, end = ranges.pop()
        places = given[first:end]
        if _are_whole([parts[i] for i in places]):  # type: ignore[misc]
            continue
        if len(places) == 1:
            why = "expected one whole msgpack sample, got another number of them"
            parts[places[0]] = BadEntry(why)
        else:
            middle = (first + end) // 2
            ranges += [(first, middle), (middle, end)]


def _are_whole(parts: Sequence[bytes]) -> bool:
    """True if each of `parts` is one msgpack object."""
    unpacker = msgpack.Unpacker(max_buffer_size=2**31 - 1)
    unpacker.feed(b"".join(parts))
    skip, tell = unpacker.skip, unpacker.tell
    try:
        for end in accumulate(map(len, parts)):
            skip()
            if tell() != end:
                return False
    except (msgpack.UnpackException, ValueError):
        return False
    return True


_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")
_pack = _packer.pack
_pack_pairs = _packer.pack_map_pairs


def _names_of(fields: Sequence[bytes]) -> str:
    names = fields[::2]
    shown = ", ".join(map(format_text, names[:_SHOWN])) or "none"
    return shown + (", …" if len(names) > _SHOWN else "")


def _bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _shown(value: object) -> str:
    if isinstance(value, str | bytes):
        return f"text {format_text(value)}"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, tuple) else str(value)[:40]
