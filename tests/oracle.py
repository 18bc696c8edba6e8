"""Dumb oracles: a dense learner, and the first fault of a body that was built whole."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgpack
import numpy as np
from hypothesis import reject
from msgpack import fallback


def row_of(features: Any) -> dict[bytes, float]:
    """One sample as the model is to see it: zeros dropped, then duplicates summed in order."""
    pairs = features.items() if isinstance(features, Mapping) else [(f, 1) for f in features]
    row: dict[bytes, float] = {}
    for name, value in pairs:
        raw = name if isinstance(name, bytes) else str(name).encode("utf-8", "surrogateescape")
        if abs(value) >= 1e-50:
            row[raw] = row[raw] + float(value) if raw in row else float(value)
    return row


class DenseSgd:
    """SGD on the hinge loss over a dense vector that is really scaled at every step."""

    def __init__(
        self, eta0: float, alpha: float = 0, schedule: str = "constant", bias: bool = True
    ) -> None:
        self.eta0, self.alpha, self.schedule, self.has_bias = eta0, alpha, schedule, bias
        self.ids: dict[bytes, int] = {}
        self.w = np.zeros(2000)
        self.b = 0.0
        self.t = 0

    def learn(self, features: Any, y: float, h: float = 1) -> float:
        row = row_of(features)
        margin = 0.0
        for name, x in row.items():
            if name in self.ids:
                margin += self.w[self.ids[name]] * x
        margin += self.b
        if h >= 1e-50:
            for name in row:
                self.ids.setdefault(name, len(self.ids) + 1)
            self.t += 1
            eta = self.eta0 / math.sqrt(self.t) if self.schedule == "invscaling" else self.eta0
            self.w *= 1 - eta * self.alpha
            if y * margin < 1:
                for name, x in row.items():
                    self.w[self.ids[name]] += eta * h * y * x
                self.b += eta * h * y * self.has_bias
        return float(margin)

    def weights(self) -> dict[str, float]:
        return {
            name.decode("utf-8", "surrogateescape"): float(self.w[i])
            for name, i in self.ids.items()
        }


Fault = tuple[str, "tuple[int | bytes, ...] | None"]


def first_fault(body: bytes, limits: Any, *, labelled: bool) -> Fault | None:
    """The code and path of the first fault of `body` in reading order, None if it has none."""
    unpacker = fallback.Unpacker(max_buffer_size=0)
    unpacker.feed(body)
    try:
        unpacker.skip()
    except (msgpack.UnpackException, ValueError):
        return "BAD_REQUEST", None
    if unpacker.tell() != len(body):
        return "BAD_REQUEST", None
    try:
        rows = msgpack.unpackb(body, raw=True, strict_map_key=False, object_pairs_hook=_Pairs)
    except ValueError:
        reject()  # an extension that looks like a timestamp and is none: no oracle for it
    if type(rows) is not list:
        return "BAD_SAMPLE", ()
    if len(rows) > limits.max_samples_per_batch:
        return "TOO_LARGE", ()
    for i, row in enumerate(rows):
        fault = _sample(row, (i,), limits) if labelled else _features(row, (i,), limits)
        if fault:
            return fault
    return None


class _Pairs(tuple):
    """A map as its pairs, so that a key that is there twice is seen twice."""


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _label(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value) and value == int(value) and abs(value) < 1e255
    if type(value) is not bytes:
        return type(value) in (int, bool)
    try:
        number = Fraction(value.decode("ascii"))
    except (ValueError, ZeroDivisionError, UnicodeDecodeError):
        return 0 < len(value) <= 256
    # What only Python reads as a number is a text.
    plain = re.fullmatch(rb"[+-]?(0|[1-9][0-9]*)?([.][0-9]*)?([eE][+-]?[0-9]{1,2})?", value)
    return plain is None or number == int(number)


def _sample(row: Any, path: tuple[int, ...], limits: Any) -> Fault | None:
    if type(row) is not list or len(row) not in (2, 3):
        return "BAD_SAMPLE", path
    if type(row[0]) is list:
        wrong = [i for i, label in enumerate(row[0]) if not _label(label)]
        if len(row[0]) > 64 or wrong:
            return "BAD_SAMPLE", (*path, 0) if len(row[0]) > 64 else (*path, 0, wrong[0])
    elif not _label(row[0]):
        return "BAD_SAMPLE", (*path, 0)
    fault = _features(row[1], (*path, 1), limits)
    if fault is None and len(row) == 3 and not (_number(row[2]) and 0 <= row[2] <= 1e50):
        return "BAD_SAMPLE", (*path, 2)
    return fault


def _features(features: Any, path: tuple[int, ...], limits: Any) -> Fault | None:
    if type(features) not in (list, _Pairs):
        return "BAD_SAMPLE", path
    if len(features) > limits.max_features_per_sample:
        return "TOO_LARGE", path
    for i, feature in enumerate(features):
        name, value = feature if type(features) is _Pairs else (feature, 1)
        at = path if type(features) is _Pairs else (*path, i)
        if type(name) not in (bytes, int):
            return "BAD_SAMPLE", at
        raw = name if type(name) is bytes else str(name).encode()
        if len(raw) > limits.max_name_bytes:
            return "TOO_LARGE", at
        if not _number(value) or not abs(value) <= 1e50:
            return "BAD_SAMPLE", (*path, raw)
    return None
