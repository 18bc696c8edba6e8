"""What the journal asks of the file system, one call each: the seam where faults are injected."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from onlinesvm.snapshot.writer import sync_folder

__all__ = ["Buffer", "Files", "open_regular"]

Buffer = bytes | memoryview

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
_PAGE = 4096


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to be read; opening a pipe would wait for its other end for ever.

    Raises OSError, also for what is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "expected a regular file, got another kind", os.fspath(path))
    return open(descriptor, "rb")


class Files:
    """The system's own calls. All raise OSError."""

    def create(self, path: Path) -> int:
        """A descriptor of an empty file; all writes go to its end."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o666)

    def open(self, path: Path) -> int:
        """A descriptor of a file that is there; all writes go to its end."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
        """Write what fits of `parts`, one behind the other; how many bytes that was."""
        return os.writev(descriptor, parts)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file off at `size` bytes."""
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int, size: int, data: bytes) -> None:
        """Close the descriptor, after `data` was added to a file of `size` bytes: all or nothing.

        Nothing is added to a file of another size.
        """
        try:
            if data and os.fstat(descriptor).st_size == size:
                try:
                    if os.write(descriptor, data) < len(data):
                        os.ftruncate(descriptor, size)
                except OSError:
                    os.ftruncate(descriptor, size)
                    raise
        finally:
            os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """Make what was written durable."""
        _sync(descriptor)

    def forget(self, descriptor: int) -> None:
        """Have the system keep no copy in memory of what is durable: a start alone reads it.

        The next bytes then go where these were. Else a busy journal fills the memory that others
        could use, and goes on into pages that the system has to find first, which on a virtual
        machine takes several times as long as the copying. Its last page stays: it is added to.
        A file system that cannot keeps its copy: nothing is lost by that.
        """
        if sys.platform == "linux":
            whole = os.fstat(descriptor).st_size // _PAGE * _PAGE
            if whole:  # 0 would mean: up to the end
                with contextlib.suppress(OSError):
                    os.posix_fadvise(descriptor, 0, whole, os.POSIX_FADV_DONTNEED)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file, over one that may be there."""
        os.replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        sync_folder(os.fspath(folder))
