"""Snapshots read from files: checked before memory is taken, and never half."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LEAST_ROW, MAX_MAGNITUDE, MOST_LABELS, LearnerConfig
from onlinesvm.data.label import label_of
from onlinesvm.errors import ConfigError, SnapshotError, format_kind
from onlinesvm.snapshot.format import (
    CHUNK_BYTES,
    DEFAULT_ROW,
    FORMAT,
    FORMAT_VERSION,
    MAX_POSITION,
    Snapshot,
    bytes_of,
    digested_head,
)
from onlinesvm.snapshot.hashing import hashing

__all__ = ["from_bytes", "read", "read_header", "verify"]

_MAX_HEADER_BYTES = 64 * 2**20
_MAX_HEADER_ARRAY = 1024  # msgpack takes an array's memory when it sees its head
_MAX_HEADER_MAP = 2**20
_MAX_TRAILER_BYTES = 4096
_MAX_FEATURES = 2**31 - 2
_DTYPES = {"<u4": 4, "|u1": 1, "<i4": 4, "<f4": 4, "<f8": 8, "<i8": 8}


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
        unpacker = msgpack.Unpacker(
            self._file,
            read_size=65_536,
            max_buffer_size=_MAX_HEADER_BYTES,
            max_array_len=_MAX_HEADER_ARRAY,
            max_map_len=_MAX_HEADER_MAP,
            max_ext_len=0,
            strict_map_key=True,  # other keys can be made to collide
            ext_hook=_refuse_extension,
        )
        try:
            header = unpacker.unpack()
        except (msgpack.UnpackException, ValueError, TypeError) as error:
            raise self._error(
                f"expected a snapshot's header at byte 0, got none ({error})"
            ) from None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise self._error(f'expected a file of format "{FORMAT}", got another kind of file')
        version = header.get("version")
        if type(version) is not int or version != FORMAT_VERSION:
            newer = isinstance(version, int) and version > FORMAT_VERSION
            hint = "; it was written by a newer onlinesvm" if newer else ""
            raise self._error(f"expected format version {FORMAT_VERSION}, got {version!r}{hint}")
        self._check_header(header)
        self._file.seek(0)
        self._checksum = zlib.crc32(self._file.read(unpacker.tell()))
        return header

    def _check_header(self, header: dict[str, Any]) -> None:
        def expect(ok: bool, what: str, got: object) -> None:
            if not ok:
                raise self._error(f"header: expected {what}, got {str(got)[:60]!r}")

        for key, kind in _HEADER_TYPES.items():
            value = header.get(key)
            expect(
                isinstance(value, kind) and not isinstance(value, bool),
                f"{key} to be {_KIND_NAMES[kind]}",
                value,
            )
        for key, low, high in (
            ("position", 0, MAX_POSITION),
            ("features", 0, _MAX_FEATURES),
            ("max_features", 1, _MAX_FEATURES),
        ):
            expect(low <= header[key] <= high, f"{key} from {low} to {high}", header[key])
        expect(len(header["id"]) == 16, "id of 16 bytes", header["id"])
        bounds = header.setdefault("bounds", None)
        if bounds is not None:
            expect(
                isinstance(bounds, list)
                and list(map(type, bounds)) == [float, float, bool]
                and all(1 <= bound <= MAX_MAGNITUDE for bound in bounds[:2]),
                f"bounds to be 2 float64 from 1 to {MAX_MAGNITUDE:g} and a boolean",
                bounds,
            )
            header["bounds"] = tuple(bounds)
        stored = header["config"]
        try:
            header["config"] = LearnerConfig.from_dict(header["config"])
        except (ConfigError, TypeError) as error:
            raise self._error(f"header: {error}") from None
        most = header.setdefault("max_labels_per_feature", DEFAULT_ROW)
        expect(
            type(most) is int and LEAST_ROW <= most <= MOST_LABELS,
            f"max_labels_per_feature from {LEAST_ROW} to {MOST_LABELS}",
            most,
        )
        is_free = header["config"].task == "multiclass"  # the counts of its arrays are their own
        totals = header["totals"]
        expect(
            len(totals) == 7 and all(type(t) is float and 0 <= t < float("inf") for t in totals),
            "totals to be 7 finite float64",
            totals,
        )
        counters = header["counters"]
        for name, numbers in counters.items():
            finite = isinstance(numbers, list) and all(
                type(number) is float and abs(number) < float("inf") for number in numbers
            )
            expect(isinstance(name, str) and finite, "counters to be finite float64", numbers)
        for name in header["attachments"]:
            expect(isinstance(name, str), "attachments with names as text", name)
        labels = header["labels"]
        for entry in labels:
            known = isinstance(entry, list) and len(entry) == 2 and entry[1] in (-1.0, 1.0)
            expect(known and len(labels) <= 2, "labels to be [label, -1.0 or 1.0] each", entry)
            try:
                label_of(entry[0])
            except (TypeError, ValueError) as error:
                raise self._error(f"header: {error}") from None
        for name, number in header["scalars"].items():
            finite = type(number) is int or (type(number) is float and abs(number) < float("inf"))
            expect(isinstance(name, str) and finite, "scalars to be finite numbers", number)
        for entry in header["arrays"]:
            whole = isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], str)
            expect(whole, "arrays to be [name, dtype, count] each", entry)
            name, dtype, count = entry
            known = isinstance(dtype, str) and dtype in _DTYPES
            expect(known, f"array {name}: a dtype among {', '.join(_DTYPES)}", dtype)
            own = name == "names" or (is_free and name != "lengths")
            wanted = "its count" if own else f"count {header['features']}"
            expect(
                type(count) is int and count >= 0 and (own or count == header["features"]),
                f"array {name}: {wanted}",
                count,
            )
        known_names = [name for name, _, _ in header["arrays"]]
        expect(len(set(known_names)) == len(known_names), "arrays of distinct names", known_names)
        leading = [(name, dtype) for name, dtype, _ in header["arrays"][:2]]
        expect(
            leading == [("lengths", "<u4"), ("names", "|u1")],
            "arrays lengths, names first",
            leading,
        )
        needed = sum(_DTYPES[dtype] * count for _, dtype, count in header["arrays"])
        if needed > self._size:
            raise self._error(f"expected arrays of {needed} bytes, got a file of {self._size}")
        # Of the configuration as the file has it: a parameter that came later is not in its digest.
        self._sha.update(
            digested_head(stored, header["position"], header["scalars"], totals, counters, labels)
        )

    def verify(self) -> tuple[int, str]:
        header = self.header()
        buffer = memoryview(bytearray(CHUNK_BYTES))
        name_bytes = 0
        for name, dtype, count in header["arrays"]:
            width = _DTYPES[dtype]
            unread = width * count
            split = b""  # the first bytes of a number that goes on in the next chunk
            while unread:
                size = self._chunk_size(name)
                self._check_chunk(name, size, min(unread, CHUNK_BYTES))
                chunk = buffer[:size]
                self._fill(name, chunk)
                self._sha.update(chunk)
                unread -= size
                whole = (len(split) + size) // width * width
                joined = split + chunk
                numbers, split = np.frombuffer(joined[:whole], dtype), joined[whole:]
                if name == "lengths":
                    name_bytes += int(numbers.sum(dtype=np.uint64))
                self._check_finite(name, numbers)
        self._check_names(name_bytes, header["arrays"][1][2])
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

    def _check_chunk(self, name: str, size: int, limit: int) -> None:
        if not 0 < size <= limit:
            raise self._error(
                f"array {name}: expected a chunk of 1 to {limit} bytes at byte"
                f" {self._file.tell()}, got one of {size}"
            )

    def _fill(self, name: str, chunk: memoryview) -> None:
        """Read a chunk, and count it in the checksum."""
        if self._file.readinto(chunk) != len(chunk):  # type: ignore[attr-defined]
            raise self._error(f"array {name}: the file ends early, at byte {self._size}")
        self._checksum = zlib.crc32(chunk, self._checksum)

    def snapshot(self) -> Snapshot:
        header = self.header()
        layout = [(name, np.dtype(dtype), count) for name, dtype, count in header["arrays"]]
        size = sum(dtype.itemsize * count for _, dtype, count in layout)
        with hashing(self._sha, size) as hashed:
            arrays = {array[0]: self._array(*array, hashed) for array in layout}
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
            lengths=lengths,
            names=names,
            arrays=arrays,
            attachments=header["attachments"],
        )

    def _array(
        self,
        name: str,
        dtype: np.dtype[Any],
        count: int,
        hashed: Callable[[memoryview], object],
    ) -> NDArray[Any]:
        array = np.empty(count, dtype=dtype)
        raw = bytes_of(array)
        filled = 0
        while filled < len(raw):
            size = self._chunk_size(name)
            self._check_chunk(name, size, len(raw) - filled)
            chunk = raw[filled : filled + size]
            self._fill(name, chunk)
            hashed(chunk)
            filled += size
        return array

    def _chunk_size(self, name: str) -> int:
        """Step over the head of a bin object; its size."""
        at = self._file.tell()
        head = self._file.read(1)
        width = {b"\xc4": 1, b"\xc5": 2, b"\xc6": 4}.get(head)
        if width is None:
            got = f"byte {head.hex()}" if head else "the end of the file"
            raise self._error(f"array {name}: expected a chunk (bin) at byte {at}, got {got}")
        size = self._file.read(width)
        self._checksum = zlib.crc32(head + size, self._checksum)
        return int.from_bytes(size, "big")

    def _check_trailer(self) -> None:
        at = self._file.tell()
        raw = self._file.read(_MAX_TRAILER_BYTES + 1)
        try:
            trailer = msgpack.unpackb(raw, strict_map_key=True, ext_hook=_refuse_extension)
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


def _refuse_extension(code: int, data: bytes) -> object:
    raise ValueError(f"expected no extension types, got one of code {code}")


_HEADER_TYPES: dict[str, type] = {
    "library": str, "kernel": str, "id": bytes, "config": dict, "max_features": int,
    "position": int, "features": int, "scalars": dict, "totals": list, "labels": list,
    "counters": dict, "attachments": dict, "arrays": list, "written_at": float,
}  # fmt: skip
_KIND_NAMES: dict[type, str] = {
    str: "text", dict: "a map", int: "an integer", list: "an array", float: "a float",
    bytes: "bytes",
}  # fmt: skip
