"""Rows of a matrix as samples: partial_fit and decision_function."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from onlinesvm import Limits, OnlineSVM
from onlinesvm.errors import LimitError, SampleError
from onlinesvm.kernel.contract import Kernel
from tests.strategies import WIDE, configurations

WIDTH = 12


@st.composite
def rows(draw: st.DrawFn) -> list[list[tuple[int, float]]]:
    """Rows of (column, value) in any order, columns repeated, zeros stored."""
    value = st.one_of(st.sampled_from([0.0, -0.0, 1e-51, 1.0, 0.1, 0.2, -1e50]), st.floats(-9, 9))
    return draw(st.lists(st.lists(st.tuples(st.integers(0, WIDTH - 1), value), max_size=6)))


def matrix_of(given_rows: list[list[tuple[int, float]]], kind: Any, index: Any) -> Any:
    indptr = np.cumsum([0, *map(len, given_rows)]).astype(index)
    indices = np.array([j for row in given_rows for j, _ in row], dtype=index)
    data = np.array([x for row in given_rows for _, x in row], dtype=np.float64)
    return kind((data, indices, indptr), shape=(len(given_rows), WIDTH))


def body_of(given_rows: list[list[tuple[int, float]]], kernel: Kernel, y: Any, h: Any) -> Any:
    """The same rows by the way of the wire, where a map may hold a key twice."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(len(given_rows))
    for row, label, importance in zip(given_rows, y, h, strict=True):
        packer.pack_array_header(3)
        packer.pack(label)
        packer.pack_map_pairs([(str(j), x) for j, x in row])
        packer.pack(importance)
    return kernel.decode(packer.bytes(), Limits(), labelled=True)


@given(
    given_rows=rows(),
    data=st.data(),
    config=configurations(),
    kind=st.sampled_from([sparse.csr_array, sparse.csr_matrix]),
    index=st.sampled_from([np.int32, np.int64]),
)
def test_a_row_is_the_sample_of_its_columns_in_stored_order(
    kernel: Kernel,
    given_rows: list[list[tuple[int, float]]],
    data: st.DataObject,
    config: dict[str, Any],
    kind: Any,
    index: Any,
) -> None:
    n = len(given_rows)
    y = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=n, max_size=n))
    h = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1e-51]), min_size=n, max_size=n))
    matrix = matrix_of(given_rows, kind, index)
    model, other = (OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config) for _ in range(2))
    before = matrix.copy()
    assert model.partial_fit(matrix, y, sample_weight=h) is model
    other.learn_batch(body_of(given_rows, kernel, y, h))
    assert model.snapshot().digest() == other.snapshot().digest()
    assert list(model.lookup) == list(other.lookup)

    margins = model.decision_function(matrix)
    assert margins.dtype == np.float64
    assert margins.tobytes() == (
        other.score_batch(body_of(given_rows, kernel, [1] * n, [1.0] * n)).tobytes()
    )
    assert model.snapshot().digest() == other.snapshot().digest()
    # The matrix is the caller's, and stays as it was.
    for attribute in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(matrix, attribute), getattr(before, attribute))


def irregular_rows(rng: np.random.Generator) -> list[list[tuple[int, float]]]:
    """Rows of every kind, enough of them for many pieces: long, empty, unsorted, repeated, far."""

    def row(size: int, width: int) -> list[tuple[int, float]]:
        return [(int(j), float(j % 7) - 2.5) for j in rng.integers(0, width, size)]

    kinds = [
        [sorted(set(row(12, 400))) for _ in range(700)],
        [row(6, 30) for _ in range(300)],
        [[] for _ in range(1100)],
        [sorted(set(row(9000, 20_000)))],
        [row(5000, 3000)],
        [sorted(set(row(12, 2000))) for _ in range(700)],
        [[(5, 1.0), (2**24, 0.5), (2**30, -1.0)], [(2**24 - 1, 2.0)]],
    ]
    return [row for kind in kinds for row in kind]


@pytest.mark.parametrize(
    ("config", "most", "index"),
    [
        ({"rule": "sgd"}, 10**6, np.int32),
        ({"rule": "sgd", "alpha": 1e-3, "class_weight": "balanced"}, 3000, np.int64),
        ({"rule": "arow"}, 10**6, np.int64),
        ({"rule": "pa1", "normalize": "l2"}, 3000, np.int32),
    ],
    ids=["plain", "bounded", "records", "normalized"],
)
def test_pieces_do_not_show(kernel: Kernel, config: dict[str, Any], most: int, index: Any) -> None:
    rng = np.random.default_rng(7)
    given_rows = irregular_rows(rng)
    n = len(given_rows)
    y, h = rng.choice([-1, 1], n), rng.choice([0.0, 1.0, 0.5], n, p=[0.001, 0.5, 0.499])
    indptr = np.cumsum([0, *map(len, given_rows)]).astype(index)
    indices = np.array([j for row in given_rows for j, _ in row], dtype=index)
    data = np.array([x for row in given_rows for _, x in row])
    matrix = sparse.csr_array((data, indices, indptr), shape=(n, 2**30 + 1))
    limits = Limits(max_features=most)
    model, other = (OnlineSVM(kernel=kernel.NAME, limits=limits, **config) for _ in range(2))
    for importances in (h.tolist(), [1.0] * n):
        weight = None if importances == [1.0] * n else importances
        model.partial_fit(matrix, y, sample_weight=weight)
        other.learn_batch(body_of(given_rows, kernel, y.tolist(), importances))
        assert model.snapshot().digest() == other.snapshot().digest()
        assert model.progressive.totals.tolist() == other.progressive.totals.tolist()
    margins = other.score_batch(body_of(given_rows, kernel, [1] * n, [1.0] * n))
    assert model.decision_function(matrix).tobytes() == margins.tobytes()
    assert list(model.lookup) == list(other.lookup)


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def unaligned(array: Any) -> Any:
    shifted = np.empty(array.nbytes + 1, dtype=np.uint8)[1:].view(array.dtype)
    shifted[:] = array
    return shifted


@pytest.mark.parametrize(
    "layout",
    [
        read_only,
        unaligned,
        lambda array: np.repeat(array, 2)[::2],
        lambda array: array.astype(array.dtype.newbyteorder()),
        lambda array: array.astype(np.float32 if array.dtype.kind == "f" else np.uint8),
    ],
    ids=["read-only", "unaligned", "strided", "swapped", "narrow"],
)
def test_matrices_in_every_layout(kernel: Kernel, layout: Any) -> None:
    given_rows = [[(3, 1.5), (1, -2.0)], [], [(0, 0.5), (3, 4.0), (11, 1.0)]]
    plain, changed = (matrix_of(given_rows, sparse.csr_array, np.int32) for _ in range(2))
    for attribute in ("data", "indices", "indptr"):
        setattr(changed, attribute, layout(getattr(plain, attribute).copy()))
    model, other = (OnlineSVM(kernel=kernel.NAME) for _ in range(2))
    model.partial_fit(changed, layout(np.array([1.0, -1.0, 1.0])))
    other.partial_fit(plain, [1, -1, 1])
    assert model.snapshot().digest() == other.snapshot().digest()
    margins = model.decision_function(changed)
    assert margins.tobytes() == other.decision_function(plain).tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.1e50])
@pytest.mark.parametrize("at", [0, 2047, 2048, 5003])
def test_the_first_fault_is_reported(kernel: Kernel, at: int, value: float) -> None:
    data = np.ones(5004)
    data[[at, -1]] = value
    data[::100] *= 1e-60  # nan stays, and an infinite value too
    data[at] = value
    model = OnlineSVM(kernel=kernel.NAME)
    before = model.snapshot().digest()
    matrix = sparse.csr_array(data.reshape(1251, 4))
    for call in (lambda: model.partial_fit(matrix, np.ones(1251)),
                 lambda: model.decision_function(matrix)):  # fmt: skip
        with pytest.raises(SampleError) as caught:
            call()
        assert str(caught.value).endswith(f"got {value} at X[{at // 4}][{at % 4}]")
    assert model.snapshot().digest() == before


@pytest.mark.parametrize("kind", [np.array, sparse.csc_array, sparse.coo_array, sparse.lil_array])
def test_matrices_of_every_kind(kernel: Kernel, kind: Any) -> None:
    dense = np.array([[0, 1.5, 0], [2, 0, -1], [0, 0, 0]])
    model, other = (OnlineSVM(kernel=kernel.NAME) for _ in range(2))
    model.partial_fit(kind(dense), np.array([1, -1, 1], dtype=np.int8))
    other.learn([({1: 1.5}, 1), ({0: 2, 2: -1}, -1), ([], 1)])
    assert model.snapshot().digest() == other.snapshot().digest()
    assert dict(model.lookup) == {"1": 1, "0": 2, "2": 3}
    expected = other.decision_function([{1: 1.5}, {0: 2, 2: -1}, []])
    assert model.decision_function(kind(dense)).tolist() == expected.tolist()


def test_unknown_columns_score_nothing(kernel: Kernel) -> None:
    model = OnlineSVM(rule="sgd", kernel=kernel.NAME, bias=False)
    model.partial_fit(sparse.csr_array([[1.0, 0.0]]), [1])
    wide = sparse.csr_array(np.ones((2, 5)))
    assert model.decision_function(wide).tolist() == [0.1, 0.1]
    assert len(model.lookup) == 1
    assert model.decision_function(sparse.csr_array((0, 5))).tolist() == []


SHAPES = "expected shape (2,), one a row, got "
LABELS = "expected shape (2,) or (2, 1), one a row, got "


@pytest.mark.parametrize(
    ("X", "y", "h", "kind", "message"),
    [
        ([[1, np.nan], [0, 0]], [1, 1], None, SampleError, "a finite number, got nan at X[0][1]"),
        ([[1, 0], [-np.inf, 0]], [1, 1], None, SampleError, "finite number, got -inf at X[1][0]"),
        (
            [[1, 0], [0, 2e50]],
            [1, 1],
            None,
            SampleError,
            "expected a number of magnitude at most 1e+50, got 2e+50 at X[1][1]",
        ),
        (
            [[0, 0, 0, 0], [1, 1, 1, 1]],
            [1, 1],
            None,
            LimitError,
            "expected at most 3 features a sample, got 4 at X[1]",
        ),
        ([[1], [1]], [1, 0.5], None, SampleError, "as text, integer or boolean, got 0.5 at y[1]"),
        (
            [[1], [1]],
            [np.nan, 1],
            None,
            SampleError,
            "as text, integer or boolean, got nan at y[0]",
        ),
        ([[1], [1]], [1, None], None, SampleError, "or boolean, got NoneType at y[1]"),
        ([[1]] * 4, [1, 0, 0, 2], None, SampleError, "two labels, 0 or 1, got 2; other labels"),
        ([[1], [1]], [1, 1], [1, -1], SampleError, "1e+50, got -1 at sample_weight[1]"),
        ([[1], [1]], [1, 1], [np.nan, 1], SampleError, "got nan at sample_weight[0]"),
        ([[1], [1]], [1, 1], [np.inf, 1], SampleError, "got inf at sample_weight[0]"),
        ([[1], [1]], [1], None, ValueError, f"y: {LABELS}(1,)"),
        ([[1], [1]], np.ones((2, 2)), None, ValueError, f"y: {LABELS}(2, 2)"),
        ([[1], [1]], [1, 1], [1], ValueError, f"sample_weight: {SHAPES}(1,)"),
        ([1, 2], [1, 1], None, TypeError, "got an array of int64 of shape (2,)"),
        ([[[1]], [[1]]], [1, 1], None, TypeError, "got an array of int64 of shape (2, 1, 1)"),
        ([[1j], [1]], [1, 1], None, TypeError, "matrix of real numbers, got dtype complex128"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_a_faulty_matrix_leaves_the_model_unchanged(
    kernel: Kernel,
    X: Any,  # noqa: N803
    y: Any,
    h: Any,
    kind: type[Exception],
    message: str,
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=Limits(max_features_per_sample=3))
    before = model.snapshot().digest()
    with pytest.raises(kind) as caught:
        model.partial_fit(np.array(X), y, h)
    assert type(caught.value) is kind
    assert message in str(caught.value)
    if str(caught.value).rpartition(" at ")[2].startswith("X"):
        with pytest.raises(kind):
            model.decision_function(sparse.csr_array(X))
    assert model.snapshot().digest() == before


@pytest.mark.parametrize("layout", [sparse.coo_array, sparse.csr_array])
def test_a_sparse_array_of_one_dimension_is_no_matrix(kernel: Kernel, layout: Any) -> None:
    model, given = OnlineSVM(kernel=kernel.NAME), layout(np.array([1.0, 0.0, 2.0]))
    calls = (model.predict, model.decision_function, lambda x: model.partial_fit(x, [1]))
    for call in calls:
        with pytest.raises(ValueError, match=r"expected a matrix \[n, m\], got .* shape \(3,\)"):
            call(given)
    assert model.position == 0


BROKEN_ROWS = "indptr: expected ends of rows that rise within the elements"


@pytest.mark.parametrize("small", [1.0, 1e-60], ids=["values", "tiny values"])
@pytest.mark.parametrize("ends", [[0, 3, 1, 3], [0, -1, 2, 3], [0, 1, 2, 900], [0, 1, 2, 4]])
def test_rows_that_cannot_be_walked(kernel: Kernel, ends: list[int], small: float) -> None:
    matrix = sparse.csr_array((3, 10))
    matrix.data, matrix.indices = np.array([small, 1.0, 1.0]), np.array([1, 2, 3], dtype=np.int32)
    matrix.indptr = np.array(ends, dtype=np.int32)
    model = OnlineSVM(kernel=kernel.NAME, rule="sgd")
    with pytest.raises(ValueError, match=BROKEN_ROWS):
        model.partial_fit(matrix, [1, -1, 1])
    with pytest.raises(ValueError, match=BROKEN_ROWS):
        model.decision_function(matrix)
    assert model.position == 0


def test_rows_without_ends(kernel: Kernel) -> None:
    matrix = sparse.csr_array((1, 10))
    matrix.indptr = np.empty(0, dtype=np.int32)
    model = OnlineSVM(kernel=kernel.NAME)
    with pytest.raises(ValueError, match="indptr: expected an element at least, got none"):
        model.decision_function(matrix)


class Meddled:
    """A model's lookup, whose matrix changes while it is learned, as another thread could."""

    def __init__(self, lookup: Any, matrix: Any) -> None:
        self._lookup = lookup
        self._matrix = matrix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lookup, name)

    def __len__(self) -> int:
        return len(self._lookup)

    def reserve(self, parts: Any) -> int:
        most: int = self._lookup.reserve(parts)
        self._matrix.indices[:] = 2**40
        self._matrix.indptr[:] = 2**40
        return most


@pytest.mark.parametrize("normalize", ["l2", "mean"])
def test_a_matrix_that_changes_meanwhile_is_learned_as_it_was(
    kernel: Kernel, normalize: str
) -> None:
    matrix = sparse.csr_array(np.arange(12.0).reshape(3, 4))
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    expected = OnlineSVM(kernel=kernel.NAME, normalize=normalize).partial_fit(
        matrix.copy(), [1, -1, 1]
    )
    model = OnlineSVM(kernel=kernel.NAME, normalize=normalize)
    model._lookup = Meddled(model._lookup, matrix)  # type: ignore[assignment]
    model.partial_fit(matrix, [1, -1, 1])
    assert dict(model.weights) == dict(expected.weights)
