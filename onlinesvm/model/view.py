"""The Python kernel's view of a lookup or a rule."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

__all__ = ["View"]

Arrays = dict[str, NDArray[Any]]


class View:
    """A copy of the state, made at once; see `onlinesvm.kernel.contract.KernelView`."""

    def __init__(self, arrays: Arrays, scalars: dict[str, float | int]) -> None:
        self._arrays: Arrays | None = arrays
        self.scalars = scalars

    def arrays(self) -> Arrays:
        """The state, in arrays by id from 1; once."""
        if self._arrays is None:
            raise ValueError("expected a view that is open, got one that was read or closed")
        arrays, self._arrays = self._arrays, None
        return arrays

    def close(self) -> None:
        """Free the copy; may be called twice."""
        self._arrays = None
