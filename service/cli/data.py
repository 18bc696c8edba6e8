"""The commands over files: learn, predict, explain, by a daemon or by a snapshot file."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.codec import cut_body
from onlinesvm.errors import LimitError
from onlinesvm.model.model import Explanation
from onlinesvm.service.cli.arguments import (
    UsageError,
    check_labels,
    client_of,
    limits_of,
    parameters_of,
)
from onlinesvm.service.cli.passes import Tally, batches_of
from onlinesvm.service.client.client import Client
from onlinesvm.service.errors import RequestRefused, StateError, StreamBroken
from onlinesvm.service.protocol import decode_explanations, decode_margins
from onlinesvm.snapshot.reader import read
from onlinesvm.svm import OnlineSVM

__all__ = ["explain", "learn", "predict"]

# What is printed of a batch, and its margins.
Scores = tuple[NDArray[np.float64], NDArray[np.float64]]


def learn(arguments: argparse.Namespace) -> None:
    """Learn files, by a daemon or into a snapshot file."""
    limits, parameters = limits_of(arguments), parameters_of(arguments)
    check_labels(arguments)  # before a daemon is waited for
    tally = Tally()
    started = time.monotonic()
    if arguments.model is not None:
        if arguments.producer is not None:
            raise UsageError("--producer goes with --connect: a file is saved once, at the end")
        features, position = _learn_file(arguments, limits, parameters, tally)
    elif parameters:
        raise UsageError("a daemon's learner has its parameters already: give them to serve")
    else:
        features, position = _learn_daemon(arguments, limits, tally)
    if arguments.positive and tally.samples and not tally.any_positive:
        meant = " or ".join(map(repr, arguments.positive))
        print(f"onlinesvm: no label was {meant}: all were learned as -1", file=sys.stderr)
    figures = tally.progressive
    outcome = {
        "samples": tally.samples,
        "skipped": tally.skipped,
        **({"known": tally.known} if arguments.producer is not None else {}),
        "features": features,
        "position": position,
        "progressive_error": figures.error,
        "progressive_hinge_loss": figures.hinge_loss,
        "recent_error": figures.recent_error,
        "recent_hinge_loss": figures.recent_hinge_loss,
        "seconds": round(time.monotonic() - started, 3),
    }
    print(json.dumps(outcome))


def _learn_file(
    arguments: argparse.Namespace, limits: Limits, parameters: dict[str, Any], tally: Tally
) -> tuple[int, int]:
    """Features and position of the model in a file, after learning; saved once, at the end."""
    path = Path(arguments.model)
    if path.exists():
        model = _load(path, arguments, limits)
        model.config.check_given(parameters)
    else:
        model = OnlineSVM(limits=limits, **parameters)
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise StateError(f"{path.parent}: no folder that can be written")
    tally.threshold = model.config.threshold
    for batch in batches_of(arguments, limits, labelled=True, tally=tally):
        tally.count(batch, model.learn_batch(batch))
    model.save(path)
    return len(model.lookup), model.position


def _load(path: Path, arguments: argparse.Namespace, limits: Limits) -> OnlineSVM:
    """The model in a file; its own bound on features holds unless another is given."""
    taken = read(path)
    if "max_features" not in arguments:
        limits = replace(limits, max_features=taken.max_features)
    return OnlineSVM.from_snapshot(taken, limits=limits)


def _learn_daemon(arguments: argparse.Namespace, limits: Limits, tally: Tally) -> tuple[int, int]:
    """Features and position of a daemon's model after it has learned the files."""
    kernel = kernels.load()
    # The batches under way, and how many of their samples are, by the index of the first.
    waiting: dict[int, tuple[BatchColumns, int]] = {}

    def count(start: int, margins: NDArray[np.float64]) -> None:
        # What is acknowledged is a batch that was sent, or a piece of one that was refused; such
        # pieces come in any order.
        first = max(index for index in waiting if index <= start)
        batch, left = waiting.pop(first)
        tally.count(batch, margins, start - first)
        if left > len(margins):
            waiting[first] = batch, left - len(margins)

    with client_of(arguments, limits) as client:
        with client.stream(arguments.producer, on_margins=count) as stream:
            start, before = 0, stream.applied
            for batch in batches_of(
                arguments, limits, labelled=True, tally=tally, settle=stream.flush
            ):
                if start == 0:
                    tally.threshold = _threshold_of(client)
                known = min(max(before - start, 0), len(batch))  # learned in an earlier run
                if known < len(batch):
                    waiting[start] = batch, len(batch) - known
                    body = kernel.encode(batch, labelled=True)
                    if known:
                        body = cut_body(body, known)[1]
                    stream.learn_packed(body, len(batch) - known)
                start += len(batch)
        if start < before:
            raise StreamBroken(
                f"expected the {before} samples that producer {arguments.producer} has learned, and"
                f" those behind them, got {start}",
                before,
            )
        # The margins of what was applied before a connection broke are not to be had.
        tally.samples, tally.known = stream.applied - before, before
        figures = client.stats()
    return figures["features"], figures["position"]


def predict(arguments: argparse.Namespace) -> None:
    """Print the margins of files, by a daemon or a snapshot file."""
    limits = limits_of(arguments)
    check_labels(arguments)
    if arguments.model is not None:
        model = _load(Path(arguments.model), arguments, limits)
        model.freeze()

        def score(batch: BatchColumns, _: int) -> Scores:
            margins = model.score_batch(batch)
            return model.probabilities(margins) if arguments.probability else margins, margins

        _print_margins(arguments, limits, score, lambda: model.config.threshold)
        return
    kernel = kernels.load()
    with client_of(arguments, limits) as client:

        def asked(batch: BatchColumns, start: int) -> Scores:
            body = kernel.encode(batch, labelled=False)

            def answered(**keys: bool) -> NDArray[np.float64]:
                answers = _answers(client, "predict", body, len(batch), start, **keys)
                return np.concatenate([decode_margins(answer) for answer in answers])

            if not arguments.probability:
                margins = answered()
                return margins, margins
            # The threshold is one of margins: where labels are compared, they are asked for too.
            probabilities = answered(probability=True)
            return probabilities, probabilities if 0.0 in batch.labels else answered()

        _print_margins(arguments, limits, asked, lambda: _threshold_of(client))


def _threshold_of(client: Client) -> float:
    """The margin above which the daemon's prediction is +1."""
    config = client.stats()["config"] or {}  # None while a follower has no model yet
    return float(config.get("threshold", 0.0))


def explain(arguments: argparse.Namespace) -> None:
    """Print what makes up the margins of files, one JSON object a sample."""
    limits = limits_of(arguments)
    check_labels(arguments)
    if arguments.model is not None:
        model = _load(Path(arguments.model), arguments, limits)
        _print_explanations(arguments, limits, lambda batch, _: model.explain_batch(batch))
        return
    kernel = kernels.load()
    with client_of(arguments, limits) as client:

        def asked(batch: BatchColumns, start: int) -> list[Explanation]:
            body = kernel.encode(batch, labelled=False)
            answers = _answers(client, "explain", body, len(batch), start)
            return [
                explanation for answer in answers for explanation in decode_explanations(answer)
            ]

        _print_explanations(arguments, limits, asked)


def _print_explanations(
    arguments: argparse.Namespace,
    limits: Limits,
    explained: Callable[[BatchColumns, int], list[Explanation]],
) -> None:
    """`explained` explains a batch, whose first sample has that place in the run."""
    tally = Tally()
    for batch in batches_of(arguments, limits, labelled=False, tally=tally):
        for explanation in explained(batch, tally.samples):
            parts = [part._asdict() for part in explanation.contributions]
            shown = {
                "margin": explanation.margin, "features": parts, "bias": explanation.bias,
            }  # fmt: skip
            print(json.dumps(shown))
        sys.stdout.flush()
        tally.samples += len(batch)
    if tally.skipped:
        print(f"{tally.skipped} bad lines skipped", file=sys.stderr)


def _answers(
    client: Client, op: str, body: bytes, samples: int, start: int, **keys: bool
) -> list[bytes]:
    """The answers to `body`, asked for in pieces where one message cannot hold it.

    A refusal names its sample by its place in the run, where `start` is that of the first.
    """
    try:
        return [client.request(op, body, **keys)[1]]
    except (LimitError, RequestRefused) as error:
        too_large = isinstance(error, LimitError) or error.code == "TOO_LARGE"
        if not too_large or error.at not in ("$", None) or samples == 1:
            faulty = re.match(r"\$\[(\d+)\]", error.at or "")
            if faulty and isinstance(error, RequestRefused):
                error.sample = start + int(faulty[1])
            raise
    middle = samples // 2
    first, second = cut_body(body, middle)
    return [
        *_answers(client, op, first, middle, start, **keys),
        *_answers(client, op, second, samples - middle, start + middle, **keys),
    ]


def _print_margins(
    arguments: argparse.Namespace,
    limits: Limits,
    score: Callable[[BatchColumns, int], Scores],
    threshold: Callable[[], float],
) -> None:
    """`score` gives what is printed of a batch, whose first sample has that place in the run, and
    the margins by which it is compared with its labels, if it has them.

    `threshold` is that of the model; it is asked for once there is something to compare with it.
    """
    tally = Tally()
    for batch in batches_of(arguments, limits, labelled=False, tally=tally):
        if tally.samples == 0:
            tally.threshold = threshold()
        printed, margins = score(batch, tally.samples)
        sys.stdout.write("".join(f"{number!r}\n" for number in printed.tolist()))
        sys.stdout.flush()  # a batch is large, or all that a slow pipe has given yet
        tally.count(batch, margins)
    if tally.error is not None:
        print(f"error {tally.error:.6f} of {tally.samples} labelled samples", file=sys.stderr)
    if tally.skipped:
        print(f"{tally.skipped} bad lines skipped", file=sys.stderr)
