"""Print the samples that files hold, as they would be learned; no model is needed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns
from onlinesvm.model.lookup import name_text
from onlinesvm.service.cli.flags import add_flags, limits_of
from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.run import Run, add_files, files_of

__all__ = ["add_features", "features"]


def add_features(parser: Parser) -> None:
    """Add the flags of `features`."""
    parser.usage = "onlinesvm features [FLAGS] [FILE ...]"
    parser.epilog = "example:\n  echo '+1 | free prize:2' | onlinesvm features -"
    add_files(parser)
    add_flags(parser, Limits, "limits")


def features(arguments: argparse.Namespace) -> None:
    """Print the label, importance and features of each line, one JSON object a sample."""
    limits = limits_of(arguments)
    run = Run(arguments, limits, labelled=False)
    for piece in run.pieces(files_of(arguments)):
        lines = [json.dumps(sample) + "\n" for sample in _samples(piece.batch)]
        write(piece.joined(lines, "null\n"))
        run.samples += len(lines)
    run.report_lines()


def _samples(batch: BatchColumns | None) -> Iterator[dict[str, Any]]:
    if batch is None:
        return
    names, values = batch.names, batch.values
    labels = [label.written for label in batch.label_table]
    for id, importance, (first, last) in zip(
        batch.label_ids, batch.importances, pairwise(batch.indptr), strict=True
    ):
        pairs = zip(names[first:last], values[first:last], strict=True)
        yield {
            "label": labels[id] if id >= 0 else None,
            "importance": float(importance),
            "features": [[name_text(name), float(value)] for name, value in pairs],
        }
