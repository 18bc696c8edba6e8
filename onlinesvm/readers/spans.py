"""A span of a plain text file: the lines whose first byte lies between two offsets.

Spans that follow each other have every line of the file once, wherever they were cut. A file that
is compressed, of UTF-16 or UTF-32, or whose lines end in carriage returns alone cannot be cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from onlinesvm.errors import ConfigError
from onlinesvm.readers.chunks import BLOCK_BYTES, GZIP_MAGIC, HEAD_BYTES, Blocks, encoding_of
from onlinesvm.readers.unpack import MAGICS

__all__ = ["SpanBlocks", "can_be_cut", "lines_before", "offset_of_line"]

_UTF8_MARK = b"\xef\xbb\xbf"


def can_be_cut(path: str | os.PathLike[str]) -> bool:
    """True for a file that spans can be of. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    is_packed = head.startswith((GZIP_MAGIC, *MAGICS))
    return not is_packed and encoding_of(head) is None and (b"\n" in head or b"\r" not in head)


def offset_of_line(path: str | os.PathLike[str], line: int) -> int:
    """Where a line begins, lines counted from 1; the end of a file of fewer. Raises OSError."""
    at = 0
    with open(path, "rb") as file:
        while line > 1 and (block := file.read(BLOCK_BYTES)):
            end = -1
            while line > 1 and (end := block.find(b"\n", end + 1)) >= 0:
                line -= 1
            if line == 1:
                return at + end + 1
            at += len(block)
    return at


def lines_before(path: str | os.PathLike[str], offset: int) -> int:
    """How many lines of a file end before an offset. Raises OSError."""
    lines = 0
    with open(path, "rb") as file:
        while offset and (block := file.read(min(BLOCK_BYTES, offset))):
            lines += block.count(b"\n")
            offset -= len(block)
    return lines


class SpanBlocks(Blocks):
    """Blocks of the lines that begin in ``start:end`` of a file.

    first: where the first of them begins; known with the first block. Raises OSError, ConfigError
    for a file that cannot be cut.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        start: int,
        end: int,
        *,
        max_line_bytes: int,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        if not can_be_cut(source):
            raise ConfigError(f"span: expected a plain text file of UTF-8, got {source!s}")
        super().__init__(source, max_line_bytes=max_line_bytes, block_bytes=block_bytes)
        assert self._owned is not None and self.total_bytes is not None
        end = min(end, self.total_bytes)
        self.total_bytes = max(0, end - start)
        self.first = self._start = start
        self._end = end

    def _text(self) -> Iterator[bytes]:
        assert self._owned is not None
        file, end = self._owned, self._end
        at = self._start
        if at:  # the line before ends here, or further on
            file.seek(at - 1)
            at -= 1
            while at < end:
                piece = file.read(self._block_bytes)
                place = piece.find(b"\n") + 1
                at += place or len(piece)
                if place or not piece:
                    break
            file.seek(at)
        self.first = at
        last = b"\n"
        while at < end and (piece := file.read(min(self._block_bytes, end - at))):
            at += len(piece)
            self.bytes_read += len(piece)
            last = piece[-1:]
            yield piece.removeprefix(_UTF8_MARK) if at == len(piece) else piece
        while last != b"\n" and (piece := file.read(self._block_bytes)):
            rest = piece[: piece.find(b"\n") + 1] or piece
            last = rest[-1:]
            yield rest
