"""Read-only mappings over a model: feature → id, feature → weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from onlinesvm.data.batch import Name
from onlinesvm.kernel.contract import KernelLookup, KernelRule, KernelView
from onlinesvm.model.lookup import PAD, name_bytes, name_text

__all__ = ["LookupView", "WeightsView", "names_of"]


def names_of(view: KernelView) -> Iterator[bytes]:
    """The names of a lookup's view, by id from 1."""
    arrays = view.arrays()
    text, start = arrays["names"].data, 0
    for end in np.cumsum(arrays["lengths"], dtype=np.int64):
        yield bytes(text[start:end])
        start = end


class LookupView(Mapping[str, int]):
    """Feature → id, read-only. Takes str, bytes and int, gives str."""

    def __init__(self, lookup: KernelLookup) -> None:
        self._lookup = lookup

    def _id(self, name: Name) -> int:
        try:
            found = self._lookup.id(name_bytes(name))
        except UnicodeEncodeError:  # a lone surrogate: no feature has such a name
            found = PAD
        if found == PAD:
            raise KeyError(name)
        return found

    def __getitem__(self, name: Name) -> int:
        return self._id(name)

    def __contains__(self, name: object) -> bool:
        try:
            self._id(name)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return map(name_text, names_of(self._lookup.view()))

    def __len__(self) -> int:
        return len(self._lookup)


class WeightsView(Mapping[str, float]):
    """Feature → weight, read-only. Takes str, bytes and int, gives str; the bias is not in it."""

    def __init__(self, lookup: KernelLookup, rule: KernelRule) -> None:
        self._ids = LookupView(lookup)
        self._rule = rule

    def __getitem__(self, name: Name) -> float:
        return self._rule.feature(self._ids[name])[0]

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)
