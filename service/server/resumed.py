"""Which connections have resumed the producers of models that are not in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from onlinesvm.service.storage.producers import Producers

__all__ = ["Resumed"]

_MOST = 65_536


class Resumed:
    """The connections that may send under the producers of unloaded models, by the models' ids.

    Those of `most` producers are remembered in all; beyond that, the model that left the memory
    first loses its own. Owned by the loop's thread.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._resumed: OrderedDict[bytes, Mapping[bytes, bytes]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def keep(self, id: bytes, producers: Producers) -> None:
        """Remember those of a model that leaves the memory."""
        self.forget(id)
        if producers.resumed_by:
            self._resumed[id] = producers.resumed_by
            self._count += len(producers.resumed_by)
        while self._count > self._most:
            self.forget(next(iter(self._resumed)))

    def give_back(self, id: bytes, producers: Producers) -> None:
        """Hand those of a model to its `producers`: it is in memory again."""
        for name, peer in self.forget(id).items():
            producers.resume(name, peer)

    def forget(self, id: bytes) -> Mapping[bytes, bytes]:
        """Forget those of a model; what they were."""
        forgotten = self._resumed.pop(id, {})
        self._count -= len(forgotten)
        return forgotten
