"""A model as it is at one instant, to be copied while it goes on learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from onlinesvm.snapshot.format import Snapshot

if TYPE_CHECKING:
    from onlinesvm.kernel import KernelRuleView, KernelView

__all__ = ["ModelView", "View"]

Arrays = dict[str, NDArray[Any]]


class View:
    """The Python kernel's view: a copy that was made at once."""

    def __init__(self, arrays: Arrays, scalars: dict[str, float | int]) -> None:
        self._arrays: Arrays | None = arrays
        self.scalars = scalars

    def advance(self, n: int) -> None:
        """Nothing is left to be copied."""

    def arrays(self) -> Arrays:
        """The state, in arrays by id from 1; once."""
        if self._arrays is None:
            raise ValueError("expected a view that is open, got one that was read or closed")
        arrays, self._arrays = self._arrays, None
        return arrays

    def close(self) -> None:
        """Free the copy; once is enough."""
        self._arrays = None


class ModelView:
    """A model as it was when this was opened: `snapshot` copies it while the model learns on.

    position: samples that had been learned. attachments: set by the caller, see `Snapshot`. Holds
    memory for as long as it is open: close it where `snapshot` is not called.
    """

    def __init__(self, head: dict[str, Any], names: KernelView, rule: KernelRuleView) -> None:
        self.position: int = head["position"]
        self.attachments: dict[str, Any] = {}
        self._head = head
        self._names = names
        self._rule = rule

    def snapshot(self) -> Snapshot:
        """The whole of it; once, and on any thread.

        Raises MemoryError if the records that changed meanwhile cannot be copied; the model is
        not affected.
        """
        try:
            arrays = self._rule.arrays()  # first: what is learned meanwhile has to be kept
            names = self._names.arrays()
            return Snapshot(
                **self._head,
                lengths=names["lengths"],
                names=names["names"],
                arrays=arrays,
                scalars=self._rule.scalars,
                attachments=self.attachments,
            )
        finally:
            self.close()

    def close(self) -> None:
        """Let the model go on alone; once is enough."""
        self._names.close()
        self._rule.close()
