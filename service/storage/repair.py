"""The log after a damage: counted, reported and set aside."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import msgpack

from onlinesvm.service.protocol import RequestError, numbering_of
from onlinesvm.service.storage.entry import Damage, Kind, Record
from onlinesvm.service.storage.posix import contents_of, free_name
from onlinesvm.service.storage.replay import Stop
from onlinesvm.service.storage.segment import (
    HEADER_BYTES,
    Segment,
    Segments,
    closing_of,
    records_of,
)
from onlinesvm.snapshot.writer import sync_folder

__all__ = ["count", "cut", "losses", "set_segments_aside"]

log = logging.getLogger(__name__)


def cut(stop: Stop) -> None:
    """Cut a torn tail off. Raises OSError."""
    size = stop.path.stat().st_size
    log.warning("%s; its last %d bytes are cut off", stop, size - stop.offset)
    if not stop.offset:
        stop.path.unlink()
        sync_folder(os.fspath(stop.path.parent))
        return
    _truncate(stop.path, stop.offset)


def losses(segments: Segments, stop: Stop | None, lsn: int, newest_known: int) -> dict[str, Any]:
    """The entries after `lsn` that are lost, as a report.

    `lost_entries` is exact up to the last LSN known: that of a whole entry after the damage, of a
    segment's name, or `newest_known`. `unreadable_entries` are those of them that cannot be read;
    `lost_samples` are the samples of the others.
    """
    reached = max(lsn, newest_known)
    readable = unreadable_bytes = samples = 0
    producers: dict[str, dict[str, int]] = {}
    for first, path in _after(segments, stop):
        start = stop.offset if stop is not None and path == stop.path else 0
        with contents_of(path) as data:
            reached = max(reached, first - 1)
            segment = Segment.guess(data, first)
            if segment is None:
                unreadable_bytes += len(data)
                continue
            if not segment.is_intact:
                unreadable_bytes += HEADER_BYTES
            for found in records_of(data, segment):
                if found.end <= start:
                    continue
                if isinstance(found, Damage):
                    unreadable_bytes += found.end - found.offset
                elif found.kind != Kind.CLOSE and found.lsn > lsn:
                    readable += 1
                    reached = max(reached, found.lsn)
                    samples += count(producers, found)
    return {
        "lsn": lsn,
        "lost_entries": reached - lsn,
        "unreadable_entries": max(0, reached - lsn - readable),
        "lost_samples": samples,
        "unreadable_bytes": unreadable_bytes,
        "damage": None if stop is None else str(stop),
        "producers": producers,
        "set_aside": [],
    }


def _after(segments: Segments, stop: Stop | None) -> Segments:
    """The segment of `stop` and those after it."""
    return [(first, path) for first, path in segments if stop is not None and path >= stop.path]


def count(producers: dict[str, dict[str, int]], found: Record) -> int:
    """Count a lost entry with its producer; returns its samples."""
    if found.kind != Kind.LEARN:
        return 0
    try:
        unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(found.body)))
        unpacker.feed(found.body)
        samples: int = unpacker.read_array_header()
        producer, sequence, _ = numbering_of(found.header)
    except (RequestError, msgpack.UnpackException, ValueError):
        return 0
    if producer:
        name = producer.decode("utf-8", "backslashreplace")
        lost = producers.setdefault(name, {"first_sequence": sequence, "samples": 0})
        lost["last_sequence"] = sequence
        lost["samples"] += samples
    return samples


def set_segments_aside(segments: Segments, stop: Stop) -> list[str]:
    """Keep the entries before the damage, and copy or move the rest to names of their own.

    Raises OSError. Returns the new names.
    """
    aside = []
    _remove_closing([segment for segment in segments if segment[1] < stop.path])
    for _, path in reversed(_after(segments, stop)):
        if path == stop.path and stop.offset == path.stat().st_size:
            continue  # it ends too early; all of it is good
        target = free_name(path)
        if path == stop.path and stop.offset:
            # Copied first, so that nothing is lost if this is interrupted.
            shutil.copyfile(path, target)
            target.chmod(0o600)
            with open(target, "rb") as file:
                os.fsync(file.fileno())
            _truncate(path, stop.offset)
        else:
            os.replace(path, target)
        log.warning("set aside as %s", target)
        aside.append(str(target))
        sync_folder(os.fspath(path.parent))
    return aside[::-1]


def _remove_closing(segments: Segments) -> None:
    """Remove the entry `close` of the last of `segments`: the segment it names is set aside."""
    if not segments:
        return
    first, path = segments[-1]
    closing = closing_of(path, first)
    if closing is not None:
        _truncate(path, closing.offset)


def _truncate(path: Path, size: int) -> None:
    with open(path, "r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())
