"""Plans: how the requests of a turn that change models will be carried out, made before any is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import msgpack
import numpy as np
from numpy import float64
from numpy.typing import NDArray

from onlinesvm.data.label import Written, packable
from onlinesvm.data.pieces import Decoded, Pieces, parts
from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import Reply, Request
from onlinesvm.service.server.changes import Changes
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.server.slices import Slices
from onlinesvm.service.server.writer import Part
from onlinesvm.service.storage.entry import Entry, Kind
from onlinesvm.service.storage.model_state import ModelState
from onlinesvm.service.storage.snapshots import Snapshots
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = [
    "Change", "Create", "Drop", "DropLabel", "Fatal", "Learned", "Limit", "Own", "Plan", "Planned",
    "Refusal", "features_of",
]  # fmt: skip

Refusal = NotDurable | MemoryError


class Fatal(OnlineSVMError):
    """The models no longer equal what the log says; only a new start makes them equal."""


class Learned(NamedTuple):
    """The outcome of a learn request; `margins` is None for one that was applied before."""

    samples: int
    position: int
    margins: NDArray[float64] | None


@dataclass(slots=True, kw_only=True)
class Change(ABC):
    """A change of a model, and its entry of the log.

    part, index: the part of the turn that it is written in, and its place there; None where there
    is nothing to write. refusal: why it is not written.
    """

    part: Part | None = None
    index: int = 0
    refusal: Refusal | None = None

    @abstractmethod
    def entry(self) -> Entry | None:
        """Its entry; None for one that changes nothing."""

    @property
    def size(self) -> int:
        """About the bytes of its entry."""
        return 0

    def why_not(self) -> Refusal | None:
        """Why it is not in the log; None where it is. Waits until that is known.

        Raises Fatal where the writer has failed unexpectedly.
        """
        if self.refusal is not None or self.part is None:  # None: nothing to write
            return self.refusal
        error = self.part.wait()
        if error is not None and not isinstance(error, NotDurable | MemoryError):
            raise Fatal(f"the log's writer failed ({error!r}); start again") from error
        return error

    def written(self) -> Slices[None]:
        """Wait, in slices, until it is known whether it is in the log."""
        part = self.part if self.refusal is None else None
        while part is not None and not part.is_done:
            yield part

    @property
    def features(self) -> int:
        """The features that it makes its model learn or hold, as far as they are known."""
        return 0

    @property
    def lsn(self) -> int:
        """The LSN of its entry, which is in the log."""
        assert self.part is not None
        return self.part.written.lsn + self.index


@dataclass(slots=True)
class Create(Change):
    """The creation of a model that `hosted` has; it is served from then on."""

    hosted: Hosted
    registry: Registry
    changes: Changes
    origin: str | None = None

    @property
    def user(self) -> str:
        """The user who creates it."""
        return self.hosted.learning[0].user

    def entry(self) -> Entry:
        state, stored = self.hosted.learning
        config = state.model.config
        return ModelState.creation(
            state.name, stored.id, config, state.recorded, self.origin, state.user
        )

    def carry_out(self) -> Hosted:
        """Serve the model. Raises NotDurable, MemoryError: then it is not created."""
        if (refusal := self.why_not()) is not None:
            raise refusal
        if self.part is not None:
            state, stored = self.hosted.learning
            state.reached(self.part.written, self.index)
            state.created = stored.created = self.lsn
            self.registry.put(self.hosted)
            self.changes.note(stored, self.lsn)
            self.part = None  # it may be asked for again, by the first sample
        return self.hosted


@dataclass(slots=True)
class Limit(Change):
    """A change of the limits of a model that are recorded; it has them already."""

    hosted: Hosted
    changes: Changes

    def entry(self) -> Entry:
        state, stored = self.hosted.learning
        return state.recorded.entry(stored.id)

    def carry_out(self) -> None:
        """Note that they are logged. Raises NotDurable, MemoryError: then they are not."""
        if (refusal := self.why_not()) is not None:
            raise refusal
        if self.part is not None:
            state, stored = self.hosted.learning
            state.reached(self.part.written, self.index)
            self.changes.note(stored, self.lsn)
            self.hosted.must_log_limits = False
            self.part = None


@dataclass(slots=True)
class Own(Change):
    """The claim of a producer, which belongs to `user` from then on; `forgotten` is the producer of
    the user that is forgotten for it, b"" for none. It is in the part of its request, so both are
    in the log or neither is.
    """

    hosted: Hosted
    changes: Changes
    producer: bytes
    user: str
    forgotten: bytes

    def entry(self) -> Entry:
        _, stored = self.hosted.learning
        names = {"producer": self.producer, "user": self.user, "forgotten": self.forgotten}
        return Entry(Kind.OWN, stored.id, msgpack.packb(names))

    def carry_out(self) -> None:
        """Claim the producer. Raises NotDurable, MemoryError: then it is not claimed."""
        if (refusal := self.why_not()) is not None:
            raise refusal
        state, stored = self.hosted.learning
        assert self.part is not None
        self.hosted.producers.claim(self.producer, self.user, self.forgotten)
        state.reached(self.part.written, self.index)
        self.changes.note(stored, self.lsn)


@dataclass(slots=True)
class DropLabel(Change):
    """The end of a label of a multiclass model."""

    hosted: Hosted
    changes: Changes
    label: Written | None

    def entry(self) -> Entry:
        _, stored = self.hosted.learning
        return Entry(Kind.DROP_LABEL, stored.id, msgpack.packb({"label": packable(self.label)}))

    def carry_out(self) -> None:
        """Drop the label. Raises NotDurable, MemoryError: then it stays; Fatal if it cannot be."""
        if (refusal := self.why_not()) is not None:
            raise refusal
        state, stored = self.hosted.learning
        assert self.part is not None
        try:
            self.hosted.model.drop_label(self.label)
        except Exception as error:
            raise Fatal(f"a label could not be dropped ({error!r}); start again") from error
        state.reached(self.part.written, self.index)
        self.changes.note(stored, self.lsn)


@dataclass(slots=True)
class Drop(Change):
    """The end of a model."""

    stored: StoredModel
    registry: Registry
    changes: Changes
    snapshots: Snapshots

    def entry(self) -> Entry:
        return Entry(Kind.DROP, self.stored.id, b"")

    def carry_out(self) -> None:
        """Forget the model and free its name.

        Raises NotDurable, MemoryError: then it stays; Fatal if its folder does.
        """
        if (refusal := self.why_not()) is not None:
            raise refusal
        self.registry.remove(self.stored.name)
        self.changes.forget(self.stored)
        self.changes.lsn = self.lsn
        try:
            self.snapshots.drop(self.stored)
        except OSError as error:
            raise Fatal(f"the folder of a dropped model stays ({error}); start again") from error


@dataclass(slots=True)
class Plan(Change):
    """The plan of a valid learn request.

    before: changes of the same turn that have to be carried out first. first: the request of the
    same turn that this one repeats.
    """

    request: Request
    hosted: Hosted
    batch: Decoded
    changes: Changes
    before: Sequence[Create | Limit | Own] = field(default=())
    is_duplicate: bool = False
    first: Plan | None = None

    def entry(self) -> Entry | None:
        # A request without samples and without a number changes nothing.
        if not len(self.batch) and not self.request.producer:
            return None
        _, stored = self.hosted.learning
        return Entry(Kind.LEARN, stored.id, self.request.header, self.request.body)

    @property
    def size(self) -> int:
        return len(self.request.body)

    @property
    def features(self) -> int:
        return features_of(self.batch, self.request.body)

    def written(self) -> Slices[None]:
        return Change.written(self if self.first is None else self.first)

    def carry_out(self) -> Slices[Learned]:
        """Learn the request, once it is in the log: between two slices all samples up to one are.

        Raises NotDurable or MemoryError where it is not, and nothing of it was applied; Fatal where
        the log and the model no longer agree.
        """
        refusal = self.why_not() if self.first is None else self.first.why_not()
        if refusal is not None:
            raise refusal
        for change in self.before:
            change.carry_out()
        hosted, samples = self.hosted, len(self.batch)
        model = hosted.model
        if self.is_duplicate:
            return Learned(samples, model.position, None)
        margins = yield from self._learned()
        hosted.label_order.note(model.labels, self.batch)
        if self.request.producer:
            request = self.request
            hosted.producers.note(request.producer, request.sequence, samples, request.cursor)
        if self.part is not None:
            state, stored = hosted.learning
            state.reached(self.part.written, self.index)
            self.changes.note(stored, self.part.written.lsn + self.index)
        return Learned(samples, model.position, margins)

    def _learned(self) -> Slices[NDArray[float64]]:
        """Learn the samples; their margins. Raises Fatal."""
        model, pace = self.hosted.model, self.hosted.pace
        margins = []
        try:
            for part in parts(self.batch, pace.features):
                began = time.perf_counter()
                margins.append(model.learn_batch(part))
                pace.measured(int(part.indptr[-1]), began)
                yield None
        except Exception as error:
            raise Fatal(
                f"a request that is in the log could not be applied ({error!r}); start again"
            ) from error
        return margins[0] if len(margins) == 1 else np.concatenate([np.empty(0), *margins])


def features_of(batch: Decoded, body: bytes) -> int:
    """The features of what was decoded from `body`; of Pieces, which have none yet, two a byte, as
    texts have.
    """
    return 2 * len(body) if isinstance(batch, Pieces) else int(batch.indptr[-1])


# An error or the answer to come of the request; None: nothing to plan.
Planned = Change | Exception | Future[Reply] | None
