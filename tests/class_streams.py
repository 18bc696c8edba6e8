"""Samples of many classes for the tests: rows over ids, labels, importances."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from onlinesvm.data.batch import CSR
from onlinesvm.kernel.contract import Kernel, KernelMulticlass
from onlinesvm.model.rules.class_layout import ClassLayout

FEATURES = 12


class Samples(NamedTuple):
    rows: list[dict[int, float]]
    labels: list[int]
    importances: list[float]

    def csr(self) -> CSR:
        return csr_of(self.rows)

    def without(self, labels: list[int]) -> Samples:
        """The samples of other labels."""
        kept = [sample for sample in zip(*self, strict=True) if sample[1] not in labels]
        return Samples(*(list(column) for column in zip(*kept, strict=True)))

    def part(self, start: int, stop: int) -> Samples:
        return Samples(*(column[start:stop] for column in self))


def csr_of(rows: list[dict[int, float]]) -> CSR:
    return CSR(
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([i for row in rows for i in row], dtype=np.int32),
        np.array([x for row in rows for x in row.values()], dtype=np.float64),
    )


def new(kernel: Kernel, bias: bool = True, most: int = 8, labels: int = 1000) -> KernelMulticlass:
    return kernel.Multiclass(bias, labels, most, ClassLayout)


def learn(learner: KernelMulticlass, samples: Samples) -> Any:
    return learner.learn(samples.csr(), samples.labels, samples.importances)


_VALUES = st.one_of(
    st.sampled_from([1.0, 1.0, 1.0, -1.0, 0.0, 2.0, 0.5, 1e-50, -1e50, 3e9]), st.floats(-10, 10)
)
_IMPORTANCES = st.sampled_from([1.0, 1.0, 1.0, 0.0, 2.0, 0.1, 1e50, 1e-50])


def samples(most: int = 12, labels: int = 14) -> st.SearchStrategy[Samples]:
    """PAD among the ids too."""
    rows = st.dictionaries(st.integers(0, FEATURES), _VALUES.filter(fits), max_size=6)
    one = st.tuples(rows, st.integers(0, labels - 1), _IMPORTANCES)
    return st.lists(one, max_size=most).map(
        lambda drawn: Samples([d[0] for d in drawn], [d[1] for d in drawn], [d[2] for d in drawn])
    )


def fits(value: float) -> bool:
    """Whether validation lets a value pass."""
    return value == 0.0 or 1e-50 <= abs(value) <= 1e50


def words(n: int, labels: int, seed: int = 0, noise: int = 5) -> Samples:
    """A stream that can be learned: each label has a word of its own, among common ones."""
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, labels, n).tolist()
    rows = []
    for truth in truths:
        ids = [1 + truth, *(1 + labels + rng.integers(0, 20, noise)).tolist()]
        rows.append(dict.fromkeys(ids, 1.0))
    return Samples(rows, truths, [1.0] * n)


def state(learner: KernelMulticlass, n: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    view = learner.view(n)
    return view.arrays(), dict(view.scalars)


def bits(learner: KernelMulticlass, n: int) -> tuple[Any, ...]:
    arrays, scalars = state(learner, n)
    named = [(name, str(array.dtype), array.tobytes()) for name, array in arrays.items()]
    return (*named, *((name, float(x).hex()) for name, x in scalars.items()))
