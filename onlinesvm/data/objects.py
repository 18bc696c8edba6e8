"""Python samples as decoded batches: packed as the wire has them and decoded like any message.

So there is one validation, and one wording of faults.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgpack
import numpy as np

from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns, Features
from onlinesvm.data.bounds import Bounds
from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import Written
from onlinesvm.data.matrix import (
    ColumnsDecoder,
    array_of,
    columns_of,
    is_matrix,
    label_column,
    rows_of_columns,
)
from onlinesvm.data.pieces import Decoded, Pieces
from onlinesvm.data.rows import TWO_WAYS, is_rows, names_of_array, one_row, samples_of
from onlinesvm.errors import Path, SampleError, format_path
from onlinesvm.text.constants import PIECE_FEATURES

__all__ = [
    "Packer",
    "Sample",
    "Worse",
    "alone",
    "alone_in",
    "bodies",
    "labelled_batches",
    "learn_batches",
    "moved",
    "moved_by",
    "of_columns",
    "one_decoded",
    "one_packed",
    "one_to_learn",
    "one_to_predict",
    "predict_batches",
    "refuse_unlabelled",
    "rows_to_score",
]


class Worse:
    """The worse item of a pair, in the place of a label: ``learn_one(better, Worse(item))``."""

    __slots__ = ("features",)

    def __init__(self, features: Features) -> None:
        self.features = features

    def __repr__(self) -> str:
        return f"Worse({self.features!r})"


Sample = tuple[Features, Written | Worse] | tuple[Features, Written | Worse, float]

# Samples are packed and decoded in pieces of this size, so that a long list costs little more than
# its columns.
_PIECE_BYTES = 2 * 2**20


class Decoder(ColumnsDecoder, Protocol):
    """A kernel, as far as it is needed here."""

    def decode(
        self,
        body: bytes,
        limits: Limits,
        *,
        labelled: bool,
        extractor: Any = None,
        most_made: int = PIECE_FEATURES,
        pairs: bool = False,
    ) -> Decoded: ...


def learn_batches(
    samples: Iterable[Sample], kernel: Decoder, limits: Limits, extractor: Any = None
) -> Iterator[Decoded]:
    """``(features, label)`` or ``(features, label, importance)`` in batches of bounded size.

    Where records have made many features they come as Pieces, so that a list of all the batches
    takes little more memory than the samples.

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

    refuse_unlabelled(samples)
    packer = Packer(extractor is None or extractor.reads_text)
    room = PIECE_FEATURES
    for start, body in bodies(samples, pack, limits):
        try:
            batch = kernel.decode(body, limits, labelled=True, extractor=extractor, most_made=room)
        except SampleError as error:
            raise moved(error, start) from None
        room = 0 if isinstance(batch, Pieces) else max(room - int(batch.indptr[-1]), 0)
        yield batch


def predict_batches(
    samples: Iterable[Features], kernel: Decoder, limits: Limits, extractor: Any = None
) -> Iterator[Decoded]:
    """Samples to score, each an iterable of names or a mapping, in batches of bounded size.

    Raises as `learn_batches` does.
    """
    packer = Packer(extractor is None or extractor.reads_text)
    for start, body in bodies(samples_of(samples), lambda i, s: packer.features(s, (i,)), limits):
        try:
            yield kernel.decode(body, limits, labelled=False, extractor=extractor)
        except SampleError as error:
            raise type(error)(error.message, moved_by(error.path, start)) from None


def rows_to_score(
    given: Any, kernel: Decoder, limits: Limits, extractor: Any = None
) -> Iterator[Decoded]:
    """Samples, a matrix or a frame as rows to score; `onlinesvm.data.rows` has the rule.

    Raises as `learn_batches` and `columns_of` do.
    """
    if is_matrix(given):
        bounds = Bounds.of(limits, labelled=False)
        yield rows_of_columns(columns_of(given, limits, bounds), kernel)
    else:
        yield from predict_batches(given, kernel, limits, extractor)


def labelled_batches(
    given: Any, y: Any, sample_weight: Any, kernel: Decoder, limits: Limits, extractor: Any = None
) -> Iterator[Decoded]:
    """The rows of a frame, or samples, with their labels and importances, [n] or [n, 1] each.

    Raises as `learn_batches` does; the error's root is X, y or sample_weight. Raises ValueError for
    another number of labels than of rows.
    """
    rows = given if hasattr(given, "__len__") else list(samples_of(given))
    labels = label_column(y, len(rows)).tolist()
    if sample_weight is None:
        samples: Iterable[Any] = zip(samples_of(rows), labels, strict=True)
    else:
        importances = _column("sample_weight", sample_weight, len(rows))
        samples = zip(samples_of(rows), labels, importances, strict=True)
    with of_columns():
        yield from learn_batches(samples, kernel, limits, extractor)


@contextlib.contextmanager
def of_columns() -> Iterator[None]:
    """Name X, y or sample_weight in an error that leads into samples of them."""
    try:
        yield
    except SampleError as error:
        if error.root != "$" or len(error.path) < 2 or error.path[1] not in (0, 1, 2):
            raise
        root = ("X", "y", "sample_weight")[int(error.path[1])]
        raise type(error)(error.message, (error.path[0], *error.path[2:]), root) from None


def _column(name: str, values: Any, n: int) -> list[Any]:
    given = np.asarray(values)
    if given.shape not in ((n,), (n, 1)):
        raise ValueError(f"{name}: expected shape ({n},) or ({n}, 1), one a row, got {given.shape}")
    column: list[Any] = given.reshape(-1).tolist()
    return column


def refuse_unlabelled(samples: Any) -> None:
    """Raise TypeError for a matrix, a frame or an array of numbers, which have no labels, and for
    anything that cannot be iterated.
    """
    array = array_of(samples)
    if is_rows(samples) or (array is not None and array.dtype.kind != "O"):
        raise TypeError(
            "expected samples (features, label), got a"
            f" {type(samples).__name__} of shape {tuple(samples.shape)}: learn a matrix or frame"
            " with its labels by OnlineSVM.partial_fit(X, y)"
        )
    if not hasattr(samples, "__iter__") and not hasattr(samples, "__getitem__"):
        raise TypeError(
            f"expected an iterable of samples (features, label), got {type(samples).__name__}"
        )


def one_to_learn(
    features: Features,
    label: Written | Worse,
    importance: float,
    kernel: Decoder,
    limits: Limits,
    extractor: Any = None,
) -> BatchColumns:
    """One sample to learn. Raises as `learn_batches` does."""
    try:
        body = pack_array(
            [Packer(extractor is None or extractor.reads_text).sample(features, label, importance)]
        )
    except SampleError as error:
        raise type(error)(error.message, error.path[1:], alone=True) from None
    try:
        return alone_in(kernel.decode(body, limits, labelled=True, extractor=extractor))
    except SampleError as error:
        raise alone(error) from None


def alone(error: SampleError) -> SampleError:
    """An error in a batch of one sample as one in that sample."""
    return type(error)(error.message, _features_first(error.path)[1:], alone=True)


def one_to_predict(
    features: Features, kernel: Decoder, limits: Limits, extractor: Any = None
) -> BatchColumns:
    """One sample to score. Raises as `learn_batches` does."""
    return one_decoded(one_packed(features, extractor), kernel, limits, extractor)


def one_packed(features: Features, extractor: Any = None) -> bytes:
    """The body of a predict request of one sample. Raises as `learn_batches` does."""
    try:
        return pack_array([Packer(extractor is None or extractor.reads_text).features(features)])
    except SampleError as error:
        raise type(error)(error.message, error.path, alone=True) from None


def one_decoded(
    body: bytes, kernel: Decoder, limits: Limits, extractor: Any = None
) -> BatchColumns:
    """The sample of `one_packed`. Raises as `learn_batches` does."""
    try:
        return alone_in(kernel.decode(body, limits, labelled=False, extractor=extractor))
    except SampleError as error:
        raise type(error)(error.message, error.path[1:], alone=True) from None


def alone_in(batch: Decoded) -> BatchColumns:
    """A batch of one sample, which is never in pieces."""
    assert not isinstance(batch, Pieces)
    return batch


def bodies(
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
    return type(error)(error.message, moved_by(_features_first(error.path), start))


def _features_first(path: Path) -> Path:
    """A path into wire samples (label first) as one into Python samples (features first)."""
    if len(path) < 2 or path[1] not in (0, 1):
        return path
    return (path[0], 1 - int(path[1]), *path[2:])


def moved_by(path: Path, start: int) -> Path:
    """A path into a piece as one into the whole."""
    return (int(path[0]) + start, *path[1:]) if path else path


_PLAIN_NUMBERS = (float, int)
_NUMBERS = (int, float, np.number)


def _plain(value: object) -> object:
    """NumPy's scalars as Python's; msgpack calls this for what it does not know."""
    if isinstance(value, np.bool_ | np.integer | np.floating) and value.dtype.kind in "biuf":
        return float(value) if isinstance(value, np.longdouble) else value.item()
    if isinstance(value, int):
        raise OverflowError  # beyond 64 bits
    raise TypeError(f"expected text, bytes or a number, got {type(value).__name__}")


class Packer:
    """Packs Python samples as the wire has them: features in any iterable or mapping, or a text,
    unless the model reads none.
    """

    def __init__(self, reads_text: bool = True) -> None:
        self._reads_text = reads_text
        # surrogateescape: the names that the views show can be given back as they are.
        self._pack = msgpack.Packer(default=_plain, unicode_errors="surrogateescape").pack

    def features(self, features: Features, path: tuple[int, ...] = ()) -> bytes:
        """`features` packed. `path` is for the message of the TypeError or SampleError."""
        return self._packed(self._container(features, path), path)

    def sample(
        self, features: Features, label: Written | Worse, importance: float = 1, index: int = 0
    ) -> bytes:
        """``[label, features(, importance)]`` packed; `index` is for the message of an error."""
        if type(label) is Worse:
            return self.pair(features, label, importance, index)
        body: object = features
        kind = type(features)
        is_names = kind is list and (not features or type(features[0]) is str)  # type: ignore[index]
        if not is_names and kind is not dict:
            body = self._container(features, (index, 0))
        if importance == 1 and type(importance) in _PLAIN_NUMBERS:
            sample: tuple[object, ...] = (label, body)
        else:
            sample = (label, body, importance)
        try:  # nearly every sample needs no second look
            packed: bytes = self._pack(sample)
        except (OverflowError, TypeError, ValueError):
            packed = self._packed(sample, (index,))
        return packed

    def pair(
        self, better: Features, worse: Features | Worse, importance: float = 1, index: int = 0
    ) -> bytes:
        """``[better, worse(, importance)]`` packed; `index` is for the message of an error."""
        if isinstance(worse, Worse):
            worse = worse.features
        items = self.features(better, (index, 0)), self.features(worse, (index, 1))
        if importance == 1 and type(importance) in _PLAIN_NUMBERS:
            return b"".join((b"\x92", *items))
        return b"".join((b"\x93", *items, self._packed(importance, (index, 2))))

    def _container(self, features: Features, path: tuple[int, ...]) -> object:
        if self._reads_text and isinstance(features, str):
            return str(features)
        return _as_container(features, path)

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
    """`features` as msgpack takes it. Raises TypeError for a bare str or bytes,
    for an array of numbers and for numbers alone.
    """
    kind = type(features)
    if kind is dict:
        return features
    if kind is list:
        return _names(features, path)
    if kind is tuple:
        return _names(list(features), path)
    if isinstance(features, str | bytes | bytearray | memoryview):
        raise TypeError(
            "expected features as an iterable of names or a mapping from name to value, got a bare"
            f" {kind.__name__} at {format_path(path)} (its letters would be learned; use a list)"
        )
    if isinstance(features, Mapping):
        return dict(features)
    if is_rows(features):
        return one_row(features, path)
    if (texts := names_of_array(features, path)) is not None:
        return _names(texts, path)
    try:
        names = iter(features)
    except TypeError:
        hint = f" ({TWO_WAYS})" if isinstance(features, _NUMBERS) else ""
        raise TypeError(
            "expected features as an iterable of names or a mapping from name to value, got"
            f" {kind.__name__} at {format_path(path)}{hint}"
        ) from None
    return _names(list(names), path)


def _names(names: list[Any], path: tuple[int, ...]) -> list[Any]:
    """`names`. Raises TypeError where all are numbers: they could be meant as a matrix's row."""
    if not names or type(names[0]) is str:
        return names
    if all(isinstance(x, _NUMBERS) and not isinstance(x, bool) for x in names):
        raise TypeError(
            "expected features as an iterable of names or a mapping from name to value, got numbers"
            f" alone at {format_path(path)} ({TWO_WAYS})"
        )
    return names


def _narrow(value: Any, path: Path) -> Any:
    """`value` with integers beyond 64 bits as floats where a number may stand; names may not.

    A tuple is a sample, a list its names, a mapping its features. Raises SampleError.
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
        return {name: _narrow(x, (*path, _key(name))) for name, x in value.items()}
    if isinstance(value, list):
        for i, name in enumerate(value):
            _check_name(name, (*path, i))
        return value
    if isinstance(value, tuple):
        label, *parts = value
        if isinstance(label, int) and not -(2**63) <= label < 2**64:
            label = b"%d" % label
        # As users have it: the features, the label, the importance.
        places = zip((0, 2), parts, strict=False)
        return (label, *(_narrow(part, (*path, place)) for place, part in places))
    return value


def _key(name: object) -> bytes:
    """A name as a step of a path."""
    return name if isinstance(name, bytes) else str(name).encode("utf-8", "surrogateescape")


def _check_name(name: object, path: Path) -> None:
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
