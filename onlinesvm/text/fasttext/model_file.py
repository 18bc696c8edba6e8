"""fastText's ``.bin`` file, memory-mapped and checked from its first byte to its last.

All numbers are little-endian. Versions 11 and 12, as fastText 0.9.2 writes and reads them.

    ==========  =========================================================================
    i32 i32     magic 793712314, version
    12 × i32    dim ws epoch minCount neg wordNgrams loss model bucket minn maxn
                lrUpdateRate
    f64         t
    i32 × 3     entries, words, labels
    i64 × 2     tokens seen in training; pruned n-grams kept, −1 where none were dropped
    entries     bytes up to a NUL, i64 count, i8 kind (0 word, 1 label); words first
    pruned      i32 bucket, i32 row after those of the words
    u8 matrix   1 where it is quantized; the input matrix: one row a word, then the buckets'
    u8 matrix   1 where it is quantized (if the input is, too); the output matrix
    ==========  =========================================================================

    dense       i64 rows, i64 dim, f32[rows · dim]
    quantized   u8 qnorm, i64 rows, i64 dim, i32 size, u8[size] codes, codebook;
                with qnorm: u8[rows] codes, codebook of dim 1
    codebook    i32 dim, i32 parts, i32 width, i32 width of the last part, f32[dim · 256]

Every size is compared with the rest of the file before memory is taken, so that opening takes
at most about 20 times the bytes that the words take in the file. The file must not be changed while
it is open.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from onlinesvm.errors import VectorFileError, format_kind, format_text
from onlinesvm.text.fasttext.matrices import CENTROIDS, Codebook, Dense, Matrix, Quantized

__all__ = ["SUPERVISED", "Arguments", "ModelFile", "open_model"]

_MAGIC = 793712314
_VERSIONS = (11, 12)
SUPERVISED = 3
_MAX_WORD_BYTES = 65_536
_MAX_GRAM = 64  # code points, and words; fastText's defaults are 6 and 1
_LEAST_ENTRY_BYTES = 10  # the NUL, the count, the kind


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parameters of training that say how words become rows."""

    dim: int
    word_grams: int
    model: int
    buckets: int
    least_gram: int
    most_gram: int


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that has been checked.

    ids: word → row. labels: label → row of the output. pruned: bucket → row after those of the
    words, None where nothing was pruned.
    """

    arguments: Arguments
    ids: dict[bytes, int]
    labels: dict[bytes, int]
    pruned: dict[int, int] | None
    input: Matrix
    output: Matrix

    @property
    def words(self) -> int:
        """Rows of words; those of buckets follow."""
        return len(self.ids)


def open_model(path: str | os.PathLike[str]) -> ModelFile:
    """The model in the file at `path`, mapped for as long as the result is held.

    Raises OSError if it cannot be opened, VectorFileError if it is not a whole file of a version
    known here.
    """
    path = os.fspath(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait for its other end for ever
            raise VectorFileError(
                f"{path}: expected a regular file, got {format_kind(status.st_mode)}"
            )
        if status.st_size == 0:  # cannot be mapped
            raise VectorFileError(f"{path}: expected a fastText .bin file, got an empty file")
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    return _Reader(path, mapped).model()


class _Reader:
    """Walks one mapped file. `_at` is the offset of the next byte."""

    def __init__(self, path: str, mapped: mmap.mmap) -> None:
        self._path = path
        self._map = mapped
        self._size = len(mapped)
        self._at = 0

    def _refuse(self, message: str, at: int) -> NoReturn:
        raise VectorFileError(f"{self._path}: {message}, at byte {at}")

    def _expect(self, ok: bool, expected: str, got: object, at: int) -> None:
        if not ok:
            self._refuse(f"expected {expected}, got {got}", at)

    def _need(self, size: int, what: str) -> int:
        """The offset of the next `size` bytes, which are there; steps over them."""
        at = self._at
        left = self._size - at
        self._expect(size <= left, f"{what} of {size} bytes", f"{left} bytes to the end", at)
        self._at = at + size
        return at

    def _numbers(self, form: str, what: str) -> tuple[Any, ...]:
        at = self._need(struct.calcsize("<" + form), what)
        return struct.unpack_from("<" + form, self._map, at)

    def _array(self, dtype: str, count: int, what: str) -> NDArray[Any]:
        kind = np.dtype(dtype)
        at = self._need(count * kind.itemsize, what)
        return np.frombuffer(self._map, kind, count, at)

    def _flag(self, what: str) -> bool:
        at = self._at
        (flag,) = self._numbers("B", what)
        self._expect(flag in (0, 1), f"{what} to be 0 or 1", flag, at)
        return bool(flag)

    def model(self) -> ModelFile:
        magic, version = self._numbers("ii", "a fastText .bin file's head")
        self._expect(magic == _MAGIC, f"a fastText .bin file (magic {_MAGIC})", magic, 0)
        self._expect(version in _VERSIONS, "version 11 or 12", version, 4)
        arguments = self._arguments(version)
        ids, labels, kept, kept_at = self._dictionary(arguments)
        quantized = self._flag("the mark of a quantized input")
        self._expect(
            quantized or kept is None,
            "a quantized input where n-grams are pruned",
            "a dense one",
            self._at - 1,
        )
        rows_at = self._at
        inputs = self._matrix(quantized, arguments.dim, "the input matrix")
        by_gram = arguments.most_gram > 0 or arguments.word_grams > 1
        buckets = arguments.buckets if by_gram and kept is None else 0
        needed = len(ids) + buckets
        self._expect(
            len(inputs) >= needed,
            f"at least {needed} rows for {len(ids)} words and {buckets} buckets",
            len(inputs),
            rows_at,
        )
        pruned = self._pruned(kept, kept_at, arguments, len(inputs) - len(ids))
        quantized_output = self._flag("the mark of a quantized output")
        output = self._matrix(quantized and quantized_output, arguments.dim, "the output matrix")
        self._expect(
            self._at == self._size, "the end of the file", f"{self._size - self._at} bytes more",
            self._at,
        )  # fmt: skip
        return ModelFile(arguments, ids, labels, pruned, inputs, output)

    def _arguments(self, version: int) -> Arguments:
        at = self._at
        numbers = self._numbers("12id", "the arguments")
        names = ("dim", "ws", "epoch", "minCount", "neg", "wordNgrams", "loss", "model", "bucket",
                 "minn", "maxn", "lrUpdateRate")  # fmt: skip
        given = dict(zip(names, numbers, strict=False))
        most = 2**31 - 1
        for name, low, high in (
            ("dim", 1, most), ("wordNgrams", 0, _MAX_GRAM), ("loss", 1, 4),
            ("model", 1, SUPERVISED), ("bucket", 0, most), ("minn", 0, most),
            ("maxn", 0, _MAX_GRAM),
        ):  # fmt: skip
            self._expect(
                low <= given[name] <= high,
                f"{name} from {low} to {high}",
                given[name],
                at + 4 * names.index(name),
            )
        if version == 11 and given["model"] == SUPERVISED:
            given["maxn"] = 0  # these were trained without character n-grams
        by_gram = given["maxn"] > 0 or given["wordNgrams"] > 1
        self._expect(
            given["bucket"] > 0 or not by_gram,
            "a bucket of 1 or more for n-grams",
            given["bucket"],
            at + 4 * names.index("bucket"),
        )
        return Arguments(
            given["dim"], given["wordNgrams"], given["model"], given["bucket"], given["minn"],
            given["maxn"],
        )  # fmt: skip

    def _dictionary(
        self, arguments: Arguments
    ) -> tuple[dict[bytes, int], dict[bytes, int], NDArray[np.int32] | None, int]:
        """Words, labels, the pruned n-grams that were kept, and where these begin."""
        at = self._at
        size, words, labels, _, kept = self._numbers("iiiqq", "the dictionary's sizes")
        self._expect(words >= 1, "at least 1 word", words, at + 4)
        self._expect(labels >= 0, "0 labels or more", labels, at + 8)
        self._expect(size == words + labels, f"{words + labels} entries", size, at)
        self._expect(kept >= -1, "-1 or more pruned n-grams", kept, at + 20)
        left = self._size - self._at
        self._expect(
            size * _LEAST_ENTRY_BYTES + max(kept, 0) * 8 <= left,
            f"{size} entries and {max(kept, 0)} pruned n-grams",
            f"{left} bytes to the end",
            at,
        )
        names = self._entries(words, labels)
        ids = {name: row for row, name in enumerate(names[:words])}
        label_ids = {name: row for row, name in enumerate(names[words:])}
        self._expect(len(ids) == words, f"{words} different words", len(ids), at)
        self._expect(len(label_ids) == labels, f"{labels} different labels", len(label_ids), at)
        kept_at = self._at
        if kept < 0:
            return ids, label_ids, None, kept_at
        pairs = self._array("<i4", 2 * kept, "the pruned n-grams").reshape(kept, 2)
        return ids, label_ids, pairs, kept_at

    def _entries(self, words: int, labels: int) -> list[bytes]:
        names = []
        entry = struct.Struct("<xqb")  # the NUL, the count, the kind
        find, unpack, size = self._map.find, entry.unpack_from, self._size
        at = self._at
        for i in range(words + labels):
            end = find(b"\0", at, at + _MAX_WORD_BYTES + 1)
            if end < 0:
                self._refuse(
                    f"expected a word of at most {_MAX_WORD_BYTES} bytes and a NUL, got none", at
                )
            if end + entry.size > size:
                self._refuse("expected a word's count and kind, got the end of the file", end)
            kind = unpack(self._map, end)[1]
            if kind != (i >= words):
                expected = "a word (kind 0)" if i < words else "a label (kind 1)"
                name = format_text(self._map[at:end])
                self._refuse(f"expected {expected}, got {name} of kind {kind}", at)
            names.append(self._map[at:end])
            at = end + entry.size
        self._at = at
        return names

    def _pruned(
        self, kept: NDArray[np.int32] | None, at: int, arguments: Arguments, rows: int
    ) -> dict[int, int] | None:
        """Bucket → row after those of the words, of which there are `rows`."""
        if kept is None:
            return None
        for column, high in ((0, arguments.buckets), (1, rows)):
            numbers = kept[:, column]
            bad = np.flatnonzero((numbers < 0) | (numbers >= high))
            if len(bad):
                what = "buckets" if column == 0 else "rows"
                self._refuse(
                    f"expected pruned n-grams with {what} from 0 to {high - 1}, got"
                    f" {numbers[bad[0]]}",
                    at + 8 * int(bad[0]) + 4 * column,
                )
        return dict(kept.tolist())

    def _matrix(self, quantized: bool, dim: int, what: str) -> Matrix:
        return self._quantized(dim, what) if quantized else self._dense(dim, what)

    def _shape(self, dim: int, what: str) -> int:
        """The rows of a matrix of `dim` columns."""
        at = self._at
        rows, columns = self._numbers("qq", f"{what}'s shape")
        self._expect(rows >= 0, f"{what} of 0 rows or more", rows, at)
        self._expect(columns == dim, f"{what} of {dim} columns", columns, at + 8)
        return int(rows)

    def _dense(self, dim: int, what: str) -> Dense:
        rows = self._shape(dim, what)
        return Dense(self._array("<f4", rows * dim, what).reshape(rows, dim))

    def _quantized(self, dim: int, what: str) -> Quantized:
        with_norms = self._flag(f"{what}'s mark of norms")
        rows = self._shape(dim, what)
        at = self._at
        (size,) = self._numbers("i", f"{what}'s size")
        self._expect(size >= 0, f"{what} of 0 bytes or more", size, at)
        codes = self._array("u1", size, what)
        book = self._codebook(dim, what)
        self._expect(size == rows * book.parts, f"{what} of {rows * book.parts} codes", size, at)
        codes = codes.reshape(rows, book.parts)
        if not with_norms:
            return Quantized(codes, book)
        norms = self._array("u1", rows, f"{what}'s norms")
        return Quantized(codes, book, norms, self._codebook(1, f"{what}'s norms"))

    def _codebook(self, dim: int, what: str) -> Codebook:
        at = self._at
        got = self._numbers("4i", f"{what}'s codebook")
        width = got[2]
        self._expect(1 <= width <= dim, f"{what}'s parts of 1 to {dim} columns", width, at + 8)
        parts = -(-dim // width)
        wanted = (dim, parts, width, dim - (parts - 1) * width)
        self._expect(
            got == wanted, f"{what}'s codebook of shape {wanted} (dim, parts, widths)", got, at
        )
        return Codebook(dim, width, self._array("<f4", dim * CENTROIDS, f"{what}'s centroids"))
