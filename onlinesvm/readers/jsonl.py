"""One line of JSON → one sample.

    {"label": 1, "features": ["free", "prize"]}
    {"label": -1, "features": {"len": 2.5, "free": 1}, "importance": 0.5}

Names are text or integers, values numbers; nothing else is known, and no key stands twice at the
top. Repeated names are kept. Text that is not UTF-8 is kept as its bytes, written as they are or
as the escapes U+DC80 to U+DCFF that Python shows for them; other lone surrogates are refused.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from onlinesvm.config import MAX_MAGNITUDE, MIN_MAGNITUDE, Limits
from onlinesvm.errors import format_path, format_text
from onlinesvm.readers.labels import Labels, LineError, check_name, drop_zeros, too_many_features
from onlinesvm.readers.lines import Row

__all__ = ["JSONParser"]

_KEYS = ("label", "features", "importance")
_ABSENT = object()


def _refuse_constant(text: str) -> NoReturn:
    raise LineError(f"expected a finite number, got {text}")


# Objects come as tuples of pairs, so that repeated keys show; arrays come as lists.
_decode = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_refuse_constant).decode
_decode_as_written = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=str, parse_float=str
).decode


class JSONParser:
    """JSON lines: ``{"label": ..., "features": ..., "importance": ...}``."""

    def __init__(self, labels: Labels, limits: Limits) -> None:
        self.labels = labels
        self.limits = limits

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        text = line.decode("utf-8", "surrogateescape")
        sample = self._sample(text)
        label = self._label(sample.get("label", _ABSENT), text)
        features = sample.get("features", _ABSENT)
        if features is _ABSENT:
            raise LineError('expected a key "features", got none')
        names, values = self._columns(features)
        importance = sample.get("importance", 1)
        if type(importance) not in (int, float) or not 0 <= importance <= MAX_MAGNITUDE:
            raise LineError(
                f"expected an importance from 0 to {MAX_MAGNITUDE:g}, got {_shown(importance)}"
            )
        importance = float(importance) if importance >= MIN_MAGNITUDE else 0.0
        return (label, importance, *drop_zeros(names, values))

    def _sample(self, text: str) -> dict[str, Any]:
        """The keys and values of the object in `text`."""
        try:
            pairs = _decode(text)
        except LineError:
            raise
        except json.JSONDecodeError as error:
            raise LineError(
                f"expected one JSON object, got a fault at column {error.colno}: {error.msg}"
            ) from None
        except RecursionError:
            raise LineError(
                "expected one JSON object of a sample, got one nested too deeply"
            ) from None
        except ValueError:  # Python's own bound on the digits of an integer
            raise LineError(
                f"expected numbers of magnitude at most {MAX_MAGNITUDE:g}, got an integer of more"
                " digits than can be read"
            ) from None
        if type(pairs) is not tuple:
            raise LineError(f"expected one JSON object, got {_shown(pairs)}")
        sample = dict(pairs)
        if len(sample) != len(pairs) or not sample.keys() <= set(_KEYS):
            seen = set()
            for key, _ in pairs:
                if key not in _KEYS:
                    raise LineError(f"expected no keys but {', '.join(_KEYS)}, got {_shown(key)}")
                if key in seen:
                    raise LineError(f"expected each key once, got {_shown(key)} twice")
                seen.add(key)
        return sample

    def _label(self, label: object, text: str) -> float:
        if type(label) is str:
            return self.labels.read(_encode(label))
        if type(label) is int:
            return self.labels.read(b"%d" % label)
        if type(label) is float:
            # repr tells the number; only a comparison of texts must see it as it was written.
            by_text = self.labels.by_text
            written = dict(_decode_as_written(text))["label"] if by_text else repr(label)
            return self.labels.read(written.encode())
        if label is _ABSENT:
            return self.labels.missing('expected a key "label", got none')
        return self.labels.missing(f"expected a label as a number or text, got {_shown(label)}")

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
        for name, value in features:
            names.append(self._name(name, None))
            if type(value) not in (int, float):
                raise LineError(f"expected a number, got {_shown(value)} at {_at(names[-1])}")
            if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE:
                raise LineError(
                    f"expected a number of magnitude at most {MAX_MAGNITUDE:g},"
                    f" got {_shown(value)} at {_at(names[-1])}"
                )
            values.append(0.0 if -MIN_MAGNITUDE < value < MIN_MAGNITUDE else float(value))
        return names, values

    def _name(self, name: object, index: int | None) -> bytes:
        """`name` in bytes. `index`: its place in an array."""
        if type(name) is str:
            encoded = _encode(name)
            if len(encoded) > self.limits.max_name_bytes:
                check_name(encoded, self.limits)
            return encoded
        if type(name) is not int:
            raise LineError(
                "expected a feature name (text or an integer),"
                f" got {_shown(name)} at {_at(index or 0)}"
            )
        if not -(2**63) <= name < 2**64:
            raise LineError(
                f"expected an integer name from -2**63 to 2**64 - 1, got {_shown(name)}"
                f" at {_at(index or 0)}"
            )
        return b"%d" % name


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise LineError(
            f"expected text of Unicode characters, got a lone surrogate in {_shown(text)}"
        ) from None


def _at(key: int | bytes) -> str:
    """Where in the line, for a message."""
    return format_path((b"features", key))


def _shown(value: Any) -> str:
    """What came, for a message."""
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
