"""The memory of all models together, and which of them leave it first."""

from __future__ import annotations

from collections.abc import Callable

from onlinesvm.service.server.registry import Hosted, Registry

__all__ = ["Memory", "bytes_of"]

# Above so much of the bound, nothing is learned or loaded until snapshots have made room.
_FULL = 1.1
# Snapshots asked for at a time: the rounds of the next moments.
_SAVED = 64

# As measured: a model with one sample, and each feature without its name.
_MODEL_BYTES, _FEATURE_BYTES = 11_000, 48
_HEDGE_BYTES, _HEDGE_FEATURE_BYTES = 14_000, 98
_PYTHON = 5  # times as much as the native kernel
_PRODUCER_BYTES = 200


def bytes_of(hosted: Hosted) -> int:
    """About the memory that a model takes."""
    model = hosted.model
    size, each = _MODEL_BYTES, _FEATURE_BYTES
    if model.config.rule == "hedge":
        size, each = _HEDGE_BYTES, _HEDGE_FEATURE_BYTES
    size += len(model.lookup) * each + model.name_bytes
    size *= _PYTHON if model.kernel.NAME == "python" else 1
    size += len(hosted.producers) * _PRODUCER_BYTES + hosted.producers.cursor_bytes
    return size + (hosted.state.held.memory_bytes if hosted.state else 0)


class Memory:
    """Keeps the models of a registry within `max_bytes`; None: there is no bound.

    The models used furthest back are unloaded, once their newest snapshots hold all that they have
    learned. may_leave: whether a model can be unloaded now. save: has a snapshot written of
    one that cannot.
    """

    def __init__(
        self,
        registry: Registry,
        max_bytes: int | None,
        may_leave: Callable[[Hosted], bool],
        save: Callable[[Hosted], object],
    ) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0  # of all models in memory
        self.unloaded = 0  # models, since the start
        self._registry = registry
        self._may_leave = may_leave
        self._save = save

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more until snapshots are written."""
        return self.max_bytes is not None and self.bytes > _FULL * self.max_bytes

    def count(self, hosted: Hosted) -> None:
        """Count a model that was loaded or has learned."""
        now = bytes_of(hosted)
        self.bytes += now - hosted.bytes
        hosted.bytes = now

    def forget(self, hosted: Hosted) -> None:
        """Count a model no more."""
        self.bytes -= hosted.bytes
        hosted.bytes = 0

    def tick(self) -> None:
        """Unload models while they are more than the bound; the one used last stays."""
        if self.max_bytes is None or self.bytes <= self.max_bytes:
            return
        saved = 0
        for hosted in self._registry.least_used(self.bytes - self.max_bytes):
            if self._may_leave(hosted):
                self.forget(hosted)
                self._registry.unload(hosted.name)
                self.unloaded += 1
            elif saved < _SAVED:
                self._save(hosted)
                saved += 1
