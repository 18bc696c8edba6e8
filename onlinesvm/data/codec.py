"""Message bodies: msgpack → Batch, Batch → msgpack, margins → msgpack. The Python kernel's decoder.

    learn    array of [label, features] or [label, features, importance]; a label is str (or bin),
             int, bool, or a float that is an integer; or an array of these: a set of labels
             of a ranking model: array of [better, worse] or [better, worse, importance], where
             both items are features
    predict  array of features
    reply    array of float64 margins

`features` is an array of names or a map name → value; names are str, bin or int. A str is never
checked for UTF-8: a name is its bytes. With an extractor of records `features` may be a text, and
the values of a map text, booleans, nil and arrays of names (`onlinesvm.text.records`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import MIN_MAGNITUDE, Limits
from onlinesvm.data.batch import Batch, BatchColumns
from onlinesvm.data.bounds import Bounds
from onlinesvm.data.label import MOST_IN_SET, any_label_of, packed
from onlinesvm.data.pieces import Pieces
from onlinesvm.data.validation import raise_first_fault, sample_starts
from onlinesvm.errors import SampleError
from onlinesvm.text.constants import MADE_NAME_BYTES, PIECE_FEATURES
from onlinesvm.text.records import Extractor, extract_unpacked

__all__ = ["Decoding", "cut_body", "decode", "encode", "encode_margins", "pack_array", "parts_of"]


class _FaultyBodyError(Exception):
    """The body has a fault; `validation` finds and words it."""


class _Form:
    """The bounds of samples: limits, and the extractor of records, if any. made: features that
    records made so far, and for long names as many more. cut: texts that were longer than they
    may be.
    """

    def __init__(
        self,
        limits: Limits,
        labelled: bool,
        extractor: Extractor | None,
        bounds: Bounds,
        pairs: bool,
    ) -> None:
        self.limits = limits
        self.bounds = bounds
        self.extractor = extractor
        of_learn = self._append_pair if pairs else self._append_sample
        self.append: Callable[[Batch, Any], None] = of_learn if labelled else self._append_features
        self.made = self.cut = 0

    def _append_sample(self, batch: Batch, sample: Any) -> None:
        """Add a row of a learn request to `batch`."""
        importance = self._importance(sample)
        columns = self._columns(sample[1])
        try:
            batch.append(any_label_of(sample[0]), importance, *columns)
        except (TypeError, ValueError):
            raise _FaultyBodyError from None

    def _append_pair(self, batch: Batch, pair: Any) -> None:
        """Add a pair of a learn request to `batch`: the features of the better item, then those of
        the worse one with their values negated. The lookup sums those that both have.
        """
        importance = self._importance(pair)
        names, values, tags, marks = self._columns(pair[0])
        of_worse, worse_values, worse_tags, worse_marks = self._columns(pair[1])
        if tags or worse_tags:
            tags = [*(tags or [0] * len(names)), *(worse_tags or [0] * len(of_worse))]
        values = [*values, *(-value for value in worse_values)]
        marks = {**marks, **{len(names) + j: fields for j, fields in worse_marks.items()}}
        batch.append(None, importance, [*names, *of_worse], values, tags, marks)

    def _importance(self, sample: Any) -> float:
        """The importance of a sample or a pair, an array of 2 or 3."""
        if type(sample) is not list or not 2 <= len(sample) <= 3:
            raise _FaultyBodyError
        importance: Any = sample[2] if len(sample) == 3 else 1.0
        if type(importance) not in _NUMBERS:
            raise _FaultyBodyError
        importance = self.bounds.fit_importance(importance)
        if importance is None:
            raise _FaultyBodyError
        return float(importance) if importance >= MIN_MAGNITUDE else 0.0

    def _append_features(self, batch: Batch, features: Any) -> None:
        """Add a row of a predict request to `batch`."""
        batch.append(None, 1.0, *self._columns(features))

    def _columns(self, features: Any) -> _Features:
        if self.extractor is None or not self._is_record(features):
            return *_columns(features, self.limits, self.bounds), (), {}
        try:
            found = extract_unpacked(self.extractor, features)
        except SampleError:
            raise _FaultyBodyError from None
        values = []
        for value in found.values:
            fitting = self.bounds.fit_value(value)
            if fitting is None:
                raise _FaultyBodyError
            values.append(fitting)
        self.made += len(found.names) + sum(map(len, found.names)) // MADE_NAME_BYTES
        self.cut += found.cut
        return found.names, values, found.views, found.marks

    def _is_record(self, features: Any) -> bool:
        """True for what has more than names and numbers; what is no sample is none either."""
        if type(features) is tuple:
            assert self.extractor is not None
            return self.extractor.reads_maps or any(
                type(value) not in _NUMBERS for _, value in features
            )
        return type(features) is not list


_Marks = Mapping[int, tuple[bytes, ...]]
_Features = tuple[Sequence[bytes], Sequence[float], Sequence[int], _Marks]


def decode(
    body: bytes | memoryview,
    limits: Limits,
    *,
    labelled: bool,
    extractor: Extractor | None = None,
    most_made: int = PIECE_FEATURES,
    pairs: bool = False,
    learnable: bool = False,
) -> Batch | Pieces:
    """The samples of a learn request, if `labelled`, or of a predict request, validated whole.

    pairs: the samples to learn are pairs of items; a sample of the batch then is the difference of
    both, without a label: the features of the better one, then those of the worse one negated.
    Samples of a predict request have no label, and importance 1. extractor: reads records of text
    and fields; without one these are refused. most_made: where records make more features, the
    samples come as Pieces of about so many (0: of PIECE_FEATURES). learnable: refuse what could not
    be learned later, too. Raises BodyError, LimitError or SampleError for the first fault in
    reading order.
    """
    work = Decoding(
        body, limits, labelled=labelled, extractor=extractor, most_made=most_made, pairs=pairs,
        learnable=learnable,
    )  # fmt: skip
    while (found := work.step(sys.maxsize)) is None:
        pass
    return found


class Decoding:
    """A body that is decoded in steps; its arguments are those of `decode`. Raises as `decode`, or
    `step` does.
    """

    def __init__(
        self,
        body: bytes | memoryview,
        limits: Limits,
        *,
        labelled: bool,
        extractor: Extractor | None = None,
        most_made: int = PIECE_FEATURES,
        pairs: bool = False,
        learnable: bool = False,
    ) -> None:
        self._body = body
        self._limits = limits
        self._labelled = labelled
        self._learnable = learnable
        self._pairs = pairs
        self._extractor = extractor
        self._most_made = most_made
        self._form = self._begun()
        self._rows = self._read()

    def step(self, most: int) -> Batch | Pieces | None:
        """Read about `most` samples and features; the samples of the body once all are read."""
        read = 0
        while read < most:
            try:
                read += next(self._rows)
            except StopIteration as ended:
                found: Batch | Pieces = ended.value
                return found
        return None

    def _begun(self) -> _Form:
        learns = self._labelled or self._learnable
        bounds = Bounds.of(self._limits, labelled=learns)
        return _Form(self._limits, self._labelled, self._extractor, bounds, self._pairs)

    def _read(self) -> Generator[int, None, Batch | Pieces]:
        """Read the samples one by one: the features of each, and one more."""
        form, limits = self._form, self._limits
        batch = Batch()
        checked: Batch | None = None  # the samples after too many features, which are dropped
        has_records = self._extractor is not None
        try:
            for row in _unpack(self._body, limits, limits.max_samples_per_batch, has_records):
                if form.made > self._most_made and checked is None:
                    checked = Batch()
                into = batch if checked is None else checked
                before = len(into.names)
                form.append(into, row)
                yield len(into.names) - before + 1
                if checked is not None:
                    checked.drop_features()
        except _FaultyBodyError:
            body = bytes(self._body)
            raise_first_fault(
                body, limits, labelled=self._labelled, first=_first_faulty(body, form),
                extractor=self._extractor, pairs=self._pairs, learnable=self._learnable,
            )  # fmt: skip
        batch.cut = form.cut
        if checked is None:
            return batch
        batch.drop_features()
        for id, importance in zip(checked.label_ids, checked.importances, strict=True):
            batch.append(checked.label_table[id] if id >= 0 else None, importance, (), ())
        return self._pieces(batch)

    def _pieces(self, batch: Batch) -> Pieces:
        """The samples of `batch`, which make too many features at once."""
        rest, most = bytes(self._body), self._most_made or PIECE_FEATURES
        starts = sample_starts(rest, self._limits.max_samples_per_batch)

        def piece(place: int, left: int) -> tuple[Batch, int]:
            form = self._begun()
            batch = Batch()
            while len(batch) < left and form.made <= most:
                one = pack_array([rest[starts[place] : starts[place + 1]]])
                form.append(batch, _unpack(one, self._limits, 1, records=True)[0])
                place += 1
            batch.cut = form.cut
            return batch, place

        return Pieces(batch.label_table, batch.label_ids, batch.importances, 0, piece)


def _first_faulty(body: bytes, form: _Form) -> int:
    """The index of the first faulty sample; 0 where that is not the fault of one sample."""
    try:
        starts = sample_starts(body, form.limits.max_samples_per_batch)
    except (msgpack.UnpackException, ValueError):
        return 0
    for i, (start, end) in enumerate(pairwise(starts)):
        try:
            one = pack_array([body[start:end]])
            (row,) = _unpack(one, form.limits, 1, form.extractor is not None)
            form.append(Batch(), row)
        except _FaultyBodyError:
            return i
    return 0


_NUMBERS = frozenset((int, float))


def _unpack(body: bytes | memoryview, limits: Limits, max_samples: int, records: bool) -> list[Any]:
    """The array in `body`: maps as tuples of pairs, text as bytes.

    A sample has three containers at most, itself, its labels or an item, and features. Stopping at
    the first one more bounds the memory that a nest of empty arrays could take. The values of a
    record may be arrays, too, each after a name: a container in three bytes.
    """
    remaining = 3 * max_samples + 1 + (len(body) // 2 if records else 0)

    def array(items: list[Any]) -> list[Any]:
        nonlocal remaining
        remaining -= 1
        if remaining < 0:
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
            # A sample is an array too, of at most 3, and its labels are.
            max_array_len=max(MOST_IN_SET, max_samples, limits.max_features_per_sample),
            max_map_len=limits.max_features_per_sample,
            ext_hook=_extension,
        )
    except (msgpack.UnpackException, ValueError):
        raise _FaultyBodyError from None
    if type(rows) is not list or len(rows) > max_samples:
        raise _FaultyBodyError
    return rows


def _extension(code: int, data: bytes) -> None:
    raise _FaultyBodyError


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
    kept_names, kept_values, limit = [], [], bounds.value
    for name, number in zip(names, numbers, strict=True):
        if not -limit <= number <= limit:  # nan too
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
    out labels and importances. Labels are as they were written, records as they were packed.
    `decode` gives the same columns back.
    """
    if not labelled:
        return pack_array(_packed_features(batch))
    if any(id < 0 for id in batch.label_ids):
        raise ValueError("expected a label for every sample, got a batch without")
    pack = msgpack.Packer().pack
    labels = [packed(label) for label in batch.label_table]
    samples = []
    for id, importance, features in zip(
        batch.label_ids, batch.importances, _packed_features(batch), strict=True
    ):
        head = b"\x92" if importance == 1 else b"\x93"
        tail = b"" if importance == 1 else pack(importance)
        samples.append(b"".join((head, labels[id], features, tail)))
    return pack_array(samples)


def pack_array(parts: Sequence[bytes]) -> bytes:
    """One msgpack array of objects that are packed already."""
    return b"".join((msgpack.Packer().pack_array_header(len(parts)), *parts))


def parts_of(body: bytes) -> list[bytes]:
    """The elements of `body`, an array, each as it is packed."""
    return [body[start:end] for start, end in pairwise(sample_starts(body, 2**31))]


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
    for i, (start, end) in enumerate(pairwise(batch.indptr)):
        if i in batch.records:
            packed.append(batch.records[i])
            continue
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
