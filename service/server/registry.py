"""The models of a daemon, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from onlinesvm.model.model import Model
from onlinesvm.service.protocol import DEFAULT_MODEL, Id, Request, RequestError
from onlinesvm.service.server.label_order import LabelOrder
from onlinesvm.service.storage.model_state import ModelState
from onlinesvm.service.storage.producers import Producers
from onlinesvm.svm import OnlineSVM

__all__ = ["Hosted", "Registry", "check_many"]


@dataclass(slots=True)
class Hosted:
    """A model and the state that belongs to it alone.

    state: None where it does not learn. drifts: those that are in the daemon's messages.
    """

    name: str
    model: OnlineSVM
    producers: Producers = field(default_factory=lambda: Producers(0))
    state: ModelState | None = None
    label_order: LabelOrder = field(default_factory=LabelOrder)
    drifts: int = field(init=False)

    def __post_init__(self) -> None:
        self.drifts = self.model.drifts


class Registry:
    """Models by name; a name without a model yet may be `expected`.

    Owned by the loop's thread.
    """

    def __init__(self) -> None:
        self._models: dict[str, Hosted] = {}
        self._expected: dict[str, Callable[[], str]] = {}

    def put(self, hosted: Hosted) -> None:
        """Serve a model under its name, in place of the one before."""
        self._models[hosted.name] = hosted
        self._expected.pop(hosted.name, None)

    def expect(self, name: str, reason: Callable[[], str]) -> None:
        """Answer requests for `name` with BUSY and `reason` until there is a model."""
        self._expected[name] = reason

    def find(self, name: str = DEFAULT_MODEL) -> Hosted | None:
        """The model called `name`; None if there is none."""
        return self._models.get(name)

    def get(self, name: str, id: Id = None) -> Hosted:
        """The model called `name`. Raises RequestError (NO_MODEL, BUSY) with `id`."""
        hosted = self._models.get(name)
        if hosted is not None:
            return hosted
        if name in self._expected:
            raise RequestError("BUSY", self._expected[name](), None, id)
        known = ", ".join(sorted({*self._models, *self._expected})) or "none"
        raise RequestError(
            "NO_MODEL", f"expected the name of a model ({known}), got {name}", None, id
        )

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)


def check_many(model: Model, request: Request) -> None:
    """Raise RequestError unless the model is one of many classes."""
    if not model.is_multiclass:
        raise RequestError(
            "BAD_REQUEST",
            f"expected a multiclass model for {request.op}, got a binary one",
            None,
            request.id,
        )
