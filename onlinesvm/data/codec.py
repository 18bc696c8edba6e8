"""Message bodies: msgpack → Batch, Batch → msgpack, margins → msgpack. The Python kernel's decoder.

    learn    array of [label, features] or [label, features, importance]
    predict  array of features
    reply    array of float64 margins

`features` is an array of names or a map name → value; names are str, bin or int. A str is never
checked for UTF-8: a name is its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import MIN_MAGNITUDE, Limits
from onlinesvm.data.batch import Batch, BatchColumns
from onlinesvm.data.bounds import Bounds
from onlinesvm.data.validation import raise_first_fault, sample_starts

__all__ = ["cut_body", "decode", "encode", "encode_margins", "pack_array"]


class _FaultyBodyError(Exception):
    """The body has a fault; `validation` finds and words it."""


_Append = Callable[[Batch, Any, Limits, Bounds], None]


def decode(body: bytes | memoryview, limits: Limits, *, labelled: bool) -> Batch:
    """The samples of a learn request, if `labelled`, or of a predict request, validated whole.

    Labels and importances of a predict request are 1. Raises BodyError, LimitError or SampleError
    for the first fault in reading order.
    """
    append = _append_sample if labelled else _append_features
    bounds = Bounds.of(limits, labelled=labelled)
    batch = Batch()
    try:
        for row in _unpack(body, limits, limits.max_samples_per_batch):
            append(batch, row, limits, bounds)
    except _FaultyBodyError:
        body = bytes(body)
        first = _first_faulty(body, limits, bounds, append)
        raise_first_fault(body, limits, labelled=labelled, first=first)
    return batch


def _first_faulty(body: bytes, limits: Limits, bounds: Bounds, append: _Append) -> int:
    """The index of the first faulty sample; 0 where that is not the fault of one sample."""
    try:
        starts = sample_starts(body, limits.max_samples_per_batch)
    except (msgpack.UnpackException, ValueError):
        return 0
    for i, (start, end) in enumerate(pairwise(starts)):
        try:
            (row,) = _unpack(pack_array([body[start:end]]), limits, 1)
            append(Batch(), row, limits, bounds)
        except _FaultyBodyError:
            return i
    return 0


def _append_sample(batch: Batch, sample: Any, limits: Limits, bounds: Bounds) -> None:
    """Add a row of a learn request to `batch`."""
    if type(sample) is not list or not 2 <= len(sample) <= 3:
        raise _FaultyBodyError
    label = sample[0]
    importance: Any = sample[2] if len(sample) == 3 else 1.0
    if type(label) not in _NUMBERS or label not in _LABELS:
        raise _FaultyBodyError
    if type(importance) not in _NUMBERS:
        raise _FaultyBodyError
    importance = bounds.fit_importance(importance)
    if importance is None:
        raise _FaultyBodyError
    names, values = _columns(sample[1], limits, bounds)
    if importance < MIN_MAGNITUDE:
        importance = 0.0
    batch.append(float(label), float(importance), names, values)


def _append_features(batch: Batch, features: Any, limits: Limits, bounds: Bounds) -> None:
    """Add a row of a predict request to `batch`."""
    batch.append(1.0, 1.0, *_columns(features, limits, bounds))


_NUMBERS = frozenset((int, float))
_LABELS = frozenset((-1, 1))


def _unpack(body: bytes | memoryview, limits: Limits, max_samples: int) -> list[Any]:
    """The array in `body`: maps as tuples of pairs, text as bytes.

    A sample has two containers, itself and its features. Stopping at the first one more bounds
    the memory that a nest of empty arrays could take.
    """
    left = 2 * max_samples + 1

    def array(items: list[Any]) -> list[Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise _FaultyBodyError
        return items

    def pairs(items: list[Any]) -> tuple[Any, ...]:
        return tuple(array(items))

    try:
        rows = msgpack.unpackb(
            body,
            raw=True,
            strict_map_key=False,
            list_hook=array,
            object_pairs_hook=pairs,
            # A sample is an array too, of at most 3.
            max_array_len=max(3, max_samples, limits.max_features_per_sample),
            max_map_len=limits.max_features_per_sample,
        )
    except (msgpack.UnpackException, ValueError):
        raise _FaultyBodyError from None
    if type(rows) is not list or len(rows) > max_samples:
        raise _FaultyBodyError
    return rows


def _columns(
    features: object, limits: Limits, bounds: Bounds
) -> tuple[Sequence[bytes], Sequence[float]]:
    """The names and values of one sample, zeros dropped."""
    if type(features) is list:
        if len(features) > limits.max_features_per_sample:
            raise _FaultyBodyError
        return _names(features, limits), [1.0] * len(features)
    if type(features) is not tuple:
        raise _FaultyBodyError
    if not features:
        return (), ()
    keys, numbers = zip(*features, strict=True)
    names = _names(keys, limits)
    if not _NUMBERS.issuperset(map(type, numbers)):
        raise _FaultyBodyError
    kept_names, kept_values, most = [], [], bounds.value
    for name, number in zip(names, numbers, strict=True):
        if not -most <= number <= most:  # nan too
            fitting = bounds.fit_value(number)
            if fitting is None:
                raise _FaultyBodyError
            number = fitting
        if number >= MIN_MAGNITUDE or number <= -MIN_MAGNITUDE:
            kept_names.append(name)
            kept_values.append(float(number))
    return kept_names, kept_values


def _names(names: Sequence[Any], limits: Limits) -> Sequence[bytes]:
    kinds = set(map(type, names))
    if kinds - {bytes}:
        if kinds - {bytes, int}:
            raise _FaultyBodyError
        names = [name if type(name) is bytes else b"%d" % name for name in names]
    if names and max(map(len, names)) > limits.max_name_bytes:
        raise _FaultyBodyError
    return names


def encode(batch: BatchColumns, *, labelled: bool) -> bytes:
    """`batch` as the body of a learn request, if `labelled`, or of a predict request, which leaves
    out labels and importances. `decode` gives the same columns back.
    """
    if not labelled:
        return pack_array(_packed_features(batch))
    pack = msgpack.Packer().pack
    samples = []
    for label, importance, features in zip(
        batch.labels, batch.importances, _packed_features(batch), strict=True
    ):
        head = b"\x92" if importance == 1 else b"\x93"
        tail = b"" if importance == 1 else pack(importance)
        samples.append(b"".join((head, pack(int(label)), features, tail)))
    return pack_array(samples)


def pack_array(parts: Sequence[bytes]) -> bytes:
    """One msgpack array of objects that are packed already."""
    return b"".join((msgpack.Packer().pack_array_header(len(parts)), *parts))


def cut_body(body: bytes, *places: int) -> list[bytes]:
    """The samples of `body`, a whole array, as bodies: cut before the samples `places`.

    Pieces without a sample are left out.
    """
    starts = sample_starts(body, 2**31)
    bounds = [0, *places, len(starts) - 1]
    return [
        pack_array([body[a:b] for a, b in pairwise(starts[first : last + 1])])
        for first, last in pairwise(bounds)
        if first < last
    ]


def _packed_features(batch: BatchColumns) -> list[bytes]:
    # Without bin types a name takes the shorter head of a str; the daemon reads both as bytes.
    packer = msgpack.Packer(use_bin_type=False)
    packed = []
    for start, end in pairwise(batch.indptr):
        names, values = batch.names[start:end], batch.values[start:end]
        if all(value == 1.0 for value in values):
            packed.append(packer.pack(names))
        else:
            packed.append(packer.pack_map_pairs(list(zip(names, values, strict=True))))
    return packed


_FEW = 64  # margins that msgpack packs faster than NumPy


def encode_margins(margins: NDArray[np.float64]) -> bytes:
    """`margins`, float64[n], as the body of a reply: an array of float64."""
    if len(margins) <= _FEW:
        packed: bytes = msgpack.packb(margins.tolist())
        return packed
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(len(margins))
    head: bytes = packer.bytes()
    cells = np.empty((len(margins), 9), dtype=np.uint8)
    cells[:, 0] = 0xCB
    cells[:, 1:] = margins.astype(">f8").view(np.uint8).reshape(-1, 8)
    return head + cells.tobytes()
