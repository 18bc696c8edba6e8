"""The format of a file, by its first lines.

Blank lines and lines that begin with ``#`` count for nothing. Each other line fits some formats
(`formats`), of which the first counts; the format that most lines fit is the file's. A line of one
bare word fits none. Text without labels fits any line: a file to predict is such text where fewer
than half of its lines fit any other format and not all of them are bare numbers. Else the file is
refused with the list of the formats, and so is a table whose label's column was not named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from onlinesvm.errors import format_text
from onlinesvm.readers.csv import looks_like_table
from onlinesvm.readers.formats import FORMATS
from onlinesvm.readers.labelled_text import HEADER_WORDS
from onlinesvm.readers.tokens import LineError, read_number

__all__ = ["LookAhead", "detect", "is_comment", "is_text_header", "look_ahead"]

_LINES = 100
_BYTES = 2**16
# So much is read where all of it is blank or comment.
_MAX_BYTES = 2**24
# So much of a line is looked at.
_LINE_BYTES = 2**12


@dataclass
class LookAhead:
    """The start of a file.

    blocks: read so far, in order. comments: the lines before the first sample that begin with
    ``#``. samples: the other lines that are neither blank nor too long. Both hold up to 100 lines,
    with their numbers from 1 and without their ends. cut: True where the search for a sample ended
    at its bound. fault: True where it ended at a line that is too long, or at damage.
    """

    blocks: list[bytes | LineError] = field(default_factory=list)
    comments: list[tuple[int, bytes]] = field(default_factory=list)
    samples: list[tuple[int, bytes]] = field(default_factory=list)
    cut: bool = False
    fault: bool = False

    def add(self, number: int, line: bytes) -> None:
        """Add a line that is not blank."""
        if not is_comment(line):
            kept = self.samples
        elif not self.samples:
            kept = self.comments
        else:
            return
        if len(kept) < _LINES:
            kept.append((number, line.removesuffix(b"\r")))


def look_ahead(
    blocks: Iterator[bytes | LineError],
    *,
    whole: bool,
    known: bool,
    labelled: bool,
    skip_bad: bool = False,
) -> LookAhead:
    """The first blocks of a file: up to 100 lines or 64 KiB, with a line that may be a sample.

    From a pipe (not `whole`) no more is read than up to a line that decides: any where the format
    is `known`, else one that shows it; and one more after a line that may be a header. A line that
    is too long ends it, unless `skip_bad`: the rest of that line may never end.
    """

    def decides(line: bytes) -> bool:
        return known or _shows_format(line) or (not labelled and _is_word(line))

    ahead = LookAhead()
    number = size = 0
    for block in blocks:
        ahead.blocks.append(block)
        if isinstance(block, LineError):
            if not skip_bad:
                ahead.fault = True
                break
            number += 1
            size += _BYTES
        else:
            size += len(block)
            for line in block.removesuffix(b"\n").split(b"\n"):
                number += 1
                if line and not line.isspace():
                    ahead.add(number, line)
        lines = [line for _, line in ahead.samples]
        if len(lines) >= _LINES or (lines and size >= _BYTES):
            break
        if size >= _MAX_BYTES:
            ahead.cut = True
            break
        header = len(lines) == 1 and _label_of(lines[0]).lower() in HEADER_WORDS
        if not whole and not header and any(map(decides, lines)):
            break
    return ahead


def detect(lines: list[bytes], *, labelled: bool) -> str:
    """The format of a file that begins with `lines`, of which there is one at least.

    Raises LineError where it cannot be known.
    """
    lines = [_start_of(line) for line in lines]
    shown = [line for line in lines if _shows_format(line)]
    counts = Counter(filter(None, map(_kind_of, shown)))
    best, count = counts.most_common(1)[0] if counts else ("", 0)
    if best in ("", "text") and looks_like_table(lines):
        raise LineError(
            f"expected a line of a known format, got a table's, {format_text(lines[0])}: "
            + (
                "--label-column NAME reads it with the labels of that column"
                if labelled
                else "--format csv reads it, with --label-column NAME for the column of labels"
            )
        )
    if count * 2 >= len(shown) > 0 or (labelled and count):
        return best
    if not labelled and (shown or any(map(_is_word, lines))):
        return "text"
    raise LineError(
        f"expected a line of a known format, got {format_text(lines[0])}; the formats are "
        + ", ".join(f"{format.name} ({format.line})" for format in FORMATS.values())
        + "; --format names one"
    )


def is_text_header(lines: list[bytes], positive: set[bytes]) -> bool:
    """True where the first of `lines`, labelled text, is a header as ``label<TAB>text``.

    Its label is the name of a column and that of no other line, nor one of `positive`. One line
    alone is a sample.
    """
    labels = [_label_of(line) for line in lines if b"\t" in line]
    return (
        b"\t" in lines[0]
        and len(labels) > 1
        and labels[0].lower() in HEADER_WORDS
        and labels[0] not in positive
        and labels[0] not in labels[1:]
    )


def _kind_of(line: bytes) -> str | None:
    """The first format that `line` fits. A leading TAB marks text without a label."""
    if line.startswith(b"\t"):
        return "text"
    return next((name for name, format in FORMATS.items() if format.fits(line)), None)


def _shows_format(line: bytes) -> bool:
    """False for one bare word: a label without features, or a text."""
    return len(line.split(None, 1)) > 1 or any(mark in line for mark in b"\t|:{[,")


def _is_word(line: bytes) -> bool:
    """True for a text, as a bare number may be a label."""
    return read_number(line.strip()) is None


def _label_of(line: bytes) -> bytes:
    return line.partition(b"\t")[0].strip()


def _start_of(line: bytes) -> bytes:
    """The first whole words of a long line."""
    if len(line) <= _LINE_BYTES:
        return line
    start = line[:_LINE_BYTES]
    return start[: max(start.rfind(b" "), start.rfind(b"\t")) + 1] or start


def is_comment(line: bytes) -> bool:
    """True for a line that begins with ``#``."""
    return line.lstrip().startswith(b"#")
