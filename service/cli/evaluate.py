"""Measure how well a model predicts files that it has not learned."""

from __future__ import annotations

import argparse
import json
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.metrics.held_out import HeldOut
from onlinesvm.service.cli.flags import add_flags, limits_of
from onlinesvm.service.cli.models import opened
from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.run import Run, add_files, files_of
from onlinesvm.service.cli.target import add_target

__all__ = ["add_evaluate", "evaluate"]


def add_evaluate(parser: Parser) -> None:
    """Add the flags of `evaluate`."""
    parser.usage = "onlinesvm evaluate [FLAGS] [FILE ...]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm evaluate --file m.msgpack test.svm.gz\n"
        "  onlinesvm evaluate --connect tcp://127.0.0.1:5577 --json test.vw"
    )
    add_files(parser)
    add_target(parser, "evaluate this snapshot file")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    add_flags(parser, Limits, "limits")


def evaluate(arguments: argparse.Namespace) -> None:
    """Print error, balanced error, AUC, log loss, calibration error and confusion matrix."""
    limits = limits_of(arguments)
    files = files_of(arguments)
    run = Run(arguments, limits, labelled=True)
    held_out = HeldOut()
    with opened(arguments, limits) as model:
        run.limits = model.limits
        run.threshold = model.threshold
        for batch in run.batches(files):
            margins = model.margins(batch, run.samples)
            probabilities = model.probabilities(batch, run.samples, margins)
            held_out.count(margins, probabilities, batch.labels, batch.importances)
            run.count(batch, margins)
    run.report_skipped()
    report = held_out.report(run.threshold)
    write(json.dumps(report) + "\n" if arguments.json else _table(report))


def _table(report: dict[str, Any]) -> str:
    """The figures one below the other, then the confusion matrix."""
    confusion = report.pop("confusion")
    lines = []
    for name, value in report.items():
        if value is None:
            shown = "-"
        elif name in ("samples", "importance"):
            shown = f"{value:,.15g}"
        else:
            shown = f"{value:.6f}"
        lines.append(f"{name.replace('_', ' '):18} {shown:>14}")
    lines.append(f"\n{'label':18} {'predicted +1':>14} {'predicted -1':>14}")
    for label, ups, downs in (
        ("+1", "true_positives", "false_negatives"),
        ("-1", "false_positives", "true_negatives"),
    ):
        lines.append(f"{label:18} {confusion[ups]:>14,.15g} {confusion[downs]:>14,.15g}")
    return "\n".join(lines) + "\n"
