"""The calls that the log makes to the file system: the seam where tests inject faults."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from onlinesvm.errors import format_kind
from onlinesvm.snapshot.writer import create_beside, sync_folder

__all__ = ["Buffer", "Files", "contents_of", "free_name", "make_private", "open_regular"]

Buffer = bytes | memoryview

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
_PAGE = 4096


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to be read. Raises OSError, also for a file of another kind: opening a
    pipe would wait for its other end for ever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        why = f"expected a regular file, got {format_kind(mode)}"
        raise OSError(errno.EINVAL, why, os.fspath(path))
    return open(descriptor, "rb")


@contextlib.contextmanager
def contents_of(path: Path) -> Iterator[memoryview]:
    """The bytes of a file, without reading them all at once. Raises OSError."""
    with open_regular(path) as file:
        if not path.stat().st_size:
            yield memoryview(b"")
            return
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):
            yield data


def free_name(path: Path) -> Path:
    """A name beside `path` that no file has."""
    target = path.with_name(f"{path.name}.damaged")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{number}")
    return target


def make_private(folder: str | os.PathLike[str]) -> None:
    """Make a folder that its owner alone can enter, and its name durable; none if it is there.

    Raises OSError.
    """
    try:
        os.mkdir(folder, mode=0o700)
    except FileExistsError:
        return
    sync_folder(os.path.dirname(folder))


class Files:
    """The system's own calls. All raise OSError."""

    def create_beside(self, path: Path) -> tuple[int, Path]:
        """A descriptor of a new, private file beside `path`, and its name; writes go to its end."""
        descriptor, temporary = create_beside(os.fspath(path))
        return descriptor, Path(temporary)

    def open(self, path: Path) -> int:
        """A descriptor of an existing file; all writes go to its end."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
        """Write what fits of `parts`, one after the other; how many bytes that was."""
        return os.writev(descriptor, parts)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file off at `size` bytes."""
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int, size: int, data: bytes) -> None:
        """Add `data` to a file of `size` bytes, all of it or nothing, and close the descriptor.

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
        """Make the bytes written durable."""
        _sync(descriptor)

    def forget(self, descriptor: int) -> None:
        """Hand the pages of durable bytes back to the system: only a start reads them.

        The next bytes then go into these pages. Otherwise a busy log fills the memory that other
        processes could use, and goes on into pages that the system has to find first, which on a
        virtual machine takes several times as long as the copying. The last page stays, since
        bytes are added to it. A file system may keep its copy; nothing is lost by that.
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
