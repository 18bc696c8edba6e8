"""Print the label, margin or probability of each sample of files."""

from __future__ import annotations

import argparse
import json
import os
import sys

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.label import Written, label_of, label_of_text
from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.cli.flags import add_flags, count, duration, limits_of
from onlinesvm.service.cli.models import Model, opened
from onlinesvm.service.cli.output import one_line, plural, write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.run import Piece, Run, add_files, files_of
from onlinesvm.service.cli.target import add_target
from onlinesvm.service.client.held import Hold

__all__ = ["add_predict", "predict"]

_OUTPUTS = ("label", "margin", "probability")


def add_predict(parser: Parser) -> None:
    """Add the flags of `predict`."""
    parser.usage = "onlinesvm predict [FLAGS] [FILE ...]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm predict --file m.msgpack test.svm.gz > labels.txt\n"
        "  echo '| free prize' | onlinesvm predict -\n"
        "  onlinesvm predict --hold --ttl 30m --default-label=-1 shown.jsonl"
    )
    add_files(parser)
    add_target(parser, "predict by this snapshot file")
    parser.add_argument(
        "--output",
        choices=_OUTPUTS,
        default="label",
        help="print labels (the default), margins, or probabilities of the label of side +1; of a"
        " ranking the score of each item",
    )
    parser.add_argument(
        "--with-id",
        action="store_true",
        help="print the id of each sample (VW's tag, JSON's id) and a TAB first; - without one",
    )
    parser.add_argument(
        "--hold",
        action="store_true",
        help="have the daemon hold the samples, by their ids, until `label` names their labels",
    )
    parser.add_argument(
        "--ttl",
        type=duration,
        metavar="TIME",
        help="with --hold: for how long (default: 1h)",
    )
    parser.add_argument(
        "--default-label",
        metavar="LABEL",
        help="with --hold: learn a sample with this label when its time is up; else it is dropped",
    )
    parser.add_argument(
        "--top",
        type=count,
        metavar="N",
        help="of a multiclass model: print a JSON array of the N best labels with their scores, or"
        " probabilities (the default), 0 for all; with --output alone N is 1, of a multilabel model"
        " as many as are predicted",
    )
    add_flags(parser, Limits, "limits")


def predict(arguments: argparse.Namespace) -> None:
    """Print a line for each sample of the files; `-` for a bad line that was skipped."""
    limits = limits_of(arguments)
    files = files_of(arguments)
    hold = _hold_of(arguments)
    run = Run(arguments, limits, labelled=False, ids=arguments.with_id or hold is not None)
    with opened(arguments, limits) as model:
        run.extractor, run.keeps = model.extractor, model.keeps
        run.limits = model.limits
        if arguments.top is not None and not model.is_multiclass:
            raise UsageError("--top needs a multiclass model: a binary one has two labels")
        if arguments.output == "probability" and model.is_ranking:
            raise UsageError("--output probability needs labels: a ranking gives scores")
        run.labels, run.positive = model.labels, model.positive
        for piece in run.pieces(files):
            if (batch := piece.batch) is None:
                write(piece.joined((), "-\n"))
                continue
            if run.samples == 0:
                run.threshold = model.threshold
            margins = np.empty(0)
            if hold is not None:
                margins = model.hold(batch, _keys_of(piece, run.samples), hold, run.samples)
            elif not model.is_multiclass:
                margins = model.margins(batch, run.samples)
            piece = piece if arguments.with_id else piece._replace(ids=None)
            if model.is_multiclass:
                write(piece.joined(_best(arguments, model, batch, run), "-\n"))
                continue
            if model.is_ranking:
                printed = [f"{number!r}\n" for number in margins.tolist()]
            elif arguments.output == "label":
                names = [_line(model.labels.name(side)) for side in (-1.0, 1.0)]
                printed = [names[up] for up in (margins > model.threshold).tolist()]
            elif arguments.output == "margin":
                printed = [f"{number!r}\n" for number in margins.tolist()]
            else:
                numbers = model.probabilities(batch, run.samples, margins)
                printed = [f"{number!r}\n" for number in numbers.tolist()]
            write(piece.joined(printed, "-\n"))
            run.count(batch, margins)
    run.report_lines()
    if run.error is not None:
        labelled = plural(run.samples, "labelled sample")
        print(f"error {run.error:.6f} of {labelled}", file=sys.stderr)


def _hold_of(arguments: argparse.Namespace) -> Hold | None:
    """How the daemon is to hold samples; None without --hold. Raises UsageError."""
    given = Hold()
    if arguments.ttl is not None:
        given["ttl_s"] = arguments.ttl
    if arguments.default_label is not None:
        try:
            given["default_label"] = label_of_text(os.fsencode(arguments.default_label)).written
        except ValueError as error:
            raise UsageError(f"--default-label: {error}") from None
    if not arguments.hold:
        if given:
            raise UsageError("--ttl, --default-label: expected them with --hold alone")
        return None
    if arguments.snapshot is not None:
        raise UsageError("--hold: expected a daemon, got --file: a file holds no samples")
    return given


def _keys_of(piece: Piece, start: int) -> list[bytes]:
    """The ids of samples, to hold them by. Raises OnlineSVMError."""
    keys = list(piece.ids or ())
    if b"" in keys:
        number = start + keys.index(b"") + 1
        raise OnlineSVMError(
            f"--hold: expected an id for each sample, got none for sample {number}"
        )
    return keys


def _best(arguments: argparse.Namespace, model: Model, batch: BatchColumns, run: Run) -> list[str]:
    """A line for each sample of a multiclass model; its mistakes are counted."""
    output, top = arguments.output, arguments.top
    if output == "label" and top is not None:
        output = "probability"
    best = model.top(batch, run.samples, top, "margin" if output == "label" else output)
    if model.labels.takes_sets:
        run.count(batch, np.zeros(len(batch)))
        if output == "label":
            return [_line(",".join(str(label) for label, _ in row)) for row in best]
        return [json.dumps(row) + "\n" for row in best]
    first = [row[0][0] if row else None for row in best]
    run.count(batch, _outcomes(batch, first))
    if output == "label":
        return [_line(label) for label in first]
    return [json.dumps(row) + "\n" for row in best]


def _outcomes(batch: BatchColumns, predicted: list[Written | None]) -> NDArray[np.float64]:
    """1 for each sample whose label was predicted, else −1."""
    texts = [None if name is None else label_of(name).text for name in predicted]
    table = [label.text for label in batch.label_table]
    truths = [table[k] if k >= 0 else b"" for k in np.asarray(batch.label_ids).tolist()]
    right = [text == truth for text, truth in zip(texts, truths, strict=True)]
    return np.where(right, 1.0, -1.0)


def _line(label: Written | None) -> str:
    """A label as a line, control characters escaped as in JSON; `-` before the first is known."""
    return "-\n" if label is None else f"{one_line(str(label))}\n"
