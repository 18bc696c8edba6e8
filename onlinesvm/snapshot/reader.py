"""Snapshots read from files: checked before memory is taken, and never half."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.errors import SnapshotError, format_kind
from onlinesvm.snapshot.format import CHUNK_BYTES, Snapshot, bytes_of, digested_head
from onlinesvm.snapshot.hashing import hashing
from onlinesvm.snapshot.header import (
    check_header,
    check_identity,
    refuse_extension,
    unpack_header,
)

__all__ = ["Head", "from_bytes", "read", "read_head", "read_header", "verify"]

_MAX_TRAILER_BYTES = 4096
_HEAD_BYTES = 8192  # most headers are shorter


class Head(NamedTuple):
    """What a file's header says of whose snapshot it is. size: the file's."""

    id: bytes
    position: int
    attachments: dict[str, Any]
    size: int


def read(path: str | os.PathLike[str]) -> Snapshot:
    """The snapshot in the file at `path`.

    Raises OSError if it cannot be read, SnapshotError if it is not a whole, undamaged snapshot.
    """
    path = os.fspath(path)
    with _open(path) as file:
        return _Reader(path, file).snapshot()


def from_bytes(raw: bytes) -> Snapshot:
    """The snapshot that `raw` is. Raises SnapshotError if it is not whole and undamaged."""
    return _Reader("snapshot", io.BytesIO(raw), len(raw)).snapshot()


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of the file at `path`, its values checked; the rest is not read.

    Raises as `read` does.
    """
    path = os.fspath(path)
    with _open(path) as file:
        return _Reader(path, file).header()


def read_head(path: str | os.PathLike[str]) -> Head:
    """What the header of the file at `path` says of whose snapshot it is; the rest of the header is
    not checked. Takes some ten microseconds. Raises as `read` does.
    """
    path = os.fspath(path)
    with _open(path) as file:
        header, _ = unpack_header(path, file, _HEAD_BYTES)
        check_identity(path, header)
        size = os.fstat(file.fileno()).st_size
    return Head(header["id"], header["position"], header["attachments"], size)


def verify(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Size and digest of the file at `path`, read back from the disk: whole and undamaged.

    Takes the memory of one chunk. Raises as `read` does.
    """
    path = os.fspath(path)
    with _open(path) as file:
        if hasattr(os, "posix_fadvise"):  # the disk is verified, not the page cache
            with contextlib.suppress(OSError):  # not every file system can be asked
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return _Reader(path, file).verify()


def _open(path: str) -> BinaryIO:
    """Open a regular file to be read; opening a pipe would wait for its other end for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise SnapshotError(f"{path}: expected a regular file, got {format_kind(mode)}")
    return open(descriptor, "rb")


class _Reader:
    """Reads one file from start to end, checking sizes before it takes memory."""

    def __init__(self, path: str, file: BinaryIO, size: int | None = None) -> None:
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size if size is None else size
        self._checksum = 0
        self._sha = hashlib.sha256()

    def _error(self, message: str) -> SnapshotError:
        return SnapshotError(f"{self._path}: {message}")

    def header(self) -> dict[str, Any]:
        header, size = unpack_header(self._path, self._file)
        stored = check_header(self._path, header, self._size)
        # Of the configuration as the file has it: a parameter that came later is not in its digest.
        self._sha.update(
            digested_head(
                stored, header["position"], header["scalars"], header["totals"],
                header["counters"], header["labels"], header["categories"], header["prune"],
            )
        )  # fmt: skip
        self._file.seek(0)
        self._checksum = zlib.crc32(self._file.read(size))
        return header

    def verify(self) -> tuple[int, str]:
        header = self.header()
        buffer = memoryview(bytearray(min(CHUNK_BYTES, self._size)))
        name_bytes = 0
        for name, dtype, count in header["arrays"]:
            width = np.dtype(dtype).itemsize
            unread = width * count
            split = b""  # the first bytes of a number that goes on in the next chunk
            while unread:
                size = self._chunk_size(f"array {name}", min(unread, CHUNK_BYTES))
                chunk = buffer[:size]
                self._fill(f"array {name}", chunk)
                self._sha.update(chunk)
                unread -= size
                whole = (len(split) + size) // width * width
                joined = split + chunk
                numbers, split = np.frombuffer(joined[:whole], dtype), joined[whole:]
                if name == "lengths":
                    name_bytes += int(numbers.sum(dtype=np.uint64))
                self._check_finite(name, numbers)
        self._check_names(name_bytes, header["arrays"][1][2])
        for name, unread in header["blobs"]:
            while unread:
                size = self._chunk_size(f"blob {name}", min(unread, CHUNK_BYTES))
                self._fill(f"blob {name}", buffer[:size])
                unread -= size
        self._check_trailer()
        return self._size, self._sha.hexdigest()

    def _check_finite(self, name: str, numbers: NDArray[Any]) -> None:
        if numbers.dtype.kind != "f":
            return
        finite = np.isfinite(numbers)
        if not finite.all():
            got = numbers[finite.argmin()]
            raise self._error(f"array {name}: expected finite numbers, got {got}")

    def _check_names(self, expected: int, got: int) -> None:
        if expected != got:
            raise self._error(f"names: expected {expected} bytes, got {got}")

    def _fill(self, what: str, chunk: memoryview) -> None:
        """Read a chunk, and count it in the checksum."""
        if self._file.readinto(chunk) != len(chunk):  # type: ignore[attr-defined]
            raise self._error(f"{what}: the file ends early, at byte {self._size}")
        self._checksum = zlib.crc32(chunk, self._checksum)

    def snapshot(self) -> Snapshot:
        header = self.header()
        layout = [(name, np.dtype(dtype), count) for name, dtype, count in header["arrays"]]
        size = sum(dtype.itemsize * count for _, dtype, count in layout)
        with hashing(self._sha, size) as hashed:
            arrays = {array[0]: self._array(*array, hashed) for array in layout}
        blobs = {name: self._blob(f"blob {name}", size) for name, size in header["blobs"]}
        self._check_trailer()
        lengths, names = arrays.pop("lengths"), arrays.pop("names")
        self._check_names(int(lengths.sum(dtype=np.uint64)), len(names))
        for name, array in arrays.items():
            self._check_finite(name, array)
        return Snapshot(
            id=header["id"],
            config=header["config"],
            max_features=header["max_features"],
            max_labels_per_feature=header["max_labels_per_feature"],
            bounds=header["bounds"],
            kernel=header["kernel"],
            position=header["position"],
            scalars=header["scalars"],
            totals=header["totals"],
            counters=header["counters"],
            labels=header["labels"],
            categories=header["categories"],
            prune=header["prune"],
            lengths=lengths,
            names=names,
            arrays=arrays,
            attachments=header["attachments"],
            blobs=blobs,
        )

    def _array(
        self,
        name: str,
        dtype: np.dtype[Any],
        count: int,
        hashed: Callable[[memoryview], object],
    ) -> NDArray[Any]:
        array = np.empty(count, dtype=dtype)
        self._read(f"array {name}", bytes_of(array), hashed)
        return array

    def _blob(self, name: str, size: int) -> bytes:
        raw = bytearray(size)
        self._read(f"blob {name}", memoryview(raw), lambda chunk: None)
        return bytes(raw)

    def _read(self, what: str, raw: memoryview, hashed: Callable[[memoryview], object]) -> None:
        filled = 0
        while filled < len(raw):
            size = self._chunk_size(what, len(raw) - filled)
            chunk = raw[filled : filled + size]
            self._fill(what, chunk)
            hashed(chunk)
            filled += size

    def _chunk_size(self, what: str, limit: int) -> int:
        """Step over the head of a bin object of at most `limit` bytes; its size."""
        at = self._file.tell()
        head = self._file.read(1)
        width = {b"\xc4": 1, b"\xc5": 2, b"\xc6": 4}.get(head)
        if width is None:
            got = f"byte {head.hex()}" if head else "the end of the file"
            raise self._error(f"{what}: expected a chunk (bin) at byte {at}, got {got}")
        raw = self._file.read(width)
        self._checksum = zlib.crc32(head + raw, self._checksum)
        size = int.from_bytes(raw, "big")
        if not 0 < size <= limit:
            raise self._error(
                f"{what}: expected a chunk of 1 to {limit} bytes at byte {self._file.tell()},"
                f" got one of {size}"
            )
        return size

    def _check_trailer(self) -> None:
        at = self._file.tell()
        raw = self._file.read(_MAX_TRAILER_BYTES + 1)
        try:
            trailer = msgpack.unpackb(raw, strict_map_key=True, ext_hook=refuse_extension)
        except (msgpack.UnpackException, ValueError, TypeError):
            raise self._error(
                f"expected a trailer and then the end of the file at byte {at}"
            ) from None
        if not isinstance(trailer, dict) or not isinstance(trailer.get("digest"), str):
            raise self._error(f"expected a trailer with checksum and digest at byte {at}")
        if trailer.get("checksum") != self._checksum:
            raise self._error(
                f"the file is damaged: expected checksum {trailer.get('checksum')!r},"
                f" got {self._checksum}"
            )
        if trailer["digest"] != self._sha.hexdigest():
            raise self._error(
                f"the file is damaged: expected digest {trailer['digest'][:64]!r},"
                f" got {self._sha.hexdigest()}"
            )
