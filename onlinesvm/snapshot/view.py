"""A model as it is at one instant, to be copied while it goes on learning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onlinesvm.kernel.contract import KernelView
from onlinesvm.snapshot.format import Snapshot, dense

__all__ = ["ModelView"]


class ModelView:
    """A model as it was when this was opened: `snapshot` copies it while the model learns on.

    position: samples that had been learned. attachments, blobs: set by the caller, see `Snapshot`;
    each blob by what makes it. Holds memory for as long as it is open: close it where `snapshot` is
    not called.
    """

    def __init__(self, head: dict[str, Any], names: KernelView, rule: KernelView) -> None:
        self.position: int = head["position"]
        self.attachments: dict[str, Any] = {}
        self.blobs: dict[str, Callable[[], bytes]] = {}
        self._head = head
        self._names = names
        self._rule = rule

    def snapshot(self) -> Snapshot:
        """The whole of it; once, and on any thread.

        Raises MemoryError if the records that changed meanwhile cannot be copied; the model is
        not affected.
        """
        try:
            # The rule first: learning copies the records that it changes until then.
            arrays = dense(self._rule.arrays(), self._head["prune"], self._head["config"].task)
            names = self._names.arrays()
            return Snapshot(
                **self._head,
                lengths=names["lengths"],
                names=names["names"],
                arrays=arrays,
                scalars=self._rule.scalars,
                attachments=self.attachments,
                blobs={name: make() for name, make in self.blobs.items()},
            )
        finally:
            self.close()

    def close(self) -> None:
        """Let the model go on alone; once is enough."""
        self._names.close()
        self._rule.close()
