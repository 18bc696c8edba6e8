"""Learn the samples of files, by a daemon or into a snapshot file."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data.batch import CSR, BatchColumns
from onlinesvm.data.codec import cut_body
from onlinesvm.service.cli.flags import add_flags, count, limits_of, parameters_of, size
from onlinesvm.service.cli.interrupt import uninterrupted
from onlinesvm.service.cli.output import naming, note, plural, write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.run import Run, add_files, files_of
from onlinesvm.service.cli.target import add_target, check_target, client_of, load
from onlinesvm.service.errors import (
    DaemonLost,
    DaemonTimeout,
    DaemonUnreachable,
    StateError,
    StreamBroken,
)

if TYPE_CHECKING:
    from onlinesvm.svm import OnlineSVM

__all__ = ["add_learn", "learn"]

_MAX_MEMORY = 2**30


def add_learn(parser: Parser) -> None:
    """Add the flags of `learn`."""
    parser.usage = "onlinesvm learn [FLAGS] [FILE ...]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm learn --file m.msgpack train.svm.gz\n"
        "  zcat clicks.vw.gz | onlinesvm learn --connect tcp://127.0.0.1:5577 -\n"
        "  onlinesvm learn --producer clicks clicks.vw.gz\n"
        "  onlinesvm learn --file m.msgpack --positive spam --shuffle sms.tsv"
    )
    add_files(parser)
    add_target(parser, "learn into this snapshot file, and save it once at the end")
    parser.add_argument(
        "--producer",
        metavar="NAME",
        help="with a daemon: learn each sample exactly once under this name of 1 to 64 bytes; a"
        " rerun continues after the samples that were applied",
    )
    parser.add_argument(
        "--shuffle",
        nargs="?",
        const=1,
        type=count,
        metavar="SEED",
        help="with --file: learn in random order, the same for the same seed (default: 1); for"
        " files that are sorted by class",
    )
    parser.add_argument(
        "--max-memory",
        type=size,
        default=_MAX_MEMORY,
        metavar="SIZE",
        help="the memory of --shuffle; beyond it the files are shuffled by blocks (default: 1GiB)",
    )
    parser.add_argument(
        "--passes",
        type=count,
        default=1,
        metavar="N",
        help="with --file: read the files so many times (default: 1); the errors shown are of the"
        " first pass",
    )
    add_flags(parser, LearnerConfig, "the learner (with --file; fixed when the model is created)")
    add_flags(parser, Limits, "limits")


def learn(arguments: argparse.Namespace) -> None:
    """Learn files, by a daemon or into a snapshot file."""
    limits, parameters = limits_of(arguments), parameters_of(arguments)
    files = files_of(arguments)
    _check_usage(arguments, parameters, files)
    run = Run(arguments, limits, labelled=True)
    started = time.monotonic()
    if arguments.snapshot is not None:
        outcome = _learn_file(arguments, files, limits, parameters, run)
    else:
        outcome = _learn_daemon(arguments, files, limits, run)
    run.report_skipped()
    if arguments.positive and run.samples and not run.any_positive:
        note(f"no label was {' or '.join(map(repr, arguments.positive))}: all were learned as -1")
    _warn_of_order(run, arguments)
    progressive = run.progressive
    outcome = {
        "samples": run.samples,
        "skipped": run.skipped,
        **outcome,
        "progressive_error": progressive.error,
        "progressive_hinge_loss": progressive.hinge_loss,
        "recent_error": progressive.recent_error,
        "recent_hinge_loss": progressive.recent_hinge_loss,
        "label_run": run.label_run.longest,
        "seconds": round(time.monotonic() - started, 3),
    }
    write(json.dumps(outcome) + "\n")


def _check_usage(
    arguments: argparse.Namespace, parameters: dict[str, Any], files: list[str]
) -> None:
    """Raise UsageError for flags that do not go together."""
    check_target(arguments)
    if arguments.snapshot is not None:
        if arguments.producer is not None:
            raise UsageError("--producer needs a daemon: with --file, all is saved once at the end")
    else:
        if parameters:
            raise UsageError("a daemon's learner has its parameters already: give them to serve")
        if arguments.shuffle is not None or arguments.passes != 1:
            raise UsageError("--shuffle and --passes need --file: a daemon learns in stream order")
    if arguments.passes < 1:
        raise UsageError("passes: expected an integer from 1, got 0")
    if arguments.passes > 1:
        for path in files:
            if path == "-" or (os.path.exists(path) and not os.path.isfile(path)):
                name = "stdin" if path == "-" else path
                raise UsageError(f"--passes reads files again: expected a file, got {name}")


def _warn_of_order(run: Run, arguments: argparse.Namespace) -> None:
    """Print a warning if the labels came sorted."""
    long = run.label_run.long
    if long is None:
        return
    label, longest, expected = long
    remedy = "--shuffle mixes a file" if arguments.snapshot is not None else "mix them first"
    note(
        f"warning: {plural(longest, 'sample')} in a row had the label {label:+.0f}, in random order"
        f" it would be about {expected}; a model follows the last label of sorted samples: {remedy}"
    )


# Into a snapshot file.


def _learn_file(
    arguments: argparse.Namespace,
    files: list[str],
    limits: Limits,
    parameters: dict[str, Any],
    run: Run,
) -> dict[str, Any]:
    """Learn into a file, saved once at the end; features and position of its model."""
    from onlinesvm.svm import OnlineSVM  # a daemon's client needs no learner

    path = arguments.snapshot
    folder = os.path.dirname(path) or "."
    if os.path.exists(path):
        model = load(path, arguments, limits)
        model.config.check_given(parameters)
    else:
        model = OnlineSVM(limits=limits, **parameters)
    run.limits = model.limits
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise StateError(f"{folder}: expected a folder that can be written")
    run.threshold = model.config.threshold
    is_saved = False
    try:
        for number in range(arguments.passes):
            for batch, ids in _ordered(arguments, files, run, number, model):
                if not number:
                    run.label_run.count(batch.labels)
                with uninterrupted():
                    run.count(batch, model.learn_batch(batch, ids), seen=number > 0)
        if run.samples or run.first_bad is None:
            with uninterrupted(), naming(path):
                model.save(path)
                is_saved = True
    except BaseException as error:
        saved = f"{path} was saved" if is_saved else "nothing was saved"
        error.add_note(f"{_learned(run.samples)}; {saved}")
        raise
    passes = {"passes": arguments.passes} if arguments.passes > 1 else {}
    return {**passes, "features": len(model.lookup), "position": model.position}


def _ordered(
    arguments: argparse.Namespace,
    files: list[str],
    run: Run,
    number: int,
    model: OnlineSVM,
) -> Iterator[tuple[BatchColumns, CSR | None]]:
    """The batches of a pass, in the order to learn them, over ids where these are found ahead."""
    if arguments.shuffle is None:
        run.look_up = model.look_up
        for piece in run.pieces(files):
            if piece.batch is not None:
                yield piece.batch, piece.csr
        return
    import random

    from onlinesvm.service.cli.shuffle import shuffled

    # A text as seed, so that each pass has an order of its own.
    order = random.Random(f"{arguments.shuffle} {number}")
    kernel, most = kernels.load(), arguments.max_memory
    for batch in shuffled(run.batches(files), order, kernel, run.limits, max_bytes=most):
        yield batch, None


# By a daemon.


def _learn_daemon(
    arguments: argparse.Namespace, files: list[str], limits: Limits, run: Run
) -> dict[str, Any]:
    """Stream the files to a daemon; features and position of its model."""
    kernel = kernels.load()
    producer = arguments.producer
    # Batches under way, and how many of their samples are, by the index of the first.
    waiting: dict[int, tuple[BatchColumns, int]] = {}

    def count(start: int, margins: NDArray[np.float64]) -> None:
        # What is acknowledged is a batch that was sent, or a piece of one that was refused; such
        # pieces come in any order.
        first = max(index for index in waiting if index <= start)
        batch, left = waiting.pop(first)
        run.count(batch, margins, start - first)
        if left > len(margins):
            waiting[first] = batch, left - len(margins)

    with client_of(arguments, limits) as client:
        stream = client.stream(producer, on_margins=count)
        before = stream.applied
        try:
            with stream:
                start = 0
                for batch in run.batches(files, settle=stream.flush):
                    if start == 0:
                        config = client.stats()["config"] or {}
                        run.threshold = float(config.get("threshold", 0.0))
                    run.label_run.count(batch.labels)
                    known = min(max(before - start, 0), len(batch))  # learned in an earlier run
                    if known < len(batch):
                        waiting[start] = batch, len(batch) - known
                        body = kernel.encode(batch, labelled=True)
                        if known:
                            body = cut_body(body, known)[1]
                        with uninterrupted():
                            stream.learn_packed(body, len(batch) - known)
                    start += len(batch)
                with uninterrupted():
                    stream.flush()
            if start < before:
                raise StreamBroken(
                    f"expected the {before} samples that producer {producer} has learned, and"
                    f" those after them, got {start}",
                    before,
                )
        except DaemonUnreachable:  # nothing of the run was sent
            raise
        except BaseException as error:
            error.add_note(_so_far(stream.applied, before, producer, error))
            raise
        # The margins of samples applied before a connection broke are lost.
        run.samples = stream.applied - before
        figures = client.stats()
    known_samples = {"known": before} if producer is not None else {}
    return {
        **known_samples,
        "features": figures["features"],
        "position": figures["position"],
    }


def _so_far(applied: int, before: int, producer: str | None, error: BaseException) -> str:
    """How much of a run that ended early was learned, and how to continue."""
    learned = _learned(applied - before)
    if isinstance(error, DaemonLost | DaemonTimeout) and producer is None:
        learned = f"at least {plural(applied, 'sample')} of this run were learned"
    if producer is None:
        return f"{learned}; with --producer NAME a rerun continues there"
    return f"{learned}, {applied:,} by producer {producer} in all; a rerun continues there"


def _learned(samples: int) -> str:
    if not samples:
        return "no sample was learned before it"
    return f"{plural(samples, 'sample')} {'was' if samples == 1 else 'were'} learned before it"
