"""Shards: what a worker learns in a round, as spans of files.

They depend on the files' names and sizes and on the number of shards alone, never on the workers:
the files lie end to end in the order given and are cut at even distances. A line belongs to the
shard in which its first byte lies. A file that cannot be cut (`readers.spans`), as one of gzip,
belongs whole to the shard in which its middle lies.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from onlinesvm.errors import ConfigError
from onlinesvm.readers.spans import can_be_cut

__all__ = ["MOST_SHARDS", "Part", "Shard", "cut", "expanded"]

MOST_SHARDS = 100_000


class Part(NamedTuple):
    """The lines of a file that begin in ``start:end``; all of them, of a file that cannot be cut.

    size: the file's bytes; a worker that finds another size has another file.
    """

    path: str
    size: int
    start: int
    end: int
    is_cut: bool


Shard = tuple[Part, ...]


def expanded(patterns: Iterable[str]) -> list[str]:
    """The absolute paths of the files that are named, or that patterns as ``logs/*.gz`` match, by
    name.

    Raises ConfigError for a pattern that no file matches, and for a file that is named twice.
    """
    paths: list[str] = []
    for pattern in patterns:
        found = [pattern]
        if glob.has_magic(pattern) and not os.path.exists(pattern):
            found = sorted(glob.glob(pattern, recursive=True))
            if not found:
                raise ConfigError(f"files: expected one at least that {pattern!r} matches")
        paths += map(os.path.abspath, found)
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(f"files: expected each once, got {path} twice")
    return paths


def cut(paths: Sequence[str], *, shards: int | None, shard_bytes: int) -> tuple[Shard, ...]:
    """The shards of files: `shards` of them, or else as many as have `shard_bytes` each.

    There may be fewer: files that cannot be cut leave some empty. Raises OSError, ConfigError.
    """
    sizes = [os.stat(path).st_size for path in paths]
    total = sum(sizes)
    count = -(-total // shard_bytes) if shards is None else shards
    count = max(1, min(count, total))
    if count > MOST_SHARDS:
        raise ConfigError(f"shards: expected at most {MOST_SHARDS}, got {count}")
    made: list[list[Part]] = [[] for _ in range(count)]
    first = 0  # where the file begins in all of them
    for path, size in zip(paths, sizes, strict=True):
        if not os.path.isfile(path):
            raise ConfigError(f"files: expected regular files, which are read again, got {path}")
        if size and not can_be_cut(path):
            made[(2 * first + size) * count // (2 * total)].append(Part(path, size, 0, size, False))
        elif size:
            for number in range(first * count // total, (first + size - 1) * count // total + 1):
                start = max(0, -(-number * total // count) - first)
                end = min(size, -(-(number + 1) * total // count) - first)
                made[number].append(Part(path, size, start, end, True))
        first += size
    return tuple(tuple(parts) for parts in made if parts)
