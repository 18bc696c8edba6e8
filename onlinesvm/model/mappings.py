"""Read-only mappings over a model: feature → id, feature → weight.

They are live: they show later learning. A prune gives ids to other features, so a walk over
a model that prunes (``for``, ``dict``, ``items``) copies one state first, and the view shows that
state from then on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import numpy as np

from onlinesvm.data.batch import Name
from onlinesvm.data.sweep import without_gap
from onlinesvm.kernel.contract import KernelLookup, KernelRule, KernelView
from onlinesvm.model.lookup import PAD, name_bytes, name_text

__all__ = ["LookupView", "WeightsView", "names_of"]

V = TypeVar("V", int, float)


def names_of(view: KernelView) -> Iterator[bytes]:
    """The names of a lookup's view, in the order of their ids."""
    arrays = view.arrays()
    text, start = arrays["names"].data, 0
    for end in np.cumsum(arrays["lengths"], dtype=np.int64):
        yield bytes(text[start:end])
        start = end


class _FeaturesView(Mapping[str, V], Generic[V]):
    """Feature → number, read-only. Takes str, bytes and int, gives str.

    lock: held by the model while it learns, if it `prunes`.
    """

    def __init__(
        self, lookup: KernelLookup, lock: AbstractContextManager[object], prunes: bool
    ) -> None:
        self._lookup = lookup
        self._lock = lock
        self._prunes = prunes
        self._copied: dict[bytes, V] | None = None  # once walked, if the model prunes

    @abstractmethod
    def _of_id(self, id: int) -> V:
        """The number of a feature."""

    @abstractmethod
    def _all(self) -> list[V]:
        """The numbers of all features, in the order of their ids."""

    def __getitem__(self, name: Name) -> V:
        try:
            raw = name_bytes(name)
        except UnicodeEncodeError:  # a lone surrogate: no feature has such a name
            raise KeyError(name) from None
        if self._copied is not None:
            if raw not in self._copied:
                raise KeyError(name)
            return self._copied[raw]
        with self._lock:
            id = self._lookup.id(raw)
            if id == PAD:
                raise KeyError(name)
            return self._of_id(id)

    def __contains__(self, name: object) -> bool:
        try:
            self[name]  # type: ignore[index]
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        if not self._prunes:
            return map(name_text, names_of(self._lookup.view()))
        with self._lock:
            names = list(names_of(self._lookup.view()))
            copied = self._copied = dict(zip(names, self._all(), strict=True))
        return map(name_text, copied)

    def __len__(self) -> int:
        return len(self._lookup if self._copied is None else self._copied)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} features>"


class LookupView(_FeaturesView[int]):
    """Feature → id, read-only. Takes str, bytes and int, gives str."""

    def _of_id(self, id: int) -> int:
        return id

    def _all(self) -> list[int]:
        ids = np.arange(1, self._lookup.last + 1)
        found: list[int] = without_gap(ids, self._lookup.sweep).tolist()
        return found


class WeightsView(_FeaturesView[float]):
    """Feature → weight, read-only. Takes str, bytes and int, gives str; the bias is not in it."""

    def __init__(
        self,
        lookup: KernelLookup,
        lock: AbstractContextManager[object],
        prunes: bool,
        rule: KernelRule,
    ) -> None:
        super().__init__(lookup, lock, prunes)
        self._rule = rule

    def _of_id(self, id: int) -> float:
        return self._rule.feature(id)[0]

    def _all(self) -> list[float]:
        weights = self._rule.weights(self._lookup.last)[0][1:]
        found: list[float] = without_gap(weights, self._lookup.sweep).tolist()
        return found
