"""A plan: how one learn request of a turn will be carried out, made before any is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from numpy import float64
from numpy.typing import NDArray

from onlinesvm.data.batch import BatchColumns
from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import Request
from onlinesvm.service.server.registry import Hosted
from onlinesvm.service.server.writer import Part

__all__ = ["Fatal", "Learned", "Plan", "Planned", "Refusal"]

Refusal = NotDurable | MemoryError


class Fatal(OnlineSVMError):
    """The model no longer equals what the log says; only a new start makes them equal."""


class Learned(NamedTuple):
    """The outcome of a learn request; `margins` is None for one that was applied before."""

    samples: int
    position: int
    margins: NDArray[float64] | None


@dataclass(slots=True)
class Plan:
    """The plan of a valid learn request.

    first: the request of the same turn that this one repeats. part, index: the part of the turn
    that it is written in, and its place there; None where there is nothing to write. refusal: why
    it is not written.
    """

    request: Request
    hosted: Hosted
    batch: BatchColumns
    is_duplicate: bool = False
    first: Plan | None = None
    part: Part | None = None
    index: int = 0
    refusal: Refusal | None = None

    def carry_out(self) -> Learned:
        """Learn the request, once it is in the log.

        Raises NotDurable or MemoryError where it is not, and nothing of it was applied; Fatal where
        the log and the model no longer agree.
        """
        refusal = self._refusal() if self.first is None else self.first._refusal()
        if refusal is not None:
            raise refusal
        hosted, samples = self.hosted, len(self.batch)
        model = hosted.model
        if self.is_duplicate:
            return Learned(samples, model.position, None)
        try:
            margins = model.learn_batch(self.batch)
        except Exception as error:
            raise Fatal(
                f"a request that is in the log could not be applied ({error!r}); start again"
            ) from error
        hosted.label_order.note(model.labels, self.batch)
        if self.request.producer:
            hosted.producers.note(self.request.producer, self.request.sequence, samples)
        if self.part is not None and hosted.state is not None:
            hosted.state.reached(self.part.written, self.index)
        return Learned(samples, model.position, margins)

    def _refusal(self) -> Refusal | None:
        """Why nothing of the request is in the log; None where all of it is.

        Waits until that is known. Raises Fatal where the writer has failed unexpectedly.
        """
        if self.refusal is not None or self.part is None:  # None: nothing to write
            return self.refusal
        error = self.part.wait()
        if error is not None and not isinstance(error, NotDurable | MemoryError):
            raise Fatal(f"the log's writer failed ({error!r}); start again") from error
        return error


Planned = Plan | Exception | None  # an error answers the request; None: nothing to plan
