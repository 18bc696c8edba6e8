"""Bodies of requests about held samples: keys with samples, labels with keys. Does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, cast

import msgpack
import numpy as np

from onlinesvm.data.label import LabelSet, Written, any_label_of, packable

__all__ = [
    "Hold", "HoldOne", "Key", "Labelled", "held_body", "hold_keys", "labels_body",
    "of_one",
]  # fmt: skip

Key = str | bytes | int
Labels = Written | Sequence[Written]  # of one sample
Labelled = tuple[Key, Labels] | tuple[Key, Labels, float]


class _Hold(TypedDict, total=False):
    ttl_s: float
    default_label: Written


class Hold(_Hold, total=False):
    """Has the daemon hold the samples that it predicts, until `Client.label` names their labels.

    hold: a key for each sample, of 1 to 64 bytes; an integer is its decimal form. ttl_s: for how
    long (default: an hour). default_label: the label that a sample is learned with when its time is
    up; without one it is dropped.
    """

    hold: Iterable[Key]


class HoldOne(_Hold, total=False):
    """As Hold, with the key of the one sample."""

    hold: Key


def of_one(given: HoldOne) -> Hold:
    """The arguments of a request for one sample as those for many."""
    if "hold" not in given:
        return cast(Hold, given)  # refused there, if it has others
    return cast(Hold, {**given, "hold": [given["hold"]]})


def hold_keys(**given: Any) -> dict[str, Any]:
    """The keys of a request's header for the arguments of Hold, `hold` apart. Raises TypeError."""
    for name in given:
        if name not in ("ttl_s", "default_label"):
            raise TypeError(f"expected hold, ttl_s and default_label, got {name}")
    keys: dict[str, Any] = {"hold": True}
    if given.get("ttl_s") is not None:
        keys["ttl_s"] = float(given["ttl_s"])
    if given.get("default_label") is not None:
        keys["default_label"] = packed_label(given["default_label"])
    return keys


def held_body(keys: Iterable[Key], samples: bytes) -> bytes:
    """The body of a predict request with hold; `samples`: that of one without. Raises TypeError."""
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise TypeError(f"hold: expected a key for each sample, got {type(keys).__name__}")
    return b"\x92" + _pack([_key(key) for key in keys]) + samples


def labels_body(labels: Iterable[Labelled]) -> tuple[bytes, int]:
    """The body of a label request, and how many labels it has. Raises TypeError, ValueError."""
    rows = [_row(row) for row in labels]
    return _pack(rows), len(rows)


def _row(row: Any) -> list[Any]:
    if not isinstance(row, tuple | list) or not 2 <= len(row) <= 3:
        raise TypeError(
            f"expected (key, label) or (key, label, importance), got {type(row).__name__}"
        )
    key, label, *importance = row
    return [_key(key), packed_label(label), *map(float, importance)]


def _key(key: Any) -> Key:
    key = key.item() if isinstance(key, np.generic) else key
    if isinstance(key, bool) or not isinstance(key, str | bytes | int):
        raise TypeError(f"expected a key as text, bytes or integer, got {type(key).__name__}")
    return key


def _pack(value: object) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    except OverflowError:
        raise ValueError("expected a key as an integer of at most 64 bits, got one more") from None
    return packed


def packed_label(given: Labels) -> Any:
    """A label, or an array of labels, as msgpack takes it. Raises TypeError, ValueError."""
    label = any_label_of(list(given) if isinstance(given, tuple | list) else given)
    if isinstance(label, LabelSet):
        return [packable(one) for one in label.written]
    return packable(label.written)
