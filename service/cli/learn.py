"""Learn the samples of files, by a daemon or into a snapshot file."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data.batch import CSR, BatchColumns
from onlinesvm.data.codec import cut_body
from onlinesvm.data.label import AnyLabel, Key
from onlinesvm.data.pieces import Decoded
from onlinesvm.errors import OnlineSVMError
from onlinesvm.metrics.label_run import LabelRun
from onlinesvm.model.class_labels import AnyLabels
from onlinesvm.model.labels import Labels, shown
from onlinesvm.model.model import sided
from onlinesvm.service.cli import ranking, settings
from onlinesvm.service.cli.flags import add_flags, count, limits_of, parameters_of, size
from onlinesvm.service.cli.interrupt import uninterrupted
from onlinesvm.service.cli.output import naming, note, plural, write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.run import Run, add_files, files_of
from onlinesvm.service.cli.target import (
    add_target,
    check_target,
    client_of,
    extractor_of,
    figures_of,
    labels_in,
    load,
)
from onlinesvm.service.errors import (
    DaemonLost,
    DaemonTimeout,
    DaemonUnreachable,
    ServiceError,
    StateError,
    StreamBroken,
)

if TYPE_CHECKING:
    from onlinesvm.svm import OnlineSVM

__all__ = ["add_learn", "learn", "new_model", "with_positive"]

_MAX_MEMORY = 2**30
_Looked = tuple[Decoded, CSR | None]
_Item = TypeVar("_Item", bound=_Looked)


def add_learn(parser: Parser) -> None:
    """Add the flags of `learn`."""
    parser.usage = "onlinesvm learn [FLAGS] [FILE ...]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm learn --file m.msgpack train.svm.gz\n"
        "  onlinesvm learn --file m.msgpack --label-column survived titanic.csv\n"
        "  zcat clicks.vw.gz | onlinesvm learn --connect tcp://127.0.0.1:5577 -\n"
        "  onlinesvm learn --producer clicks clicks.vw.gz\n"
        "  onlinesvm learn --file m.msgpack --positive spam --shuffle sms.tsv"
    )
    add_files(parser)
    ranking.add_pairs(parser)
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
    if arguments.snapshot is None:  # a daemon's learner has its own
        settings.drop(arguments, LearnerConfig)
    limits, parameters = limits_of(arguments), parameters_of(arguments)
    files = files_of(arguments)
    _check_usage(arguments, parameters, files)
    run = Run(arguments, limits, labelled=True)
    started = time.monotonic()
    if arguments.snapshot is not None:
        outcome = _learn_file(arguments, files, limits, parameters, run)
    else:
        outcome = _learn_daemon(arguments, files, limits, run)
    run.report_lines()
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
        if parameters.keys() - {"positive"}:
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
    side, longest, expected = long
    label = run.labels.name(side)
    if arguments.snapshot is None:
        remedy = "mix them first"
    elif arguments.shuffle is None:
        remedy = "--shuffle mixes a file"
    else:
        remedy = "a larger --max-memory mixes more of the file"
    note(
        f"warning: {plural(longest, 'sample')} in a row had the label {label}, in random order"
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
    path = arguments.snapshot
    folder = os.path.dirname(path) or "."
    if os.path.exists(path):
        model = load(path, arguments, limits)
        model.config.check_given(parameters)
    else:
        model = new_model(arguments, files, limits, parameters, run)
    run.limits, run.extractor, run.keeps = model.limits, model.extractor, False
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise StateError(f"{folder}: expected a folder that can be written")
    run.threshold, run.positive = model.config.threshold, model.config.positive or ()
    run.labels = model.labels
    run.check = read = _LabelsRead(model.labels)
    is_saved = False
    try:
        for number in range(arguments.passes):
            if model.is_ranking:
                ranking.learn_pass(arguments, files, run, model, number)
                continue
            batches = _ordered(arguments, files, run, number, model)
            if "positive" in parameters and not number:
                batches = with_positive(batches, Labels(run.positive))
            for batch, ids in batches:
                if not number:
                    read.count(batch, run.label_run)
                with uninterrupted():
                    margins = model.learn_batch(batch, ids)
                    run.labels = model.labels
                    run.count(batch, margins, seen=number > 0)
        if run.samples or run.first_bad is None:
            with uninterrupted(), naming(path):
                model.save(path)
                is_saved = True
    except BaseException as error:
        saved = f"{path} was saved" if is_saved else "nothing was saved"
        error.add_note(f"{_learned(run.samples)}; {saved}")
        raise
    passes = {"passes": arguments.passes} if arguments.passes > 1 else {}
    return {
        **passes,
        "labels": len(model.labels.names()) if model.is_multiclass else list(model.labels.names()),
        "features": len(model.lookup),
        "position": model.position,
        **({"micro_f1": model.metrics["micro_f1"]} if model.is_multilabel else {}),
    }


def new_model(
    arguments: argparse.Namespace,
    files: list[str],
    limits: Limits,
    parameters: dict[str, Any],
    run: Run,
) -> OnlineSVM:
    """A model for the samples of `files`, of the task that their first labels show."""
    from onlinesvm.svm import OnlineSVM  # a daemon's client needs no learner

    parameters = _with_task(parameters, files, run)
    is_table = arguments.label_column is not None
    if is_table and LearnerConfig(**parameters).task != "ranking":
        parameters = {"numbers": "prefixes", **parameters}  # seldom counts in a table
    return OnlineSVM(limits=limits, **parameters)


def _with_task(parameters: dict[str, Any], files: list[str], run: Run) -> dict[str, Any]:
    """The parameters of a new model: a multiclass one where the first 10,000 samples of `files`
    have more than two labels and the parameters leave the task open.
    """
    config = LearnerConfig(**parameters)
    is_open = parameters.get("task", "auto") == "auto" and config.labels is None
    only_binary = config.rule != "hedge" or config.positive or config.threshold
    if not is_open or only_binary or isinstance(config.class_weight, tuple):
        return parameters
    seen: set[Key] = set()
    samples = 0
    run.extractor, run.keeps = extractor_of(config, kernels.load(), run.limits), True
    for source in files:
        if not os.path.isfile(source):  # a pipe is read once
            break
        try:
            with run.reader(source, only_labels=True) as reader:
                for batch in reader:
                    seen.update(label.text for label in batch.label_table)
                    samples += len(batch)
                    if len(seen) > 2:
                        note("more than two labels: the new model is a multiclass one")
                        return {**parameters, "task": "multiclass"}
                    if samples >= _LOOK_AHEAD:
                        return parameters
        except (OnlineSVMError, OSError):  # reported when the file is learned
            break
    return parameters


class _LabelsRead:
    """The labels of a model and those read since, as the model will have them."""

    def __init__(self, labels: AnyLabels) -> None:
        self.labels = labels

    def __call__(self, batch: BatchColumns) -> None:
        """Add those of `batch`. Raises SampleError for a label that has no side beside them."""
        self.labels = sided(self.labels, batch)

    def count(self, batch: Decoded, runs: LabelRun) -> None:
        """Count the runs of labels in `batch`; sets of labels have none."""
        if not self.labels.takes_sets:
            runs.count(self.labels.truths_of(batch))


def _ordered(
    arguments: argparse.Namespace,
    files: list[str],
    run: Run,
    number: int,
    model: OnlineSVM,
) -> Iterator[_Looked]:
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
    run.keeps = True
    kernel, most = kernels.load(), arguments.max_memory

    def decode(body: bytes) -> Decoded:
        return model.decode(body, labelled=True)

    batch_samples = min(1024, run.limits.max_samples_per_batch)
    bodies = ((kernel.encode(batch, labelled=True), len(batch)) for batch in run.batches(files))
    for batch in shuffled(bodies, order, decode, batch_samples=batch_samples, max_bytes=most):
        yield batch, None


_LOOK_AHEAD = 10_000
_SHOWN_LABELS = 8


def with_positive(batches: Iterator[_Item], labels: Labels) -> Iterator[_Item]:
    """`batches` as they are, once a label of side +1 is seen in the first 10,000 samples.

    Raises UsageError where there is none, or none in the whole file.
    """
    ahead: list[_Item] = []
    seen: dict[Key, AnyLabel] = {}
    samples = 0
    for item in batches:
        ahead.append(item)
        batch, _ = item
        samples += len(batch)
        seen.update((label.text, label) for label in batch.label_table)
        if (labels.find(batch.label_table) > 0.0).any():
            break
        if samples >= _LOOK_AHEAD:
            raise _no_positive(seen, samples)
    else:
        if samples:
            raise _no_positive(seen, samples)
    return itertools.chain(ahead, batches)


def _no_positive(seen: dict[Key, AnyLabel], samples: int) -> UsageError:
    first = [shown(label.written) for label in itertools.islice(seen.values(), _SHOWN_LABELS)]
    more = ", …" if len(seen) > len(first) else ""
    return UsageError(
        f"--positive: expected its label among the first {plural(samples, 'sample')}, got"
        f" {', '.join(first)}{more}"
    )


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
        # The daemon acknowledges a batch as it was sent, or pieces of one with a refused sample, in
        # any order.
        first = max(index for index in waiting if index <= start)
        batch, left = waiting.pop(first)
        labels = run.labels
        if isinstance(labels, Labels) and not labels.find(batch.label_table).all():
            # Those that were learned just now; a daemon that is lost is reported by the stream.
            with contextlib.suppress(ServiceError):
                run.labels = labels_in(client.stats())
        run.count(batch, margins, start - first)
        if left > len(margins):
            waiting[first] = batch, left - len(margins)

    with client_of(arguments, limits) as client:
        config = LearnerConfig.from_dict(figures_of(client)["config"] or {})
        if config.task == "ranking":
            config.check_given(parameters_of(arguments))
            run.extractor = extractor_of(config, kernel, limits)
            return ranking.learn_by_daemon(arguments, files, run, client)
        stream = client.stream(producer, on_margins=count)
        before = stream.applied
        figures = figures_of(client)
        config = LearnerConfig.from_dict(figures["config"] or {})
        given = parameters_of(arguments)
        config.check_given(given)
        run.threshold, run.positive = config.threshold, config.positive or ()
        run.labels = labels_in(figures)
        run.extractor, run.keeps = extractor_of(config, kernel, limits), True
        run.check = read = _LabelsRead(run.labels)
        try:
            with stream:
                start = 0
                batches = ((batch, None) for batch in run.batches(files, settle=stream.flush))
                for batch, _ in with_positive(batches, Labels(run.positive)) if given else batches:
                    read.count(batch, run.label_run)
                    if not isinstance(read.labels, Labels):
                        run.labels = read.labels
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
        figures = figures_of(client)
    known_samples = {"known": before} if producer is not None else {}
    return {
        **known_samples,
        "labels": figures["labels"],
        "features": figures["features"],
        "position": figures["position"],
        **({"micro_f1": figures["micro_f1"]} if run.labels.takes_sets else {}),
    }


def _so_far(applied: int, before: int, producer: str | None, error: BaseException) -> str:
    """The samples that a run learned before it ended early, and the way to continue."""
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
