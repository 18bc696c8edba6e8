r"""File readers: text files → batches.

    svmlight   label id:value id:value ...  # comment
    vw         label [importance] ['tag]|namespace[:weight] name[:value] ... |...
    json       {"label": 1, "features": ["name", ...] or {"name": value, ...}, "importance": 1}
    text       label \t text

One sample a line; blank lines are passed over but counted. The format is known by the first line
that is not blank: a leading ``{``, then a TAB, then a ``|``, else svmlight.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from onlinesvm import kernel as kernels
from onlinesvm.config import Limits
from onlinesvm.data.batch import Batch, BatchColumns
from onlinesvm.errors import ConfigError, FormatError
from onlinesvm.readers.chunks import BLOCK_BYTES, Blocks, DamageError
from onlinesvm.readers.jsonl import JSONParser
from onlinesvm.readers.labels import Labels, LineError
from onlinesvm.readers.lines import LineParser, SvmlightParser, TextParser, VWParser
from onlinesvm.readers.parsing import Parsed, Room
from onlinesvm.readers.prefetch import made_ahead

__all__ = ["FORMATS", "Reader", "detect"]

_PARSERS: dict[str, type[SvmlightParser | VWParser | JSONParser | TextParser]] = {
    "svmlight": SvmlightParser,
    "vw": VWParser,
    "json": JSONParser,
    "text": TextParser,
}
FORMATS = tuple(_PARSERS)

_DEFAULTS = Limits()

# A batch of wide samples ends early, so that its memory is bounded.
_BATCH_FEATURES = 2**18
_BATCH_NAME_BYTES = 2**22
# Parsed while those before are learned: what lies between the two threads is little.
_PARTS_AHEAD = 2


def detect(line: bytes) -> str:
    """The format of a file whose first line that is not blank is `line`."""
    if line.lstrip().startswith(b"{"):
        return "json"
    if b"\t" in line.rstrip(b"\r\n"):
        return "text"
    return "vw" if b"|" in line else "svmlight"


class Reader:
    """Iterates once over the samples of a text file, in non-empty batches.

    source: a path, or ``-`` for stdin; gzip is unpacked. format: one of FORMATS; None finds out.
    positive: which labels are +1 (see Labels). labelled: whether every line must have a label;
    without, the labels of lines that have none, or none that can be read, are 0.0. skip_bad: count
    bad lines instead of raising. batch_samples: the most samples a batch may have; it also ends
    where what was read at once ends, so that a slow pipe does not keep its lines waiting. kernel:
    as OnlineSVM takes it; the batches are that kernel's. ahead: read and parse in a thread while
    the batches before are in use; for files only, as a pipe is no faster for it.

    Attributes, for a progress bar and a summary: source, format (None until it is known), lines
    (read so far), skipped (bad lines), first_skipped (the error of
    the first of them), samples (given out so far), bytes_read and total_bytes (of
    the file as it is on disk; total_bytes is None where the size is not known).

    gaps belongs to the batch given out last: the bad lines passed over since the batch before, how
    many there are by the number of this batch's samples before them. After the last batch: those
    after it, at 0.

    Memory does not grow with the input. Raises ConfigError for the arguments, OSError where the
    file cannot be opened or read, and FormatError, naming the line, for the first bad one, after
    the batch of the samples before it; for damaged gzip too, whatever skip_bad says.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        format: str | None = None,
        positive: Iterable[str] = (),
        labelled: bool = True,
        skip_bad: bool = False,
        limits: Limits = _DEFAULTS,
        batch_samples: int = 1024,
        kernel: str | None = None,
        ahead: bool = False,
        _block_bytes: int = BLOCK_BYTES,
    ) -> None:
        if format is not None and format not in _PARSERS:
            raise ConfigError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
        if batch_samples < 1:
            raise ConfigError(f"batch_samples: expected at least 1, got {batch_samples!r}")
        self.format = format
        self.lines = 0
        self.skipped = 0
        self.samples = 0
        self._detected = False
        self.first_skipped: FormatError | None = None
        self.gaps: Mapping[int, int] = {}
        self._skip_bad = skip_bad
        self._limits = limits
        self._batch_samples = batch_samples
        self._labels = Labels(positive, labelled=labelled)
        self._parser: LineParser | None = None
        self._kernel = kernels.load(kernel)
        self._blocks = Blocks(
            source, max_line_bytes=self._limits.max_message_bytes, block_bytes=_block_bytes
        )
        # A pipe may never end, and no one could then end the thread that reads it.
        self._ahead = ahead and self._blocks.total_bytes is not None
        self.source = self._blocks.name
        self._batches = self._read()

    @property
    def bytes_read(self) -> int:
        """Bytes of the input read so far, before they are unpacked."""
        return self._blocks.bytes_read

    @property
    def total_bytes(self) -> int | None:
        """Bytes of the input, before they are unpacked; None where that is not known."""
        return self._blocks.total_bytes

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
        self._blocks.close()

    def _read(self) -> Generator[BatchColumns, None, None]:
        parts = self._parse()
        if self._ahead:
            parts = made_ahead(parts, _PARTS_AHEAD)
        try:
            passed = 0  # bad lines since the last sample
            for part in parts:
                self.lines += part.lines
                if len(part.batch):
                    self.samples += len(part.batch)
                    self.gaps, passed = {0: passed} if passed else {}, 0
                    yield part.batch
                if part.fault is not None:
                    error = FormatError(
                        f"{part.fault}{self._hint(part.fault)}", self.source, self.lines
                    )
                    if not self._skip_bad or isinstance(part.fault, DamageError):
                        raise error
                    self.skipped += 1
                    passed += 1
                    self.first_skipped = self.first_skipped or error
            self.gaps = {0: passed} if passed else {}
        finally:
            parts.close()
            self._blocks.close()

    def _parse(self) -> Generator[Parsed, None, None]:
        """The parsed blocks; parsing goes on after each fault."""
        room = Room(self._batch_samples, _BATCH_FEATURES, _BATCH_NAME_BYTES)
        for block in self._blocks:
            if isinstance(block, LineError):
                yield Parsed(Batch(), 0, 1, 0, block)
                continue
            parser = self._parser_for(block)
            start = 0
            while start < len(block):
                parsed = self._kernel.parse_block(parser, block, start, room)
                yield parsed
                start = parsed.end

    def _hint(self, fault: LineError) -> str:
        if self._detected and not self.samples and not isinstance(fault, DamageError):
            return f" (read as {self.format}; --format names another)"
        return ""

    def _parser_for(self, block: bytes) -> LineParser:
        """The parser of this file's lines; `block` shows the format where it is not known yet."""
        if self._parser is None:
            if self.format is None:
                line = next((line for line in block.split(b"\n") if line.strip()), None)
                if line is None:
                    # No line of this block will be parsed, so any format will do.
                    return SvmlightParser(self._labels, self._limits)
                self.format = detect(line)
                self._detected = True
            self._parser = _PARSERS[self.format](self._labels, self._limits)
        return self._parser
