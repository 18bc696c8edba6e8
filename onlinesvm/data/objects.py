"""Python samples as decoded batches: packed as the wire has them and decoded like any message.

So there is one validation, and one wording of faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgpack
import numpy as np

from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns, Features
from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import Written
from onlinesvm.errors import Path, SampleError, format_path

__all__ = [
    "Packer",
    "Sample",
    "alone",
    "learn_batches",
    "moved",
    "one_to_learn",
    "one_to_predict",
    "predict_batches",
]

Sample = tuple[Features, Written] | tuple[Features, Written, float]

# Samples are packed and decoded in pieces of this size, so that a long list costs little more than
# its columns.
_PIECE_BYTES = 4 * 2**20


class Decoder(Protocol):
    """A kernel, as far as it is needed here."""

    def decode(self, body: bytes, limits: Limits, *, labelled: bool) -> BatchColumns: ...


def learn_batches(
    samples: Iterable[Sample], kernel: Decoder, limits: Limits
) -> Iterator[BatchColumns]:
    """``(features, label)`` or ``(features, label, importance)`` in batches of bounded size.

    Raises SampleError (LimitError) for the first fault, TypeError for anything but a sample.
    """

    def pack(i: int, sample: Sample) -> bytes:
        if not isinstance(sample, tuple | list) or not 2 <= len(sample) <= 3:
            raise TypeError(
                "expected (features, label) or (features, label, importance), got"
                f" {type(sample).__name__} at $[{i}]"
            )
        importance = sample[2] if len(sample) == 3 else 1.0
        return packer.sample(sample[0], sample[1], importance, index=i)

    packer = Packer()
    for start, body in _bodies(samples, pack, limits):
        try:
            yield kernel.decode(body, limits, labelled=True)
        except SampleError as error:
            raise moved(error, start) from None


def predict_batches(
    samples: Iterable[Features], kernel: Decoder, limits: Limits
) -> Iterator[BatchColumns]:
    """Samples to score, each an iterable of names or a mapping, in batches of bounded size.

    Raises as `learn_batches` does.
    """
    if isinstance(samples, str | bytes):
        raise TypeError(f"expected an iterable of samples, got a bare {type(samples).__name__}")
    packer = Packer()
    for start, body in _bodies(samples, lambda i, s: packer.features(s, (i,)), limits):
        try:
            yield kernel.decode(body, limits, labelled=False)
        except SampleError as error:
            raise type(error)(error.message, _moved(error.path, start)) from None


def one_to_learn(
    features: Features, label: Written, importance: float, kernel: Decoder, limits: Limits
) -> BatchColumns:
    """One sample to learn. Raises as `learn_batches` does."""
    try:
        body = pack_array([Packer().sample(features, label, importance)])
        return kernel.decode(body, limits, labelled=True)
    except SampleError as error:
        raise alone(error) from None


def alone(error: SampleError) -> SampleError:
    """An error in a batch of one sample as one in that sample."""
    return type(error)(error.message, _features_first(error.path)[1:], alone=True)


def one_to_predict(features: Features, kernel: Decoder, limits: Limits) -> BatchColumns:
    """One sample to score. Raises as `learn_batches` does."""
    body = pack_array([Packer().features(features)])
    try:
        return kernel.decode(body, limits, labelled=False)
    except SampleError as error:
        raise type(error)(error.message, error.path[1:], alone=True) from None


def _bodies(
    samples: Iterable[Any], pack: Callable[[int, Any], bytes], limits: Limits
) -> Iterator[tuple[int, bytes]]:
    """`samples` packed in pieces: the index of the first of a piece, and the piece."""
    parts: list[bytes] = []
    size = start = 0
    for i, sample in enumerate(samples):
        parts.append(pack(i, sample))
        size += len(parts[-1])
        if size >= _PIECE_BYTES or len(parts) == limits.max_samples_per_batch:
            yield start, pack_array(parts)
            parts, size, start = [], 0, i + 1
    if parts:
        yield start, pack_array(parts)


def moved(error: SampleError, start: int) -> SampleError:
    """An error in a batch of samples, of which `start` came before, as one in the samples."""
    return type(error)(error.message, _moved(_features_first(error.path), start))


def _features_first(path: Path) -> Path:
    """A path into wire samples (label first) as one into Python samples (features first)."""
    if len(path) < 2 or path[1] not in (0, 1):
        return path
    return (path[0], 1 - int(path[1]), *path[2:])


def _moved(path: Path, start: int) -> Path:
    """A path into a piece as one into the whole."""
    return (int(path[0]) + start, *path[1:]) if path else path


_PLAIN_NUMBERS = (float, int)


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
        self, features: Features, label: Written, importance: float = 1, index: int = 0
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
        label, *parts = value
        if isinstance(label, int) and not -(2**63) <= label < 2**64:
            label = b"%d" % label
        return (label, *(_narrow(part, path) for part in parts))
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
