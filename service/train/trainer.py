"""The rounds of a training, each from the mixed model of the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from onlinesvm.service.train.checkpoint import Checkpoint, Done
from onlinesvm.service.train.cluster import Cluster
from onlinesvm.service.train.shards import Shard
from onlinesvm.service.train.tasks import Figures, Reading
from onlinesvm.snapshot.reader import from_bytes
from onlinesvm.snapshot.writer import to_bytes

__all__ = ["Round", "train"]


class Round(NamedTuple):
    """A round that is done: its number from 1, and the figures of its shards, by their numbers."""

    number: int
    shards: list[Figures]

    @property
    def samples(self) -> int:
        """The samples of all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def error(self) -> float | None:
        """The mean error of their samples; None where there are none."""
        known = [(shard.error, shard.samples) for shard in self.shards if shard.error is not None]
        total = sum(samples for _, samples in known)
        return sum(error * samples for error, samples in known) / total if total else None


def train(
    cluster: Cluster,
    done: Done,
    shards: Sequence[Shard],
    reading: Reading,
    rounds: int,
    checkpoint: Checkpoint,
    *,
    on_shard: Callable[[int, Figures], None] = lambda number, figures: None,
    on_round: Callable[[Round], None] = lambda round: None,
) -> Done:
    """Go on from the rounds that are `done` until there are `rounds`; the checkpoint holds each but
    the last as soon as it is done.

    on_shard: called with the round's number and the figures of each shard, as they come. Raises as
    Cluster.run, OSError where the checkpoint cannot be written.
    """
    for number in range(done.rounds + 1, rounds + 1):
        figures: dict[int, Figures] = {}

        def report(
            of_shard: Figures, number: int = number, kept: dict[int, Figures] = figures
        ) -> None:
            kept[of_shard.shard] = of_shard
            on_shard(number, of_shard)

        model = from_bytes(cluster.run(to_bytes(done.model), shards, reading, report))
        made = Round(number, [figures[shard] for shard in sorted(figures)])
        done = Done(model, [*done.errors, made.error])
        if number < rounds:
            checkpoint.save(done)
        on_round(made)
    return done
