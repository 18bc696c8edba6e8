"""What is behind a damage in the journal: set aside, and told of exactly."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onlinesvm.service.protocol import RequestError, numbering_of
from onlinesvm.service.storage.recovery import Stop, contents_of
from onlinesvm.service.storage.segment import Closing, Damage, Segment, closing_of, records_of
from onlinesvm.snapshot.writer import sync_folder

__all__ = ["losses", "set_segments_aside"]

log = logging.getLogger(__name__)

Segments = Sequence[tuple[int, Path]]


def _behind(segments: Segments, stop: Stop) -> list[tuple[int, Path]]:
    """The segment of `stop` and those after it."""
    return [(start, path) for start, path in segments if path >= stop.path]


def losses(
    segments: Segments, stop: Stop | None, position: int, newest_known: int
) -> dict[str, Any]:
    """What is not in a model of `position`: samples, bytes, and producers' requests, as a report.

    Whole records behind the damage are counted; `lost_samples` is exact up to the last of them,
    and at least that many where `unreadable_bytes` are at the very end.
    """
    reached = newest_known
    records = unreadable = 0
    lost: dict[str, dict[str, int]] = {}
    for start, path in _behind(segments, stop) if stop is not None else ():
        first = stop.offset if stop is not None and path == stop.path else 0
        with contents_of(path) as data:
            reached = max(reached, start)
            segment = Segment.salvage(data, start)
            if segment is None:
                unreadable += len(data)
                continue
            if not segment.is_whole:
                unreadable += segment.header_bytes
            for found in records_of(data, segment):
                if found.end <= first or isinstance(found, Closing):
                    continue
                if isinstance(found, Damage):
                    unreadable += found.end - found.offset
                    continue
                records += 1
                reached = max(reached, found.position + found.samples)
                _count(lost, found.header, found.samples)
    return {
        "position": position,
        "lost_samples": reached - position,
        "lost_up_to_position": reached,
        "damage": None if stop is None else str(stop),
        "unreadable_bytes": unreadable,
        "whole_records_set_aside": records,
        "producers": lost,
        "set_aside": [],
    }


def _count(lost: dict[str, dict[str, int]], header: bytes, samples: int) -> None:
    try:
        producer, sequence = numbering_of(header)
    except RequestError:
        return
    if producer:
        name = producer.decode("utf-8", "backslashreplace")
        entry = lost.setdefault(name, {"first_sequence": sequence, "samples": 0})
        entry["last_sequence"] = sequence
        entry["samples"] += samples


def set_segments_aside(segments: Segments, stop: Stop) -> list[str]:
    """Keep what is before the damage, and copy or move the rest to names of their own.

    Raises OSError. Returns the new names.
    """
    aside = []
    _open_end([segment for segment in segments if segment[1] < stop.path])
    for _, path in reversed(_behind(segments, stop)):
        if path == stop.path and stop.offset == path.stat().st_size:
            continue  # it ends too early; all that is there is good
        target = _free_name(path)
        if path == stop.path and stop.offset:
            # Copied first, so that nothing is lost if this is interrupted.
            shutil.copyfile(path, target)
            with open(target, "rb") as file:
                os.fsync(file.fileno())
            with open(path, "r+b") as file:
                file.truncate(stop.offset)
                os.fsync(file.fileno())
        else:
            os.replace(path, target)
        log.warning("set aside as %s", target)
        aside.append(str(target))
        sync_folder(os.fspath(path.parent))
    return aside[::-1]


def _open_end(segments: Segments) -> None:
    """Take off the closing record of the last of `segments`: what it names is set aside."""
    if not segments:
        return
    start, path = segments[-1]
    closing = closing_of(path, start)
    if closing is not None:
        with open(path, "r+b") as file:
            file.truncate(closing.offset)
            os.fsync(file.fileno())


def _free_name(path: Path) -> Path:
    """A name beside `path` that nobody has."""
    target = path.with_name(f"{path.name}.damaged")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{number}")
    return target
