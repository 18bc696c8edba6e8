"""Snapshot files that come and go in pieces, and models that are created from one or from another.

A piece has a checksum of its own; the file's are checked when a model is made of it. An upload lies
in the state folder until then, in ``uploads/``, and is gone after a minute without a piece.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from onlinesvm.errors import SnapshotError
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import Reply, Request, RequestError
from onlinesvm.service.server.answer import created
from onlinesvm.service.server.leader import Leader, exists
from onlinesvm.service.server.plan import Fatal
from onlinesvm.service.server.registry import Registry
from onlinesvm.service.storage.posix import make_private, open_regular
from onlinesvm.service.storage.snapshots import ORIGIN, model_folder, snapshot_name
from onlinesvm.service.storage.state_dir import UPLOADS
from onlinesvm.snapshot import reader, writer
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.snapshot.writer import sync_folder
from onlinesvm.svm import OnlineSVM

__all__ = ["PIECE_BYTES", "Transfers", "piece_of"]

log = logging.getLogger(__name__)

PIECE_BYTES = 2**20
_MAX_UPLOADS = 4
_MAX_CREATIONS = 16
_IDLE_S = 60.0


@dataclass(slots=True)
class _Upload:
    """A file that comes in pieces: its path, its size, the bytes so far, when the last came."""

    path: Path
    size: int
    received: int
    at: float


class _Made(NamedTuple):
    """A model made of a file, which lies in the folder of its name, and the file's digest."""

    model: OnlineSVM
    digest: str


@dataclass(slots=True)
class _Creation:
    """A creation that is under way beside the loop."""

    request: Request
    made: Future[_Made]
    answer: Future[Reply]


class Transfers:
    """Uploads, fetches and creations from a file or a model. Owned by the loop's thread.

    wake: called from the worker when a creation can go on.
    """

    def __init__(
        self, state: Path, registry: Registry, leader: Leader, wake: Callable[[], None]
    ) -> None:
        self._state = state
        self._registry = registry
        self._leader = leader
        self._wake = wake
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-files")
        self._uploads: dict[bytes, _Upload] = {}
        self._creations: dict[str, _Creation] = {}  # by the name of the new model

    # Uploads.

    def upload(self, request: Request) -> dict[str, Any]:
        """Take a piece of a file; the keys of the reply. Raises RequestError."""
        options = request.options
        piece = _bytes_of(request)
        if zlib.crc32(piece) != options["checksum"]:
            raise RequestError(
                "BAD_REQUEST",
                f"expected a piece of checksum {options['checksum']}, got {zlib.crc32(piece)}",
                None, request.id,
            )  # fmt: skip
        name = options["upload"]
        if name is None:
            name = self._begin(request)
        upload = self._uploads.get(name)
        if upload is None:
            raise RequestError("BAD_REQUEST", "expected an upload under way", None, request.id)
        expected = upload.received, upload.size
        if (options["offset"], options["size"]) != expected or not piece:
            raise RequestError(
                "BAD_REQUEST",
                f"expected a piece at {expected[0]} of {expected[1]} bytes, got {len(piece)} bytes"
                f" at {options['offset']} of {options['size']}",
                None, request.id,
            )  # fmt: skip
        if upload.received + len(piece) > upload.size:
            raise RequestError(
                "TOO_LARGE", f"expected a file of {upload.size} bytes, got more", None, request.id
            )
        try:
            with open(upload.path, "ab") as file:
                file.write(piece)
        except OSError as error:
            self._forget(name)
            text = f"the upload cannot be written: {error.strerror or error}"
            raise RequestError("NOT_DURABLE", text, None, request.id) from None
        upload.received += len(piece)
        upload.at = time.monotonic()
        return {"upload": name, "received": upload.received}

    def _begin(self, request: Request) -> bytes:
        options = request.options
        if options["offset"]:
            raise RequestError("BAD_REQUEST", "expected a first piece at 0", None, request.id)
        if len(self._uploads) >= _MAX_UPLOADS:
            raise RequestError(
                "BUSY", f"expected at most {_MAX_UPLOADS} uploads at a time, got one more", None,
                request.id, retry_after_s=1.0,
            )  # fmt: skip
        folder = self._state / UPLOADS
        name = os.urandom(16)
        path = folder / f"{name.hex()}.msgpack"
        try:
            free = shutil.disk_usage(self._state).free
            if options["size"] > free:
                raise RequestError(
                    "TOO_LARGE",
                    f"expected a file of at most {free} bytes, which are free, got"
                    f" {options['size']}",
                    None, request.id,
                )  # fmt: skip
            make_private(folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(path, flags, 0o600))
        except OSError as error:
            text = f"the upload cannot be written: {error.strerror or error}"
            raise RequestError("NOT_DURABLE", text, None, request.id) from None
        self._uploads[name] = _Upload(path, options["size"], 0, time.monotonic())
        return name

    def _forget(self, name: bytes) -> None:
        upload = self._uploads.pop(name)
        with contextlib.suppress(OSError):
            upload.path.unlink()

    # Fetches.

    def fetch(self, request: Request) -> Future[Reply]:
        """A piece of a snapshot file, read beside the loop. Raises RequestError."""
        self._registry.get(request.model, request.id)
        answer: Future[Reply] = Future()

        def done(read: Future[tuple[dict[str, Any], bytes]]) -> None:
            if read.cancelled():
                answer.set_exception(_stopping(request))
            elif (error := read.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(Reply(*read.result()))
            self._wake()

        self._worker.submit(piece_of, self._state, request).add_done_callback(done)
        return answer

    # Creations.

    def create(self, request: Request) -> Future[Reply]:
        """Create a model from an upload or from another model. Raises RequestError."""
        name, options = request.model, request.options
        if name in self._registry or name in self._creations:
            raise exists(request)
        self._leader.expect_room(request)
        if len(self._creations) >= _MAX_CREATIONS:
            raise RequestError(
                "BUSY", f"expected at most {_MAX_CREATIONS} creations at a time, got one more",
                None, request.id, retry_after_s=1.0,
            )  # fmt: skip
        work: Callable[[], _Made]
        if options["upload"] is not None:
            upload = self._uploads.get(options["upload"])
            if upload is None or upload.received != upload.size:
                raise RequestError("BAD_REQUEST", "expected a whole upload", None, request.id)
            path = upload.path
            del self._uploads[options["upload"]]
            work = lambda: self._of_file(name, path)  # noqa: E731
        else:
            view = self._registry.get(options["copy_of"], request.id).model.view()
            work = lambda: self._of_snapshot(name, view.snapshot())  # noqa: E731
        creation = _Creation(request, self._worker.submit(work), Future())
        self._creations[name] = creation
        creation.made.add_done_callback(lambda _: self._wake())
        return creation.answer

    def _of_file(self, name: str, path: Path) -> _Made:
        """Move an upload to where its model's files lie. Runs on the worker."""
        try:
            taken = reader.read(path)
            model = OnlineSVM.from_snapshot(taken)
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            folder = self._folder(name)
            os.replace(path, folder / ORIGIN)
            sync_folder(os.fspath(folder))
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        return _Made(model, taken.digest())

    def _of_snapshot(self, name: str, taken: Snapshot) -> _Made:
        """Write a copy of a model where its own files will lie. Runs on the worker."""
        saved = writer.write(self._folder(name) / ORIGIN, taken, OnlineSVM.check_snapshot)
        return _Made(OnlineSVM.from_snapshot(taken), saved.digest)

    def _folder(self, name: str) -> Path:
        folder = model_folder(self._state, name)
        make_private(folder.parent)
        make_private(folder)
        return folder

    # The clock.

    def tick(self, now: float) -> None:
        """Serve the models whose files are there, and forget uploads that do not go on."""
        for token, upload in list(self._uploads.items()):
            if now - upload.at >= _IDLE_S:
                self._forget(token)
        for name, creation in list(self._creations.items()):
            if creation.made.done():
                del self._creations[name]
                self._end(creation)

    def _end(self, creation: _Creation) -> None:
        """Log the creation of a model whose file is durable, and serve it."""
        request = creation.request
        try:
            if request.model in self._registry:  # by its first sample, meanwhile
                raise exists(request)
            made = creation.made.result()
            if not (model_folder(self._state, request.model) / ORIGIN).exists():
                raise exists(request)  # meanwhile, and its folder was dropped with the file in it
            origin = made.model, made.digest
            change = self._leader.creation(request, made.model.config, None, origin)
            self._leader.create(change)
            creation.answer.set_result(Reply(created(change.carry_out())))
        except Fatal:
            raise
        except Exception as error:
            self._discard(request.model)
            creation.answer.set_exception(_error_of(error, request))

    def _discard(self, name: str) -> None:
        """Remove the file of a model that was not created."""
        folder = model_folder(self._state, name)
        with contextlib.suppress(OSError):
            (folder / ORIGIN).unlink()
        with contextlib.suppress(OSError):  # it has snapshots of a model that has come meanwhile
            folder.rmdir()

    def close(self) -> None:
        """End the worker; what is under way is refused."""
        self._worker.shutdown(cancel_futures=True)
        for creation in self._creations.values():
            creation.answer.set_exception(_stopping(creation.request))
        self._creations.clear()
        for upload in list(self._uploads):
            self._forget(upload)


def _stopping(request: Request) -> RequestError:
    """The error of a request that the stop of the daemon comes before."""
    return RequestError("BUSY", "the daemon stops", None, request.id)


def _error_of(error: Exception, request: Request) -> Exception:
    """The error that answers a creation."""
    if isinstance(error, NotDurable):
        text = f"{error}; the model was not created"
        return RequestError("NOT_DURABLE", text, None, request.id)
    if isinstance(error, SnapshotError):
        return RequestError("BAD_REQUEST", str(error), None, request.id)
    if isinstance(error, OSError):
        text = f"the file cannot be written: {error.strerror or error}"
        return RequestError("NOT_DURABLE", text, None, request.id)
    return error


def _bytes_of(request: Request) -> bytes:
    """The bytes in the body of an upload. Raises RequestError."""
    try:
        piece = msgpack.unpackb(request.body, max_bin_len=PIECE_BYTES, max_ext_len=0)
    except (msgpack.UnpackException, ValueError, TypeError):
        piece = None
    if not isinstance(piece, bytes):
        raise RequestError(
            "BAD_REQUEST", f"expected a body of one bin of at most {PIECE_BYTES} bytes", None,
            request.id,
        )  # fmt: skip
    return piece


def piece_of(state: Path, request: Request) -> tuple[dict[str, Any], bytes]:
    """A piece of a model's snapshot file: the keys and the body of the reply.

    Raises RequestError where the file is not there any more.
    """
    path = model_folder(state, request.model) / snapshot_name(request.options["lsn"])
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(request.options["offset"], size))
            piece = file.read(PIECE_BYTES)
    except OSError as error:
        raise RequestError(
            "BAD_REQUEST", f"{path}: {error.strerror or error}; ask for a snapshot first", None,
            request.id,
        ) from None  # fmt: skip
    return {"size": size, "checksum": zlib.crc32(piece)}, msgpack.packb(piece)
