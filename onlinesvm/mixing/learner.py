"""The learner of one shard in one round."""

from __future__ import annotations

import numpy as np

from onlinesvm.config import Limits
from onlinesvm.data.batch import CSR
from onlinesvm.data.pieces import Decoded
from onlinesvm.mixing.outcome import Counts, Outcome, counts_of
from onlinesvm.mixing.start import check_mixable, started
from onlinesvm.model.model import Model
from onlinesvm.snapshot.format import Snapshot

__all__ = ["Learner"]

_ROOM = 1024


class Learner:
    """Learns the batches of a shard into a copy of `base`; `model` is that copy, which began at
    `first_position`.

    Raises ConfigError for a model whose mixing is not defined, SnapshotError.
    """

    def __init__(self, base: Snapshot, limits: Limits | None = None) -> None:
        check_mixable(base.config)
        self.model = Model.from_snapshot(started(base), limits=limits)
        self.first_position = base.position
        self._base = base
        self._samples = 0
        # How often each feature was seen, by a rule that does not count it itself.
        self._counts: Counts | None = None
        if base.config.rule == "sgd":
            self._counts = np.zeros(len(base.lengths), dtype=np.uint32)

    def learn(self, batch: Decoded, csr: CSR | None = None) -> None:
        """Learn a batch. csr: its ids, of the model's `look_up`. Raises as Model.learn_batch."""
        if self._counts is not None and csr is None:
            csr = self.model.look_up(batch)
        self.model.learn_batch(batch, csr)
        learned = np.asarray(batch.importances) > 0.0
        self._samples += int(np.count_nonzero(learned))
        if self._counts is not None and csr is not None:
            self._count(csr, learned)

    def _count(self, csr: CSR, learned: np.ndarray) -> None:
        assert self._counts is not None
        seen = (csr.data != 0.0) & np.repeat(learned, np.diff(csr.indptr)) & (csr.indices > 0)
        ids = csr.indices[seen]
        missing = int(ids.max(initial=0)) - len(self._counts)
        if missing > 0:
            room = max(missing, len(self._counts) // 2, _ROOM)
            self._counts = np.concatenate([self._counts, np.zeros(room, dtype=np.uint32)])
        np.add.at(self._counts, ids - 1, 1)

    def outcome(self) -> Outcome:
        """The model as it is now, and by how much each part of it moved."""
        model = self.model.snapshot()
        if self._counts is None:
            return Outcome(model, counts_of(self._base, model), self._samples)
        counts = np.zeros(len(model.lengths), dtype=np.uint32)
        there = self._counts[: len(counts)]
        counts[: len(there)] = there
        return Outcome(model, counts, self._samples)
