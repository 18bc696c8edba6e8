"""Snapshots written to files: whole and durable, or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import zlib
from typing import BinaryIO, NamedTuple

import msgpack

from onlinesvm.snapshot.format import CHUNK_BYTES, FORMAT, FORMAT_VERSION, Snapshot, bytes_of
from onlinesvm.version import __version__

__all__ = ["Saved", "sync_folder", "write"]

SYNC_BYTES = 32 * 2**20


class Saved(NamedTuple):
    """What was written: path, position, size in bytes, CRC-32 and digest."""

    path: str
    position: int
    size: int
    checksum: int
    digest: str


def write(path: str | os.PathLike[str], snapshot: Snapshot) -> Saved:
    """Write `snapshot` to `path`: whole and durable when this returns, or not there at all.

    Temporary file in the same folder → flush → fsync → rename → fsync of the folder. Raises
    OSError; the temporary file is then removed and an older file at `path` stays as it was.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        with open(descriptor, "wb") as file:
            checksum, digest = _write_stream(file, snapshot)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(folder)
    return Saved(path, snapshot.position, size, checksum, digest)


def sync_folder(folder: str) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_stream(file: BinaryIO, snapshot: Snapshot) -> tuple[int, str]:
    """Write all of `snapshot`; its checksum and digest."""
    arrays = snapshot.all_arrays()
    packer = msgpack.Packer()
    header = packer.pack(
        {
            "format": FORMAT,
            "version": FORMAT_VERSION if snapshot.figures else 1,
            "library": __version__,
            "kernel": snapshot.kernel,
            "written_at": time.time(),
            "config": snapshot.config.as_dict(),
            "max_features": snapshot.max_features,
            "position": snapshot.position,
            "features": len(snapshot.lengths),
            "scalars": snapshot.scalars,
            "totals": snapshot.totals,
            "producers": snapshot.producers,
            **({"labels": snapshot.labels} if snapshot.labels else {}),
            **({"figures": snapshot.figures} if snapshot.figures else {}),
            **({} if snapshot.journal is None else {"journal": snapshot.journal}),
            "arrays": [[name, array.dtype.str, len(array)] for name, array in arrays.items()],
        }
    )
    file.write(header)
    checksum = zlib.crc32(header)
    sha = hashlib.sha256(snapshot.digested_head())
    written = 0
    for array in arrays.values():
        raw = bytes_of(array)
        for start in range(0, len(raw), CHUNK_BYTES):
            chunk = raw[start : start + CHUNK_BYTES]
            head = b"\xc6" + len(chunk).to_bytes(4, "big")
            file.write(head)
            file.write(chunk)
            written += len(head) + len(chunk)
            if written >= SYNC_BYTES:
                # A whole model at once would hold up everybody else's writes for seconds.
                file.flush()
                os.fsync(file.fileno())
                written = 0
            checksum = zlib.crc32(chunk, zlib.crc32(head, checksum))
            sha.update(chunk)
    digest = sha.hexdigest()
    file.write(packer.pack({"checksum": checksum, "digest": digest}))
    return checksum, digest
