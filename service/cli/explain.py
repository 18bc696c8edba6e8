"""Print the parts of each sample's margin."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.model.class_labels import AnyLabels
from onlinesvm.model.explanation import Explanation
from onlinesvm.model.labels import Labels
from onlinesvm.service.cli.flags import add_flags, limits_of
from onlinesvm.service.cli.models import opened
from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.run import Run, add_files, files_of
from onlinesvm.service.cli.shading import Shading, has_colours
from onlinesvm.service.cli.target import add_target

__all__ = ["add_explain", "explain"]

_OUTPUTS = ("text", "json")


def add_explain(parser: Parser) -> None:
    """Add the flags of `explain`."""
    parser.usage = "onlinesvm explain [FLAGS] [FILE ...]"
    parser.epilog = (
        "example:\n  echo 'free prize' | onlinesvm explain --format text --file m.msgpack -"
    )
    add_files(parser)
    add_target(parser, "explain by this snapshot file")
    parser.add_argument(
        "--output",
        choices=_OUTPUTS,
        help="text: each text shaded by what its tokens add, for a human (the default on a"
        " terminal; without colours where NO_COLOR is set); json: one object a line (else)",
    )
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
    """Print the parts of each margin: one JSON object a sample, null for a skipped line; on a
    terminal the texts, shaded.
    """
    limits = limits_of(arguments)
    files = files_of(arguments)
    if arguments.other is not None and arguments.label is None:
        raise UsageError("--other needs --label: a lead is of one label over another")
    run = Run(arguments, limits, labelled=False)
    output = arguments.output or ("text" if sys.stdout.isatty() else "json")
    named = arguments.label, arguments.other
    with opened(arguments, limits) as model:
        run.extractor, run.keeps = model.extractor, True  # the fields are those of the records
        run.limits = model.limits
        shading: Shading | None = None
        for piece in run.pieces(files):
            batch = piece.batch
            explained = model.explain(batch, run.samples, *named) if batch else []
            if output == "json":
                lines = [json.dumps(_shown(explanation)) + "\n" for explanation in explained]
            else:
                if shading is None:
                    shading = Shading(*_sides(model.labels, *named), has_colours(sys.stdout))
                    write(shading.legend())
                lines = [shading.shown(explanation) for explanation in explained]
            write(piece.joined(lines, "null\n" if output == "json" else "-\n\n"))
            run.samples += len(lines)
    run.report_lines()


def _shown(explanation: Explanation) -> dict[str, Any]:
    return {
        "margin": explanation.margin,
        "label": explanation.label,
        "features": [part._asdict() for part in explanation.contributions],
        "bias": explanation.bias,
        "fields": [
            part._asdict() | {"text": [shown._asdict() for shown in part.text]}
            for part in explanation.fields
        ],
    }


def _sides(labels: AnyLabels, label: str | None, other: str | None) -> tuple[str, str]:
    """The labels that parts above and below 0 speak for."""
    if label is not None and other is not None:
        return label, other
    if not isinstance(labels, Labels):
        return "for the label", "against it"
    up, down = labels.name(1.0), labels.name(-1.0)
    return "+1" if up is None else str(up), "-1" if down is None else str(down)
