"""Measure how well a model predicts files that it has not learned."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import Any

import numpy as np

from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns
from onlinesvm.errors import SampleError
from onlinesvm.metrics.held_out import HeldOut
from onlinesvm.model.labels import Labels, shown
from onlinesvm.service.cli import ranking
from onlinesvm.service.cli.classes import evaluated, sets_evaluated, table
from onlinesvm.service.cli.flags import add_flags, limits_of
from onlinesvm.service.cli.models import opened
from onlinesvm.service.cli.output import one_line, write
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
    ranking.add_pairs(parser)
    add_target(parser, "evaluate this snapshot file")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    add_flags(parser, Limits, "limits")


def evaluate(arguments: argparse.Namespace) -> None:
    """Print error, balanced error, AUC, log loss, calibration error and confusion matrix; of a
    ranking the share of pairs in the wrong order.
    """
    limits = limits_of(arguments)
    files = files_of(arguments)
    run = Run(arguments, limits, labelled=True)
    held_out = HeldOut()
    with opened(arguments, limits) as model:
        run.extractor, run.keeps = model.extractor, model.keeps
        if model.is_multiclass:
            run.labels = model.labels
            report = (sets_evaluated if model.labels.takes_sets else evaluated)(run, model, files)
            write(json.dumps(report) + "\n" if arguments.json else table(report))
            return
        if model.is_ranking:
            run.limits = model.limits
            report = ranking.report_of(arguments, files, run, model)
            write(json.dumps(report) + "\n" if arguments.json else ranking.table(report))
            return
        assert isinstance(model.labels, Labels)
        run.limits, run.check = model.limits, partial(_check_known, model.labels)
        run.threshold, run.labels, run.positive = model.threshold, model.labels, model.positive
        for batch in run.batches(files):
            margins = model.margins(batch, run.samples)
            probabilities = model.probabilities(batch, run.samples, margins)
            signs = run.signs_of(batch)
            held_out.count(margins, probabilities, signs, batch.importances)
            run.count(batch, margins)
    run.report_lines()
    report = {"labels": list(model.labels.names()), **held_out.report(run.threshold)}
    write(json.dumps(report) + "\n" if arguments.json else _table(report))


def _check_known(labels: Labels, batch: BatchColumns) -> None:
    """Raise SampleError for a label that the model lacks."""
    sides = labels.find(batch.label_table)
    if not sides.all():
        place = int((sides == 0.0).argmax())
        raise SampleError(
            f"expected a label of the model, {labels.expected() or '(it has none yet)'}, got"
            f" {shown(batch.label_table[place].written)}",
            (int((np.asarray(batch.label_ids) == place).argmax()), 0),
        )


def _table(report: dict[str, Any]) -> str:
    """The figures one below the other, then the confusion matrix."""
    confusion = report.pop("confusion")
    down, up = ("-" if name is None else one_line(str(name)) for name in report.pop("labels"))
    lines = []
    for name, value in report.items():
        if value is None:
            shown = "-"
        elif name in ("samples", "importance"):
            shown = f"{value:,.15g}"
        else:
            shown = f"{value:.6f}"
        lines.append(f"{name.replace('_', ' '):18} {shown:>14}")
    lines.append(f"\n{'label':18} {'predicted ' + up:>14} {'predicted ' + down:>14}")
    for label, ups, downs in (
        (up, "true_positives", "false_negatives"),
        (down, "false_positives", "true_negatives"),
    ):
        lines.append(f"{label:18} {confusion[ups]:>14,.15g} {confusion[downs]:>14,.15g}")
    return "\n".join(lines) + "\n"
