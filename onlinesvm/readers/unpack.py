"""Compressed input, known by its first bytes: unpacked, or refused with the command that does it.

.gz               chunks.py
.bz2 .xz          here, by the standard library; .zst too, from Python 3.14 on
.zip .7z .lz4 …   refused by name
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from onlinesvm.errors import format_text
from onlinesvm.readers.tokens import LineError

__all__ = ["DamageError", "MAGICS", "check_readable", "unpacked", "unpacker_of"]

# xz can ask for 4 GiB; its highest preset takes 65 MiB.
_XZ_MEMORY_BYTES = 2**28


class DamageError(LineError):
    """The input breaks off at this line: nothing after it can be read."""


class Unpacker(Protocol):
    """The interface that the standard library's decompressors share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


# A decompressor and the error that is its own. Each imports its library: few files need one.
Made = tuple[Unpacker, type[Exception]]


def _bzip2() -> Made:
    import bz2

    return bz2.BZ2Decompressor(), OSError


def _xz() -> Made:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES), lzma.LZMAError


# First bytes → the name, the name's extension, what makes a decompressor.
_UNPACKERS: dict[bytes, tuple[str, str, Callable[[], Made]]] = {
    b"BZh": ("bzip2", ".bz2", _bzip2),
    b"\xfd7zXZ\0": ("xz", ".xz", _xz),
}
if sys.version_info >= (3, 14):

    def _zstd() -> Made:
        from compression import zstd

        return zstd.ZstdDecompressor(), zstd.ZstdError

    _UNPACKERS[b"\x28\xb5\x2f\xfd"] = ("zstd", ".zst", _zstd)

# First bytes → the name, the command that makes text of it ("" where there is no one command).
_REFUSED = {
    b"\x28\xb5\x2f\xfd": ("zstd, which Python reads from 3.14 on", "zstd -dc FILE"),
    b"PK\x03\x04": ("a zip archive", "unzip -p FILE"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "7z e -so FILE"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -dc FILE"),
    b"\x1f\x9d": ("compress (.Z)", "zcat FILE"),
    b"PAR1\x15": ("a Parquet file", ""),
    b"ARROW1\0\0": ("an Arrow file", ""),
    b"\x93NUMPY": ("a NumPy array", ""),
    b"\x89HDF": ("an HDF5 file", ""),
    b"SQLite format 3\0": ("an SQLite database", ""),
}
MAGICS = (*_UNPACKERS, *_REFUSED)


def unpacker_of(head: bytes) -> bytes | None:
    """The first bytes by which `head` is known as something unpacked here; None if it is not."""
    return next((magic for magic in _UNPACKERS if head.startswith(magic)), None)


def check_readable(name: str, head: bytes) -> None:
    """Raise DamageError for input of a kind not read here, or not of the kind its name says."""
    for magic, (kind, command) in _REFUSED.items():
        if head.startswith(magic):
            remedy = f"unpack it: {command} | onlinesvm … -" if command else "write it as text"
            raise DamageError(f"expected text, perhaps gzip, bzip2 or xz, got {kind} ({remedy})")
    for kind, extension, _ in _UNPACKERS.values():
        if name.endswith(extension):
            raise DamageError(f"expected {kind}, as the file's name says, got {format_text(head)}")


def unpacked(
    magic: bytes, packed: bytes, read: Callable[[], bytes], piece_bytes: int
) -> Iterator[bytes]:
    """The text of `packed` and all that `read` gives, in pieces of at most `piece_bytes`.

    Streams may follow each other, with zeros between. Raises DamageError.
    """
    kind, _, make = _UNPACKERS[magic]
    while packed:
        unpacker, its_error = make()
        while not unpacker.eof:
            if unpacker.needs_input and not packed:
                packed = read()
                if not packed:
                    raise DamageError(f"expected a whole {kind} file, got one that ends early")
            try:
                # Bounded: a small file may unpack to a very large one.
                piece = unpacker.decompress(packed, piece_bytes)
            except (OSError, EOFError, ValueError, its_error) as error:
                raise DamageError(
                    f"expected a whole {kind} file, got a damaged one: {error}"
                ) from None
            packed = b""
            yield piece
        packed = unpacker.unused_data
        while not (packed := packed.lstrip(b"\0")) and (more := read()):
            packed = more
