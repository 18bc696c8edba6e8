r"""File readers: text files → batches.

    svmlight   label id:value id:value ...  # comment
    vw         label [importance] ['tag]|namespace[:weight] name[:value] ... |...
    json       {"label": 1, "features": ["name", ...] or {"name": value, ...}, "importance": 1}
    text       label \t text
    fasttext   __label__x text
    csv        a table with a header, one column of it the label

Features are names and values, or, with an `extractor`, also texts and fields (`onlinesvm.text`).

One sample a line; blank lines are passed over but counted, and so are lines before the first sample
that begin with ``#``. The format is known by the first lines (`detect`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple, Self

from onlinesvm import kernel as kernels
from onlinesvm.config import Limits
from onlinesvm.data.batch import CSR, Batch, BatchColumns
from onlinesvm.data.label import Written
from onlinesvm.errors import ConfigError, FormatError
from onlinesvm.kernel.contract import KernelExtractor
from onlinesvm.readers.chunks import BLOCK_BYTES, Blocks
from onlinesvm.readers.detect import look_ahead
from onlinesvm.readers.formats import NAMES, Setup
from onlinesvm.readers.jsonl import Keys
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import Parsed, Room
from onlinesvm.readers.prefetch import made_ahead
from onlinesvm.readers.spans import SpanBlocks, lines_before, offset_of_line
from onlinesvm.readers.start import Start, read_start
from onlinesvm.readers.tokens import LineError
from onlinesvm.readers.unpack import DamageError

__all__ = ["NAMES", "Keys", "Reader"]

_DEFAULTS = Limits()

# A batch of wide samples ends early, so that its memory is bounded.
_BATCH_FEATURES = 2**18
_BATCH_NAME_BYTES = 2**22
# Parsed, or looked up, while those before are in use: little lies between two threads.
_PARTS_AHEAD = 2


class _Part(NamedTuple):
    """A parsed part of a block, from `offset` on."""

    parsed: Parsed
    block: bytes
    offset: int


class Reader:
    """Iterates once over the samples of a text file, in non-empty batches.

    source: a path, or ``-`` for stdin; compressed input is unpacked. format: one of NAMES; None
    finds out. positive: the labels that are +1 (see Labels). labelled: True asks every line for a
    label; False takes samples without one, or with a text that is none. sets: True takes several
    labels a sample, with commas between. skip_bad: note bad
    lines instead of raising. ids: keep the samples' ids. keys: of JSON lines; the id's key names a
    table's column too. label_column: of a table; it makes the format csv. limits: of a sample.
    extractor: reads the records of the model that the samples are for; without one, samples are
    names and values alone, and a text is its words. keeps: leave records packed in the batches, to
    be encoded for another process; the extractor only checks them. only_labels: the samples have no
    features, and faults of features may pass.
    span: the offsets between which the lines to read begin, of a plain file; its format and header
    are found at the file's start all the same.
    batch_samples: the most samples a batch may have; it also ends where one read ends, so that a
    slow pipe does not keep its lines waiting. kernel: as OnlineSVM takes it; the batches are that
    kernel's. ahead: read and parse in a thread while the batches before are in use; for files
    only, as a pipe is no faster for it. look_up: called on each batch, in order, for its ids;
    with `ahead` in a thread of its own, while the batches before are in use.

    Attributes: source; format (None until `begin`, and for files without samples); notes (for the
    user: how the file is read); lines (read so far); samples (given out so far); skipped (bad
    lines); first_skipped (the error of the first one); bytes_read and total_bytes (of the file as
    it is on disk; total_bytes is None where the size is not known).

    Attributes of the batch given out last: ids (bytes, empty where a line has none; None unless
    asked for) and gaps, the bad lines passed over since the batch before: how many there are,
    by the number of this batch's samples before them. After the last batch: those after it, at 0.
    csr: the ids that `look_up` found.

    Memory does not grow with the input. Raises ConfigError for the arguments, OSError where the
    file cannot be opened or read, and FormatError, naming the line, for the first bad one, after
    the batch of the samples before it; for damaged files and unknown formats with skip_bad too.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        format: str | None = None,
        positive: Iterable[Written] = (),
        labelled: bool = True,
        sets: bool = False,
        skip_bad: bool = False,
        ids: bool = False,
        keys: Keys | None = None,
        label_column: str | None = None,
        limits: Limits = _DEFAULTS,
        batch_samples: int = 1024,
        kernel: str | None = None,
        ahead: bool = False,
        look_up: Callable[[BatchColumns], CSR | None] | None = None,
        extractor: KernelExtractor | None = None,
        keeps: bool = False,
        only_labels: bool = False,
        span: tuple[int, int] | None = None,
        _block_bytes: int = BLOCK_BYTES,
    ) -> None:
        if format is not None and format not in NAMES:
            raise ConfigError(f"format: expected one of {', '.join(NAMES)}, got {format!r}")
        if batch_samples < 1:
            raise ConfigError(f"batch_samples: expected at least 1, got {batch_samples!r}")
        if label_column is not None and format not in (None, "csv"):
            raise ConfigError(f"label_column: expected the format csv with it, got {format!r}")
        if format == "csv" and labelled and label_column is None:
            raise ConfigError("label_column: expected one with the format csv, got none")
        self.lines = self.samples = self.skipped = 0
        self.first_skipped: FormatError | None = None
        self.ids: Sequence[bytes] | None = None
        self.gaps: Mapping[int, int] = {}
        self.csr: CSR | None = None
        self._format = format if label_column is None else "csv"
        self._label_column = label_column
        self._setup = Setup(
            labels=Labels(positive, labelled=labelled, sets=sets),
            limits=limits,
            keys=keys or Keys(),
            ids=ids,
            extractor=extractor,
            keeps=keeps,
            only_labels=only_labels,
        )
        self._skip_bad = skip_bad
        self._room = Room(batch_samples, _BATCH_FEATURES, _BATCH_NAME_BYTES)
        self._kernel = kernels.load(kernel)
        self._file = Blocks(
            source, max_line_bytes=limits.max_message_bytes, block_bytes=_block_bytes
        )
        self._span = span
        self._block_bytes = _block_bytes
        self._blocks: Iterator[bytes | LineError] = iter(self._file)
        # A pipe may never end, and no one could then end the thread that reads it.
        self._ahead = ahead and self._file.total_bytes is not None
        self._look_up = look_up
        self.source = self._file.name
        self._start: Start | None = None
        self._last: _Part | None = None  # the one that was given out last
        self._batches = self._read()

    def begin(self) -> None:
        """Read the first lines, by which the format is known; iterating does so too.

        Raises FormatError where the format cannot be known or a header cannot be read.
        """
        if self._start is not None:
            return
        ahead = look_ahead(
            self._blocks,
            whole=self._file.total_bytes is not None,
            known=self._format is not None,
            labelled=self._setup.labels.labelled,
            skip_bad=self._skip_bad,
        )
        self._blocks = itertools.chain(ahead.blocks, self._blocks)
        try:
            self._start = read_start(
                ahead, self.source, self._setup, self._format, self._label_column
            )
        except FormatError as error:
            self.lines = error.line
            raise
        if self._span is not None:
            self._narrow(*self._span, self._start)

    def _narrow(self, start: int, end: int, whole: Start) -> None:
        """Go on with the lines of a span, after the header."""
        begin = max(start, offset_of_line(self._file.name, whole.first_line))
        limit = self._setup.limits.max_message_bytes
        span = SpanBlocks(
            self._file.name, begin, end, max_line_bytes=limit, block_bytes=self._block_bytes
        )
        self._file.close()
        self._file, self._blocks = span, iter(span)
        self._start = replace(whole, first_line=1)

    @property
    def format(self) -> str | None:
        """The format given, or found out by `begin`."""
        return self._format if self._start is None else self._start.format

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user about how the file is read; none before `begin`."""
        return () if self._start is None else self._start.notes

    @property
    def bytes_read(self) -> int:
        """Bytes of the input read so far, before they are unpacked."""
        return self._file.bytes_read

    @property
    def total_bytes(self) -> int | None:
        """Bytes of the input, before they are unpacked; None where that is not known."""
        return self._file.total_bytes

    def __iter__(self) -> Iterator[BatchColumns]:
        return self._batches

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, wherever reading is; stdin stays open."""
        self._batches.close()
        self._file.close()

    def _read(self) -> Generator[BatchColumns, None, None]:
        try:
            self.begin()
            assert self._start is not None
            parts = self._parse(self._start)
            if self._ahead:
                parts = made_ahead(parts, _PARTS_AHEAD)
            found = self._looked_up(parts)
            if self._ahead and self._look_up is not None:
                found = made_ahead(found, _PARTS_AHEAD)
            with contextlib.closing(found):
                yield from self._batches_of(found)
        finally:
            self._file.close()

    def line_of(self, sample: int) -> int:
        """The line of a sample of the batch given out last, by its index there."""
        assert self._start is not None and self._last is not None
        parsed, block, offset = self._last
        room = self._room._replace(samples=sample + 1)
        again: Parsed = self._kernel.parse_block(
            self._start.parser, block, offset, room, skip_bad=True
        )
        before = 0
        if isinstance(self._file, SpanBlocks):
            before = lines_before(self._file.name, self._file.first)
        return before + self.lines - parsed.lines + again.lines

    def _looked_up(
        self, parts: Generator[_Part, None, None]
    ) -> Generator[tuple[_Part, CSR | None], None, None]:
        with contextlib.closing(parts):
            look_up = self._look_up
            for part in parts:
                batch = part.parsed.batch
                yield part, look_up(batch) if look_up and len(batch) else None

    def _batches_of(
        self, parts: Iterable[tuple[_Part, CSR | None]]
    ) -> Generator[BatchColumns, None, None]:
        """The batches of `parts`; the attributes take all else."""
        passed = 0  # bad lines since the last sample
        for self._last, csr in parts:
            part = self._last.parsed
            if part.first_fault is not None and self.first_skipped is None:
                line, fault = part.first_fault
                self.first_skipped = self._error(fault, self.lines + line)
            self.lines += part.lines
            self.skipped += len(part.skipped)
            if len(part.batch):
                gaps = Counter(part.skipped)
                if passed:
                    gaps[0] += passed
                passed = gaps.pop(len(part.batch), 0)
                self.samples += len(part.batch)
                self.ids, self.gaps, self.csr = part.ids, gaps, csr
                yield part.batch
            else:
                passed += len(part.skipped)
            if part.fault is not None:
                raise self._error(part.fault, self.lines)
        self.gaps = {0: passed} if passed else {}

    def _parse(self, start: Start) -> Generator[_Part, None, None]:
        """The parsed blocks, up to the first fault."""
        header = start.first_line - 1  # lines yet to come before the first sample
        for block in self._blocks:
            if isinstance(block, LineError):
                header = max(header - 1, 0)
                if self._skip_bad and not isinstance(block, DamageError):
                    parsed = Parsed(Batch(), 0, 1, skipped=(0,), first_fault=(1, block))
                else:
                    parsed = Parsed(Batch(), 0, 1, block)
                yield _Part(parsed, b"", 0)
                if parsed.fault is not None:
                    return  # a line that is too long may never end
                continue
            offset = 0
            if header:
                offset, lines = _offset_after(block, header)
                header -= lines
                yield _Part(Parsed(Batch(), offset, lines), b"", 0)
            while offset < len(block):
                parsed = self._kernel.parse_block(
                    start.parser, block, offset, self._room, skip_bad=self._skip_bad
                )
                yield _Part(parsed, block, offset)
                if parsed.fault is not None:
                    return
                offset = parsed.end

    def _error(self, fault: LineError, line: int) -> FormatError:
        """`fault` with its place; a guess at the format is named in it."""
        guessed = self._start is not None and self._start.guessed
        hint = ""
        if guessed and not isinstance(fault, DamageError):
            hint = f" (read as {self.format}; --format names another)"
        if isinstance(self._file, SpanBlocks):
            line += lines_before(self._file.name, self._file.first)
        return FormatError(f"{fault}{hint}", self.source, line)


def _offset_after(block: bytes, most: int) -> tuple[int, int]:
    """The offset after the first `most` lines of `block`, or all of them, and their number."""
    offset = lines = 0
    while lines < most and offset < len(block):
        offset = block.find(b"\n", offset) + 1 or len(block)
        lines += 1
    return offset, lines
