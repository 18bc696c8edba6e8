"""Matrices, frames and samples: one rule for every entry point."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from onlinesvm import Client, OnlineSVM, Scorer
from onlinesvm.errors import SampleError
from onlinesvm.kernel.contract import Kernel
from tests.daemons import on_a_thread

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pytest.importorskip("narwhals")

X = np.array([[0, 2, 0], [1, 0, 3], [0, 0, 0], [4, 1, 1]])
Y = [1, -1, 1, -1]
DICTS = [{j: x for j, x in enumerate(row) if x} for row in X.tolist()]
TWO_WAYS = r"np\.array\(rows\).*\[\"5\", \"7\"\] or \{5: 1, 7: 1\}"

MATRICES: dict[str, Callable[[Any], Any]] = {
    "int64": np.array,
    "int8": np.int8,
    "bool": lambda x: x != 0,
    "float16": np.float16,
    "big-endian": lambda x: x.astype(">f8"),
    "big-endian integers": lambda x: x.astype(">i4"),
    "objects": lambda x: x.astype(object),
    "Fortran": np.asfortranarray,
    "masked": lambda x: np.ma.masked_array(x, mask=False),
    "csr": sparse.csr_array,
    "coo": sparse.coo_array,
    "csr of booleans": lambda x: sparse.csr_array(x != 0),
    "csr matrix": sparse.csr_matrix,
}


def fitted(kernel: Kernel, X: Any = X, **config: Any) -> OnlineSVM:  # noqa: N803
    return OnlineSVM(kernel=kernel.NAME, **config).partial_fit(X, Y)


@pytest.mark.parametrize("kind", MATRICES)
def test_a_matrix_is_a_matrix_everywhere(kernel: Kernel, kind: str) -> None:
    given = MATRICES[kind](X)
    dicts = [{j: bool(x) for j, x in d.items()} for d in DICTS] if "bool" in kind else DICTS
    dicts = [{j: float(x) for j, x in d.items()} for d in dicts]
    model, other = fitted(kernel, given), OnlineSVM(kernel=kernel.NAME)
    other.learn(list(zip(dicts, Y, strict=True)))
    assert model.snapshot().digest() == other.snapshot().digest()
    expected = other.predict(dicts).tobytes()
    for margins in (
        model.predict(given), model.decision_function(given), Scorer(model).score(given),
    ):  # fmt: skip
        assert margins.tobytes() == expected
    if kind != "coo":  # has no rows to take
        row = given[1:2]
        assert model.predict_one(row) == other.predict_one(dicts[1])
        assert model.explain(row) == other.explain(dicts[1])
        assert model.learn_one(row, 1) == other.learn_one(dicts[1], 1)
        assert model.predict([row, row]).tolist() == other.predict([dicts[1]] * 2).tolist()
    assert model.snapshot().digest() == other.snapshot().digest()


def test_a_column_that_comes_twice_in_a_row_is_summed(kernel: Kernel) -> None:
    twice = sparse.csr_array(([0.1, 1.0, 0.2], [1, 0, 1], [0, 3]), shape=(1, 2))
    model = fitted(kernel)
    assert model.predict_one(twice) == model.predict(twice)[0] == model.predict_one(
        {1: 0.1 + 0.2, 0: 1.0}
    )  # fmt: skip


@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_a_frame_is_its_named_rows_everywhere(kernel: Kernel, library: Any) -> None:
    cells = {
        "b": [1, 0, 3, 1],
        "a": [1.5, 2.0, 0.0, 1.0],
        "t": list("xyxy"),
        "z": [True, False] * 2,
    }
    frame = library.DataFrame(cells)
    turned = frame[["z", "t", "a", "b"]]
    dicts = []
    for i in range(4):
        row: dict[str, float] = {
            "a": cells["a"][i], "b": cells["b"][i], f"t={cells['t'][i]}": 1,
            "z": int(cells["z"][i]),
        }  # fmt: skip
        dicts.append({name: x for name, x in row.items() if x})
    other = OnlineSVM(kernel=kernel.NAME)
    other.learn(list(zip(dicts, Y, [1.0, 2.0, 0.5, 1.0], strict=True)))
    for given, y in ((frame, Y), (turned, np.array(Y).reshape(4, 1)), (frame, library.Series(Y))):
        model = OnlineSVM(kernel=kernel.NAME).partial_fit(given, y, [1.0, 2.0, 0.5, 1.0])
        assert model.snapshot().digest() == other.snapshot().digest()
    expected = other.predict(dicts).tobytes()
    for given in (frame, turned):
        assert model.predict(given).tobytes() == expected
        assert model.decision_function(given).tobytes() == expected
        assert Scorer(model).score(given).tobytes() == expected
        assert model.explain(given[1:2]) == other.explain(dicts[1])
        assert model.predict_one(given[3:4]) == other.predict_one(dicts[3])


def test_nullable_columns_and_their_arrays(kernel: Kernel) -> None:
    frame = pandas.DataFrame({"0": [1, 0], "1": [True, False], "2": [0.5, 2.0]}).convert_dtypes()
    plain = OnlineSVM(kernel=kernel.NAME).partial_fit(np.array([[1, 1, 0.5], [0, 0, 2.0]]), [1, -1])
    for given in (frame, frame.to_numpy(), frame.astype(object).to_numpy()):
        model = OnlineSVM(kernel=kernel.NAME).partial_fit(given, [1, -1])
        assert model.snapshot().digest() == plain.snapshot().digest()


def entries(model: OnlineSVM) -> dict[str, Callable[[Any], Any]]:
    """The entry points that take many samples."""
    return {
        "predict": model.predict,
        "decision_function": model.decision_function,
        "score": Scorer(model).score,
        "partial_fit": lambda given: model.partial_fit(given, Y[: len(given)]),
        "Client.predict": Client().predict,
        "Client.explain": Client().explain,
    }


ENTRIES = list(entries(OnlineSVM(kernel="python")))


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "given",
    [X.tolist(), [list(map(np.int64, row)) for row in X], [(5, 7), (1, 2)], [[5, 7.5]], list(X),
     [range(3)], [{5, 7}]],
    ids=["lists", "NumPy integers", "tuples", "a float too", "rows", "ranges", "sets"],
)  # fmt: skip
def test_rows_of_numbers_alone_are_refused(kernel: Kernel, entry: str, given: Any) -> None:
    model = fitted(kernel)
    before = model.snapshot().digest()
    with pytest.raises(TypeError, match=rf"at \$\[0\].*{TWO_WAYS}"):
        entries(model)[entry](given)
    assert model.snapshot().digest() == before


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "given",
    [X[0], X[0].astype(float), np.zeros((2, 2, 2)), np.array([1j]), pandas.Series([5, 7]),
     polars.Series([5, 7])],
    ids=["integers", "floats", "3-D", "complex", "pandas series", "polars series"],
)  # fmt: skip
def test_arrays_that_are_no_matrix_are_refused(kernel: Kernel, entry: str, given: Any) -> None:
    with pytest.raises(TypeError, match=rf"got an array of .* of shape \(.*{TWO_WAYS}"):
        entries(fitted(kernel))[entry](given)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ([5, 7], TypeError, TWO_WAYS),
        ([np.int64(5)], TypeError, TWO_WAYS),
        (X[0], TypeError, r"an array of int64 of shape \(3,\)"),
        (X, ValueError, r"one sample, got 4 rows of shape \(4, 3\)"),
        (X[:0], ValueError, r"one sample, got 0 rows of shape \(0, 3\)"),
        (sparse.csr_array(X), ValueError, r"one sample, got 4 rows"),
        (pandas.DataFrame(X), ValueError, r"one sample, got 4 rows"),
        (pandas.DataFrame(X).iloc[0], TypeError, r"a Series of int64 .*row\.to_dict\(\)"),
        (pandas.DataFrame({"a": [5], "t": ["x"]}).iloc[0], TypeError, r"row\.to_dict\(\)"),
        (np.array([[np.nan, 1.0]]), SampleError, r"finite number, got nan at \$(\[\d\])*\[0\]$"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_one_sample_is_expected(
    kernel: Kernel, given: Any, error: type[Exception], text: str
) -> None:
    model = fitted(kernel)
    for call in (
        lambda: model.learn_one(given, 1),
        lambda: model.learn([(["a"], 1), (given, 1)]),
        lambda: model.predict_one(given),
        lambda: model.explain(given),
        lambda: Client().stream().learn(given, 1),
    ):
        with pytest.raises(error, match=text):
            call()
    assert model.position == 4


@pytest.mark.parametrize("given", [X, sparse.csr_array(X), pandas.DataFrame(X), X[0]])
def test_a_matrix_has_no_labels_to_learn(kernel: Kernel, given: Any) -> None:
    for learn in (OnlineSVM(kernel=kernel.NAME).learn, Client().learn):
        with pytest.raises(TypeError, match=r"got a \w+ of shape .* OnlineSVM.partial_fit\(X, y\)"):
            learn(given)


def test_integers_among_texts_and_in_mappings_are_names(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    model.learn([(["a", 5], 1), ({5: 1, 7: 1}, -1), (np.array(["7", "b"]), 1)])
    assert list(model.lookup) == ["a", "5", "7", "b"]
    texts = np.array([["a", "5"], ["7", "b"]])
    for given in (texts, texts.astype(object)):
        assert model.predict(given).tobytes() == model.predict(texts.tolist()).tobytes()


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (np.array([[1, None], [1, 0]]), SampleError, r"a number, got NoneType at X\[0\]\[1\]"),
        (np.array([[1, 2], [1, "a"]], object), SampleError, r"a number, got str at X\[1\]\[1\]"),
        (np.array([[1, 10**400]]), SampleError, r"finite number, got inf at X\[0\]\[1\]"),
        (
            np.ma.masked_array([[1.0, 2.0]], mask=[[False, True]]),
            SampleError,
            r"a number, got a masked element at X\[0\]\[1\]",
        ),
        (pandas.DataFrame({"a": [1.0, None]}), SampleError, r'number, got .* at X\[1\]\["a"\]'),
        (polars.DataFrame({"a": [1.0, None]}), SampleError, r'got a null at X\[1\]\["a"\]'),
    ],
    ids=["None", "text", "large", "masked", "pandas", "polars"],
)
def test_faults_name_row_and_column(
    kernel: Kernel, given: Any, error: type[Exception], text: str
) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    for call in (
        lambda: model.partial_fit(given, Y[: len(given)]),
        lambda: model.predict(given),
        lambda: Client().predict(given),
    ):
        with pytest.raises(error, match=text):
            call()
    assert model.position == 0


def test_faults_of_a_frames_labels_name_the_row(kernel: Kernel) -> None:
    frame = pandas.DataFrame({"a": [1.0, 2.0]})
    model = OnlineSVM(kernel=kernel.NAME)
    with pytest.raises(SampleError, match=r"an importance from 0 .* at sample_weight\[1\]"):
        model.partial_fit(frame, [1, -1], [1.0, -1.0])
    with pytest.raises(ValueError, match=r"y: expected shape \(2,\) or \(2, 1\).*got \(3,\)"):
        model.partial_fit(frame, [1, -1, 1])
    assert model.position == 0


def test_clients_take_matrices_and_frames(tmp_path: Path) -> None:
    model = OnlineSVM()
    named = [{f"c{j}": x for j, x in row.items()} for row in DICTS]
    samples = list(zip(DICTS + named, Y * 2, strict=True))
    model.learn(samples)
    frame = pandas.DataFrame(X, columns=["c0", "c1", "c2"])
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        client.learn(samples)
        for given, dicts in (
            (X, DICTS), (sparse.csc_array(X), DICTS), (frame, named),
            (polars.DataFrame(X, ["c0", "c1", "c2"]), named),
        ):  # fmt: skip
            assert client.predict(given).tobytes() == model.predict(dicts).tobytes()
            assert client.explain(given) == [model.explain(row) for row in dicts]
        with client.stream() as stream:
            stream.learn(X[:1], 1)
            stream.learn(frame[1:2], -1)
        model.learn([(DICTS[0], 1), (named[1], -1)])
        assert client.snapshot()["digest"] == model.snapshot().digest()


def test_without_narwhals_a_frame_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals.stable.v1", None)
    with pytest.raises(ImportError, match=r"need narwhals: pip install 'onlinesvm\[frames\]'"):
        OnlineSVM().predict(pandas.DataFrame({"a": [1.0]}))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (3, "expected an iterable of samples, a matrix or a frame, got int"),
        (None, "got NoneType"),
        ("free prize", "expected an iterable of samples, got a bare str"),
        (polars.LazyFrame({"a": [1.0]}), r"a frame in memory, got a LazyFrame: call collect\(\)"),
        (
            pandas.DataFrame({("a", "b"): [1.0]}),
            r"one name each, got \('a', 'b'\): join the levels",
        ),
        (np.zeros(1, dtype=[("a", int)]), r"an array of \[\('a', '<i8'\)\] of shape \(1,\)"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), "an array of datetime64"),
    ],
)
def test_samples_are_expected(given: Any, text: str) -> None:
    for call in (OnlineSVM().predict, OnlineSVM().decision_function, Client().predict):
        with pytest.raises(TypeError, match=text):
            call(given)


def test_columns_named_by_integers_are_those_of_the_array(kernel: Kernel) -> None:
    model = fitted(kernel)
    expected = model.predict(X).tolist()
    assert model.predict(pandas.DataFrame(X)).tolist() == expected
    turned = pandas.DataFrame(X[:, ::-1], columns=[2, 1, 0])
    assert model.predict(turned).tolist() == expected


def test_a_series_of_samples_is_an_iterable_of_them(kernel: Kernel) -> None:
    tokens = pandas.Series([["a", "b"], ["c"]])
    model, other = OnlineSVM(kernel=kernel.NAME), OnlineSVM(kernel=kernel.NAME)
    model.partial_fit(tokens, pandas.Series([1, -1]))
    other.learn(pandas.Series([(["a", "b"], 1), (["c"], -1)]))
    assert model.snapshot().digest() == other.snapshot().digest()
    assert model.predict(tokens).tolist() == other.predict(list(tokens)).tolist()
