"""Pairs of items from files, for a ranking.

    json       {"better": features, "worse": features, "importance": 1}
    svmlight   grade qid:N id:value id:value ...  # comment

Features are as in the other JSON lines. Lines of one query follow each other, and all pairs of its
items with unequal grades are learned, the higher grade being the better item: those of the second
item with the first, of the third with the first two, and so on. Of a query with more than
`max_pairs_per_query` pairs so many are taken, evenly spaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgpack
import numpy as np

from onlinesvm.config import Limits
from onlinesvm.data.codec import pack_array
from onlinesvm.errors import ConfigError, FormatError, format_text
from onlinesvm.kernel.contract import KernelExtractor
from onlinesvm.readers.chunks import Blocks, DamageError
from onlinesvm.readers.jsonl import JSONParser, Keys
from onlinesvm.readers.jsonl import fits as is_json
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import extracted, pack_fields
from onlinesvm.readers.svmlight import SvmlightParser
from onlinesvm.readers.tokens import LineError, read_number

__all__ = ["FORMATS", "PAIRS_PER_QUERY", "PairReader", "Pairs"]

FORMATS = ("json", "svmlight")
PAIRS_PER_QUERY = 10_000
MOST_ITEMS = 2**16  # of a query, which is held in memory

_BATCH_BYTES = 2**18
_find_qid = re.compile(rb"(?<!\S)qid:(\S*)").search


class Pairs(NamedTuple):
    """A batch of pairs: the packed items, better and worse in turn, and the importances, [n]."""

    items: list[bytes]
    importances: list[float]

    def __len__(self) -> int:
        return len(self.importances)

    @property
    def learned(self) -> bytes:
        """The body of a learn request."""
        parts = zip(self.items[::2], self.items[1::2], self.importances, strict=True)
        return pack_array(
            [
                b"\x92" + better + worse if h == 1.0 else b"\x93" + better + worse + _pack(h)
                for better, worse, h in parts
            ]
        )

    def cut(self, size: int) -> Iterator[tuple[int, bytes]]:
        """The items in bodies of predict requests of at most `size` items each."""
        for first in range(0, len(self.items), size):
            part = self.items[first : first + size]
            yield len(part), pack_array(part)


class _NoLabels(Labels):
    """Reads no label, where there is one or none."""

    def read(self, text: bytes) -> None:
        """None: the grade is read elsewhere."""

    def value(self, value: object) -> None:
        """None."""

    def missing(self, message: str) -> None:
        """None."""


class _ItemParser(JSONParser):
    """Reads one item of a pair in a JSON line."""

    def _absent(self, meaning: str, key: str, sample: dict[str, Any]) -> str:
        got = ", ".join(map(format_text, list(sample)[:5])) or "none"
        return f'expected the keys "better" and "worse", got {got}'


class _Query:
    """The items of the query under way."""

    def __init__(self, id: bytes) -> None:
        self.id = id
        self.grades: list[float] = []
        self.items: list[bytes] = []

    def pairs(self, most: int) -> Iterator[tuple[bytes, bytes]]:
        """Up to `most` of its pairs (better, worse)."""
        grades = np.array(self.grades)
        # Item j makes a pair with each earlier one of another grade.
        counts = np.array([int((grades[:j] != grades[j]).sum()) for j in range(len(grades))], int)
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        chosen = np.arange(min(most, total))
        if total > most:
            chosen = chosen * total // most
        later = np.searchsorted(ends, chosen, side="right")
        partners = {j: np.flatnonzero(grades[:j] != grades[j]) for j in np.unique(later).tolist()}
        for place, j in zip(chosen.tolist(), later.tolist(), strict=True):
            i = int(partners[j][place - int(ends[j] - counts[j])])
            better, worse = (i, j) if grades[i] > grades[j] else (j, i)
            yield self.items[better], self.items[worse]


class PairReader:
    """Iterates once over the pairs of a file, in batches.

    source: a path, or ``-`` for stdin. format: one of FORMATS; None goes by the first sample.
    extractor: reads the items' records of text and fields. skip_bad: note bad lines instead of
    raising. Attributes as those of `Reader`.

    Raises ConfigError for the arguments, OSError where the file cannot be opened or read, and
    FormatError, naming the line, for the first bad one.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        limits: Limits,
        extractor: KernelExtractor | None = None,
        format: str | None = None,
        skip_bad: bool = False,
        max_pairs_per_query: int = PAIRS_PER_QUERY,
        batch_samples: int = 1024,
    ) -> None:
        if format not in (None, *FORMATS):
            raise ConfigError(f"format: expected {' or '.join(FORMATS)} for pairs, got {format!r}")
        if max_pairs_per_query < 1:
            raise ConfigError(
                f"max_pairs_per_query: expected an integer from 1, got {max_pairs_per_query!r}"
            )
        self.format = format
        self.lines = self.skipped = 0
        self.first_skipped: FormatError | None = None
        self._skip_bad = skip_bad
        self._most = max_pairs_per_query
        self._batch_samples = batch_samples
        self._file = Blocks(source, max_line_bytes=limits.max_message_bytes)
        self.source = self._file.name
        self._query: _Query | None = None
        labels = _NoLabels()
        self._json = [
            _ItemParser(labels, limits, Keys(features=key), extractor=extractor)
            for key in ("better", "worse")
        ]
        self._svmlight = SvmlightParser(labels, limits, extractor=extractor)

    @property
    def bytes_read(self) -> int:
        """Bytes of the input read so far, before they are unpacked."""
        return self._file.bytes_read

    @property
    def total_bytes(self) -> int | None:
        """Bytes of the input, before they are unpacked; None where that is not known."""
        return self._file.total_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Pairs]:
        items: list[bytes] = []
        importances: list[float] = []
        size = 0
        for better, worse, importance in self._pairs():
            items += (better, worse)
            importances.append(importance)
            size += len(better) + len(worse)
            if len(importances) == self._batch_samples or size >= _BATCH_BYTES:
                yield Pairs(items, importances)
                items, importances, size = [], [], 0
        if importances:
            yield Pairs(items, importances)

    def _pairs(self) -> Iterator[tuple[bytes, bytes, float]]:
        for block in self._file:
            if isinstance(block, LineError):
                self._refuse(block)
                continue
            for line in block.removesuffix(b"\n").split(b"\n"):
                self.lines += 1
                line = line.removesuffix(b"\r")
                if not line.strip() or line.lstrip().startswith(b"#"):
                    continue
                if self.format is None:
                    self.format = "json" if is_json(line) else "svmlight"
                try:
                    if self.format == "json":
                        yield self._pair(line)
                        continue
                    ended = self._take_item(line)
                except LineError as fault:
                    self.lines -= 1
                    self._refuse(fault)
                    continue
                if ended is not None:
                    yield from self._of_query(ended)
        if self._query is not None:
            yield from self._of_query(self._query)

    def _of_query(self, query: _Query) -> Iterator[tuple[bytes, bytes, float]]:
        return ((better, worse, 1.0) for better, worse in query.pairs(self._most))

    def _refuse(self, fault: LineError) -> None:
        self.lines += 1
        error = FormatError(str(fault), self.source, self.lines)
        if not self._skip_bad or isinstance(fault, DamageError):
            raise error
        self.skipped += 1
        self.first_skipped = self.first_skipped or error

    def _pair(self, line: bytes) -> tuple[bytes, bytes, float]:
        """The pair in a JSON line."""
        better, worse = (self._item(parser, line) for parser in self._json)
        return better[0], worse[0], better[1]

    def _item(self, parser: _ItemParser, line: bytes) -> tuple[bytes, float]:
        row = parser.parse(line)
        if row.record is None:
            return _packed(row.names, row.values), row.importance
        extracted(parser, row.record)  # raises for a fault
        return row.record, row.importance

    def _take_item(self, line: bytes) -> _Query | None:
        """Add the item of a svmlight line; the query that it ends, if any."""
        text = line.partition(b"#")[0]
        grade = read_number(text.split(None, 1)[0]) if text.strip() else None
        if grade is None:
            raise LineError(f"expected a grade, a number, got {format_text(line[:40])}")
        found = _find_qid(text)
        if found is None or not found[1]:
            raise LineError("expected qid:N, the number of the query, got none")
        row = self._svmlight.parse(line)
        assert row is not None
        packed = _packed(row.names, row.values)
        if self._svmlight.reads_maps:
            extracted(self._svmlight, packed)
        ended = None
        if self._query is None or self._query.id != found[1]:
            ended, self._query = self._query, _Query(found[1])
        query = self._query
        if len(query.items) >= MOST_ITEMS:
            raise LineError(f"expected at most {MOST_ITEMS} items a query, got more")
        query.grades.append(grade)
        query.items.append(packed)
        return ended


_pack = msgpack.Packer(use_bin_type=False).pack


def _packed(names: Sequence[bytes], values: Sequence[float]) -> bytes:
    """Features as the wire has them."""
    if all(value == 1.0 for value in values):
        packed: bytes = _pack(list(names))
        return packed
    return pack_fields(zip(names, values, strict=True))
