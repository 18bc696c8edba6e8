"""Snapshot files sent to a daemon and fetched from it, in pieces. Generators that yield calls, are
sent their answers, and return the outcome.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgpack

from onlinesvm.errors import SnapshotError
from onlinesvm.service.client.calls import Answer, Call, Calls
from onlinesvm.snapshot.reader import verify
from onlinesvm.snapshot.writer import create_beside, sync_folder

__all__ = ["Steps", "fetch", "upload"]

PIECE_BYTES = 2**20

Steps = Generator[Call[Answer], Answer, dict[str, Any]]


def upload(calls: Calls, name: str, path: str | os.PathLike[str]) -> Steps:
    """Create the model `name` from the snapshot file at `path`; the reply to create.

    Raises OSError if it cannot be read, SnapshotError if it is not a whole snapshot.
    """
    verify(path)
    size, offset = os.stat(path).st_size, 0
    token = None
    with open(path, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            keys = {"offset": offset, "size": size, "checksum": zlib.crc32(piece)}
            if token is not None:
                keys["upload"] = token
            header, _ = yield calls.any("upload", msgpack.packb(piece), keys)
            token = header["upload"]
            offset += len(piece)
    created, _ = yield calls.any("create", None, {"model": name, "upload": token})
    return created


def fetch(calls: Calls, path: str | os.PathLike[str]) -> Steps:
    """Have a snapshot written and fetch it to `path`, whole or not at all; the reply to snapshot.

    Raises OSError if it cannot be written, SnapshotError if it comes damaged.
    """
    target = Path(path)
    saved, _ = yield calls.any("snapshot", None, {})
    descriptor, temporary = create_beside(os.fspath(target))
    try:
        with open(descriptor, "wb") as file:
            while file.tell() < saved["size"]:
                keys = {"lsn": saved["lsn"], "offset": file.tell()}
                header, body = yield calls.any("fetch", None, keys)
                piece = msgpack.unpackb(body)
                if not piece or zlib.crc32(piece) != header["checksum"]:
                    raise SnapshotError(f"{path}: a piece came damaged, at {file.tell()}")
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        _, digest = verify(temporary)
        if digest != saved["digest"]:
            raise SnapshotError(f"{path}: expected digest {saved['digest']}, got {digest}")
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(os.fspath(target.parent))
    return {**saved, "path": os.fspath(target)}
