"""Scoring by fixed weights: every path has the bits of a sum over a dictionary, on both kernels."""

from __future__ import annotations

import math
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from onlinesvm import OnlineSVM, Scorer
from onlinesvm import kernel as kernels
from onlinesvm.config import RULES, LearnerConfig, Limits
from onlinesvm.data import matrix
from onlinesvm.data.batch import CSR
from onlinesvm.data.objects import predict_batches
from onlinesvm.errors import LimitError, SampleError, SnapshotError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model import scorer as scoring
from onlinesvm.model.head import Head
from onlinesvm.model.padding import score_padded
from onlinesvm.model.scorer import PATHS, REDUCTIONS, pad, unpad
from tests.oracle import row_of
from tests.strategies import WIDE, configurations, features, samples

NORMALIZE = st.sampled_from(["none", "l2", "mean"])


def learned(kernel: Kernel, config: dict[str, Any], rows: list[tuple[Any, ...]]) -> OnlineSVM:
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    model.learn(rows)
    return model


def by_dictionary(model: OnlineSVM, asked: list[Any], reduce: str) -> bytes:
    """The bits of the margins by plain dictionaries, left to right, bias last."""
    weights = {n.encode("utf-8", "surrogateescape"): w for n, w in model.weights.items()}
    margins = []
    for given_features in asked:
        row = row_of(given_features)
        size = 1.0
        if reduce == "mean":
            size = float(len(row)) or 1.0
        elif reduce == "l2":
            squares = 0.0
            for x in row.values():
                squares += x * x
            size = math.sqrt(squares) or 1.0
        margin = 0.0
        for name, x in row.items():
            margin += weights.get(name, 0.0) * (x / size)
        margins.append(margin + model.bias)
    return np.array(margins, dtype=np.float64).tobytes()


# The bits.


@given(
    rows=st.lists(samples(), max_size=8),
    asked=st.lists(features(), max_size=8),
    config=configurations(),
    normalize=NORMALIZE,
)
def test_every_path_and_reduction_has_the_bits_of_the_dictionary(
    kernel: Kernel,
    rows: list[tuple[Any, ...]],
    asked: list[Any],
    config: dict[str, Any],
    normalize: str,
) -> None:
    model = learned(kernel, {**config, "normalize": normalize}, rows)
    live = model.decision_function(asked).tobytes()
    scorer = Scorer(model)
    assert scorer.reduce == ("sum" if normalize == "none" else normalize)
    for path in PATHS:
        assert scorer.score(asked, path=path).tobytes() == live
        for reduce in REDUCTIONS:
            expected = by_dictionary(model, asked, reduce)
            assert scorer.score(asked, path=path, reduce=reduce).tobytes() == expected
            assert scorer.score(scorer.rows(asked), path=path, reduce=reduce).tobytes() == expected
    assert by_dictionary(model, asked, scorer.reduce) == live
    # By the copy that the model itself makes of its weights, too.
    model.freeze()
    assert model.decision_function(asked).tobytes() == live


def ids(most: int = 40) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(0, most), st.sampled_from([0, 2**31 - 2]))


def numbers() -> st.SearchStrategy[float]:
    tiny = [0.0, -0.0, 5e-324, -5e-324, 1e-50, -1.0, 1.0, 0.1, -0.1, 0.2, 1e50, -1e50]
    return st.one_of(st.sampled_from(tiny), st.floats(-1e50, 1e50))


@st.composite
def csrs(draw: st.DrawFn) -> CSR:
    """Rows over ids, known and unknown; a long one now and then, where an order shows."""
    rows = draw(st.lists(st.lists(st.tuples(ids(), numbers()), max_size=12), max_size=9))
    if draw(st.booleans()):
        drawn = np.random.default_rng(draw(st.integers(0, 9)))
        n = draw(st.integers(100, 400))
        rows.append(list(zip(drawn.integers(0, 41, n).tolist(), drawn.normal(size=n).tolist(),
                             strict=True)))  # fmt: skip
    skipped = draw(st.integers(0, 2))  # what stands before the first row belongs to none
    elements = [(7, 7.0)] * skipped + [element for row in rows for element in row]
    return CSR(
        np.cumsum([skipped, *map(len, rows)]).astype(np.int64),
        np.array([i for i, _ in elements], dtype=np.int32),
        np.array([x for _, x in elements], dtype=np.float64),
    )


def one_by_one(csr: CSR, weights: NDArray[np.float64], bias: float) -> bytes:
    margins = []
    for start, end in zip(csr.indptr[:-1].tolist(), csr.indptr[1:].tolist(), strict=True):
        margin = 0.0
        for i, x in zip(csr.indices[start:end].tolist(), csr.data[start:end].tolist(), strict=True):
            margin += float(weights[i]) * x if i < len(weights) else 0.0
        margins.append(margin + bias)
    return np.array(margins, dtype=np.float64).tobytes()


@given(csr=csrs(), drawn=st.lists(numbers(), max_size=30), bias=numbers())
def test_products_add_left_to_right_from_zero(
    kernel: Kernel, csr: CSR, drawn: list[float], bias: float
) -> None:
    weights = np.array([0.0, *drawn])
    expected = one_by_one(csr, weights, bias)
    assert kernel.score_fixed(csr, weights, bias).tobytes() == expected
    assert score_padded(csr, weights, bias).tobytes() == expected
    assert scoring._score_by_scipy(csr, weights, bias).tobytes() == expected


@pytest.mark.parametrize("n", [3, 2**20 + 50])
def test_products_of_all_sizes(kernel: Kernel, n: int) -> None:
    """Few weights, and so many that they are asked for ahead; short rows and long, to the last."""
    drawn = np.random.default_rng(n)
    weights = np.concatenate(([0.0], drawn.normal(size=n)))
    lengths = np.concatenate((drawn.integers(0, 46, 300), [0, 1, 700, 0, 95, 96, 97]))
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    csr = CSR(
        indptr.astype(np.int64),
        drawn.integers(0, n + 20, indptr[-1]).astype(np.int32),
        drawn.normal(size=indptr[-1]),
    )
    expected = one_by_one(csr, weights, 0.25)
    for score in (kernel.score_fixed, score_padded, scoring._score_by_scipy):
        assert score(csr, weights, 0.25).tobytes() == expected
        for end in (0, 1, 2, 17):
            few = csr._replace(indptr=csr.indptr[: end + 1])
            assert score(few, weights, 0.25).tobytes() == expected[: 8 * end]


def test_a_product_that_fuses_its_steps_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = learned(kernels.load("python"), {"rule": "sgd"}, [(["a", "b"], 1)])
    asked = [["a"] * 3, ["b", "c"]]
    expected = model.decision_function(asked).tobytes()

    def fused(*_: Any) -> Any:
        raise AssertionError("used")

    monkeypatch.setattr(scoring, "_score_by_scipy", fused)
    with pytest.raises(AssertionError):
        Scorer(model).score(asked, path="csr")
    monkeypatch.setattr(scoring, "_scipy_rounds_each_step", lambda: False)
    assert Scorer(model).score(asked, path="csr").tobytes() == expected


# Matrices.


@pytest.mark.parametrize("normalize", ["none", "l2", "mean"])
def test_a_matrix_is_scored_as_decision_function_does(
    kernel: Kernel, normalize: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = np.random.default_rng(3)
    X = sparse.random_array((60, 40), density=0.2, rng=drawn, format="csr")  # noqa: N806
    y = drawn.choice([-1, 1], 60)
    model = OnlineSVM(kernel=kernel.NAME, normalize=normalize).partial_fit(X[:, :30], y)
    expected = model.score_batch(matrix.rows_of_columns(matrix.columns_of(X, model.limits), kernel))
    for piece in (2**18, 50, 1):  # in pieces as in one
        monkeypatch.setattr(matrix, "_PIECE", piece)
        monkeypatch.setattr(scoring, "_PIECE", piece)
        assert model.decision_function(X).tobytes() == expected.tobytes()
        for path in PATHS:
            for given_matrix in (X, X.tocsc(), X.toarray()):
                margins = Scorer(model).score(given_matrix, path=path)
                assert margins.tobytes() == expected.tobytes()
    assert Scorer(model).score(sparse.csr_array((0, 40))).shape == (0,)
    # A list of lists is a list of samples, as for predict.
    assert (
        Scorer(model).score([["1", 2]]).tobytes() == model.decision_function([["1", 2]]).tobytes()
    )


def test_a_fault_in_a_later_piece_is_named_by_its_row(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "_PIECE", 4)
    scorer = Scorer(OnlineSVM(kernel=kernel.NAME))
    X = np.ones((9, 2))  # noqa: N806
    X[7, 1] = np.nan
    for given_matrix in (X, sparse.csr_array(X)):
        with pytest.raises(SampleError, match=r"finite number, got nan at X\[7\]\[1\]"):
            scorer.score(given_matrix)
    scorer.limits = Limits(max_features_per_sample=1)
    X[7, 1], X[:7, 1] = 1.0, 0.0
    for given_matrix in (X, sparse.csr_array(X)):
        with pytest.raises(LimitError, match=r"at most 1 features a sample, got 2 at X\[7\]"):
            scorer.score(given_matrix)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("reduce", ["sum", "l2"])
def test_a_large_request_takes_little_memory(kernel: Kernel, path: str, reduce: str) -> None:
    n, length = 20_000, 50
    drawn = np.random.default_rng(1)
    X = sparse.csr_array(  # noqa: N806 - 12 MB
        (np.ones(n * length), drawn.integers(0, 1000, n * length), np.arange(n + 1) * length)
    )
    scorer = Scorer(learned(kernel, {"rule": "sgd"}, [(["1", "2", "3"], 1)]))
    scorer.score(X[:600], path=path, reduce=reduce)
    rows = CSR(X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data)
    # The Python kernel's lookup makes an object of each column's name; the limits bound those.
    for asked in (rows, X) if kernel.NAME == "native" else (rows,):
        tracemalloc.start()
        scorer.score(asked, path=path, reduce=reduce)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 * 2**20, f"{peak:,} bytes"


# Padding.


@given(csr=csrs())
def test_unpadding_gives_the_rows_back(csr: CSR) -> None:
    ids, values, lengths = pad(csr)
    assert (ids.dtype, values.dtype, lengths.dtype) == (np.int32, np.float64, np.int64)
    assert ids.shape == values.shape == (len(lengths), max(lengths, default=0))
    back = unpad(ids, values, lengths)
    first, end = int(csr.indptr[0]), int(csr.indptr[-1])
    assert (back.indptr == csr.indptr - first).all()
    assert back.indices.tobytes() == csr.indices[first:end].tobytes()
    assert back.data.tobytes() == csr.data[first:end].tobytes()
    for array, again in zip((ids, values, lengths), pad(back), strict=True):
        assert (array.dtype, array.shape) == (again.dtype, again.shape)
        assert array.tobytes() == again.tobytes()
    padding = np.arange(ids.shape[1]) >= lengths[:, None]
    assert not ids[padding].any()
    assert values[padding].tobytes() == bytes(8 * int(padding.sum()))


def test_what_was_not_padded_is_not_unpadded() -> None:
    ids, values, lengths = pad(CSR(np.array([0, 2]), np.array([3, 4]), np.array([1.0, 2.0])))
    with pytest.raises(ValueError, match=r"got shapes \(1, 2\), \(1, 1\) and \(1,\)"):
        unpad(ids, values[:, :1], lengths)
    for length in (-1, 3):
        with pytest.raises(ValueError, match="lengths: expected numbers from 0 to 2, got"):
            unpad(ids, values, np.array([length]))


@given(rows=st.lists(samples(), max_size=8), config=configurations(), normalize=NORMALIZE)
def test_pad_never_moves(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any], normalize: str
) -> None:
    for most in (10_000, 2):  # at the bound, new features are as if absent
        model = OnlineSVM(
            kernel=kernel.NAME,
            limits=replace(WIDE, max_features=most),
            **{**config, "normalize": normalize},
        )
        for row in rows:
            model.learn([row])
            model.decision_function([["never seen", "nor this"]])
        again = OnlineSVM.from_snapshot(model.snapshot(), kernel=kernel.NAME)
        for held in (model, again):
            assert np.float64(held.head.rule.feature(0)[0]).tobytes() == bytes(8)
            weights = Scorer(held).weights
            assert weights[0].tobytes() == bytes(8)
            assert weights.shape == (len(held.lookup) + 1,)
            assert held.decision_function([["never seen"]]).tolist() == [held.bias + 0.0]


@given(csr=csrs(), data=st.data(), config=configurations())
def test_padded_and_ragged_learning_give_the_same_model(
    kernel: Kernel, csr: CSR, data: st.DataObject, config: dict[str, Any]
) -> None:
    first, n = int(csr.indptr[0]), len(csr.indptr) - 1
    known = (csr.indices % 40 + 1).astype(np.int32)[first:]
    # A feature stands once in a row, as the lookup gives it.
    lengths, kept = [], []
    for start, end in zip(csr.indptr[:-1] - first, csr.indptr[1:] - first, strict=True):
        places = sorted({int(i): k for k, i in enumerate(known[start:end], int(start))}.values())
        kept += places
        lengths.append(len(places))
    values = np.clip(csr.data[first:][kept], -1e6, 1e6)
    values[np.abs(values) < 1e-50] = 0.5  # no value of a sample
    ragged = CSR(np.cumsum([0, *lengths]).astype(np.int64), known[kept], values)
    ids, cells, _ = pad(ragged)
    width = ids.shape[1]
    padded = CSR(np.arange(n + 1, dtype=np.int64) * width, ids.ravel(), cells.ravel())
    labels = np.array(data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=n, max_size=n)))
    one, other = (Head(kernel, LearnerConfig(**config)).rule for _ in range(2))
    for _ in range(2):
        margins = one.learn(ragged, labels, np.ones(n))
        assert other.learn(padded, labels, np.ones(n)).tobytes() == margins.tobytes()
    assert one.score(ragged).tobytes() == other.score(padded).tobytes()
    view, view_of_other = one.view(40), other.view(40)
    assert view.scalars == view_of_other.scalars
    arrays, others = view.arrays(), view_of_other.arrays()
    for name in arrays:
        assert arrays[name].tobytes() == others[name].tobytes(), name
    assert np.float64(other.feature(0)[0]).tobytes() == bytes(8)


@pytest.mark.parametrize("rule", RULES)
def test_padding_has_no_gradient(kernel: Kernel, rule: str) -> None:
    """Of the batch [[1,1,2,6,0], [1,5,5,0,0]] over 7 features, the ids 0, 3 and 4 stay at 0."""
    batch = [[1, 1, 2, 6, 0], [1, 5, 5, 0, 0]]
    cells = [[float(i > 0) for i in row] for row in batch]
    padded = CSR(
        np.array([0, 5, 10]), np.array(batch, dtype=np.int32).ravel(), np.array(cells).ravel()
    )
    model = Head(kernel, LearnerConfig(rule=rule, bias=False)).rule
    model.learn(padded, np.array([1.0, -1.0]), np.ones(2))
    moved = {i for i in range(7) if model.feature(i)[0] != 0.0}
    # 1 is in both, and may have been moved back to where it was.
    assert {2, 5, 6} <= moved <= {1, 2, 5, 6}
    assert 1 in moved or rule != "sgd"


def test_means_and_norms_are_over_all_features(kernel: Kernel) -> None:
    model = learned(kernel, {"rule": "sgd", "eta0": 1.0}, [({"a": 3.0, "b": 4.0}, 1)])
    asked = [{"a": 1, "b": 1}, {"a": 1}, {"a": 3, "never": 4}, []]
    for path in PATHS:
        scorer = Scorer(model)
        assert scorer.score(asked, path=path, reduce="sum").tolist() == [8.0, 4.0, 10.0, 1.0]
        assert scorer.score(asked, path=path, reduce="mean").tolist() == [4.5, 4.0, 5.5, 1.0]
        assert scorer.score(asked, path=path, reduce="l2").tolist() == pytest.approx(
            [1 + 7 / math.sqrt(2), 4.0, 1 + 9 / 5, 1.0], rel=1e-15
        )


# Fixed weights, and their sources.


def test_a_scorer_never_changes(kernel: Kernel) -> None:
    model = learned(kernel, {"rule": "hedge"}, [(["a", "b"], 1), (["c"], -1)] * 3)
    scorer, asked = Scorer(model), [["a"], ["c", "d"], ["d", "d"], []]
    before, weights = scorer.score(asked), scorer.weights.copy()
    model.learn([(["a", "d"], -1), (["c", "d", "e"], 1)] * 5)
    for path in PATHS:
        assert scorer.score(asked, path=path).tobytes() == before.tobytes()
    assert scorer.weights.tobytes() == weights.tobytes()
    assert scorer.position == 6
    assert model.decision_function(asked).tobytes() != before.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        scorer.weights[1] = 7.0


def test_a_scorer_keeps_the_names_that_a_prune_drops(kernel: Kernel) -> None:
    model = OnlineSVM(
        rule="sgd", max_features_policy="prune", limits=Limits(max_features=4), kernel=kernel.NAME
    )
    model.learn([(["a"], 1), (["b"], -1), (["c", "d"], 1)] * 2)
    scorer, asked = Scorer(model), [["a"], ["b"], ["c"], ["d", "e"]]
    before = model.decision_function(asked)
    model.freeze()
    assert model.decision_function(asked).tobytes() == before.tobytes()
    model.learn([(["e", "f"], -1), (["g", "h"], 1)])
    assert model.pruning.prunes
    assert model.decision_function(asked).tobytes() != before.tobytes()
    assert scorer.score(asked).tobytes() == before.tobytes()


def test_a_loaded_model_is_frozen_until_it_learns(kernel: Kernel, tmp_path: Path) -> None:
    model = learned(kernel, {}, [(["a", "b", "c"], 1), (["c", "d"], -1)] * 3)
    model.save(tmp_path / "model.msgpack")
    loaded = OnlineSVM.load(tmp_path / "model.msgpack", kernel=kernel.NAME)
    asked = [["a", "c"], ["d", "e"]]
    assert loaded.decision_function(asked).tobytes() == model.decision_function(asked).tobytes()
    assert (loaded._scorer is not None, model._scorer) == (True, None)
    for held in (model, loaded):
        held.learn_one(["a", "e"], -1)
        assert held._scorer is None
    assert (
        loaded.decision_function(asked * 9).tobytes()
        == model.decision_function(asked * 9).tobytes()
    )
    for held in (model, loaded):
        before = held.decision_function(asked)
        held.freeze()
        assert held.decision_function(asked).tobytes() == before.tobytes()
        held.partial_fit(np.array([[0.0, 2.0]]), [1])
        assert held._scorer is None
    assert (
        loaded.decision_function(asked * 9).tobytes()
        == model.decision_function(asked * 9).tobytes()
    )


def twice(model: OnlineSVM, rows: list[tuple[Any, ...]]) -> NDArray[np.float64]:
    model.learn(rows)
    return model.learn(rows)


@given(parts=st.lists(st.lists(samples(), max_size=4), max_size=5), config=configurations())
def test_a_model_that_is_asked_and_learns_in_turn_scores_as_it_stands(
    kernel: Kernel, parts: list[list[tuple[Any, ...]]], config: dict[str, Any]
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    for rows in parts:
        model.learn(rows)
        asked = [features for features, *_ in rows]
        loaded = OnlineSVM.from_snapshot(model.snapshot(), kernel=kernel.NAME)
        for _ in range(2):  # by the state, then by a copy
            live = np.concatenate(
                [
                    model.head.rule.score(model._lookup.ids(batch))
                    for batch in predict_batches(asked, model.kernel, model.limits)
                ]
                or [np.empty(0)]
            )
            assert model.decision_function(asked).tobytes() == live.tobytes()
            assert loaded.decision_function(asked).tobytes() == live.tobytes()
            loaded.freeze()
        loaded.learn(rows)
        assert loaded.learn(rows).tobytes() == twice(model, rows).tobytes()
        before = model.decision_function(asked)
        model.freeze()
        assert model.decision_function(asked).tobytes() == before.tobytes()


@given(rows=st.lists(samples(), max_size=6), config=configurations(), normalize=NORMALIZE)
def test_a_snapshot_scores_as_the_model(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any], normalize: str
) -> None:
    model = learned(kernel, {**config, "normalize": normalize}, rows)
    asked = [features for features, *_ in rows]
    expected = model.decision_function(asked).tobytes()
    for name in kernels.KERNELS:
        scorer = Scorer(model.snapshot(), kernel=name)
        assert (scorer.kernel.NAME, scorer.position) == (name, model.position)
        assert scorer.score(asked).tobytes() == expected


def test_a_snapshot_file_scores_or_is_refused(kernel: Kernel, tmp_path: Path) -> None:
    model = learned(kernel, {"rule": "arow"}, [(["a", "b"], 1), ({"c": 2}, -1)])
    path = tmp_path / "model.msgpack"
    model.save(path)
    for source in (path, str(path)):
        scorer = Scorer(source, kernel=kernel.NAME)
        assert (
            scorer.score([["a"], ["c"]]).tobytes()
            == model.decision_function([["a"], ["c"]]).tobytes()
        )
    with pytest.raises(FileNotFoundError):
        Scorer(tmp_path / "none")
    taken = model.snapshot()
    taken.arrays["weights"][0] = np.nan
    with pytest.raises(SnapshotError, match="weights"):
        Scorer(taken, kernel=kernel.NAME)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SnapshotError, match=r"model\.msgpack: "):
        Scorer(path)


def test_threads_score_while_another_learns(kernel: Kernel) -> None:
    model = learned(kernel, {"rule": "sgd"}, [(["a", "b"], 1)] * 3)
    scorer, asked = Scorer(model), [["a"], ["b", "n7"]] * 20
    expected, wrong = scorer.score(asked).tobytes(), []

    def score() -> None:
        for _ in range(30):
            if scorer.score(asked).tobytes() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=score) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(60):
        model.learn([([f"n{i}", "a"], 1)])
        model.decision_function(asked)
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert not wrong
    assert model.decision_function(asked).tobytes() == Scorer(model).score(asked).tobytes()


# Errors.


def csr(indptr: Any, indices: Any, data: Any) -> CSR:
    return CSR(np.array(indptr, np.int64), np.array(indices, np.int32), np.array(data, np.float64))


ENDS = "indptr: expected ends of rows that rise within the elements"
IDS = "indices: expected ids from 0 to 2147483646, got "
ZERO = "weights: expected 0 for PAD, got ["
ONE = "expected an array of 1 dimension, got one of 2"


@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        (csr([], [], []), [0.0], "indptr: expected an element at least, got none"),
        (csr([0, 2], [1], [1.0]), [0.0], ENDS),
        (csr([0, 1], [1, 2], []), [0.0], ENDS),
        (csr([-1, 1], [1], [1.0]), [0.0], ENDS),
        (csr([0, 1, 0], [1], [1.0]), [0.0], ENDS),
        (csr([0, 1], [-1], [1.0]), [0.0], IDS),
        (csr([0, 1], [2**31 - 1], [1.0]), [0.0], IDS),
        (csr([0, 1], [-1], [1.0]), [], ZERO),
        (csr([0, 0], [], []), [1.0, 2.0], ZERO),
        (csr([0, 0], [], []), [np.nan], ZERO),
        (csr([[0, 0]], [], []), [0.0], ONE),
        (csr([0, 0], [], []), [[0.0]], ONE),
    ],
)
def test_rows_and_weights_that_cannot_be_such_are_refused(
    kernel: Kernel, rows: CSR, weights: list[float], message: str
) -> None:
    products: list[Callable[..., Any]] = [
        kernel.score_fixed,
        score_padded,
        scoring._score_by_scipy,
    ]
    for score in products:
        if score is scoring._score_by_scipy and weights != [0.0]:
            continue  # which is given a Scorer's own
        with pytest.raises(ValueError) as caught:
            score(rows, np.array(weights), 0.0)
        assert str(caught.value).startswith(message)


def test_wrong_arguments_are_refused(kernel: Kernel) -> None:
    scorer = Scorer(OnlineSVM(kernel=kernel.NAME))
    with pytest.raises(ValueError, match="path: expected one of auto, csr, padded, got 'gpu'"):
        scorer.score([["a"]], path="gpu")
    with pytest.raises(ValueError, match="reduce: expected one of sum, mean, l2, got 'max'"):
        scorer.score_csr(csr([0], [], []), reduce="max")
    with pytest.raises(TypeError, match="expected an iterable of samples, got a bare str"):
        scorer.score("ab")
    with pytest.raises(SampleError, match=r"finite number, got nan at \$\[1\]"):
        scorer.score([["a"], {"b": math.nan}])
    with pytest.raises(TypeError, match="matrix \\[n, m\\], got an array of float64 of shape"):
        scorer.score(np.ones(3))
    for path in PATHS:
        assert scorer.score([], path=path).shape == (0,)
        assert scorer.score([[], []], path=path).tolist() == [0.0, 0.0]
    assert scorer.rows([]).indptr.tolist() == [0]


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        (np.array([2**32 + 1]), [1.0], IDS),
        (np.array([-(2**32) + 1]), [1.0], IDS),
        (np.array([1.9]), [1.0], "expected integers, got int64 and float64"),
        (np.array([1]), [1j], "data: expected real numbers, got complex128"),
    ],
)
def test_ids_are_looked_at_before_they_are_cut(
    kernel: Kernel, ids: Any, values: list[Any], message: str
) -> None:
    rows = CSR(np.array([0, 1]), ids, np.array(values))
    with pytest.raises(ValueError, match=message):
        Scorer(OnlineSVM(kernel=kernel.NAME)).score(rows)


def test_a_model_is_expected() -> None:
    with pytest.raises(TypeError, match="expected a model, a Snapshot or the path of one, got int"):
        Scorer(5)  # type: ignore[arg-type]
