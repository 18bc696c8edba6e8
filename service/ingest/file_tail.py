"""A file of lines that grows, and is rotated: the source `file:PATH`.

Rotation may rename the file and begin another under its name, or copy it and truncate it. A cursor
holds the file's inode, a byte, and a checksum of what is before it, so that its file is found again
under another name. A renamed file is read to its end first: until nothing was written to it for
`grace_s`. Lines between a copy and its truncation are lost by the rotation itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import overload

from onlinesvm.service.client.calls import Lag
from onlinesvm.service.ingest.rotation import PROOF_BYTES, LogFile, Place, log_files
from onlinesvm.service.ingest.source import NOTHING, BadEntry, Entries, SourceError

__all__ = ["FileTail"]

_BLOCK_BYTES = 2**19
_POLL_S = 0.05
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Cursors(Sequence[bytes]):
    """The cursors of the lines that end at `ends` in `text`, each made when it is asked for.

    start: the byte of the file at which `text` begins.
    """

    def __init__(self, inode: int, start: int, text: bytes, ends: Sequence[int]) -> None:
        self._inode, self._start, self._text, self._ends = inode, start, text, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> _Cursors: ...
    def __getitem__(self, index: int | slice) -> bytes | _Cursors:
        if isinstance(index, slice):
            return _Cursors(self._inode, self._start, self._text, self._ends[index])
        end = self._ends[index]
        before = memoryview(self._text)[:end]
        return Place.after(self._inode, self._start + end, before).pack()


class FileTail:
    """See Source. The lines of the file at `path`, blank ones left out.

    follow: go on as it grows; else it ends where the file does. accept_loss: go on at the start of
    the file where the one that the cursor is in is gone. max_line_bytes: a longer one is a bad
    entry. say: prints a line for a human.
    """

    def __init__(
        self,
        path: str,
        *,
        follow: bool,
        accept_loss: bool,
        max_line_bytes: int,
        grace_s: float,
        say: Callable[[str], object],
    ) -> None:
        self._path = os.fspath(Path(path).absolute())
        self.name = f"file:{self._path}"
        self.is_ended = False
        self.lost = 0  # how many lines a file had that is gone is not known
        self._follow, self._accept_loss = follow, accept_loss
        self._max_line_bytes = max_line_bytes
        self._grace_s = grace_s if follow else 0.0
        self._say = say
        self._file: int | None = None
        self._place = Place(0, 0)
        # The file's size and the inode of the next one, and since when they are so.
        self._quiet: tuple[tuple[int, int], float] | None = None
        self._scanned = 0  # of a long line: no newline comes before this byte

    @property
    def cursor(self) -> bytes | None:
        """See Source. At the start of a file there is nothing to know it by."""
        return self._place.pack() if self._place.offset else None

    def open(self, cursor: bytes | None) -> None:
        """See Source."""
        if cursor is not None:
            self._find(Place.unpack(cursor))
        elif not self._follow or os.path.exists(self._path):
            self._begin(self._path)
        else:
            self._say(f"waiting: there is no file {self._path} yet")

    def close(self) -> None:
        """See Source."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def place(self, cursor: bytes) -> str:
        """See Source."""
        place = Place.unpack(cursor)
        names = [file.path for file in log_files(self._path) if file.inode == place.inode]
        return f"{names[0] if names else self._path}, the line that ends at byte {place.offset}"

    def lag(self, cursor: bytes | None) -> Lag:
        """See Source: in bytes, of the cursor's file and of those after it."""
        place = Place(0, 0) if cursor is None else Place.unpack(cursor)
        files = log_files(self._path)
        at = next((i for i, file in enumerate(files) if file.inode == place.inode), None)
        if at is None:
            return Lag(bytes=sum(file.size for file in files if file.path == self._path))
        left = sum(file.size for file in files[at:]) - place.offset
        return Lag(bytes=max(0, left))

    # Lines.

    def read(self, wait_s: float) -> Entries:
        """See Source."""
        deadline = time.monotonic() + wait_s
        while not self.is_ended:
            if self._file is None:
                self._begin_if_there()
            file = self._file
            if file is not None:
                entries = self._next_lines(file)
                if entries.values:
                    return entries
                if self._file != file:  # it was truncated
                    continue
                if self._is_over(file):
                    entries = self._rest(file)
                    if entries.values:
                        return entries
                    self._go_on(file)
                    continue
            if time.monotonic() >= deadline:
                break
            time.sleep(_POLL_S)
        return NOTHING

    def _next_lines(self, file: int) -> Entries:
        """The lines after the place that have ended; none where the file was truncated."""
        while True:
            start = self._place.offset
            text, head = _read(file, start, start + _BLOCK_BYTES)
            if not self._place.is_in(file):  # looked at last: it may be truncated at any moment
                self._find(self._place)
                return NOTHING
            end = text.rfind(b"\n", head) + 1
            if end:
                entries = self._lines_of(text[:end], start, head)
            elif len(text) - head < _BLOCK_BYTES:
                return NOTHING
            else:
                entries = self._long_line(file, start)
                if self._place.offset == start:
                    return NOTHING  # it has not ended yet
            if entries.values:
                return entries  # else blank lines alone

    def _lines_of(self, text: bytes, start: int, head: int) -> Entries:
        """The lines in `text`, which begin at byte `start` of the file and after `head` bytes of
        what comes before them; the place is after them.
        """
        lines = text[head:].split(b"\n")
        if not lines[-1]:
            lines.pop()
        ends = list(accumulate((len(line) + 1 for line in lines), initial=head))[1:]
        ends[-1] = min(ends[-1], len(text))  # the last of a file may have no newline
        self._place = Place.after(self._place.inode, start - head + len(text), text)
        if start == 0:
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        good = [i for i, line in enumerate(lines) if line and not line.isspace()]
        if len(good) < len(lines):
            lines, ends = [lines[i] for i in good], [ends[i] for i in good]
        return Entries(lines, _Cursors(self._place.inode, start - head, text, ends))

    def _long_line(self, file: int, start: int) -> Entries:
        """The line that begins at `start` and is longer than a block; none before it has ended."""
        scanned = self._scanned if self._scanned > start else start
        while piece := os.pread(file, _BLOCK_BYTES, scanned):
            newline = piece.find(b"\n")
            if newline >= 0:
                return self._line(file, start, scanned + newline + 1)
            scanned += len(piece)
        self._scanned = scanned
        return NOTHING

    def _line(self, file: int, start: int, end: int) -> Entries:
        """The one line from `start` to `end`, its newline with it."""
        if end - start <= self._max_line_bytes:
            text, head = _read(file, start, end)
            return self._lines_of(text, start, head)
        self._place = Place.after(self._place.inode, end, _read(file, end, end)[0])
        why = f"expected at most {self._max_line_bytes} bytes a line, got {end - start}"
        return Entries([BadEntry(why)], [self._place.pack()])

    def _rest(self, file: int) -> Entries:
        """The bytes after the last newline of a file that is over, as a line."""
        size = os.fstat(file).st_size
        if size <= self._place.offset:
            return NOTHING
        return self._line(file, self._place.offset, size)

    # Files.

    def _begin(self, path: str, inode: int | None = None) -> None:
        """Go to the start of a file, if it is still that of the `inode`. Raises OSError."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # no FIFO may block
        except FileNotFoundError:
            if inode is None:
                raise
            return  # it was rotated just now
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            os.close(file)
            raise SourceError(f"{path}: expected a file, got a folder, a pipe or a device")
        if inode is not None and inode != status.st_ino:  # it was rotated just now
            os.close(file)
            return
        self._enter(file, Place(status.st_ino, 0))

    def _begin_if_there(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._begin(self._path)

    def _enter(self, file: int, place: Place) -> None:
        self.close()
        self._file, self._place, self._quiet, self._scanned = file, place, None, 0

    def _find(self, place: Place) -> None:
        """Go to the place in whichever file has it now. Raises SourceError."""
        files = log_files(self._path)
        having = [file for file in files if _has(file, place)]
        chosen = [file for file in having if file.inode == place.inode] or having
        if len(chosen) != 1:
            self._lose(place, len(chosen))
            return
        self._begin(chosen[0].path)
        self._place = place._replace(inode=self._place.inode)

    def _lose(self, place: Place, copies: int) -> None:
        """Begin at the start of the file, with leave. Raises SourceError without."""
        got = f"{copies} that have the same bytes" if copies else "none"
        text = (
            f"{self._path}: expected a file with the lines learned last before byte {place.offset}"
            f" (inode {place.inode}), got {got}: it was removed, truncated or changed"
        )
        if not self._accept_loss:
            raise SourceError(
                f"{text}. Put it back beside {self._path}, uncompressed; or --accept-loss begins at"
                f" the start of {self._path}, without the lines that the other one had left"
            )
        self._say(f"{text}; going on at the start of {self._path}")
        self.close()
        self._begin_if_there()

    def _is_over(self, file: int) -> bool:
        """True if nothing will be written to a file any more; its end was reached."""
        status = os.fstat(file)
        following = self._following(status)
        if following is None:
            return not self._follow
        now, seen = time.monotonic(), (status.st_size, following.inode)
        if self._quiet is None or self._quiet[0] != seen:
            self._quiet = seen, now
        return now >= self._quiet[1] + self._grace_s

    def _go_on(self, file: int) -> None:
        """Go to the start of the file after one that was read to its end, or note the end."""
        status = os.fstat(file)
        following = self._following(status)
        if following is None:
            self.is_ended = True
            return
        is_kept = any(each.inode == status.st_ino for each in log_files(self._path))
        if not is_kept and self._place.offset and _has(following, self._place):
            self._find(self._place)  # an editor wrote the file anew, as it was and more
            return
        self._begin(following.path, following.inode)

    def _following(self, status: os.stat_result) -> LogFile | None:
        """The file that was begun after that of `status`; None where there is none."""
        try:
            if os.stat(self._path).st_ino == status.st_ino:
                return None  # without a look at the whole folder, which may be large
        except FileNotFoundError:
            return None  # between a renaming and the next file
        files = log_files(self._path)
        if not files or files[-1].path != self._path or files[-1].inode == status.st_ino:
            return None
        at = next((i for i, file in enumerate(files) if file.inode == status.st_ino), None)
        if at is not None:
            return files[at + 1]
        later = (file for file in files if file.mtime_ns > status.st_mtime_ns)
        return next(later, files[-1])


def _read(file: int, start: int, end: int) -> tuple[bytes, int]:
    """The bytes from `start` to `end`, after those that prove the place before them; how many those
    are.
    """
    head = min(start, PROOF_BYTES)
    return os.pread(file, end - start + head, start - head), head


def _has(file: LogFile, place: Place) -> bool:
    """True if a file has the bytes before the place."""
    try:
        opened = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return place.is_in(opened)
    finally:
        os.close(opened)
