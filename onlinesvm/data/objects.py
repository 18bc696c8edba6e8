"""Python samples as decoded batches: packed as the wire has them and decoded like any message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns, Features, Packer, pack_array
from onlinesvm.errors import Path, SampleError

__all__ = ["Sample", "learn_batches", "one_to_learn", "one_to_predict", "predict_batches"]

Sample = tuple[Features, float] | tuple[Features, float, float]

# Samples are packed and decoded in pieces of this size, so that a long list costs little more than
# its columns.
_PIECE_BYTES = 4 * 2**20


class Decoder(Protocol):
    """What is needed of a kernel."""

    def decode_learn(self, body: bytes, limits: Limits) -> BatchColumns: ...
    def decode_predict(self, body: bytes, limits: Limits) -> BatchColumns: ...


def learn_batches(
    samples: Iterable[Sample], kernel: Decoder, limits: Limits
) -> Iterator[BatchColumns]:
    """``(features, label)`` or ``(features, label, importance)`` in batches of bounded size.

    Raises SampleError (LimitError) for the first fault, TypeError for what is no sample.
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
            yield kernel.decode_learn(body, limits)
        except SampleError as error:
            path = _features_first(error.path)
            raise type(error)(error.message, _moved(path, start)) from None


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
            yield kernel.decode_predict(body, limits)
        except SampleError as error:
            raise type(error)(error.message, _moved(error.path, start)) from None


def one_to_learn(
    features: Features, label: float, importance: float, kernel: Decoder, limits: Limits
) -> BatchColumns:
    """One sample to learn. Raises as `learn_batches` does."""
    body = pack_array([Packer().sample(features, label, importance)])
    try:
        return kernel.decode_learn(body, limits)
    except SampleError as error:
        raise type(error)(error.message, _features_first(error.path)[1:]) from None


def one_to_predict(features: Features, kernel: Decoder, limits: Limits) -> BatchColumns:
    """One sample to score. Raises as `learn_batches` does."""
    body = pack_array([Packer().features(features)])
    try:
        return kernel.decode_predict(body, limits)
    except SampleError as error:
        raise type(error)(error.message, error.path[1:]) from None


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


def _features_first(path: Path) -> Path:
    """A path into wire samples (label first) as one into Python samples (features first)."""
    if len(path) < 2 or path[1] not in (0, 1):
        return path
    return (path[0], 1 - int(path[1]), *path[2:])


def _moved(path: Path, start: int) -> Path:
    """A path into a piece as one into the whole."""
    return (int(path[0]) + start, *path[1:]) if path else path
