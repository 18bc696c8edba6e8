"""Work in slices: between two of them the loop answers others.

A function that may take long is a generator. It yields where others may be answered: None, or what
it has to wait for. It returns its outcome. A model is whole at every yield.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.pieces import Decoded, parts
from onlinesvm.kernel.contract import KernelDecoding
from onlinesvm.model.model import Model

__all__ = ["SLICE_S", "Awaited", "Pace", "Slices", "decoded", "finish", "scored"]

SLICE_S = 0.0005
# Samples and features read at once: about 0.2 ms, or 0.8 ms of text.
_READ = 2**15
_LEAST, _MOST = 2**7, 2**15

T = TypeVar("T")


class Awaited(Protocol):
    """What another thread will finish."""

    @property
    def is_done(self) -> bool: ...
    def call_when_done(self, call: Callable[[], None]) -> None:
        """Have `call` called, from any thread, once it is done; at once where it is."""

    def wait(self, timeout_s: float | None = None) -> object:
        """Wait until it is done, or the time has passed."""


Slices = Generator[Awaited | None, None, T]


def finish(work: Slices[T]) -> T:
    """Do all slices; the outcome. Waits where they have to."""
    while True:
        try:
            awaited = next(work)
        except StopIteration as ended:
            outcome: T = ended.value
            return outcome
        if awaited is not None:
            awaited.wait()


def decoded(work: KernelDecoding) -> Slices[Decoded]:
    """The samples of a body. Raises BodyError, LimitError, SampleError."""
    while (found := work.step(_READ)) is None:
        yield None
    return found


def scored(model: Model, batch: Decoded) -> Slices[NDArray[np.float64]]:
    """The margins of a binary model, or the scores of a ranking, float64[n]."""
    margins = []
    for part in parts(batch, _READ):
        margins.append(model.score_batch(part))
        yield None
    return margins[0] if len(margins) == 1 else np.concatenate([np.empty(0), *margins])


class Pace:
    """How many features of a model make a slice of about SLICE_S, by those before."""

    def __init__(self) -> None:
        self.features = _LEAST * 8

    def measured(self, features: int, began: float) -> None:
        """Note that so many features took the time since `began` (time.perf_counter())."""
        if features < self.features // 2:
            return  # the rest of a request: too short to be measured
        spent = max(time.perf_counter() - began, 1e-6)
        wanted = features * min(2.0, max(0.5, SLICE_S / spent))
        self.features = int(min(_MOST, max(_LEAST, wanted)))
