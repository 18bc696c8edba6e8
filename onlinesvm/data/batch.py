"""Samples in columns (Batch), their ids (CSR), and the packing of Python objects into a body.

Every path walks one way: bytes of the wire or a file → Batch → lookup → CSR → rule or scorer →
margins. Python objects enter by the same door: they are packed as the wire has them and decoded
like any message, so that there is one validation and one wording of faults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.errors import SampleError, format_path

__all__ = ["CSR", "Batch", "BatchColumns", "Features", "Name", "Packer", "pack_array"]

Name = str | bytes | int
Features = Mapping[Name, float] | Iterable[Name]


class BatchColumns(Protocol):
    """What both kernels' batches show: samples in columns, validated.

    Sample i has the features ``indptr[i]:indptr[i + 1]`` of `names` and `values`. Zeros are gone;
    duplicates are still there (the lookup sums them, where it knows them by id).
    """

    @property
    def labels(self) -> Sequence[float]: ...
    @property
    def importances(self) -> Sequence[float]: ...
    @property
    def indptr(self) -> Sequence[int]: ...
    @property
    def names(self) -> Sequence[bytes]: ...
    @property
    def values(self) -> Sequence[float]: ...
    def __len__(self) -> int: ...


@dataclass(slots=True)
class Batch:
    """The Python kernel's batch: plain lists, one element a sample or a feature.

    labels: −1.0 or +1.0 (all +1.0 in a batch to predict). importances: finite, ≥ 0.
    """

    labels: list[float] = field(default_factory=list)
    importances: list[float] = field(default_factory=list)
    indptr: list[int] = field(default_factory=lambda: [0])
    names: list[bytes] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def append(
        self, label: float, importance: float, names: Iterable[bytes], values: Iterable[float]
    ) -> None:
        """Add one sample whose names and values were validated, zeros dropped."""
        self.labels.append(label)
        self.importances.append(importance)
        self.names.extend(names)
        self.values.extend(values)
        self.indptr.append(len(self.names))


class CSR(NamedTuple):
    """Samples as rows of a sparse matrix over feature ids, as scipy.sparse has them.

    indptr: int64[n + 1]. indices: int32[nnz], feature ids, 0 = PAD. data: float64[nnz].
    The stored order within a row is the order of summation.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float64]

    def rows(self, first: int, stop: int) -> CSR:
        """Rows `first` to `stop`, that one not."""
        start, end = int(self.indptr[first]), int(self.indptr[stop])
        indptr = self.indptr[first : stop + 1] - start
        return CSR(indptr, self.indices[start:end], self.data[start:end])


_PLAIN_NUMBERS = (float, int)


def pack_array(parts: Sequence[bytes]) -> bytes:
    """One msgpack array of objects that are packed already."""
    return b"".join((msgpack.Packer().pack_array_header(len(parts)), *parts))


def _plain(value: object) -> object:
    """NumPy's scalars as Python's; msgpack calls this for what it does not know."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, int):
        raise OverflowError  # beyond 64 bits
    raise TypeError(f"expected text, bytes or a number, got {type(value).__name__}")


class Packer:
    """Packs Python samples as the wire has them: features in any iterable or mapping."""

    def __init__(self) -> None:
        # surrogateescape: the names that the views show can be given back as they are.
        self._pack = msgpack.Packer(default=_plain, unicode_errors="surrogateescape").pack

    def features(self, features: Features, path: tuple[int, ...] = ()) -> bytes:
        """`features` packed. `path` is for the message of the TypeError or SampleError."""
        return self._packed(_as_container(features, path), path)

    def sample(
        self, features: Features, label: float, importance: float = 1, index: int = 0
    ) -> bytes:
        """``[label, features(, importance)]`` packed; `index` is for the message of an error."""
        body: object = features
        if type(features) is not list and type(features) is not dict:
            body = _as_container(features, (index, 0))
        if importance == 1 and type(importance) in _PLAIN_NUMBERS:
            sample: tuple[object, ...] = (label, body)
        else:
            sample = (label, body, importance)
        try:  # nearly every sample needs no second look
            packed: bytes = self._pack(sample)
        except (OverflowError, TypeError, ValueError):
            packed = self._packed(sample, (index,))
        return packed

    def _packed(self, value: object, path: tuple[int, ...]) -> bytes:
        packed: bytes
        try:
            try:
                packed = self._pack(value)
            except OverflowError:
                packed = self._pack(_narrow(value, path))
        except SampleError:
            raise
        except UnicodeEncodeError as error:
            raise SampleError(
                f"expected text that UTF-8 can hold, got {error.object[:40]!a}", path
            ) from None
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error} at {format_path(path)}") from None
        return packed


def _as_container(features: Any, path: tuple[int, ...]) -> object:
    """`features` as msgpack takes it. Raises TypeError for a bare str or bytes."""
    kind = type(features)
    if kind is list or kind is dict:
        return features
    if isinstance(features, str | bytes | bytearray | memoryview):
        raise TypeError(
            "expected features as an iterable of names or a mapping from name to value, got a bare"
            f" {kind.__name__} at {format_path(path)} (its letters would be learned; use a list)"
        )
    if isinstance(features, Mapping):
        return dict(features)
    try:
        names = iter(features)
    except TypeError:
        raise TypeError(
            "expected features as an iterable of names or a mapping from name to value, got"
            f" {kind.__name__} at {format_path(path)}"
        ) from None
    return list(names)


def _narrow(value: Any, path: tuple[int, ...]) -> Any:
    """`value` with integers beyond 64 bits as floats where a number may stand; names may not.

    A tuple is a sample, a list its names, a mapping its features.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            return float(value)
        except OverflowError:
            raise SampleError(
                "expected a number of magnitude at most 1e+50, got an integer of"
                f" {value.bit_length()} bits",
                path,
            ) from None
    if isinstance(value, Mapping):
        for name in value:
            _check_name(name, path)
        return {name: _narrow(number, path) for name, number in value.items()}
    if isinstance(value, list):
        for name in value:
            _check_name(name, path)
        return value
    if isinstance(value, tuple):
        return tuple(_narrow(part, path) for part in value)
    return value


def _check_name(name: object, path: tuple[int, ...]) -> None:
    if isinstance(name, list | tuple | Mapping):
        raise SampleError(
            f"expected a feature name (text, bytes or an integer), got {type(name).__name__}", path
        )
    if isinstance(name, int) and not -(2**63) <= name < 2**64:
        raise SampleError(
            "expected an integer name from -2**63 to 2**64 - 1, got an integer of"
            f" {name.bit_length()} bits",
            path,
        )
