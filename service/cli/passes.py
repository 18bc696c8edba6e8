"""A pass over files: their batches, and what it has seen so far."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns
from onlinesvm.kernel.contract import KernelMetrics
from onlinesvm.metrics.progressive import TOTALS, Progressive
from onlinesvm.readers.reader import Reader
from onlinesvm.service.cli.arguments import from_flags
from onlinesvm.service.cli.progress import ProgressBar

__all__ = ["Tally", "batches_of"]


class Tally:
    """What a run has seen so far: samples, and how well they were predicted."""

    def __init__(self) -> None:
        self.threshold = 0.0  # the margin above which the prediction is +1
        self.samples = 0
        self.skipped = 0
        self.known = 0  # samples that a producer had learned before
        self.all_labelled = True
        self.any_positive = False
        self._metrics: KernelMetrics | None = None  # made with the first batch, by the threshold

    def count(self, batch: BatchColumns, margins: NDArray[np.float64], start: int = 0) -> None:
        """Add the samples of `batch` from `start` on, as many as there are margins."""
        end = start + len(margins)
        labels, importances = batch.labels[start:end], batch.importances[start:end]
        self.samples += len(margins)
        self.all_labelled = self.all_labelled and 0.0 not in labels
        self.any_positive = self.any_positive or 1.0 in labels
        if self._metrics is None:
            self._metrics = kernels.load().Metrics(self.threshold)
        self._metrics.observe(margins, labels, importances)

    @property
    def progressive(self) -> Progressive:
        """The progressive error and loss of the run."""
        return Progressive(None if self._metrics is None else self._metrics.dump()[: len(TOTALS)])

    @property
    def error(self) -> float | None:
        """The error so far; None unless all samples had a label."""
        return self.progressive.error if self.all_labelled else None


def batches_of(
    arguments: argparse.Namespace,
    limits: Limits,
    *,
    labelled: bool,
    tally: Tally,
    settle: Callable[[], None] = lambda: None,
) -> Iterator[BatchColumns]:
    """The batches of all files, with a progress bar for each.

    `settle` has all that was given out counted, before a file's bar is left as it stands.
    """
    for source in arguments.files:
        with (
            _reader(source, arguments, limits, labelled) as reader,
            ProgressBar(reader, tally.samples) as bar,
        ):
            for batch in reader:
                yield batch
                bar.update(tally.samples, tally.error)
            settle()
            bar.update(tally.samples, tally.error, last=True)
            tally.skipped += reader.skipped


def _reader(source: str, arguments: argparse.Namespace, limits: Limits, labelled: bool) -> Reader:
    with from_flags():
        return Reader(
            source,
            format=arguments.format,
            positive=arguments.positive,
            labelled=labelled,
            skip_bad=arguments.skip_bad,
            limits=limits,
            batch_samples=limits.max_samples_per_batch,
            ahead=kernels.load().NAME != "python",  # which would keep the lock to itself
        )
