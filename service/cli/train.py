"""Train a model on a Dask cluster, from files, in rounds."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data.pieces import Decoded
from onlinesvm.errors import FormatError, SampleError
from onlinesvm.model.labels import Labels
from onlinesvm.model.model import sided
from onlinesvm.readers.reader import Keys
from onlinesvm.service.cli.flags import (
    add_flags,
    count,
    duration,
    from_flags,
    limits_of,
    parameters_of,
    size,
)
from onlinesvm.service.cli.interrupt import uninterrupted
from onlinesvm.service.cli.learn import new_model, with_positive
from onlinesvm.service.cli.output import naming, note, plural, write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.progress import columns_of
from onlinesvm.service.cli.run import Run, add_files
from onlinesvm.service.cli.target import load
from onlinesvm.service.errors import StateError
from onlinesvm.text.constants import TEXT_BYTES

if TYPE_CHECKING:
    from tqdm import tqdm

    from onlinesvm.service.train.checkpoint import Checkpoint, Done
    from onlinesvm.service.train.tasks import Figures, Reading
    from onlinesvm.service.train.trainer import Round
    from onlinesvm.svm import OnlineSVM

__all__ = ["add_train", "train"]

_SHARD_BYTES = 256 * 2**20
_LOOK_AHEAD = 10_000
_SHOWN_SHARDS = 16


def add_train(parser: Parser) -> None:
    """Add the flags of `train`."""
    parser.usage = "onlinesvm train [FLAGS] --file OUT FILE ..."
    parser.epilog = (
        "example:\n"
        "  onlinesvm train --file m.msgpack 'logs/*.svm.gz'\n"
        "  onlinesvm train --scheduler tcp://10.0.0.1:8786 --file m.msgpack a.svm b.svm\n"
        "  onlinesvm train --file m.msgpack --resume 'logs/*.svm.gz'"
    )
    add_files(parser)
    parser.add_argument(
        "--file",
        metavar="OUT",
        dest="snapshot",
        required=True,
        help="the snapshot file to write; a model that is there is learned on. OUT.checkpoint is"
        " beside it until all rounds are done",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="the Dask scheduler, as tcp://10.0.0.1:8786 (default: a cluster of this machine)",
    )
    parser.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="the processes of a cluster of this machine (default: one a core); they change the"
        " time, not the outcome",
    )
    parser.add_argument(
        "--rounds",
        type=count,
        default=3,
        metavar="N",
        help="how many times every shard is learned and the models are mixed (default: 3)",
    )
    parser.add_argument(
        "--shards",
        type=count,
        metavar="N",
        help="how many shards the files are cut into; the outcome depends on it (default: by"
        " --shard-bytes)",
    )
    parser.add_argument(
        "--shard-bytes",
        type=size,
        default=_SHARD_BYTES,
        metavar="SIZE",
        help="the bytes of a shard on disk (default: 256MiB). Larger shards need fewer rounds,"
        " smaller ones keep more workers busy",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on after the rounds in OUT.checkpoint, if it is there",
    )
    parser.add_argument(
        "--wait",
        type=duration,
        default=300.0,
        metavar="TIME",
        help="wait so long for a scheduler or workers that are away (default: 5m)",
    )
    add_flags(parser, LearnerConfig, "the learner (fixed when the model is created)")
    add_flags(parser, Limits, "limits")


def train(arguments: argparse.Namespace) -> None:
    """Train a model; print the outcome as a JSON object."""
    started = time.monotonic()
    limits, parameters = limits_of(arguments), parameters_of(arguments)
    _check_usage(arguments)
    try:
        from onlinesvm.service.train.checkpoint import MOST_ROUNDS, Checkpoint, Done, plan_of
        from onlinesvm.service.train.cluster import Cluster
        from onlinesvm.service.train.shards import cut, expanded
        from onlinesvm.service.train.trainer import train as trained
    except ImportError as error:
        raise UsageError(
            f"train needs its extra: pip install 'onlinesvm[dask]' ({error})"
        ) from None
    if arguments.rounds > MOST_ROUNDS:
        raise UsageError(f"rounds: expected at most {MOST_ROUNDS}, got {arguments.rounds}")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said here
    path: str = arguments.snapshot
    with from_flags():
        files = expanded(arguments.files)
        shards = cut(files, shards=arguments.shards, shard_bytes=arguments.shard_bytes)
    if arguments.shards is not None and len(shards) < arguments.shards:
        note(
            f"{plural(len(shards), 'shard')} instead of {arguments.shards}: compressed files are"
            " not cut"
        )
    model = _model(arguments, files, limits, parameters)
    reading = _reading(arguments, model)
    checkpoint = Checkpoint(f"{path}.checkpoint", plan_of(shards, reading))
    done = Done(model.snapshot(), [])
    if checkpoint.exists:
        done = _resumed(arguments, checkpoint, parameters)
    progress = _Progress(arguments.rounds, len(shards))
    try:
        with Cluster(
            arguments.scheduler,
            workers=arguments.workers or len(os.sched_getaffinity(0)),
            wait_s=arguments.wait,
            on_wait=note,
        ) as cluster:
            workers = cluster.connect()
            note(
                f"{plural(len(shards), 'shard')} of {plural(len(files), 'file')},"
                f" {plural(workers, 'worker')}"
            )
            done = trained(
                cluster, done, shards, reading, arguments.rounds, checkpoint,
                on_shard=progress.on_shard, on_round=progress.on_round,
            )  # fmt: skip
        with uninterrupted(), naming(path):
            digest = _save(path, done)
            checkpoint.remove()
    except BaseException as error:
        progress.close()
        left = f"{checkpoint.path} has the rounds before; --resume goes on from there"
        error.add_note(left if checkpoint.exists else "no round was done before it")
        raise
    outcome = {
        "samples": progress.samples,
        "skipped": progress.skipped,
        "rounds": done.rounds,
        "shards": len(shards),
        "errors": done.errors,
        **_described(done, digest),
        "seconds": round(time.monotonic() - started, 3),
    }
    write(json.dumps(outcome) + "\n")


def _check_usage(arguments: argparse.Namespace) -> None:
    if not arguments.files or "-" in arguments.files:
        raise UsageError("expected FILE: train reads files again in every round")
    if arguments.snapshot == "":
        raise UsageError("--file: expected a file's name, got ''")
    for flag in ("rounds", "shards", "workers", "shard_bytes"):
        if getattr(arguments, flag) == 0:
            raise UsageError(f"{flag}: expected an integer from 1, got 0")
    if arguments.scheduler is not None and arguments.workers is not None:
        raise UsageError("expected --scheduler or --workers, got both: a cluster has its workers")
    folder = os.path.dirname(arguments.snapshot) or "."
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise StateError(f"{folder}: expected a folder that can be written")


def _model(
    arguments: argparse.Namespace, files: list[str], limits: Limits, parameters: dict[str, Any]
) -> OnlineSVM:
    """The model that the first round starts from: that of the file, or a new one that has the
    labels of the first samples, so that all shards take the same sides.
    """
    from onlinesvm.mixing.start import check_mixable

    run = Run(arguments, limits, labelled=True)
    if os.path.exists(arguments.snapshot):
        model = load(arguments.snapshot, arguments, limits)
        model.config.check_given(parameters)
    else:
        model = new_model(arguments, files, limits, parameters, run)
    with from_flags():
        check_mixable(model.config)
    if model.is_multiclass:
        return model
    run.limits, run.extractor, run.keeps = model.limits, model.extractor, True
    run.positive = model.config.positive or ()
    batches = _first(run, files, model)
    for _ in with_positive(batches, Labels(run.positive)) if "positive" in parameters else batches:
        pass
    return model


def _first(run: Run, files: list[str], model: OnlineSVM) -> Iterator[tuple[Decoded, None]]:
    """The batches of the first samples; `model` gets their labels."""
    samples = 0
    for source in files:
        with run.reader(source) as reader:
            for batch in reader:
                try:
                    model.labels = sided(model.labels, batch)
                except SampleError as error:
                    line = reader.line_of(error.sample or 0)
                    raise FormatError(error.message, source, line) from None
                yield batch, None
                samples += len(batch)
                if samples >= _LOOK_AHEAD:
                    return


def _reading(arguments: argparse.Namespace, model: OnlineSVM) -> Reading:
    from onlinesvm.service.train.tasks import Reading

    keys = Keys(label=arguments.label_key, features=arguments.features_key, id=arguments.id_key)
    return Reading(
        format=arguments.format,
        label_column=arguments.label_column,
        keys=keys,
        skip_bad=arguments.skip_bad,
        limits=model.limits,
    )


def _resumed(
    arguments: argparse.Namespace, checkpoint: Checkpoint, parameters: dict[str, Any]
) -> Done:
    """The rounds of the checkpoint. Raises UsageError where it is not meant."""
    if not arguments.resume:
        raise UsageError(
            f"{checkpoint.path} is of a training that ended early: --resume continues it; remove"
            " it to begin anew"
        )
    done = checkpoint.load()
    done.model.config.check_given(parameters)
    note(f"{plural(done.rounds, 'round')} done before, by {checkpoint.path}")
    return done


def _save(path: str, done: Done) -> str:
    """Write the outcome; its digest."""
    from onlinesvm.snapshot.writer import write as write_snapshot
    from onlinesvm.svm import OnlineSVM

    return write_snapshot(path, done.model, OnlineSVM.check_snapshot).digest


def _described(done: Done, digest: str) -> dict[str, Any]:
    from onlinesvm.svm import OnlineSVM

    model = OnlineSVM.from_snapshot(done.model)
    names = model.labels.names()
    return {
        "labels": len(names) if model.is_multiclass else list(names),
        "features": len(model.lookup),
        "position": model.position,
        "digest": digest,
    }


class _Progress:
    """Shows on stderr what rounds and shards are done."""

    def __init__(self, rounds: int, shards: int) -> None:
        self.samples = self.skipped = 0
        self._rounds, self._shards = rounds, shards
        self._bar: tqdm[Any] | None = None
        self._wrong = self._seen = 0.0
        self._noted = False

    def on_shard(self, number: int, figures: Figures) -> None:
        """Count a shard that is learned."""
        self.samples += figures.samples
        self._seen += figures.samples
        self._wrong += (figures.error or 0.0) * figures.samples
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm  # 40 ms, for terminals alone

            self._bar = tqdm(
                total=self._shards,
                desc=f"round {number} of {self._rounds}",
                ncols=columns_of(sys.stderr),
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n}/{total} shards{postfix}"
                " {remaining}",
            )
        self._bar.set_postfix_str(f"error {self._wrong / max(self._seen, 1.0):.4f}", refresh=False)
        self._bar.update()

    def on_round(self, done: Round) -> None:
        """Print the errors of a round that is done."""
        self.close()
        self._wrong = self._seen = 0.0
        errors = [shard.error for shard in done.shards]
        shown = " ".join("–" if e is None else f"{e:.4f}" for e in errors[:_SHOWN_SHARDS])
        more = " …" if len(errors) > _SHOWN_SHARDS else ""
        error = "" if done.error is None else f"error {done.error:.4f}, "
        note(f"round {done.number} of {self._rounds}: {error}by shard {shown}{more}")
        if not self._noted:
            self._note_lines(done)
        self._noted = True

    def _note_lines(self, done: Round) -> None:
        """Print how many lines were skipped, and how many texts were cut."""
        self.skipped = sum(shard.skipped for shard in done.shards)
        if self.skipped:
            first = next(shard.first_bad for shard in done.shards if shard.first_bad)
            note(f"{plural(self.skipped, 'bad line')} skipped, the first: {first}")
        cut = sum(shard.cut_texts for shard in done.shards)
        if cut:
            note(f"{plural(cut, 'text')} of more than {TEXT_BYTES:,} bytes: cut there")

    def close(self) -> None:
        """Leave the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
