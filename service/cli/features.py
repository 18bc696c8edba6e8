"""Print the samples that files hold, as a model reads them."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from onlinesvm import kernel as kernels
from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data.batch import BatchColumns
from onlinesvm.model.lookup import features_of
from onlinesvm.service.cli.flags import add_flags, from_flags, given_flags, limits_of
from onlinesvm.service.cli.models import Model, opened
from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.run import Run, add_files, files_of
from onlinesvm.service.cli.target import add_target, extractor_of

__all__ = ["add_features", "features"]

# The learner's parameters that say what a record becomes.
_READING = ("text", "fields", "numbers", "crosses", "vectors")


def add_features(parser: Parser) -> None:
    """Add the flags of `features`."""
    parser.usage = "onlinesvm features [FLAGS] [FILE ...]"
    parser.epilog = (
        "example:\n  echo 'free prize' | onlinesvm features --format text -\n"
        "  onlinesvm features --file m.msgpack messages.jsonl"
    )
    add_files(parser)
    add_target(parser, "read as the model in this snapshot file")
    add_flags(parser, LearnerConfig, "what a record becomes, where no model is named", _READING)
    add_flags(parser, Limits, "limits")


def features(arguments: argparse.Namespace) -> None:
    """Print the label, importance and features of each line, one JSON object a sample, as the model
    that is named reads it, else as a new one.
    """
    limits = limits_of(arguments)
    run = Run(arguments, limits, labelled=False)
    with _named(arguments, limits) as model:
        if model is None:
            with from_flags():
                config = LearnerConfig(**_given(arguments))
            run.extractor = extractor_of(config, kernels.load(), limits)
        else:
            run.extractor, run.keeps, run.limits = model.extractor, True, model.limits
            run.labels, run.positive = model.labels, model.positive
        for piece in run.pieces(files_of(arguments)):
            lines = []
            if (batch := piece.batch) is not None:
                made = model.features(batch, run.samples) if model else features_of(batch)
                lines = [json.dumps(sample) + "\n" for sample in _samples(batch, made)]
            write(piece.joined(lines, "null\n"))
            run.samples += len(lines)
    run.report_lines()


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    given = given_flags(arguments, LearnerConfig)
    return {f.name: given[f.name] for f in fields(LearnerConfig) if f.name in given}


@contextlib.contextmanager
def _named(arguments: argparse.Namespace, limits: Limits) -> Iterator[Model | None]:
    """The model that is named, if one is. Raises UsageError for flags that a model decides."""
    targets = arguments.snapshot, arguments.connect, arguments.model
    if all(target is None for target in targets):
        yield None
        return
    if given := _given(arguments):
        flag = next(iter(given))
        raise UsageError(f"--{flag}: expected none, as the model has its own")
    with opened(arguments, limits) as model:
        yield model


def _samples(batch: BatchColumns, made: list[list[tuple[str, float]]]) -> Iterator[dict[str, Any]]:
    labels = [label.written for label in batch.label_table]
    for id, importance, pairs in zip(batch.label_ids, batch.importances, made, strict=True):
        yield {
            "label": labels[id] if id >= 0 else None,
            "importance": float(importance),
            "features": [list(pair) for pair in pairs],
        }
