"""The files of a log that is rotated: the one that is written, and those set aside beside it."""

from __future__ import annotations

import os
import re
import stat
import zlib
from typing import NamedTuple

from onlinesvm.service.ingest.source import SourceError

__all__ = ["PROOF_BYTES", "LogFile", "Place", "log_files"]

# PATH.1, PATH-20261128, PATH.2026-11-28T10.30: as logrotate and others name what they set aside.
_ROTATED = re.compile(r"[.-][0-9][0-9.T:_-]*")
_MAX_COUNTED = 999  # a longer number is a date
PROOF_BYTES = 256
_PLACE = re.compile(rb"([0-9]{1,20}) ([0-9]{1,19}) ([0-9]{1,3}) ([0-9a-f]{8})")


class Place(NamedTuple):
    """A place between two lines: the file's inode, the byte, and the proof that it is that file:
    the CRC-32 of the `proof` bytes before it.
    """

    inode: int
    offset: int
    proof: int = 0
    checksum: int = 0

    @classmethod
    def after(cls, inode: int, offset: int, before: bytes | memoryview) -> Place:
        """The place at byte `offset`; `before`: what the file has before it, or the end of that."""
        last = before[-PROOF_BYTES:]
        return cls(inode, offset, len(last), zlib.crc32(last))

    def pack(self) -> bytes:
        """The place as a cursor."""
        return b"%d %d %d %08x" % self

    @classmethod
    def unpack(cls, cursor: bytes) -> Place:
        """The place of a cursor. Raises SourceError for one of another source."""
        found = _PLACE.fullmatch(cursor)
        if found is None:
            raise SourceError(f"expected the cursor of a file, got {cursor[:60]!r}")
        inode, offset, proof, checksum = found.groups()
        return cls(int(inode), int(offset), int(proof), int(checksum, 16))

    def is_in(self, file: int) -> bool:
        """True if an open file has these bytes before the place."""
        if os.fstat(file).st_size < self.offset:
            return False
        before = os.pread(file, self.proof, self.offset - self.proof)
        return len(before) == self.proof and zlib.crc32(before) == self.checksum


class LogFile(NamedTuple):
    """A file of a log. Files compare by age as their names tell it, the oldest first."""

    rank: tuple[int, int, str]
    path: str
    inode: int
    size: int
    mtime_ns: int


def log_files(path: str) -> list[LogFile]:
    """The file at `path` and those set aside beside it, uncompressed, the oldest first."""
    before, files = None, _scan(path)
    while before != [(file.path, file.inode) for file in files]:  # a rotation is under way
        before, files = [(file.path, file.inode) for file in files], _scan(path)
    return files


def _scan(path: str) -> list[LogFile]:
    folder, name = os.path.split(path)
    found = []
    try:
        entries = list(os.scandir(folder or "."))
    except FileNotFoundError:
        return []
    for entry in entries:
        suffix = entry.name[len(name) :]
        if not entry.name.startswith(name) or (suffix and not _ROTATED.fullmatch(suffix)):
            continue
        try:
            status = os.stat(entry.path)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            size, inode = status.st_size, status.st_ino
            found.append(LogFile(_rank(suffix), entry.path, inode, size, status.st_mtime_ns))
    return sorted(found)


def _rank(suffix: str) -> tuple[int, int, str]:
    """Dates in order, then PATH.2 before PATH.1, then PATH."""
    if not suffix:
        return (2, 0, "")
    number = suffix[1:]
    is_count = number.isdigit() and int(number) <= _MAX_COUNTED
    return (1, -int(number), "") if is_count else (0, 0, suffix)
