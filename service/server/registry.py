"""The models of a daemon, by name: those in memory, and those that can be loaded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from onlinesvm.model.model import Model
from onlinesvm.service.protocol import DEFAULT_MODEL, Id, Request, RequestError
from onlinesvm.service.server.label_order import LabelOrder
from onlinesvm.service.server.lags import Lags
from onlinesvm.service.server.resumed import Resumed
from onlinesvm.service.server.slices import Pace
from onlinesvm.service.storage.model_state import ModelState
from onlinesvm.service.storage.producers import Producers
from onlinesvm.service.storage.stored_model import StoredModel
from onlinesvm.svm import OnlineSVM

__all__ = ["Hosted", "Registry", "check_many"]

_SHOWN = 5  # names in an error


@dataclass(slots=True)
class Hosted:
    """A model in memory, and the state that belongs to it alone.

    state, stored: None where it does not learn. drifts: those that are in the daemon's messages.
    bytes: its memory, as last counted. must_log_limits: whether its limits are to be logged before
    its next sample.
    """

    name: str
    model: OnlineSVM
    producers: Producers = field(default_factory=lambda: Producers(0))
    state: ModelState | None = None
    stored: StoredModel | None = None
    bytes: int = 0
    must_log_limits: bool = False
    label_order: LabelOrder = field(default_factory=LabelOrder)
    lags: Lags = field(default_factory=Lags)
    pace: Pace = field(default_factory=Pace)  # of learning
    drifts: int = field(init=False)

    def __post_init__(self) -> None:
        self.drifts = self.model.drifts

    @property
    def learning(self) -> tuple[ModelState, StoredModel]:
        """The state of a model that learns."""
        assert self.state is not None and self.stored is not None
        return self.state, self.stored


class Registry:
    """Models by name. One may be known and not be in memory: it is damaged, or has to be loaded.

    names_models: whether the error for an unknown name lists others. Owned by the loop's thread.
    """

    def __init__(self, *, names_models: bool = True) -> None:
        self._names_models = names_models
        self._hosted: OrderedDict[str, Hosted] = OrderedDict()  # the one used last comes last
        self._stored: dict[str, StoredModel] = {}
        self._created_by: Counter[str] = Counter()  # how many, by user
        self._names: list[str] = []  # sorted, of both
        self._expected: dict[str, Callable[[], str]] = {}
        self._resumed = Resumed()

    def put(self, hosted: Hosted) -> None:
        """Serve a model under its name, in place of the one before."""
        self._hosted[hosted.name] = hosted
        self._hosted.move_to_end(hosted.name)
        self._expected.pop(hosted.name, None)
        if hosted.stored is not None:
            self._store(hosted.stored)
            self._resumed.give_back(hosted.stored.id, hosted.producers)
        self._note(hosted.name)

    def add(self, stored: StoredModel) -> None:
        """Know a model that is not in memory."""
        self._store(stored)
        self._note(stored.name)

    def _store(self, stored: StoredModel) -> None:
        self._created_by[self.user_of(stored.name)] -= stored.name in self._stored
        self._stored[stored.name] = stored
        self._created_by[stored.user] += 1

    def user_of(self, name: str) -> str:
        """The user who created a model; "" for none."""
        stored = self._stored.get(name)
        return "" if stored is None else stored.user

    def created_by(self, user: str) -> int:
        """How many models a user has created."""
        return self._created_by[user]

    def _note(self, name: str) -> None:
        if not self._names or name > self._names[-1]:
            self._names.append(name)
            return
        at = bisect_left(self._names, name)
        if at == len(self._names) or self._names[at] != name:
            insort(self._names, name)

    def list_names(self, names: Iterable[str]) -> None:
        """Know these names, and those of the models in memory, alone."""
        self._names = sorted({*names, *self._hosted, *self._stored})

    def unload(self, name: str) -> None:
        """Forget what is in memory of a model, but who has resumed its producers."""
        hosted = self._hosted.pop(name, None)
        if hosted is not None and hosted.stored is not None:
            self._resumed.keep(hosted.stored.id, hosted.producers)

    def remove(self, name: str) -> None:
        """Forget a model."""
        self._hosted.pop(name, None)
        self._created_by[self.user_of(name)] -= name in self._stored
        stored = self._stored.pop(name, None)
        if stored is not None:
            self._resumed.forget(stored.id)
        at = bisect_left(self._names, name)
        if at < len(self._names) and self._names[at] == name:
            del self._names[at]

    def expect(self, name: str, reason: Callable[[], str]) -> None:
        """Answer requests for `name` with BUSY and `reason` until there is a model."""
        self._expected[name] = reason

    def find(self, name: str = DEFAULT_MODEL) -> Hosted | None:
        """The model called `name`; None if there is none in memory."""
        return self._hosted.get(name)

    def stored(self, name: str) -> StoredModel | None:
        """What the state folder has of the model called `name`; None where there is none."""
        return self._stored.get(name)

    def awaited(self, name: str) -> StoredModel | None:
        """The model called `name` if it has to be loaded first, and can be."""
        if name in self._hosted:
            return None
        stored = self._stored.get(name)
        return stored if stored is not None and stored.damage is None else None

    def get(self, name: str, id: Id = None) -> Hosted:
        """The model called `name`, which counts as used.

        Raises RequestError (NO_MODEL, DAMAGED, BUSY) with `id`.
        """
        hosted = self._hosted.get(name)
        if hosted is not None:
            self._hosted.move_to_end(name)
            return hosted
        stored = self._stored.get(name)
        if stored is not None and stored.damage is not None:
            raise RequestError("DAMAGED", stored.damage, None, id)
        if stored is not None or name in self._expected:
            reason = self._expected[name]() if stored is None else f"model {name} is being loaded"
            raise RequestError("BUSY", reason, None, id)
        if not self._names_models:
            raise RequestError("NO_MODEL", f"expected a model, got {name}", None, id)
        names = sorted({*self._names[: _SHOWN + 1], *list(self._expected)[:_SHOWN]})
        known = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise RequestError(
            "NO_MODEL", f"expected the name of a model ({known or 'none'}), got {name}", None, id
        )

    def __contains__(self, name: str) -> bool:
        return name in self._hosted or name in self._stored

    def names_after(
        self, name: str, most: int, is_shown: Callable[[str], bool] | None = None
    ) -> list[str]:
        """At most `most` names that come after `name`, sorted; those alone that are shown."""
        at = bisect_right(self._names, name)
        if is_shown is None:
            return self._names[at : at + most]
        return list(islice(filter(is_shown, islice(self._names, at, None)), most))

    def count(self, is_shown: Callable[[str], bool]) -> int:
        """How many models are shown."""
        return sum(map(is_shown, self._names))

    def least_used(self, size: int) -> list[Hosted]:
        """The models in memory that were used furthest back and take `size` bytes together, or all
        but the one used last.
        """
        found: list[Hosted] = []
        for hosted in self._hosted.values():
            if size <= 0 or len(found) == len(self._hosted) - 1:
                break
            size -= hosted.bytes
            found.append(hosted)
        return found

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self._hosted.values())

    @property
    def loaded(self) -> int:
        """How many models are in memory."""
        return len(self._hosted)

    def __len__(self) -> int:
        return len(self._names)


def check_many(model: Model, request: Request) -> None:
    """Raise RequestError unless the model is one of many classes."""
    if not model.is_multiclass:
        raise RequestError(
            "BAD_REQUEST",
            f"expected a multiclass model for {request.op}, got a binary one",
            None,
            request.id,
        )
