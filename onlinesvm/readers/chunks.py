"""A text file or stdin, perhaps compressed, as blocks of whole lines in constant memory.

    bytes → unpacked (gzip here, others in `unpack`) → UTF-8 → lines ended by a newline → blocks

UTF-16 and UTF-32 are known by their byte order mark and become UTF-8. Where the first piece of the
text has carriage returns and no newline, carriage returns end lines.
"""

from __future__ import annotations

import codecs
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import IO, cast

from onlinesvm.errors import format_text
from onlinesvm.readers.tokens import LineError
from onlinesvm.readers.unpack import (
    MAGICS,
    DamageError,
    check_readable,
    unpacked,
    unpacker_of,
)

__all__ = ["BLOCK_BYTES", "GZIP_MAGIC", "HEAD_BYTES", "Blocks", "DamageError", "encoding_of"]

# Small enough to stay in the cache from being read to being parsed, and large enough that Python's
# part in a block does not count.
BLOCK_BYTES = 2**19

# So much of the text is searched for a newline before carriage returns are taken for line ends.
HEAD_BYTES = 2**16

# So much is read to find where a line ends.
_REST_BYTES = 2**12

GZIP_MAGIC = b"\x1f\x8b"
_HEADER_BYTES = 16  # more than the library reads of a header at once
# The longer before those they begin with.
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": None,
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}


class Blocks:
    """Iterates once over blocks of whole lines, about `block_bytes` each.

    Every line but the last ends in a newline. A line of more than `max_line_bytes` is read past,
    and a LineError stands in its place; where the input is damaged a DamageError is the last item.
    Compression is known by the first bytes. A byte order mark at the start is left out.

    name: for messages. bytes_read: of the input, before it is unpacked. total_bytes: the input's
    size, None where that is not known. Raises OSError where the file cannot be opened or read.
    """

    def __init__(
        self, source: str | os.PathLike[str], *, max_line_bytes: int, block_bytes: int = BLOCK_BYTES
    ) -> None:
        self.bytes_read = 0
        self.total_bytes: int | None = None
        self._max_line_bytes = max_line_bytes
        self._block_bytes = block_bytes
        path = os.fspath(source)
        self._owned: io.BufferedReader | None = None
        if path == "-":
            self.name = "stdin"
            self._file = cast(io.BufferedIOBase, sys.stdin.buffer)
        else:
            self.name = path
            self._file = self._owned = open(path, "rb")  # noqa: SIM115 (close() closes it)
            status = os.fstat(self._owned.fileno())
            if stat.S_ISREG(status.st_mode):
                self.total_bytes = status.st_size

    def close(self) -> None:
        """Close the file; stdin stays open."""
        if self._owned is not None:
            self._owned.close()

    def __iter__(self) -> Iterator[bytes | LineError]:
        begun = bytearray()  # a line whose end has not come yet
        passing = False  # True while that line is too long, and read past
        try:
            for chunk in self._text():
                if passing:
                    end = chunk.find(b"\n") + 1
                    if not end:
                        continue
                    chunk = chunk[end:]
                    passing = False
                end = chunk.rfind(b"\n") + 1
                if end == len(chunk) and not begun:
                    yield from self._checked(chunk)
                    continue
                if end:
                    yield from self._checked(b"".join((begun, memoryview(chunk)[:end])))
                    begun.clear()
                begun += memoryview(chunk)[end:]
                if len(begun) > self._max_line_bytes:
                    yield self._line_too_long()
                    begun.clear()
                    passing = True
        except DamageError as damage:
            yield damage
            return
        if begun:
            yield bytes(begun)

    def _checked(self, block: bytes) -> Iterator[bytes | LineError]:
        """`block` without the lines that are too long, each of them as its error."""
        if len(block) <= self._max_line_bytes:
            yield block
            return
        good = start = 0  # where the lines begin that are yet to be given out, and this line
        while start < len(block):
            end = block.index(b"\n", start) + 1
            if end - 1 - start > self._max_line_bytes:
                if good < start:
                    yield block[good:start]
                yield self._line_too_long()
                good = end
            start = end
        if good < start:
            yield block[good:]

    def _line_too_long(self) -> LineError:
        # Its length is not known: it is read past, and its end may never come.
        return LineError(f"expected at most {self._max_line_bytes} bytes a line, got more")

    def _text(self) -> Iterator[bytes]:
        """UTF-8 without a byte order mark, lines ended by newlines, in pieces that end anywhere."""
        pieces = self._utf8()
        head = bytearray()
        for piece in pieces:
            head += piece
            if b"\n" in piece or len(head) >= HEAD_BYTES:
                break
        if b"\n" in head or b"\r" not in head:
            yield bytes(head)
            yield from pieces
            return
        yield bytes(head).replace(b"\r", b"\n")
        for piece in pieces:
            yield piece.replace(b"\r", b"\n")

    def _utf8(self) -> Iterator[bytes]:
        chunks = self._chunks()
        head = _longer(next(chunks, b""), _BYTE_ORDER_MARKS, chunks)
        encoding = encoding_of(head)
        head = head.removeprefix(_mark_of(head))
        if encoding is None:
            yield head
            yield from chunks
            return
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            yield decoder.decode(head).encode()
            for chunk in chunks:
                yield decoder.decode(chunk).encode()
            yield decoder.decode(b"", final=True).encode()
        except UnicodeError as error:
            raise DamageError(
                f"expected {encoding.upper()} text, as its byte order mark says, got a fault:"
                f" {getattr(error, 'reason', error)}"
            ) from None

    def _chunks(self) -> Iterator[bytes]:
        """The text, in pieces that end anywhere."""
        head = _longer(self._read(), (GZIP_MAGIC, *MAGICS), iter(self._read, b""))
        if head.startswith(GZIP_MAGIC):
            yield from self._unpacked(head)
            return
        if self.name.endswith(".gz"):
            raise DamageError(f"expected a gzip file, as its name says, got {format_text(head)}")
        if (magic := unpacker_of(head)) is not None:
            yield from unpacked(magic, head, self._read, self._block_bytes)
            return
        check_readable(self.name, head)
        while head:
            yield head
            head = self._read(self._rest_of_line(self.bytes_read + self._block_bytes))

    def _read(self, more: int = 0) -> bytes:
        # read1 takes what a pipe holds now; read would wait until the block is full.
        chunk = self._file.read1(self._block_bytes + more)
        self.bytes_read += len(chunk)
        return chunk

    def _rest_of_line(self, at: int) -> int:
        """The bytes of a regular file from `at` to the end of the line there, 0 where that is not
        known: a block that ends with a line is given out as it was read, without a copy.
        """
        if self._owned is None or self.total_bytes is None:
            return 0
        return os.pread(self._owned.fileno(), _REST_BYTES, at).find(b"\n") + 1

    def _unpacked(self, head: bytes) -> Iterator[bytes]:
        """The text of the gzip members that start with `head`. Raises DamageError."""
        import gzip  # for such files alone, as the other unpackers

        packed = cast(IO[bytes], _Packed(head, self._read))
        with gzip.GzipFile(fileobj=packed, mode="rb") as members:
            try:
                # Bounded: a small file may unpack to a very large one.
                while chunk := members.read1(self._block_bytes):
                    yield chunk
            except EOFError:
                raise DamageError("expected a whole gzip file, got one that ends early") from None
            except (gzip.BadGzipFile, zlib.error) as error:
                raise DamageError(
                    f"expected a whole gzip file, got a damaged one: {error}"
                ) from None


def encoding_of(head: bytes) -> str | None:
    """The encoding that a byte order mark at the start of a text says; None for UTF-8."""
    return _BYTE_ORDER_MARKS.get(_mark_of(head))


def _mark_of(head: bytes) -> bytes:
    return next((mark for mark in _BYTE_ORDER_MARKS if head.startswith(mark)), b"")


class _Packed:
    """The bytes of a gzip file for the library: `head`, then those that `more` reads."""

    def __init__(self, head: bytes, more: Callable[[], bytes]) -> None:
        self._bytes, self._at = head, 0
        self._more = more

    def read(self, size: int) -> bytes:
        """The next `size` bytes. Fewer at the end, and where the library asks for more than a
        header: then those that are there, as the next ones of a pipe may be long in coming.
        """
        least = size if size <= _HEADER_BYTES else 1
        while len(self._bytes) - self._at < least:
            if not (more := self._more()):
                break
            self._bytes, self._at = self._bytes[self._at :] + more, 0
        taken = self._bytes[self._at : self._at + size]
        self._at += len(taken)
        return taken


def _longer(head: bytes, marks: Collection[bytes], more: Iterator[bytes]) -> bytes:
    """`head` with as much of `more` as shows which of the `marks` it begins with, if any.

    Waits for no byte that the answer does not need.
    """
    while any(len(head) < len(mark) and mark.startswith(head) for mark in marks):
        piece = next(more, b"")
        if not piece:
            break
        head += piece
    return head
