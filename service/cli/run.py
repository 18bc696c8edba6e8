"""A run over files: their batches, what was counted on the way, and how it ended."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import Limits
from onlinesvm.data.batch import CSR, BatchColumns
from onlinesvm.data.label import Written
from onlinesvm.data.pieces import Decoded
from onlinesvm.errors import FormatError, OnlineSVMError, SampleError
from onlinesvm.kernel.contract import KernelExtractor, KernelMetrics
from onlinesvm.metrics.label_run import LabelRun
from onlinesvm.metrics.progressive import TOTALS, Progressive
from onlinesvm.model.class_labels import AnyLabels
from onlinesvm.model.labels import Labels
from onlinesvm.readers.reader import NAMES, Keys, Reader
from onlinesvm.service.cli.flags import from_flags
from onlinesvm.service.cli.output import naming, note, one_line, plural
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.progress import ProgressBar
from onlinesvm.text.constants import TEXT_BYTES

__all__ = ["Piece", "Run", "add_files", "files_of"]


def add_files(parser: Parser) -> None:
    """Add the flags of a command that reads files."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="a file of samples, perhaps .gz, .bz2 or .xz; - is stdin",
    )
    parser.add_argument(
        "--format", choices=NAMES, help="the files' format (default: by their first lines)"
    )
    parser.add_argument(
        "--label-column",
        metavar="NAME",
        help="read CSV or TSV: the column of the label, by its name in the header",
    )
    for key in ("label", "features", "id"):
        parser.add_argument(
            f"--{key}-key",
            default=key,
            metavar="KEY",
            help=f"the key of the {key} in JSON lines (default: {key})"
            + ("; the column of the id in CSV" if key == "id" else ""),
        )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="skip bad lines and count them, instead of stopping at the first",
    )


def files_of(arguments: argparse.Namespace) -> list[str]:
    """The files to read, stdin where none is named. A terminal as stdin is wrong usage then."""
    if not arguments.files and sys.stdin.isatty():
        arguments.parser.error(
            "expected FILE, or samples on stdin, got a terminal; - reads from it"
        )
    return arguments.files or ["-"]


class Piece(NamedTuple):
    """A batch of a file, and the bad lines around its samples.

    gaps: how many bad lines were skipped, by the number of the batch's samples before them. batch
    is None for those after a file's last sample. ids: of the samples, empty where a line has none;
    None unless they were asked for. csr: the ids, where the run has `look_up`.
    """

    batch: BatchColumns | None
    gaps: Mapping[int, int]
    ids: Sequence[bytes] | None = None
    csr: CSR | None = None

    def joined(self, lines: Sequence[str], filler: str) -> str:
        """The `lines` of the samples, with a `filler` in the place of each bad line.

        Each has the sample's id and a TAB before it, where ids were asked for; `-` without an id.
        """
        if self.ids is not None:
            lines = [f"{_id_column(id)}\t{line}" for id, line in zip(self.ids, lines, strict=True)]
            filler = f"-\t{filler}"
        if not self.gaps:
            return "".join(lines)
        parts = []
        for i, line in enumerate((*lines, "")):
            parts += [filler] * self.gaps.get(i, 0)
            parts.append(line)
        return "".join(parts)


def _id_column(id: bytes) -> str:
    """An id as one column of one line; `-` for none."""
    return one_line(id.decode("utf-8", "surrogateescape")) or "-"


class Run:
    """Reads the files of a command, and counts samples and how well they were predicted."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        limits: Limits,
        *,
        labelled: bool,
        ids: bool = False,
    ) -> None:
        # Of the model that the samples are for; see Reader.
        self.look_up: Callable[[BatchColumns], CSR | None] | None = None
        self.extractor: KernelExtractor | None = None
        self.keeps = False
        self._arguments = arguments
        self.limits = limits  # of the samples that are read from now on
        self._labelled = labelled
        self._ids = ids
        self._metrics: KernelMetrics | None = None  # made with the first batch, by the threshold
        self._begun: set[str] = set()
        self.threshold = 0.0  # the margin above which the prediction is +1
        self.samples = 0
        self.skipped = 0
        self.cut_texts = 0
        self.first_bad: FormatError | None = None
        self.all_labelled = True
        self.labels: AnyLabels = Labels()  # of the model
        self.check: Callable[[BatchColumns], None] = lambda batch: None  # of a batch's labels
        self.positive: Sequence[Written] = ()
        self.label_run = LabelRun()

    def batches(
        self, files: list[str], settle: Callable[[], None] = lambda: None
    ) -> Iterator[BatchColumns]:
        """The batches of all files; see `pieces`."""
        return (piece.batch for piece in self.pieces(files, settle) if piece.batch is not None)

    def pieces(
        self, files: list[str], settle: Callable[[], None] = lambda: None
    ) -> Iterator[Piece]:
        """The batches of all files and the bad lines between, with a progress bar for each file.

        settle: called at the end of a file, before its bar is left; it has all batches counted.
        """
        for source in files:
            with naming("stdin" if source == "-" else source), self.reader(source) as reader:
                self._begin(reader)
                try:
                    with ProgressBar(reader, self.samples) as bar:
                        for batch in reader:
                            self._check(batch, reader)
                            self.cut_texts += batch.cut
                            yield Piece(batch, reader.gaps, reader.ids, reader.csr)
                            bar.update(self.samples, lambda: self.error)
                        if reader.gaps:
                            yield Piece(None, reader.gaps, () if self._ids else None)
                        settle()
                        bar.update(self.samples, lambda: self.error, last=True)
                finally:
                    self.skipped += reader.skipped
                    self.first_bad = self.first_bad or reader.first_skipped

    def _check(self, batch: BatchColumns, reader: Reader) -> None:
        """Raise FormatError for a label that `check` refuses, with its line."""
        try:
            self.check(batch)
        except SampleError as error:
            assert error.sample is not None
            line = reader.line_of(error.sample)
            raise FormatError(error.message, reader.source, line) from None

    def _begin(self, reader: Reader) -> None:
        """Print how a file is read, in the first pass over it."""
        reader.begin()
        if reader.source not in self._begun:
            for sentence in reader.notes:
                note(f"{reader.source}: {sentence}")
        self._begun.add(reader.source)

    def reader(self, source: str, *, only_labels: bool = False) -> Reader:
        """A reader of one file, by the command's flags. only_labels: where no bad line is skipped,
        as features tell too which one is bad.
        """
        given = self._arguments
        with from_flags():
            return Reader(
                source,
                format=given.format,
                positive=self.positive,
                labelled=self._labelled,
                sets=self.labels.takes_sets,
                skip_bad=given.skip_bad,
                ids=self._ids,
                keys=Keys(label=given.label_key, features=given.features_key, id=given.id_key),
                label_column=given.label_column,
                limits=self.limits,
                batch_samples=self.limits.max_samples_per_batch,
                # On the python kernel its thread would hold the lock.
                ahead=kernels.load().NAME != "python" and not only_labels,
                look_up=self.look_up,
                extractor=self.extractor,
                keeps=self.keeps,
                only_labels=only_labels and not given.skip_bad,
            )

    def count(
        self,
        batch: Decoded,
        margins: NDArray[np.float64],
        start: int = 0,
        *,
        seen: bool = False,
    ) -> None:
        """Add the samples of `batch` from `start` on, as many as there are margins.

        seen: the samples were learned before, so that their errors show nothing.
        """
        end = start + len(margins)
        if self.labels.takes_sets:  # a margin does not say which labels were predicted
            self.samples += len(margins)
            self.all_labelled = False
            return
        signs = self.signs_of(batch)[start:end]
        importances = batch.importances[start:end]
        self.samples += len(margins)
        self.all_labelled = self.all_labelled and 0.0 not in signs
        if not seen:
            if self._metrics is None:
                self._metrics = kernels.load().Metrics(self.threshold)
            self._metrics.observe(margins, signs, importances)

    def count_pairs(
        self, margins: NDArray[np.float64], importances: Sequence[float], *, seen: bool = False
    ) -> None:
        """Add pairs of a ranking; see `count`."""
        self.samples += len(margins)
        if not seen:
            if self._metrics is None:
                self._metrics = kernels.load().Metrics(self.threshold)
            self._metrics.observe(margins, np.ones(len(margins)), np.asarray(importances))

    def signs_of(self, batch: Decoded) -> NDArray[np.float64]:
        """The side of each sample's label, 0 without one or for one that the model lacks.

        Of many classes 1 with a label: a margin is then that of the sample's own.
        """
        if not isinstance(self.labels, Labels):
            return (np.asarray(batch.label_ids) >= 0).astype(np.float64)
        sides = np.append(self.labels.find(batch.label_table), 0.0)  # the last: of no label
        signs: NDArray[np.float64] = sides[np.asarray(batch.label_ids, dtype=np.intp)]
        return signs

    @property
    def progressive(self) -> Progressive:
        """The progressive error and loss of the run."""
        return Progressive(None if self._metrics is None else self._metrics.dump()[: len(TOTALS)])

    @property
    def error(self) -> float | None:
        """The error so far; None unless all samples had a label."""
        return self.progressive.error if self.all_labelled else None

    def report_lines(self) -> None:
        """Print how many texts were cut, how many bad lines were skipped, and the first of these.
        Raises if no line was good.
        """
        if self.cut_texts:
            note(f"{plural(self.cut_texts, 'text')} of more than {TEXT_BYTES:,} bytes: cut there")
        if self.first_bad is None:
            return
        lines = f"{plural(self.skipped, 'bad line')} skipped, the first: {self.first_bad}"
        if not self.samples:
            raise _NothingRead(f"no sample was read; {lines}")
        note(lines)


class _NothingRead(OnlineSVMError):
    """A run that skipped all it read."""
