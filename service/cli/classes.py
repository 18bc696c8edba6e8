"""Many classes on the command line: the labels of a model, and how well it predicts files."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from onlinesvm.config import Limits
from onlinesvm.data.label import label_of
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.metrics.held_out_classes import HeldOutClasses
from onlinesvm.metrics.sets import SetMetrics
from onlinesvm.model.class_labels import ClassLabels, SetLabels
from onlinesvm.service.cli.flags import add_flags, limits_of
from onlinesvm.service.cli.models import Model
from onlinesvm.service.cli.output import one_line, write
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.run import Run
from onlinesvm.service.cli.target import add_target, check_target, client_of, load

__all__ = ["add_labels", "evaluated", "labels", "sets_evaluated", "table"]

_PAGE = 1000


def evaluated(run: Run, model: Model, files: list[str]) -> dict[str, Any]:
    """How well a multiclass model predicts the samples of `files`.

    A label that the model lacks is a mistake. Importances are weights, 0 is not counted.
    """
    run.limits, run.extractor, run.keeps = model.limits, model.extractor, model.keeps
    names, held_out = ClassLabels(), HeldOutClasses()
    for batch in run.batches(files):
        best = model.top(batch, run.samples, 1, "probability")
        found = [label_of(row[0][0]) if row else None for row in best]
        names.learn([*batch.label_table, *(label for label in found if label is not None)])
        truths = names.truths_of(batch)
        predicted = np.array(
            [-1 if label is None else names.find([label])[0] for label in found], dtype=np.int32
        )
        shares = np.array([row[0][1] if row else 0.0 for row in best])
        importances = np.asarray(batch.importances, dtype=np.float64)
        held_out.count(truths, predicted, shares, importances)
        run.samples += len(batch)
    run.report_lines()
    figures, frequent = held_out.report()
    weights = figures.pop("confusion")
    confusion = {"labels": [names.name(id) for id in frequent], "weights": weights}
    return {**figures, "confusion": confusion}


def sets_evaluated(run: Run, model: Model, files: list[str]) -> dict[str, Any]:
    """How well a multilabel model predicts the samples of `files`; `error` counts those of which
    not exactly their labels were predicted.
    """
    run.limits, run.extractor, run.keeps = model.limits, model.extractor, model.keeps
    names, metrics = SetLabels(), SetMetrics()
    weight = wrong = 0.0
    for batch in run.batches(files):
        best = model.top(batch, run.samples, None, "margin")
        found = [[label_of(name) for name, _ in row] for row in best]
        names.learn([*batch.label_table, *(label for row in found for label in row)])
        truths = names.truths_of(batch)
        predicted = LabelSets.of([names.find(row).tolist() for row in found])
        importances = np.asarray(batch.importances, dtype=np.float64)
        metrics.observe(truths, predicted, importances)
        sets = zip(truths.lists(), predicted.lists(), strict=True)
        differ = np.array([set(own) != set(guess) for own, guess in sets], dtype=bool)
        weight += float(importances.sum())
        wrong += float(importances[differ].sum())
        run.samples += len(batch)
    run.report_lines()
    figures = metrics.report()
    return {
        "samples": run.samples,
        "importance": weight,
        "error": wrong / weight if weight else None,
        "micro_f1": figures["micro_f1"],
        "macro_f1": figures["macro_f1"],
    }


def table(report: dict[str, Any]) -> str:
    """The figures one below the other, then which labels were most often taken for others."""
    confusion = report.pop("confusion", None)
    lines = []
    for name, value in report.items():
        counted = name in ("samples", "importance")
        shown = "-" if value is None else f"{value:,.15g}" if counted else f"{value:.6f}"
        lines.append(f"{name.replace('_', ' '):18} {shown:>14}")
    if confusion is None:
        return "\n".join(lines) + "\n"
    names = [one_line(str(name)) for name in confusion["labels"]] + ["(other)"]
    weights = np.array(confusion["weights"])
    np.fill_diagonal(weights, 0.0)
    order = np.argsort(-weights, axis=None, kind="stable")[:10]
    pairs = [divmod(int(k), len(names)) for k in order if weights.flat[k] > 0.0]
    if pairs:
        lines.append(f"\n{'label':24} {'taken for':24} {'importance':>14}")
    for label, taken in pairs:
        lines.append(f"{names[label]:24} {names[taken]:24} {weights[label, taken]:>14,.6g}")
    return "\n".join(lines) + "\n"


def add_labels(parser: Parser) -> None:
    """Add the flags of `labels`."""
    parser.usage = "onlinesvm labels [FLAGS]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm labels --file m.msgpack\n"
        "  onlinesvm labels --connect tcp://127.0.0.1:5577 --drop spam"
    )
    add_target(parser, "the labels of this snapshot file")
    parser.add_argument(
        "--drop", metavar="LABEL", help="drop this label, and print nothing: its weights are gone"
    )
    add_flags(parser, Limits, "limits")


def labels(arguments: argparse.Namespace) -> None:
    """Print the labels of a multiclass model, one JSON object a line, or drop one."""
    limits = limits_of(arguments)
    check_target(arguments)
    if arguments.snapshot is not None:
        model = load(arguments.snapshot, arguments, limits)
        if arguments.drop is not None:
            model.drop_label(arguments.drop)
            model.save(arguments.snapshot)
            return
        _print(model.label_figures(0, model.position + 1)[0])
        return
    with client_of(arguments, limits) as client:
        if arguments.drop is not None:
            client.drop_label(arguments.drop)
            return
        following: int | None = 0
        while following is not None:
            page = client.labels(following, _PAGE)
            _print(page["labels"])
            following = page["next"]


def _print(rows: list[dict[str, Any]]) -> None:
    write("".join(json.dumps(row) + "\n" for row in rows))
