"""Print the parts of each sample's margin."""

from __future__ import annotations

import argparse
import json

from onlinesvm.config import Limits
from onlinesvm.service.cli.flags import add_flags, limits_of
from onlinesvm.service.cli.models import opened
from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.run import Run, add_files, files_of
from onlinesvm.service.cli.target import add_target

__all__ = ["add_explain", "explain"]


def add_explain(parser: Parser) -> None:
    """Add the flags of `explain`."""
    parser.usage = "onlinesvm explain [FLAGS] [FILE ...]"
    parser.epilog = "example:\n  echo '| free prize' | onlinesvm explain --file m.msgpack -"
    add_files(parser)
    add_target(parser, "explain by this snapshot file")
    for flag, help in (
        (
            "label",
            "of a multiclass model: explain this label's score (default: the predicted one)",
        ),
        ("other", "with --label: explain its lead over this label"),
    ):
        parser.add_argument(f"--{flag}", metavar="LABEL", help=help)
    add_flags(parser, Limits, "limits")


def explain(arguments: argparse.Namespace) -> None:
    """Print the parts of each margin, one JSON object a sample; null for a skipped line."""
    limits = limits_of(arguments)
    files = files_of(arguments)
    if arguments.other is not None and arguments.label is None:
        raise UsageError("--other needs --label: a lead is of one label over another")
    run = Run(arguments, limits, labelled=False)
    named = arguments.label, arguments.other
    with opened(arguments, limits) as model:
        run.extractor, run.keeps = model.extractor, model.keeps
        run.limits = model.limits
        for piece in run.pieces(files):
            lines = []
            for explanation in (
                model.explain(piece.batch, run.samples, *named) if piece.batch else ()
            ):
                parts = [part._asdict() for part in explanation.contributions]
                shown = {
                    "margin": explanation.margin, "label": explanation.label, "features": parts,
                    "bias": explanation.bias,
                }  # fmt: skip
                lines.append(json.dumps(shown) + "\n")
            write(piece.joined(lines, "null\n"))
            run.samples += len(lines)
    run.report_lines()
