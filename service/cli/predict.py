"""Print the margin or probability of each sample of files."""

from __future__ import annotations

import argparse
import sys

from onlinesvm.config import Limits
from onlinesvm.service.cli.flags import add_flags, limits_of
from onlinesvm.service.cli.models import opened
from onlinesvm.service.cli.output import plural, write
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.run import Run, add_files, files_of
from onlinesvm.service.cli.target import add_target

__all__ = ["add_predict", "predict"]


def add_predict(parser: Parser) -> None:
    """Add the flags of `predict`."""
    parser.usage = "onlinesvm predict [FLAGS] [FILE ...]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm predict --file m.msgpack test.svm.gz > margins.txt\n"
        "  echo '| free prize' | onlinesvm predict -"
    )
    add_files(parser)
    add_target(parser, "predict by this snapshot file")
    parser.add_argument(
        "--probability", action="store_true", help="print probabilities of +1 instead of margins"
    )
    parser.add_argument(
        "--with-id",
        action="store_true",
        help="print the id of each sample (VW's tag, JSON's id) and a TAB first; - without one",
    )
    add_flags(parser, Limits, "limits")


def predict(arguments: argparse.Namespace) -> None:
    """Print a line for each sample of the files; `-` for a bad line that was skipped."""
    limits = limits_of(arguments)
    files = files_of(arguments)
    run = Run(arguments, limits, labelled=False, ids=arguments.with_id)
    with opened(arguments, limits) as model:
        run.limits = model.limits
        for piece in run.pieces(files):
            if (batch := piece.batch) is None:
                write(piece.joined((), "-\n"))
                continue
            if run.samples == 0:
                run.threshold = model.threshold
            # The threshold is one of margins: where there are labels, they are compared by it.
            margins = printed = model.margins(batch, run.samples)
            if arguments.probability:
                printed = model.probabilities(batch, run.samples, margins)
            write(piece.joined([f"{number!r}\n" for number in printed.tolist()], "-\n"))
            run.count(batch, margins)
    run.report_skipped()
    if run.error is not None:
        labelled = plural(run.samples, "labelled sample")
        print(f"error {run.error:.6f} of {labelled}", file=sys.stderr)
