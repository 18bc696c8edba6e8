"""Scoring by fixed weights: many samples at once, from samples, matrices or rows over ids.

All paths give the bits of the per-sample sum over a dictionary, left to right from 0.0, bias last:
those of `OnlineSVM.predict`. Every rule's model is linear at any instant, so a copy of the weights
as they stand, a flat vector by id with 0 for PAD, is all that scoring needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.data.batch import CSR
from onlinesvm.data.objects import rows_to_score
from onlinesvm.data.pieces import in_pieces
from onlinesvm.data.sweep import Sweep, without_gap
from onlinesvm.errors import ConfigError, SnapshotError
from onlinesvm.kernel.contract import Kernel, KernelLookup, KernelRule, Rows
from onlinesvm.model.head import Head
from onlinesvm.model.margins import checked, known, normalized, rows_over_ids
from onlinesvm.model.padding import pad, score_padded, unpad
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.snapshot.reader import from_bytes, read
from onlinesvm.snapshot.writer import to_bytes
from onlinesvm.text.constants import TEXT_BYTES

__all__ = ["PATHS", "REDUCTIONS", "Scorer", "pad", "unpad"]

PATHS = ("auto", "csr", "padded")
REDUCTIONS = ("sum", "mean", "l2")

# Elements that are walked at once where that takes memory beside the rows: a few MiB.
_PIECE = 2**17
# Elements from which scipy's product is worth its preparation, on the Python kernel.
_SCIPY_FROM = 5_000


class ScoredModel(Protocol):
    """An `onlinesvm.model.model.Model`, as far as a Scorer copies it."""

    config: LearnerConfig
    limits: Limits
    kernel: Kernel
    position: int
    _lookup: KernelLookup
    _prunes: bool
    _lock: AbstractContextManager[object]

    @property
    def binary(self) -> tuple[Head, Any]: ...


class Scorer:
    """The weights of a model as they stand, to score by; it never changes.

    source: an OnlineSVM, a Snapshot, or the path of a snapshot file. A model may learn on: what it
    learns later, new features too, the Scorer does not see. Of a snapshot it keeps the names and 8
    bytes a feature; it shares the names with a model, but copies those of one that prunes. limits,
    kernel: for a snapshot; a model has its own.

    `weights` is float64[features + 1] by id, read-only, 0 for PAD; `bias` is added last. `reduce`
    is what the model's `normalize` makes of a sample: ``"sum"`` where that is ``"none"``.

    Raises, for a path, OSError if the file cannot be read, SnapshotError if it is not a whole
    snapshot.

    >>> from onlinesvm import OnlineSVM
    >>> model = OnlineSVM(rule="sgd", eta0=0.1)
    >>> model.learn_one(["free", "prize"], +1)
    0.0
    >>> Scorer(model).score([["free"], ["prize", "free"]]).tolist()
    [0.2, 0.30000000000000004]
    """

    weights: NDArray[np.float64]

    def __init__(
        self,
        source: ScoredModel | Snapshot | str | os.PathLike[str],
        *,
        limits: Limits | None = None,
        kernel: str | None = None,
    ) -> None:
        if isinstance(source, str | os.PathLike):
            taken = read(source)
            try:
                self._restore(taken, limits, kernel)
            except SnapshotError as error:
                raise SnapshotError(f"{os.fspath(source)}: {error}") from None
        elif isinstance(source, Snapshot):
            self._restore(source, limits, kernel)
        elif not hasattr(source, "_lock"):
            raise TypeError(
                f"expected a model, a Snapshot or the path of one, got {type(source).__name__}"
            )
        else:
            with source._lock:
                self._share(source)
                # A prune gives the same ids to others; new values end crosses.
                if source._prunes or source.config.crosses:
                    names = source._lookup.view().arrays()
                    self._close(source._lookup.sweep)
                    self._lookup = self.kernel.Lookup(self.limits.max_features)
                    self._lookup.restore(
                        names["lengths"], names["names"], source._lookup.categories
                    )

    def _close(self, sweep: Sweep | None) -> None:
        """Leave out the weights of ids that have no feature."""
        weights = without_gap(self.weights[1:], sweep)
        self.weights = np.concatenate((np.zeros(1), weights))
        self.weights.flags.writeable = False

    @classmethod
    def sharing(cls, model: ScoredModel) -> Scorer:
        """A Scorer that shares the names of `model`: valid until the model learns."""
        made = cls.__new__(cls)
        made._share(model)
        return made

    def _share(self, model: ScoredModel) -> None:
        self.limits, self.kernel = model.limits, model.kernel
        self._copy(model.config, model.position, model._lookup, model.binary[0].rule)

    def _restore(self, taken: Snapshot, limits: Limits | None, kernel: str | None) -> None:
        if taken.config.task not in ("binary", "ranking"):
            raise ConfigError(
                f"task: expected a binary or ranking model, got a {taken.config.task} one"
            )
        self.limits = (limits or taken.limits).under(taken.config.rule)
        self.kernel = kernels.load(kernel)
        lookup = self.kernel.Lookup(self.limits.max_features)
        rule = Head(self.kernel, taken.config).rule
        replace(taken, prune=None).restore(lookup, rule)
        self._copy(taken.config, taken.position, lookup, rule)

    def _copy(
        self, config: LearnerConfig, position: int, lookup: KernelLookup, rule: KernelRule
    ) -> None:
        self.position = position
        self.reduce = "sum" if config.normalize == "none" else config.normalize
        self.weights, self.bias = rule.weights(lookup.last)
        self.weights.flags.writeable = False
        self._lookup = lookup
        self._config = config
        self._extractor = self.kernel.Extractor(config.text_options(), self.limits, TEXT_BYTES)

    def to_bytes(self) -> bytes:
        """A snapshot's bytes: of a learner of rule ``pa1`` with these weights, which scores alike.

        The state from which the model would learn on is not in it.
        """
        n = len(self.weights) - 1
        named = self._lookup.view().arrays()
        lengths = named["lengths"][:n]  # a lookup that is shared may have grown
        normalize = "none" if self.reduce == "sum" else self.reduce
        own = self._config
        config = LearnerConfig(
            rule="pa1", normalize=normalize, text=own.text, fields=own.fields,
            numbers=own.numbers, crosses=own.crosses, vectors=own.vectors,
        )  # fmt: skip
        return to_bytes(
            Snapshot(
                id=bytes(16),  # of no model: it cannot learn
                config=config,
                max_features=self.limits.max_features,
                bounds=self.limits.bounds,
                kernel=self.kernel.NAME,
                position=self.position,
                scalars={"bias": self.bias},
                labels=[],  # it gives margins alone
                categories=self._lookup.categories,
                lengths=lengths,
                names=named["names"][: int(lengths.sum(dtype=np.uint64))],
                arrays={"weights": self.weights[1:]},
                **Head(self.kernel, config).dump(),
            )
        )

    @classmethod
    def from_bytes(
        cls, raw: bytes, *, limits: Limits | None = None, kernel: str | None = None
    ) -> Scorer:
        """The Scorer of a snapshot's bytes, those of a model too.

        Raises SnapshotError if they are not a whole snapshot.
        """
        return cls(from_bytes(raw), limits=limits, kernel=kernel)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle, copy and deepcopy by the snapshot's bytes, with limits and kernel."""
        return _of_bytes, (type(self), self.to_bytes(), self.limits, self.kernel.NAME)

    def __repr__(self) -> str:
        return (
            f"Scorer(features={len(self.weights) - 1}, position={self.position},"
            f" reduce={self.reduce!r}, kernel={self.kernel.NAME!r})"
        )

    def score(
        self, samples: Any, *, path: str = "auto", reduce: str | None = None
    ) -> NDArray[np.float64]:
        """The margins of `samples`, float64[n].

        samples: as `OnlineSVM.predict` takes them (an iterable of samples, each an iterable of
        names or a mapping; a scipy sparse matrix or a 2-D array of numbers, whose column j is the
        feature named ``str(j)``; a data frame, whose columns' names are the features); or a CSR
        over ids. Unknown features are PAD. Large samples are walked in pieces, so that beside
        the margins it takes a bounded amount of memory.

        path: ``"csr"``, the sparse product: the native kernel's; on the Python kernel scipy's where
        that rounds each step, else NumPy's. ``"padded"``: rows filled up with PAD, gathered and
        summed by NumPy alone. ``"auto"`` goes by measurement: on the native kernel the product,
        which was the fastest, or within a twentieth of it, at every batch from 1 to 262,144 rows,
        length from 5 to 500 and number of weights from 10⁵ to 10⁸; on the Python kernel scipy's
        product from 5,000 elements on, NumPy's below, where preparing a matrix costs more than it
        saves. Padding won nowhere. All have the same bits.

        reduce: ``"sum"`` of the products; ``"mean"``, each value divided by the number of the
        sample's features, never by a padded length; ``"l2"``, by the norm of its values. Unknown
        features count in both; a sample without any has the bias alone. None: as the model was
        trained, the attribute `reduce`.

        Raises as `predict` and `decision_function` do, ValueError for another path or reduction.
        """
        if isinstance(samples, CSR):
            return self.score_csr(samples, path=path, reduce=reduce)
        self._check(path, reduce)
        parts = [self._score(rows, path, reduce) for rows in self._rows(samples)]
        return np.concatenate(parts) if parts else np.empty(0)

    def score_batch(
        self, rows: Rows, *, path: str = "auto", reduce: str | None = None
    ) -> NDArray[np.float64]:
        """As `score`, for samples that this kernel decoded."""
        self._check(path, reduce)
        margins = [self._score(self._lookup.ids(part), path, reduce) for part in in_pieces(rows)]
        return margins[0] if len(margins) == 1 else np.concatenate([np.empty(0), *margins])

    def score_csr(
        self, csr: CSR, *, path: str = "auto", reduce: str | None = None
    ) -> NDArray[np.float64]:
        """As `score`, for rows over ids. Raises ValueError for rows that cannot be such."""
        self._check(path, reduce)
        return self._score(rows_over_ids(csr), path, reduce)

    def _score(self, csr: CSR, path: str, reduce: str | None) -> NDArray[np.float64]:
        """The margins of rows that no other thread can change."""
        how = reduce or self.reduce
        product = self._product(path, len(csr.data))
        if how == "sum" and product == self.kernel.score_fixed and self.kernel.NAME == "native":
            return product(csr, self.weights, self.bias)  # takes no memory beside the rows
        csr = checked(csr)
        margins = np.empty(len(csr.indptr) - 1)
        for first, piece in _pieces(csr):
            rows = piece if how == "sum" else normalized(piece, how)
            end = first + len(rows.indptr) - 1
            margins[first:end] = product(rows, self.weights, self.bias)
        return margins

    def rows(self, samples: Any) -> CSR:
        """`samples`, as `score` takes them, over ids, unknown features as PAD; `pad` pads them."""
        if isinstance(samples, CSR):
            return samples
        parts = list(self._rows(samples))
        lengths = [np.diff(part.indptr) for part in parts]
        indptr = np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *lengths]), dtype=np.int64)
        indices = [part.indices for part in parts]
        data = [part.data for part in parts]
        return CSR(
            indptr,
            np.concatenate(indices) if indices else np.empty(0, dtype=np.int32),
            np.concatenate(data) if data else np.empty(0),
        )

    def _rows(self, samples: Any) -> Iterator[CSR]:
        """`samples` over ids, in pieces."""
        for rows in rows_to_score(samples, self.kernel, self.limits, self._extractor):
            for piece in in_pieces(rows):
                yield self._lookup.ids(piece)

    def _check(self, path: str, reduce: str | None) -> None:
        if path not in PATHS:
            raise ValueError(f"path: expected one of {', '.join(PATHS)}, got {path!r}")
        if reduce is not None and reduce not in REDUCTIONS:
            raise ValueError(f"reduce: expected one of {', '.join(REDUCTIONS)}, got {reduce!r}")

    def _product(
        self, path: str, elements: int
    ) -> Callable[[CSR, NDArray[np.float64], float], NDArray[np.float64]]:
        if path == "padded":
            return score_padded
        if self.kernel.NAME == "native":
            return self.kernel.score_fixed
        if (path == "csr" or elements >= _SCIPY_FROM) and _scipy_rounds_each_step():
            return _score_by_scipy
        return self.kernel.score_fixed


def _of_bytes(cls: type[Scorer], raw: bytes, limits: Limits, kernel: str) -> Scorer:
    return cls.from_bytes(raw, limits=limits, kernel=kernel)


def _pieces(csr: CSR) -> Iterator[tuple[int, CSR]]:
    """The rows in pieces of about _PIECE elements, each with the place of its first row."""
    indptr, indices, data = csr
    n, first = len(indptr) - 1, 0
    while first < n:
        end = int(np.searchsorted(indptr, indptr[first] + _PIECE, side="right")) - 1
        end = min(max(end, first + 1), n)
        a, b = int(indptr[first]), int(indptr[end])
        yield first, CSR(indptr[first : end + 1] - a, indices[a:b], data[a:b])
        first = end


def _score_by_scipy(csr: CSR, weights: NDArray[np.float64], bias: float) -> NDArray[np.float64]:
    """As `model.margins.score_fixed`: scipy too starts a row from 0 and adds in stored order."""
    from scipy import sparse

    indptr, indices, data = checked(csr)
    shape = len(indptr) - 1, len(weights)
    product = sparse.csr_array((data, known(indices, len(weights)), indptr), shape=shape) @ weights
    margins: NDArray[np.float64] = product + bias
    return margins


@cache
def _scipy_rounds_each_step() -> bool:
    """True if scipy is installed and its product has no fused multiply-adds, which differs between
    machines: a fused 0.1·10 − 1 is not 0.
    """
    try:
        from scipy import sparse
    except ImportError:
        return False
    n = 64
    row = sparse.csr_array(([-1.0, 0.1] * n, [0, 1] * n, [0, 2 * n]), shape=(1, 2))
    return bool((row @ np.array([1.0, 10.0]))[0] == 0.0)
