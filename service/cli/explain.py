"""Print the parts of each sample's margin."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.data.label import Written
from onlinesvm.model.model import Explanation
from onlinesvm.service.cli.flags import add_flags, limits_of
from onlinesvm.service.cli.models import opened
from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser
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
    add_flags(parser, Limits, "limits")


def explain(arguments: argparse.Namespace) -> None:
    """Print the parts of each margin: one JSON object a sample, null for a skipped line; on a
    terminal the texts, shaded.
    """
    limits = limits_of(arguments)
    files = files_of(arguments)
    run = Run(arguments, limits, labelled=False)
    output = arguments.output or ("text" if sys.stdout.isatty() else "json")
    with opened(arguments, limits) as model:
        run.limits = model.limits
        shading: Shading | None = None
        for piece in run.pieces(files):
            explained = model.explain(piece.batch, run.samples) if piece.batch else []
            if output == "json":
                lines = [json.dumps(_shown(explanation)) + "\n" for explanation in explained]
            else:
                if shading is None:
                    up, down = model.labels.name(1.0), model.labels.name(-1.0)
                    shading = Shading(_side(up, "+1"), _side(down, "-1"), has_colours(sys.stdout))
                    write(shading.legend())
                lines = [shading.shown(explanation) for explanation in explained]
            write(piece.joined(lines, "null\n" if output == "json" else "-\n\n"))
            run.samples += len(lines)
    run.report_skipped()


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


def _side(label: Written | None, unknown: str) -> str:
    return unknown if label is None else str(label)
