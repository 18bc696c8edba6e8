"""An entry of the log: its bytes, and the kinds there are. All numbers are little-endian.

    entry                       52 bytes and the frames
    salt         u4             that of its segment
    checksum     u4             CRC-32 (as zlib has it) of the frames, then of the 44 bytes between
    size         u4             bytes of the whole entry
    kind         u1, 3 zeros    see `Kind`
    head         u4             bytes of the first frame
    lsn          u8             its log sequence number: the one before it plus 1
    term         u8             of the leader that wrote it
    model        16 bytes       id of the model that it changes; zeros where it changes none
    frames       size - 52      the header, then the body

    kind         header                                                  body
    learn        the request's own frame                                 the request's own frame
    create       map {name, config} and the keys of `limits`             empty
    limits       map {max_features, max_producers, max_held,             empty
                 clipped_value, clipped_importance,
                 max_labels_per_feature}
    drop_label   map {label}                                             empty
    own          map {producer, user, forgotten}: the producer belongs   empty
                 to the user, whose producer `forgotten` (bin, maybe
                 empty) is forgotten for it
    hold, label, expire: see `held_entries`
    term         empty                                                   empty
    close        empty                                                   the next segment's salt, u4

`close` is the last entry of a segment that another goes on from. It has no LSN of its own: its
`lsn` is the first of the next segment. The other kinds are reserved. An entry is never longer than
4 GiB, which the limits on a message keep it from.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from onlinesvm.service.storage.posix import Buffer

__all__ = ["ENTRY", "NO_MODEL", "Damage", "Entry", "Kind", "LogPosition", "Record"]

ENTRY = struct.Struct("<IIIB3xIQQ16s")
NO_MODEL = bytes(16)
_U4 = struct.Struct("<I")
_COVERED = struct.Struct("<IB3xIQQ16s")  # what the checksum covers of an entry's 52 bytes
_COVERED_AT = ENTRY.size - _COVERED.size
_CLOSE_BYTES = ENTRY.size + _U4.size


class Kind(IntEnum):
    """The kinds of entries."""

    CLOSE = 0
    LEARN = 1
    CREATE = 2
    DROP = 3
    LIMITS = 4
    DROP_LABEL = 5
    HOLD = 6
    LABEL = 7
    EXPIRE = 8
    TERM = 9
    OWN = 10


class LogPosition(NamedTuple):
    """An entry's place in the log of every leader there was."""

    term: int
    lsn: int


class Entry(NamedTuple):
    """An entry to be written."""

    kind: Kind
    model: bytes
    header: bytes
    body: bytes = b""


class Packed(NamedTuple):
    """Entries ready to be written: their bytes in parts, and the checksum of the last."""

    parts: list[Buffer]
    size: int
    checksum: int


class Record(NamedTuple):
    """An entry found in a segment; `offset` and `end` are bytes in its file."""

    offset: int
    end: int
    checksum: int
    kind: int
    lsn: int
    term: int
    model: bytes
    header: bytes
    body: bytes

    @property
    def next_salt(self) -> int:
        """The salt of the next segment, in an entry `close`."""
        return int(_U4.unpack(self.body)[0])


class Damage(NamedTuple):
    """Bytes that are no entry, up to the next that is one, or to the end of the file."""

    offset: int
    end: int
    message: str


def pack(entries: Sequence[Entry], salt: int, term: int, lsn: int) -> Packed:
    """The bytes of `entries`, the first of LSN `lsn`, in a segment of that `salt`."""
    parts: list[Buffer] = []
    size = checksum = 0
    salted = _U4.pack(salt)
    for number, (kind, model, header, body) in enumerate(entries, lsn):
        length = ENTRY.size + len(header) + len(body)
        covered = _COVERED.pack(length, kind, len(header), number, term, model)
        checksum = zlib.crc32(covered, zlib.crc32(body, zlib.crc32(header)))
        parts += (salted, _U4.pack(checksum), covered, header, body)
        size += length
    return Packed(parts, size, checksum)


def pack_close(salt: int, term: int, lsn: int, next_salt: int) -> bytes:
    """The entry `close` of a segment of that `salt`; the next starts with `lsn`."""
    close = Entry(Kind.CLOSE, NO_MODEL, b"", _U4.pack(next_salt))
    return b"".join(pack([close], salt, term, lsn).parts)


def unpack(data: memoryview, offset: int, salt: int) -> Record | str:
    """The entry at `offset` in a segment of that `salt`, or the reason why it is none."""
    remaining = len(data) - offset
    if remaining < ENTRY.size:
        return f"expected an entry of at least {ENTRY.size} bytes, got {remaining}"
    found_salt, checksum, size, kind, head, lsn, term, model = ENTRY.unpack_from(data, offset)
    if found_salt != salt:
        return f"expected an entry of salt {salt:08x}, got {found_salt:08x}"
    if not ENTRY.size + head <= size <= remaining:
        return f"expected an entry of at most {remaining} bytes, got one of {size}"
    end = offset + size
    start = offset + ENTRY.size
    found = zlib.crc32(data[offset + _COVERED_AT : start], zlib.crc32(data[start:end]))
    if found != checksum:
        return f"expected checksum {checksum}, got {found}"
    body = start + head
    if kind == Kind.CLOSE and (head or size != _CLOSE_BYTES):
        return f"expected an entry close of {_CLOSE_BYTES} bytes, got one of {size}"
    return Record(
        offset, end, checksum, kind, lsn, term, model, bytes(data[start:body]),
        bytes(data[body:end]),
    )  # fmt: skip
