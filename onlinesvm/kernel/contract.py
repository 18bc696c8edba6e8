"""The contract of a kernel: the names that both define, and no others.

A kernel module defines the 15 names of MODULE. Its lookups, rules, metrics, learners of many
classes, views and extractors have the members of the protocols below, which share names for like
things: 55 different names in all. A test holds both kernels to exactly these. The python kernel is
the readable reference; it specifies them.

*Rows* are a decoded batch of the kernel, or Pieces of a large one, which never come to the kernel
as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data.batch import CSR, BatchColumns
from onlinesvm.data.label_sets import LabelSets, LearnedSets
from onlinesvm.data.learned import Learned
from onlinesvm.data.matrix import Targets
from onlinesvm.data.pieces import Decoded, Pieces
from onlinesvm.data.sweep import Sweep
from onlinesvm.model.rules.layout import Layout
from onlinesvm.text.constants import PIECE_FEATURES
from onlinesvm.text.options import TextOptions

__all__ = [
    "MEMBERS", "MODULE", "Kernel", "KernelDecoding", "KernelExtracted", "KernelExtractor",
    "KernelLookup", "KernelMetrics", "KernelMulticlass", "KernelMultilabel", "KernelRule",
    "KernelView", "Rows",
]  # fmt: skip

MODULE = (
    "Decoding",
    "Extractor",
    "NAME",
    "RULES",
    "Lookup",
    "Metrics",
    "Multiclass",
    "Multilabel",
    "decode",
    "decode_columns",
    "encode",
    "learn",
    "parse_block",
    "score",
    "score_fixed",
)

# Of each kind of object, the public members.
MEMBERS = {
    "Lookup": (
        "categories",
        "entered",
        "id",
        "ids",
        "join",
        "last",
        "left_out",
        "max_features",
        "name_bytes",
        "prune",
        "refused",
        "reserve",
        "restore",
        "sweep",
        "view",
    ),
    "Rule": (
        "enter",
        "feature",
        "learn",
        "move",
        "open_gap",
        "reserve",
        "restore",
        "score",
        "strengths",
        "view",
        "weights",
    ),
    "Metrics": ("dump", "observe", "probabilities", "reserve", "restore"),
    "Multiclass": (
        "coefficients", "drop", "enter", "feature", "learn", "max_labels", "max_labels_per_feature",
        "move", "open_gap", "probabilities", "reserve", "restore", "score", "states", "strengths",
        "texts", "view",
    ),
    "Multilabel": (
        "coefficients", "drop", "enter", "feature", "learn", "max_labels", "max_labels_per_feature",
        "move", "open_gap", "probabilities", "reserve", "restore", "score", "states", "strengths",
        "texts", "threshold", "view",
    ),
    "View": ("arrays", "close", "scalars"),
    "Decoding": ("step",),
    "Extractor": ("check", "extract", "options", "reads_maps", "reads_text"),
}  # fmt: skip

# `Any` stands for the kernel's own batch.
Rows = BatchColumns | Pieces
Arrays = Mapping[str, NDArray[np.generic]]


class KernelView(Protocol):
    """A lookup or a rule as it was when the view was opened, whatever is learned meanwhile.

    `arrays` copies it, once, on any thread: a thread that learns waits for a slice of the copy at
    most. Raises MemoryError if the records that changed meanwhile cannot be kept, ValueError if the
    view was read or closed before. `scalars` are the numbers that belong to no feature. An open
    view costs learning a little; `close` ends that.
    """

    @property
    def scalars(self) -> dict[str, float | int]: ...
    def arrays(self) -> dict[str, NDArray[Any]]: ...
    def close(self) -> None: ...


class KernelLookup(Protocol):
    """Feature → id. `onlinesvm.model.lookup.Lookup` specifies it."""

    max_features: int

    @property
    def refused(self) -> int: ...
    @property
    def categories(self) -> list[tuple[bytes, int]]: ...
    @property
    def name_bytes(self) -> int: ...
    def left_out(self, batch: Any) -> list[int]: ...
    def __len__(self) -> int: ...
    def id(self, name: bytes) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def sweep(self) -> Sweep | None: ...
    def ids(
        self,
        rows: Any,
        *,
        grow: bool = False,
        first: int = 0,
        stop: int | None = None,
        tagged: bool = False,
    ) -> CSR: ...
    def entered(self) -> tuple[int, bytes]: ...
    def join(self, lengths: NDArray[np.uint32], names: NDArray[np.uint8]) -> NDArray[np.int32]: ...
    def reserve(self, parts: Iterable[Any]) -> int: ...
    def prune(self, kept: NDArray[np.bool_]) -> None: ...
    def view(self) -> KernelView: ...
    def restore(
        self,
        lengths: NDArray[np.uint32],
        names: NDArray[np.uint8],
        categories: Sequence[tuple[bytes, int]] = (),
        sweep: tuple[int, int] | None = None,
    ) -> None: ...


class KernelRule(Protocol):
    """Weights by id, and how they move. `onlinesvm.model.rules.rule.Rule` specifies it."""

    def enter(self, first: int, tags: bytes) -> None: ...
    def learn(self, csr: CSR, signs: Any, importances: Any) -> NDArray[np.float64]: ...
    def score(self, csr: CSR) -> NDArray[np.float64]: ...
    def weights(self, n: int) -> tuple[NDArray[np.float64], float]: ...
    def feature(self, id: int) -> tuple[float, int | None]: ...
    def reserve(self, n: int) -> None: ...
    def strengths(self, ids: NDArray[np.int32]) -> NDArray[np.float64]: ...
    def move(self, to: int, first: int, kept: NDArray[np.bool_]) -> None: ...
    def open_gap(self, first: int, n: int, gap: int) -> None: ...
    def view(self, n: int) -> KernelView: ...
    def restore(self, arrays: Arrays, scalars: Mapping[str, Any]) -> None: ...


class KernelMetrics(Protocol):
    """The metrics of margins. `onlinesvm.metrics.monitor.Metrics` specifies it."""

    def observe(
        self, margins: NDArray[np.float64], signs: Any, importances: Any
    ) -> NDArray[np.float64]: ...
    def reserve(self) -> None: ...
    def probabilities(self, margins: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def dump(self) -> NDArray[np.float64]: ...
    def restore(self, numbers: NDArray[np.float64]) -> None: ...


class KernelMultilabel(Protocol):
    """Weights by id and label, of several labels a sample: a KernelMulticlass that learns
    LabelSets. `onlinesvm.model.rules.multilabel.Multilabel` specifies it.
    """

    max_labels_per_feature: int

    @property
    def max_labels(self) -> int: ...
    @property
    def states(self) -> NDArray[np.uint8]: ...
    @property
    def coefficients(self) -> NDArray[np.float64]: ...
    @property
    def threshold(self) -> float: ...
    def learn(self, csr: CSR, labels: LabelSets, importances: Any) -> LearnedSets: ...
    def score(self, csr: CSR) -> NDArray[np.float32]: ...
    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float64]: ...
    def feature(
        self, id: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], tuple[float, int, int, int, int]]: ...
    def enter(self, first: int, tags: bytes) -> None: ...
    @property
    def texts(self) -> tuple[int, ...]: ...
    def drop(self, label: int) -> None: ...
    def reserve(self, csr: CSR, labels: LabelSets, n: int = 0) -> None: ...
    def strengths(self, ids: NDArray[np.int32]) -> NDArray[np.float64]: ...
    def move(self, to: int, first: int, kept: NDArray[np.bool_]) -> None: ...
    def open_gap(self, first: int, n: int, gap: int) -> None: ...
    def view(self, n: int) -> KernelView: ...
    def restore(self, arrays: Arrays, scalars: Mapping[str, Any]) -> None: ...


class KernelDecoding(Protocol):
    """A body that is decoded in steps. `onlinesvm.data.codec.Decoding` specifies it."""

    def step(self, most: int) -> Decoded | None: ...


class KernelExtracted(Protocol):
    """The features of one record. `onlinesvm.text.records.Extracted` specifies it."""

    @property
    def names(self) -> Sequence[bytes]: ...
    @property
    def values(self) -> Sequence[float]: ...
    @property
    def views(self) -> Sequence[int]: ...
    @property
    def cut(self) -> int: ...
    @property
    def crosses(self) -> int: ...
    @property
    def marks(self) -> Mapping[int, tuple[bytes, ...]]: ...


class KernelExtractor(Protocol):
    """Records to features. `onlinesvm.text.records.Extractor` specifies it."""

    @property
    def options(self) -> TextOptions: ...
    @property
    def reads_text(self) -> bool: ...
    @property
    def reads_maps(self) -> bool: ...
    def extract(self, packed: bytes) -> KernelExtracted: ...
    def check(self, packed: bytes) -> tuple[int, float]: ...


class KernelMulticlass(Protocol):
    """Weights by id and label. `onlinesvm.model.rules.multiclass.Multiclass` specifies it."""

    max_labels_per_feature: int

    @property
    def max_labels(self) -> int: ...
    @property
    def states(self) -> NDArray[np.uint8]: ...
    @property
    def coefficients(self) -> NDArray[np.float64]: ...
    def learn(self, csr: CSR, labels: Any, importances: Any) -> Learned: ...
    def score(self, csr: CSR) -> NDArray[np.float32]: ...
    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float64]: ...
    def feature(
        self, id: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], tuple[float, int, int, int, int]]: ...
    def enter(self, first: int, tags: bytes) -> None: ...
    @property
    def texts(self) -> tuple[int, ...]: ...
    def drop(self, label: int) -> None: ...
    def reserve(self, csr: CSR, labels: Any, n: int = 0) -> None: ...
    def strengths(self, ids: NDArray[np.int32]) -> NDArray[np.float64]: ...
    def move(self, to: int, first: int, kept: NDArray[np.bool_]) -> None: ...
    def open_gap(self, first: int, n: int, gap: int) -> None: ...
    def view(self, n: int) -> KernelView: ...
    def restore(self, arrays: Arrays, scalars: Mapping[str, Any]) -> None: ...


class Kernel(Protocol):
    """The module. `onlinesvm.kernel.python` is the reference.

    NAME: ``"native"`` or ``"python"``. RULES: name → what makes a rule of a configuration and the
    layout of its state.
    """

    NAME: str
    RULES: Mapping[str, Callable[[LearnerConfig, Layout], KernelRule]]

    def Lookup(  # noqa: N802 - a class there
        self, max_features: int, prunes: bool = False
    ) -> KernelLookup: ...
    def Metrics(self, threshold: float) -> KernelMetrics: ...  # noqa: N802 - a class there
    def Extractor(  # noqa: N802 - a class there
        self, options: TextOptions, limits: Limits, most_bytes: int
    ) -> KernelExtractor: ...
    def Multiclass(  # noqa: N802 - a class there
        self, bias: bool, max_labels: int, max_labels_per_feature: int, layout: Any
    ) -> KernelMulticlass: ...
    def Multilabel(  # noqa: N802 - a class there
        self, bias: bool, max_labels: int, max_labels_per_feature: int, layout: Any
    ) -> KernelMultilabel: ...
    def Decoding(  # noqa: N802 - a class there
        self,
        body: bytes | memoryview,
        limits: Limits,
        *,
        labelled: bool,
        extractor: Any = None,
        most_made: int = PIECE_FEATURES,
        pairs: bool = False,
        learnable: bool = False,
    ) -> KernelDecoding: ...
    def decode(
        self,
        body: bytes | memoryview,
        limits: Limits,
        *,
        labelled: bool,
        extractor: Any = None,
        most_made: int = PIECE_FEATURES,
        pairs: bool = False,
        learnable: bool = False,
    ) -> Decoded: ...
    def encode(self, batch: BatchColumns, *, labelled: bool) -> bytes: ...
    def parse_block(
        self, parser: Any, block: bytes, start: int, room: Any, *, skip_bad: bool = False
    ) -> Any: ...
    def decode_columns(
        self,
        indptr: NDArray[np.int64],
        columns: NDArray[Any],
        data: NDArray[np.float64],
        targets: Targets | None,
    ) -> BatchColumns: ...
    def learn(
        self,
        lookup: Any,
        rule: Any,
        metrics: Any,
        rows: Any,
        signs: Any,
        weights: Any,
        first: int = 0,
        stop: int | None = None,
    ) -> NDArray[np.float64]: ...
    def score(self, lookup: Any, rule: Any, rows: Any) -> NDArray[np.float64]: ...
    def score_fixed(
        self, csr: CSR, weights: NDArray[np.float64], bias: float
    ) -> NDArray[np.float64]: ...
