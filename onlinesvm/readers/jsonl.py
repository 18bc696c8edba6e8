"""JSON lines: one object a line, one sample an object.

    {"label": 1, "features": ["free", "prize"]}
    {"label": -1, "features": {"len": 2.5, "free": 1}, "importance": 0.5, "id": "m-17"}

    {"label": "spam", "features": {"subject": "free prize", "from": "ann", "len": 2.5}}
    {"label": "spam", "features": "free prize now"}

Names are text or integers, values numbers. Features may be a text where the model reads text, and
values of an object text, booleans, null and arrays of names: `onlinesvm.text.records` says what
these become. `Keys` renames the keys; further keys are ignored.
None of the four stands twice. Repeated names are kept. Text that is not UTF-8 is kept as its bytes,
written as they are or as the escapes U+DC80 to U+DCFF that Python shows for them; other lone
surrogates are refused. An array of objects, or an object over several lines, is refused with the
command that makes lines of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onlinesvm.config import MIN_MAGNITUDE, Limits
from onlinesvm.data.label import AnyLabel
from onlinesvm.errors import SampleError, format_path, format_text
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import LineParser, Row, pack_fields, pack_text
from onlinesvm.readers.tokens import LineError, check_name, drop_zeros, too_many_features

__all__ = ["JSONParser", "Keys", "fits"]

_ABSENT = object()
# An integer of more digits is too large for any use here, and Python refuses to convert it.
_MAX_DIGITS = 4300
_SHOWN_KEYS = 5


@dataclass(frozen=True)
class Keys:
    """The keys of an object that are read."""

    label: str = "label"
    features: str = "features"
    importance: str = "importance"
    id: str = "id"


def fits(line: bytes) -> bool:
    """True for a line that begins an object or an array of objects."""
    start = line.lstrip()
    if not start.startswith(b"["):
        return start.startswith(b"{")
    return start[1:].lstrip()[:1] in (b"", b"{", b"]")


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


# Objects come as tuples of pairs, so that repeated keys show; arrays come as lists.
_decode = json.JSONDecoder(object_pairs_hook=tuple).decode
_decode_long_integers = json.JSONDecoder(object_pairs_hook=tuple, parse_int=_bounded_int).decode
_decode_as_written = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=str
).decode


class JSONParser(LineParser):
    """JSON lines; the grammar is that of this module's docstring."""

    def __init__(
        self, labels: Labels, limits: Limits, keys: Keys | None = None, **how: Any
    ) -> None:
        super().__init__(labels, limits, **how)
        self.keys = keys or Keys()

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        text = line.decode("utf-8", "surrogateescape")
        sample = self._sample(text)
        label = self._label(sample)
        features = sample.get(self.keys.features, _ABSENT)
        if features is _ABSENT:
            raise LineError(self._absent("features", self.keys.features, sample))
        record: bytes | None = None
        names: Sequence[bytes] = ()
        values: Sequence[float] = ()
        if self._is_record(features):
            record = self._record(features)
        else:
            names, values = self._columns(features)
        importance = self._importance(sample)
        id = self._id(sample, text) if self.ids else b""
        return Row(label, importance, *drop_zeros(names, values), id, record)

    def fault(self, error: SampleError) -> LineError:
        """See LineParser."""
        return LineError(f"{error.message} at {self._at(*error.path)}")

    def _is_record(self, features: Any) -> bool:
        """True for features that only an extractor reads."""
        if self.extractor is None:
            return False
        if type(features) is tuple:
            return self.reads_maps or any(type(x) not in (int, float) for _, x in features)
        return type(features) is str and self.reads_text

    def _record(self, features: Any) -> bytes:
        """Features as a packed record."""
        if type(features) is str:
            return pack_text(_encode(features))
        if len(features) > self.limits.max_features_per_sample:
            raise too_many_features(len(features), self.limits)
        fields = []
        for key, value in features:
            name = self._name(key)
            fields.append((name, self._field(value, name)))
        return pack_fields(fields)

    def _field(self, value: Any, name: bytes) -> Any:
        """A value of an object, as it is packed."""
        kind = type(value)
        if kind is str:
            return _encode(value)
        if kind is list:
            return [self._name(part, name, i) for i, part in enumerate(value)]
        if kind in (int, float):
            self._number(value, name)
            return float(value)  # as it came: the extractor's names are of this number
        if kind is tuple:
            raise LineError(
                "expected a number, text, true, false, null or an array of names, got an object at"
                f" {self._at(name)}"
            )
        return value

    def _sample(self, text: str) -> dict[str, Any]:
        """The keys and values of the object in `text`."""
        try:
            pairs = _decoded(text)
        except json.JSONDecodeError as error:
            raise LineError(_syntax_fault(text, error)) from None
        except RecursionError:
            raise LineError(
                "expected one JSON object of a sample, got one nested too deeply"
            ) from None
        if type(pairs) is not tuple:
            hint = f" ({_ARRAY_HINT})" if type(pairs) is list else ""
            raise LineError(f"expected one JSON object, got {_shown(pairs)}{hint}")
        sample = dict(pairs)
        if len(sample) != len(pairs):
            keys = self.keys
            known = {keys.label, keys.features, keys.importance, keys.id}
            seen = set()
            for key, _ in pairs:
                if key in known and key in seen:
                    raise LineError(f"expected each key once, got {_shown(key)} twice")
                seen.add(key)
        return sample

    def _absent(self, meaning: str, key: str, sample: dict[str, Any]) -> str:
        """The message for a sample without `key`, with the keys that it has."""
        got = ", ".join(map(format_text, list(sample)[:_SHOWN_KEYS])) or "none"
        more = ", …" if len(sample) > _SHOWN_KEYS else ""
        return f"expected a key {format_text(key)} (--{meaning}-key names another), got {got}{more}"

    def _label(self, sample: dict[str, Any]) -> AnyLabel | None:
        key = self.keys.label
        label = sample.get(key, _ABSENT)
        if type(label) is str:
            if not self.labels.labelled and not _is_unicode(label):
                return None
            return self.labels.value(_encode(label).decode("utf-8", "surrogateescape"))
        if type(label) in (bool, int, float) or (type(label) is list and self.labels.sets):
            return self.labels.value(label)
        if label is _ABSENT:
            return self.labels.missing(self._absent("label", key, sample))
        several = "; several labels need --task multilabel" if type(label) is list else ""
        return self.labels.missing(
            f"expected a label as text, integer or boolean, got {_shown(label)}{several}"
        )

    def _importance(self, sample: dict[str, Any]) -> float:
        given = sample.get(self.keys.importance, 1)
        importance = self.bounds.fit_importance(given) if type(given) in (int, float) else None
        if importance is None:
            raise LineError(f"expected {self.bounds.expected_importance}, got {_shown(given)}")
        return float(importance) if importance >= MIN_MAGNITUDE else 0.0

    def _id(self, sample: dict[str, Any], text: str) -> bytes:
        """The id as its text, a number as it is written; empty where there is none."""
        id = sample.get(self.keys.id)
        if id is None:
            return b""
        if type(id) is str:
            return _encode(id)
        if type(id) not in (int, float):
            raise LineError(f"expected an id as a number or text, got {_shown(id)}")
        written: str = dict(_decode_as_written(text))[self.keys.id]
        return written.encode()

    def _columns(self, features: Any) -> tuple[list[bytes], list[float]]:
        """Names and values as written, zeros too."""
        if type(features) not in (list, tuple):
            raise LineError(
                "expected features as an array of names or an object from name to value, got"
                f" {_shown(features)}"
            )
        if len(features) > self.limits.max_features_per_sample:
            raise too_many_features(len(features), self.limits)
        if type(features) is list:
            names = [self._name(name, i) for i, name in enumerate(features)]
            return names, [1.0] * len(names)
        names, values = [], []
        for key, value in features:
            name = self._name(key)
            if type(value) not in (int, float):
                raise LineError(f"expected a number, got {_shown(value)} at {self._at(name)}")
            number = self._number(value, name)
            names.append(name)
            values.append(0.0 if -MIN_MAGNITUDE < number < MIN_MAGNITUDE else number)
        return names, values

    def _number(self, value: float, name: bytes) -> float:
        """A value within its bounds, clipped where they clip."""
        number = self.bounds.fit_value(value)
        if number is not None:
            return float(number)
        if math.isnan(value):
            raise LineError(f"expected a finite number, got NaN at {self._at(name)}")
        raise LineError(
            f"expected {self.bounds.expected_value}, got {_shown(value)} at {self._at(name)}"
        )

    def _name(self, name: object, *place: int | bytes) -> bytes:
        """`name` in bytes. `place`: the way to it in the features, in arrays."""
        if type(name) is str:
            encoded = _encode(name)
            if len(encoded) > self.limits.max_name_bytes:
                check_name(encoded, self.limits)
            return encoded
        if type(name) is not int:
            raise LineError(
                "expected a feature name (text or an integer),"
                f" got {_shown(name)} at {self._at(*place)}"
            )
        if not -(2**63) <= name < 2**64:
            raise LineError(
                f"expected an integer name from -2**63 to 2**64 - 1, got {_shown(name)}"
                f" at {self._at(*place)}"
            )
        return b"%d" % name

    def _at(self, *place: int | bytes) -> str:
        """A place in the features, for a message."""
        return format_path((self.keys.features.encode("utf-8", "surrogateescape"), *place))


_ARRAY_HINT = "its elements are made lines by: jq -c '.[]' FILE"


def _decoded(text: str) -> object:
    try:
        return _decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python's own bound on the digits of an integer
        return _decode_long_integers(text)


def _syntax_fault(text: str, error: json.JSONDecodeError) -> str:
    """The message for `text`, which is not JSON, or not all of it."""
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        if text.lstrip().startswith("["):
            return f"expected one JSON object a line, got the start of an array ({_ARRAY_HINT})"
        if text.lstrip().startswith("{"):
            return (
                "expected one JSON object a line, got one that does not end on its line (objects"
                " over several lines are made lines by: jq -c . FILE)"
            )
    return f"expected one JSON object, got a fault at column {error.colno}: {error.msg}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise LineError(
            f"expected text of Unicode characters, got a lone surrogate in {_shown(text)}"
        ) from None


def _shown(value: Any) -> str:
    """`value` for a message."""
    kind = type(value)
    if kind is str:
        return f"text {format_text(value)}"
    if kind is int:
        bits = value.bit_length()
        return str(value) if bits <= 128 else f"an integer of {bits} bits"
    if kind is float:
        return repr(value)
    if kind is bool or value is None:
        return json.dumps(value)
    return "an array" if kind is list else "an object"
