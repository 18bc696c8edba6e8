"""Snapshots written to files: whole, durable and read back, or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import time
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import msgpack

from onlinesvm.config import MANY_LABELS, Limits
from onlinesvm.errors import SnapshotError, format_kind
from onlinesvm.snapshot.beside import Beside
from onlinesvm.snapshot.format import CHUNK_BYTES, FORMAT, FORMAT_VERSION, Snapshot, bytes_of
from onlinesvm.snapshot.hashing import hashing
from onlinesvm.snapshot.reader import verify
from onlinesvm.version import __version__

__all__ = ["Saved", "create_beside", "sync_folder", "to_bytes", "write"]

SYNC_BYTES = 32 * 2**20
_THREAD_FEATURES = 2**13


class Saved(NamedTuple):
    """A written file: path, position, size in bytes, CRC-32 and digest."""

    path: str
    position: int
    size: int
    checksum: int
    digest: str


def write(
    path: str | os.PathLike[str], snapshot: Snapshot, check: Callable[[Snapshot], None]
) -> Saved:
    """Write `snapshot` to `path`: durable and read back when this returns, or not there at all.

    `check` raises SnapshotError for a snapshot that makes no model; it runs beside the writing of
    a large one.
    Temporary file in the same folder → flush → fsync → read back → rename → fsync of the folder.
    The file can be read by its owner alone. Raises OSError, SnapshotError; the temporary file is
    then removed and an older file at `path` stays as it was. A device or pipe at `path` is refused,
    as the rename would take its place.
    """
    path = os.fspath(path)
    _check_replaceable(path)
    checked = Beside(lambda: check(snapshot), is_short=len(snapshot.lengths) < _THREAD_FEATURES)
    try:
        descriptor, temporary = create_beside(path)
        try:
            with open(descriptor, "wb") as file:
                checksum, digest = _write_stream(file, snapshot)
                file.flush()
                os.fsync(file.fileno())
            checked.check()
            size, found = verify(temporary)
            if found != digest:
                raise SnapshotError(f"{path}: expected digest {digest} when read back, got {found}")
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    finally:
        checked.wait()
    sync_folder(os.path.dirname(path))
    return Saved(path, snapshot.position, size, checksum, digest)


def _check_replaceable(path: str) -> None:
    """Raise SnapshotError if a device, a pipe or a socket is at `path`."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # the rename refuses a folder
        raise SnapshotError(f"{path}: expected a regular file or none, got {format_kind(mode)}")


def create_beside(path: str) -> tuple[int, str]:
    """A descriptor to write to a new file beside `path`, and the file's hidden, random name.

    Only its owner can read it; no file or link that is there is opened. Raises OSError.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(temporary, flags, 0o600), temporary


def to_bytes(snapshot: Snapshot) -> bytes:
    """The bytes of a snapshot file."""
    file = io.BytesIO()
    _write_stream(file, snapshot)
    return file.getvalue()


def sync_folder(folder: str) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _blobs(snapshot: Snapshot) -> dict[str, list[list[Any]]]:
    sizes = [[name, len(blob)] for name, blob in snapshot.blobs.items()]
    return {"blobs": sizes} if sizes else {}


def _bounds(snapshot: Snapshot) -> dict[str, list[float]]:
    bounds = snapshot.bounds
    is_own = bounds in (None, Limits().under(snapshot.config.rule).bounds)
    return {} if is_own or bounds is None else {"bounds": list(bounds)}


def _row_bound(snapshot: Snapshot) -> dict[str, int]:
    if snapshot.config.task not in MANY_LABELS:
        return {}
    return {"max_labels_per_feature": snapshot.max_labels_per_feature}


def _write_stream(file: BinaryIO, snapshot: Snapshot) -> tuple[int, str]:
    """Write all of `snapshot`; its checksum and digest."""
    arrays = snapshot.all_arrays()
    packer = msgpack.Packer()
    header = packer.pack(
        {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "library": __version__,
            "kernel": snapshot.kernel,
            "written_at": time.time(),
            "id": snapshot.id,
            "config": snapshot.config.as_dict(),
            "max_features": snapshot.max_features,
            **_row_bound(snapshot),
            **_bounds(snapshot),
            **({"categories": snapshot.categories} if snapshot.categories else {}),
            **({} if snapshot.prune is None else {"prune": snapshot.prune}),
            "position": snapshot.position,
            "features": len(snapshot.lengths),
            "scalars": snapshot.scalars,
            "totals": snapshot.totals,
            "labels": snapshot.labels,
            "counters": snapshot.counters,
            "attachments": snapshot.attachments,
            "arrays": [[name, array.dtype.str, len(array)] for name, array in arrays.items()],
            **_blobs(snapshot),
        }
    )
    file.write(header)
    checksum = zlib.crc32(header)
    sha = hashlib.sha256(snapshot.digested_head())
    written = 0

    def put(raw: memoryview, hashed: Callable[[memoryview], object]) -> None:
        nonlocal checksum, written
        for start in range(0, len(raw), CHUNK_BYTES):
            chunk = raw[start : start + CHUNK_BYTES]
            hashed(chunk)
            head = b"\xc6" + len(chunk).to_bytes(4, "big")
            file.write(head)
            file.write(chunk)
            written += len(head) + len(chunk)
            if written >= SYNC_BYTES and not isinstance(file, io.BytesIO):
                # Synced in parts: a whole model at once delays the writes of others for seconds.
                file.flush()
                os.fsync(file.fileno())
                written = 0
            checksum = zlib.crc32(chunk, zlib.crc32(head, checksum))

    with hashing(sha, sum(array.nbytes for array in arrays.values())) as hashed:
        for array in arrays.values():
            put(bytes_of(array), hashed)
    for blob in snapshot.blobs.values():
        put(memoryview(blob), lambda chunk: None)  # they are not part of the digest
    digest = sha.hexdigest()
    file.write(packer.pack({"checksum": checksum, "digest": digest}))
    return checksum, digest
