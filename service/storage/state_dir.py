"""The state folder and its lock.

    state/
      LOCK                                               an flock held while a daemon runs
      log/<lsn, 20 digits>.log                           segments
      log/<lsn, 20 digits>.held                          snapshots hold the log up to there
      models/<name>/snapshot-<lsn, 20 digits>.msgpack    the newest two
      models/<name>/origin.msgpack                       what it was created from, at first
      uploads/                                           files on their way, removed at a start
      ….damaged                                          set aside at a start or by `recover`

Folders are 0700, files 0600; none is opened through a link.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from onlinesvm.service.errors import StateError
from onlinesvm.service.storage.posix import make_private

__all__ = ["UPLOADS", "StateDir"]

UPLOADS = "uploads"


class StateDir:
    """One state folder, held by one process until `close`.

    Raises StateError if it cannot be made or written, or if another process holds it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder)
        self.log = self.path / "log"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            make_private(self.path)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._lock = os.open(self.path / "LOCK", flags, 0o600)
        except OSError as error:
            text = error.strerror or str(error)
            if self.path.exists() and not self.path.is_dir():
                text = "expected a folder, got a file"
            elif isinstance(error, FileExistsError):  # a file where a parent would be
                text = os.strerror(errno.ENOTDIR)
            elif error.errno == errno.ELOOP:
                text = "LOCK: expected a file, got a link"
            raise StateError(f"state folder {folder}: {text}") from None
        try:
            self._hold()
            with self.errors():
                make_private(self.log)
                self._remove_temporary()
        except BaseException:
            self.close()
            raise

    def _hold(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 20).decode("latin-1").strip()
            raise StateError(
                f"state folder {self.path}: another daemon holds it (process {holder or '?'})"
            ) from None
        except OSError as error:
            raise StateError(
                f"state folder {self.path}: cannot be locked: {error.strerror or error}"
            ) from None
        # The number is for people: a full disk has no room for it, and can still be started from.
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.write(self._lock, b"%d\n" % os.getpid())

    def _remove_temporary(self) -> None:
        """Remove what a process has left that crashed while it wrote."""
        models = os.path.join(self.path, "models")
        folders = [os.path.join(self.path, "log")]
        folders += [os.path.join(models, name) for name in _names_in(models)]
        for folder in folders:
            for name in _names_in(folder):
                if name.startswith(".") and name.endswith(".tmp"):
                    _remove(os.path.join(folder, name))
        for leftover in self.path.glob(f"{UPLOADS}/*.msgpack"):
            _remove(os.fspath(leftover))

    def check(self) -> None:
        """Raise StateError unless the LOCK in the folder is the one held.

        It may have been removed, and another process may hold a new one in its place.
        """
        try:
            there = os.stat(self.path / "LOCK", follow_symlinks=False)
            is_held = os.path.samestat(there, os.fstat(self._lock))
        except OSError:
            is_held = False
        if not is_held:
            raise StateError(f"state folder {self.path}: it was replaced or removed meanwhile")

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise StateError, with the file's name, for an OSError."""
        try:
            yield
        except StateError:
            raise
        except OSError as error:
            place = error.filename or f"state folder {self.path}"
            raise StateError(f"{place}: {error.strerror or error}") from None

    def close(self) -> None:
        """Let another process hold the folder; may be called again."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> StateDir:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _names_in(folder: str) -> list[str]:
    """The names in a folder, many times faster than by Paths; none of what is no folder."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(leftover: str) -> None:
    """Remove a file or a link; a folder stays."""
    if os.path.isfile(leftover) or os.path.islink(leftover):
        os.unlink(leftover)
