"""The kernels: the hot way of a sample, from bytes to margins, behind one explicit contract.

    native   compiled, from bytes to margins without a Python object on the way
    python   no compiler, real dicts: the readable reference

``ONLINESVM_KERNEL=native|python`` forces one; a forced kernel never falls back. The best available
is used otherwise, and `fallback` tells why it is not the best there is.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data.batch import CSR, BatchColumns
from onlinesvm.data.matrix import Columns
from onlinesvm.errors import KernelError
from onlinesvm.readers.parsing import LineParser, Parsed, Room

__all__ = [
    "CONTRACT", "KERNELS", "Kernel", "KernelJudge", "KernelLookup", "KernelRule", "KernelRuleView",
    "KernelView", "fallback", "load", "make_rule",
]  # fmt: skip

KERNELS = ("native", "python")  # the best first

# What a kernel module has to define; nothing else of it is used.
CONTRACT = (
    "Judge",
    "NAME",
    "Lookup",
    "RULES",
    "decode_learn",
    "decode_predict",
    "encode_learn",
    "encode_margins",
    "encode_predict",
    "learn_matrix",
    "observe",
    "parse_block",
    "score",
    "score_matrix",
    "screen_matrix",
)

Arrays = Mapping[str, NDArray[np.generic]]


class KernelView(Protocol):
    """A lookup or a rule as it was when this was opened, whatever it learns or takes meanwhile.

    `arrays` copies it, once, on any thread: who learns waits for a slice of the copy at most. It
    raises MemoryError where there was none for what learning has changed, ValueError where this was
    read or closed before. `advance` copies `n` ids ahead. What is open costs those who learn a
    little; `close` ends that.
    """

    def advance(self, n: int) -> None: ...
    def arrays(self) -> dict[str, NDArray[Any]]: ...
    def close(self) -> None: ...


class KernelRuleView(KernelView, Protocol):
    """The view of a rule; `scalars` are the numbers that belong to no feature."""

    @property
    def scalars(self) -> dict[str, float | int]: ...


class KernelLookup(Protocol):
    """Feature → id. See `onlinesvm.model.lookup.Lookup` for what each does."""

    max_features: int

    @property
    def prunes(self) -> bool: ...
    @property
    def refused(self) -> int: ...
    def __len__(self) -> int: ...
    def id(self, name: bytes) -> int: ...
    def names(self) -> Iterator[bytes]: ...
    def grow(self, batch: Any, first: int = 0) -> CSR: ...
    def prune(self, kept: NDArray[np.bool_]) -> None: ...
    def find(self, batch: Any) -> CSR: ...
    def grow_columns(self, columns: Columns, importances: NDArray[np.float64]) -> CSR: ...
    def find_columns(self, columns: Columns) -> CSR: ...
    def reserve(self, batches: Iterable[Any]) -> int: ...
    def view(self) -> KernelView: ...
    def restore(self, lengths: NDArray[np.uint32], names: NDArray[np.uint8]) -> None: ...


class KernelRule(Protocol):
    """Weights by id, and how they move. See `onlinesvm.model.rules.Sgd` for what each does."""

    @property
    def bias(self) -> float: ...
    def reserve(self, n: int) -> None: ...
    def reserve_prune(self, n: int) -> None: ...
    def prune(self, n: int, own: Any, left: int) -> NDArray[np.bool_]: ...
    def learn(self, csr: CSR, labels: Any, importances: Any) -> NDArray[np.float64]: ...
    def score(self, csr: CSR) -> NDArray[np.float64]: ...
    def weight(self, id: int) -> float: ...
    def seen(self, id: int) -> int | None: ...
    def weights(self, n: int) -> NDArray[np.float64]: ...
    def scalars(self) -> dict[str, float | int]: ...
    def view(self, n: int) -> KernelRuleView: ...
    def restore(self, arrays: Arrays, scalars: Mapping[str, Any]) -> None: ...


class KernelJudge(Protocol):
    """What is learned of the progressive margins. See `onlinesvm.metrics.monitor.Judge`."""

    @property
    def drifts(self) -> int: ...
    def learn(
        self, margins: NDArray[np.float64], labels: Any, importances: Any
    ) -> NDArray[np.float64]: ...
    def probabilities(self, margins: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def dump(self) -> NDArray[np.float64]: ...
    def restore(self, numbers: NDArray[np.float64]) -> None: ...


class Kernel(Protocol):
    """The contract, as types. `Any` stands for the kernel's own batch."""

    NAME: str
    RULES: Mapping[str, Any]

    def Lookup(  # noqa: N802 - a class there
        self, max_features: int, prunes: bool = False
    ) -> KernelLookup: ...
    def decode_learn(self, body: bytes, limits: Limits) -> BatchColumns: ...
    def decode_predict(self, body: bytes, limits: Limits) -> BatchColumns: ...
    def encode_learn(self, batch: BatchColumns) -> bytes: ...
    def encode_predict(self, batch: BatchColumns) -> bytes: ...
    def encode_margins(self, margins: NDArray[np.float64]) -> bytes: ...
    def observe(
        self,
        totals: NDArray[np.float64],
        margins: NDArray[np.float64],
        labels: Iterable[float],
        importances: Iterable[float],
        threshold: float = 0.0,
    ) -> None: ...
    def score(self, csr: CSR, weights: NDArray[np.float64], bias: float) -> NDArray[np.float64]: ...
    def Judge(self, threshold: float) -> KernelJudge: ...  # noqa: N802 - a class there
    def screen_matrix(
        self, indptr: NDArray[Any], values: NDArray[np.float64]
    ) -> tuple[int | None, bool, int]: ...
    def learn_matrix(
        self,
        lookup: Any,
        rule: Any,
        judge: Any,
        totals: NDArray[np.float64],
        columns: Columns,
        labels: Any,
        importances: NDArray[np.float64] | None,
        weights: Any,
        threshold: float,
    ) -> None: ...
    def score_matrix(self, lookup: Any, rule: Any, columns: Columns) -> NDArray[np.float64]: ...
    def parse_block(
        self, parser: LineParser, block: bytes, start: int, room: Room, *, skip_bad: bool = False
    ) -> Parsed: ...


def make_rule(kernel: Kernel, config: LearnerConfig) -> KernelRule:
    """A newborn rule of `kernel` for `config`."""
    return cast(KernelRule, kernel.RULES[config.rule](config))


_fallback: str | None = None


def fallback() -> str | None:
    """Why the best kernel is not the one in use, for the start-up line; None if it is.

    It is the first import error of the last `load` that was free to choose.
    """
    return _fallback


def load(name: str | None = None) -> Kernel:
    """The kernel `name`, else the one ``ONLINESVM_KERNEL`` names, else the best available.

    Raises KernelError if the one that is asked for cannot be had, or if none can.
    """
    global _fallback
    asked = name or os.environ.get("ONLINESVM_KERNEL") or None
    if asked is not None and asked not in KERNELS:
        raise KernelError(f"kernel: expected one of {', '.join(KERNELS)}, got {asked!r}")
    candidates: Sequence[str] = KERNELS if asked is None else (asked,)
    first: ImportError | None = None
    for candidate in candidates:
        try:
            kernel = importlib.import_module(f"onlinesvm.kernel.{candidate}")
        except ImportError as error:
            first = first or error
            continue
        if asked is None:
            _fallback = None if first is None else f"kernel {candidates[0]}: {first}"
        return cast(Kernel, kernel)
    raise KernelError(f"kernel {candidates[0]}: {first}") from first
