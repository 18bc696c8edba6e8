"""What each command does. `cli` parses the arguments and turns errors into exit codes."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm import snapshot as snapshots
from onlinesvm.body import cut_body
from onlinesvm.config import LearnerConfig, Limits, check_parameters
from onlinesvm.errors import (
    ConfigError,
    LimitError,
    RequestRefused,
    SnapshotError,
    StateError,
    StreamBroken,
)
from onlinesvm.explanation import Explanation
from onlinesvm.formats import Reader
from onlinesvm.learner import OnlineSVM
from onlinesvm.progressive import Progressive
from onlinesvm.samples import BatchColumns
from onlinesvm.service.allocator import keep_freed_memory
from onlinesvm.service.client import Client
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.daemon import Daemon
from onlinesvm.service.endpoint import check_exposure
from onlinesvm.service.flags import given_flags
from onlinesvm.service.learning import Learning
from onlinesvm.service.progress import ProgressBar
from onlinesvm.service.protocol import decode_explanations, decode_margins
from onlinesvm.service.replica import Replica
from onlinesvm.service.serving import Serving
from onlinesvm.service.store import Store, snapshots_in
from onlinesvm.version import __version__

__all__ = [
    "UsageError", "explain", "inspect", "learn", "predict", "recover", "serve", "snapshot", "stats",
]  # fmt: skip

# What is printed of a batch, and its margins.
Scores = tuple[NDArray[np.float64], NDArray[np.float64]]


class UsageError(Exception):
    """Flags that make no sense, alone or together."""


@contextlib.contextmanager
def _from_flags() -> Iterator[None]:
    """What is made here is made of flags alone: a value out of range is wrong usage."""
    try:
        yield
    except ConfigError as error:
        raise UsageError(error) from None


def _limits(arguments: argparse.Namespace) -> Limits:
    with _from_flags():
        return Limits(**given_flags(arguments, Limits))


def _client(arguments: argparse.Namespace, limits: Limits | None = None) -> Client:
    def say() -> None:
        note = f"onlinesvm: waiting for a daemon at {arguments.connect} (Ctrl-C to stop)"
        print(note, file=sys.stderr, flush=True)

    with _from_flags():
        check_exposure(arguments.connect, insecure=True)  # ZeroMQ takes much that is no endpoint
        return Client(
            arguments.connect, timeout_s=arguments.timeout_s, limits=limits, on_waiting=say
        )


def _parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The learner's parameters that were given."""
    given = given_flags(arguments, LearnerConfig)
    with _from_flags():
        check_parameters(given)
    return given


def serve(arguments: argparse.Namespace) -> None:
    """Run a daemon until it is told to stop."""
    limits, parameters = _limits(arguments), _parameters(arguments)
    with _from_flags():
        config = ServeConfig(**given_flags(arguments, ServeConfig))
        check_exposure(config.bind, insecure=config.insecure)
    if config.follow is not None and (parameters or "state" in arguments):
        raise UsageError("--follow takes the model as it is: no --state, no learner's flags")
    idle = "reload_every_s" if config.follow is None else "snapshot_every_s"
    if idle in arguments:
        raise UsageError(
            "--reload-every-s goes with --follow, --snapshot-every-s with a learner's --state"
        )
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    if config.follow is not None:
        replica = Replica(config.follow, limits, reload_every_s=config.reload_every_s)
        loaded = f"position {replica.position}" if replica.position is not None else "no model yet"
        _run(replica, config, limits, f"{_kernel()}, follows {config.follow}, {loaded}")
        return
    store = Store(config.state, fsync=config.fsync, max_producers=config.max_producers)
    try:
        model, saved = store.open_model(parameters, limits)
        learning = Learning(model, store, saved, snapshot_every_s=config.snapshot_every_s)
        learner = " ".join(f"{k}={v}" for k, v in model.config.as_dict().items())
        _run(
            learning,
            config,
            limits,
            f"{_kernel()}, state {config.state}, position {model.position},"
            f" {len(model.lookup)} features, {learner}",
        )
    finally:
        store.close()


def _kernel() -> str:
    """The kernel in use, and why it is not the best there is."""
    name, reason = kernels.load().NAME, kernels.fallback()
    return f"kernel {name} ({reason})" if reason else f"kernel {name}"


def _run(serving: Serving, config: ServeConfig, limits: Limits, what: str) -> None:
    keep_freed_memory()
    daemon = Daemon(serving, config.bind, limits)
    settings = " ".join(
        f"{key}={value}"
        for key, value in (asdict(config) | asdict(limits)).items()
        if key not in ("bind", "state", "follow")
    )
    line = f"onlinesvm {__version__} {serving.mode} at {daemon.endpoint}: {what}, {settings}"
    daemon.run(on_ready=lambda: print(line, file=sys.stderr, flush=True))


def _reader(source: str, arguments: argparse.Namespace, limits: Limits, labelled: bool) -> Reader:
    with _from_flags():
        return Reader(
            source,
            format=arguments.format,
            positive=arguments.positive,
            labelled=labelled,
            skip_bad=arguments.skip_bad,
            limits=limits,
            batch_samples=limits.max_samples_per_batch,
            ahead=kernels.load().NAME != "python",  # which would keep the lock to itself
        )


def _batches(
    arguments: argparse.Namespace,
    limits: Limits,
    *,
    labelled: bool,
    tally: _Tally,
    settle: Callable[[], None] = lambda: None,
) -> Iterator[BatchColumns]:
    """The batches of all files, with a progress bar for each.

    `settle` has all that was given out counted, before a file's bar is left as it stands.
    """
    for source in arguments.files:
        with (
            _reader(source, arguments, limits, labelled) as reader,
            ProgressBar(reader, tally.samples) as bar,
        ):
            for batch in reader:
                yield batch
                bar.update(tally.samples, tally.error)
            settle()
            bar.update(tally.samples, tally.error, last=True)
            tally.skipped += reader.skipped


class _Tally:
    """What a run has seen so far: samples, and how well they were predicted."""

    def __init__(self) -> None:
        self.threshold = 0.0  # the margin above which the prediction is +1
        self.samples = 0
        self.skipped = 0
        self.known = 0  # samples that a producer had learned before
        self.all_labelled = True
        self.progressive = Progressive()
        self._observe = kernels.load().observe

    def count(self, batch: BatchColumns, margins: NDArray[np.float64], start: int = 0) -> None:
        """Add the samples of `batch` from `start` on, as many as there are margins."""
        end = start + len(margins)
        labels, importances = batch.labels[start:end], batch.importances[start:end]
        self.samples += len(margins)
        self.all_labelled = self.all_labelled and 0.0 not in labels
        self._observe(self.progressive.totals, margins, labels, importances, self.threshold)

    @property
    def error(self) -> float | None:
        """The error so far; None unless all samples had a label."""
        return self.progressive.error if self.all_labelled else None


def learn(arguments: argparse.Namespace) -> None:
    """Learn files, by a daemon or into a snapshot file."""
    limits, parameters = _limits(arguments), _parameters(arguments)
    tally = _Tally()
    started = time.monotonic()
    if arguments.model is not None:
        if arguments.producer is not None:
            raise UsageError("--producer goes with --connect: a file is saved once, at the end")
        features, position = _learn_file(arguments, limits, parameters, tally)
    elif parameters:
        raise UsageError("a daemon's learner has its parameters already: give them to serve")
    else:
        features, position = _learn_daemon(arguments, limits, tally)
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
    arguments: argparse.Namespace, limits: Limits, parameters: dict[str, Any], tally: _Tally
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
    for batch in _batches(arguments, limits, labelled=True, tally=tally):
        tally.count(batch, model.learn_batch(batch))
    model.save(path)
    return len(model.lookup), model.position


def _load(path: Path, arguments: argparse.Namespace, limits: Limits) -> OnlineSVM:
    """The model in a file; its own bound on features holds unless another is given."""
    taken = snapshots.read(path)
    if "max_features" not in arguments:
        limits = replace(limits, max_features=taken.max_features)
    return OnlineSVM.from_snapshot(taken, limits=limits)


def _learn_daemon(arguments: argparse.Namespace, limits: Limits, tally: _Tally) -> tuple[int, int]:
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

    with _client(arguments, limits) as client:
        with client.stream(arguments.producer, on_margins=count) as stream:
            start, before = 0, stream.applied
            for batch in _batches(
                arguments, limits, labelled=True, tally=tally, settle=stream.flush
            ):
                if start == 0:
                    tally.threshold = _threshold_of(client)
                known = min(max(before - start, 0), len(batch))  # learned in an earlier run
                if known < len(batch):
                    waiting[start] = batch, len(batch) - known
                    body = kernel.encode_learn(batch)
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
    limits = _limits(arguments)
    if arguments.model is not None:
        model = _load(Path(arguments.model), arguments, limits)
        model.scorer()  # what follows is scored by it

        def score(batch: BatchColumns, _: int) -> Scores:
            margins = model.score_batch(batch)
            return model.probabilities(margins) if arguments.probability else margins, margins

        _print_margins(arguments, limits, score, lambda: model.config.threshold)
        return
    kernel = kernels.load()
    with _client(arguments, limits) as client:

        def asked(batch: BatchColumns, start: int) -> Scores:
            body = kernel.encode_predict(batch)

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
    limits = _limits(arguments)
    if arguments.model is not None:
        model = _load(Path(arguments.model), arguments, limits)
        _print_explanations(arguments, limits, lambda batch, _: model.explain_batch(batch))
        return
    kernel = kernels.load()
    with _client(arguments, limits) as client:

        def asked(batch: BatchColumns, start: int) -> list[Explanation]:
            body = kernel.encode_predict(batch)
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
    tally = _Tally()
    for batch in _batches(arguments, limits, labelled=False, tally=tally):
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
        if error.code != "TOO_LARGE" or error.at not in ("$", None) or samples == 1:
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
    tally = _Tally()
    for batch in _batches(arguments, limits, labelled=False, tally=tally):
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


def _ask(arguments: argparse.Namespace, op: str) -> None:
    with _client(arguments) as client:
        print(json.dumps(client.request(op)[0], indent=2))


def stats(arguments: argparse.Namespace) -> None:
    """Print a daemon's figures."""
    _ask(arguments, "stats")


def snapshot(arguments: argparse.Namespace) -> None:
    """Have a daemon write a snapshot."""
    _ask(arguments, "snapshot")


def recover(arguments: argparse.Namespace) -> None:
    """Make a state folder whole again that was damaged; print what was lost."""
    if not Path(arguments.state).is_dir():
        raise StateError(f"state folder {arguments.state}: no such folder")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    with Store(arguments.state) as store:
        print(json.dumps(store.recover(), indent=2))


def inspect(arguments: argparse.Namespace) -> None:
    """Show what is in a snapshot."""
    path = Path(arguments.snapshot)
    if path.is_dir():
        listing = snapshots_in(path)
        if not listing:
            raise SnapshotError(f"{path}: no snapshot there")
        path = listing[0][1]
    header = snapshots.read_header(path)
    model = OnlineSVM.load(path)
    figures = model.progressive
    header |= {
        "path": str(path),
        "config": model.config.as_dict(),
        "producers": len(header["producers"]),
        "digest": model.snapshot().digest(),
        "bias": model.bias,
        "progressive_error": figures.error,
        "progressive_hinge_loss": figures.hinge_loss,
        "recent_error": figures.recent_error,
        "recent_hinge_loss": figures.recent_hinge_loss,
        **model.judged,
    }
    experts = model.experts
    if experts is not None:
        header["experts"] = experts
    for name in ("arrays", "totals", "scalars", "figures", "journal"):
        del header[name]
    up, down = model.strongest(arguments.top)
    if arguments.json:
        print(json.dumps({**header, "positive": up, "negative": down}))
        return
    header.pop("experts", None)
    for key, value in header.items():
        shown = " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{key:23} {'-' if shown is None else shown}")
    if experts is not None:
        _print_experts(experts)
    for title, rows in (("+1", up), ("-1", down)):
        print(f"\nstrongest features for {title}")
        for name, weight in rows:
            # A name may hold anything, also what a terminal would obey.
            print(f"  {weight:+12.6f}  {name if name.isprintable() else ascii(name)}")


def _print_experts(experts: dict[str, dict[str, float | None]]) -> None:
    columns = list(next(iter(experts.values())))
    print(f"\n{'experts':16}" + "".join(f"{name:>14}" for name in columns))
    for name, figures in experts.items():
        cells = ("-" if (v := figures[c]) is None else f"{v:.4f}" for c in columns)
        print(f"  {name:14}" + "".join(f"{cell:>14}" for cell in cells))
