"""The tasks of a round, which run on workers. Each is a function of its arguments and the files.

Models travel as the bytes of snapshots. A task is given the version of onlinesvm that asks for it,
and refuses to run by another one: the bits could differ.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from onlinesvm import kernel as kernels
from onlinesvm.config import Limits
from onlinesvm.errors import FormatError, SampleError
from onlinesvm.mixing.learner import Learner
from onlinesvm.mixing.mix import mixed
from onlinesvm.mixing.outcome import Counts, Outcome
from onlinesvm.readers.reader import Keys, Reader
from onlinesvm.service.errors import ClusterError
from onlinesvm.service.train.shards import Part, Shard
from onlinesvm.snapshot.reader import from_bytes
from onlinesvm.snapshot.writer import to_bytes
from onlinesvm.version import __version__

__all__ = ["Figures", "Learned", "Reading", "figures_of", "learn_shard", "mix_pair", "model_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How files are read. See Reader."""

    format: str | None = None
    label_column: str | None = None
    keys: Keys = Keys()  # noqa: RUF009 - a tuple
    skip_bad: bool = False
    limits: Limits = Limits()  # noqa: RUF009 - frozen


class Figures(NamedTuple):
    """The figures of a shard in a round: its number, its samples, their progressive error and hinge
    loss, how many lines were skipped and the first of them, and how many texts were cut.
    """

    shard: int
    samples: int
    error: float | None
    hinge_loss: float | None
    skipped: int
    first_bad: str | None
    cut_texts: int


class Learned(NamedTuple):
    """An outcome of mixing on its way between workers; figures: None of a mix."""

    model: bytes
    counts: Counts
    samples: int
    figures: Figures | None


def learn_shard(version: str, base: bytes, number: int, shard: Shard, reading: Reading) -> Learned:
    """Learn a shard into a copy of the model `base`."""
    _check_version(version)
    learner = Learner(from_bytes(base), reading.limits)
    skipped, first_bad = 0, None
    for part in shard:
        with _readable(part), _reader(part, learner, reading) as reader:
            for batch in reader:
                try:
                    learner.learn(batch, reader.csr)
                except SampleError as error:  # a label
                    line = 0 if error.sample is None else reader.line_of(error.sample)
                    raise FormatError(error.message, part.path, line) from None
            skipped += reader.skipped
            if first_bad is None and reader.first_skipped is not None:
                first_bad = str(reader.first_skipped)
    model = learner.model
    outcome = learner.outcome()
    samples = outcome.model.position - learner.first_position
    progressive = model.progressive
    figures = Figures(
        number, samples, progressive.error, progressive.hinge_loss, skipped, first_bad,
        model.cut_texts,
    )  # fmt: skip
    return Learned(to_bytes(outcome.model), outcome.counts, outcome.samples, figures)


def mix_pair(version: str, base: bytes, first: Learned, second: Learned) -> Learned:
    """Mix two outcomes of the round that began with `base`."""
    _check_version(version)
    one, other = (Outcome(from_bytes(of.model), of.counts, of.samples) for of in (first, second))
    made = mixed(from_bytes(base), one, other)
    return Learned(to_bytes(made.model), made.counts, made.samples, None)


def figures_of(learned: Learned) -> Figures | None:
    """The figures of a shard: all of the outcome that leaves the cluster."""
    return learned.figures


def model_of(learned: Learned) -> bytes:
    """The model of an outcome."""
    return learned.model


@contextlib.contextmanager
def _readable(part: Part) -> Iterator[None]:
    """Raise what the file cannot give as ClusterError: any other OSError is the cluster's, and the
    round would begin again.
    """
    try:
        yield
    except ClusterError:
        raise
    except OSError as error:
        raise ClusterError(
            f"{_here()}: {part.path}: {error.strerror or error}; every worker reads the files by"
            " the same paths"
        ) from None


def _reader(part: Part, learner: Learner, reading: Reading) -> Reader:
    """A reader of a part. Raises ClusterError unless the file is the one that was cut, OSError."""
    size = os.stat(part.path).st_size
    if size != part.size:
        raise ClusterError(
            f"{_here()}: {part.path}: expected a file of {part.size} bytes, got {size}"
        )
    model = learner.model
    return Reader(
        part.path,
        format=reading.format,
        positive=model.config.positive or (),
        skip_bad=reading.skip_bad,
        keys=reading.keys,
        label_column=reading.label_column,
        limits=model.limits,
        batch_samples=model.limits.max_samples_per_batch,
        ahead=kernels.load().NAME != "python",
        look_up=model.look_up,
        extractor=model.extractor,
        span=(part.start, part.end) if part.is_cut else None,
    )


def _check_version(version: str) -> None:
    if version != __version__:
        raise ClusterError(f"{_here()}: expected onlinesvm {version}, got {__version__}")


def _here() -> str:
    """The worker that runs the task, for messages."""
    from distributed import get_worker

    try:
        return f"worker {get_worker().address}"
    except ValueError:
        return "this process"
