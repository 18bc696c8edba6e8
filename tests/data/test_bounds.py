"""The bounds of values and importances: refused by name, or clipped, alike by every way in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from onlinesvm import Limits, OnlineSVM, Scorer
from onlinesvm.data.bounds import UNBOUNDED, Bounds
from onlinesvm.errors import FormatError, SampleError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.readers.reader import Reader
from tests.strategies import samples, values

BOUNDED = Limits(max_value=4.0, max_importance=2.0)
CLIPPING = Limits(max_value=4.0, max_importance=2.0, clip=True)
VALUE = "expected a number of magnitude at most 4 (max_value), got"
IMPORTANCE = "expected an importance from 0 to 2 (max_importance), got"

ROWS: list[Any] = [
    ({"a": 4.0, "b": -4.0}, 1, 2.0), ({"a": 9.0, "b": -1e50, "c": 0.5}, -1, 1.0),
    ({"b": 5}, 1, 1e50), ({"a": -4.5, "c": 2**63}, -1, 2.5), (["a", "c"], 1, 0.0),
]  # fmt: skip
CLIPPED: list[Any] = [
    ({"a": 4.0, "b": -4.0}, 1, 2.0), ({"a": 4.0, "b": -4.0, "c": 0.5}, -1, 1.0),
    ({"b": 4.0}, 1, 2.0), ({"a": -4.0, "c": 4.0}, -1, 2.0), (["a", "c"], 1, 0.0),
]  # fmt: skip


def newborn(kernel: Kernel, limits: Limits) -> OnlineSVM:
    return OnlineSVM(rule="sgd", limits=limits, kernel=kernel.NAME)


@given(number=values())
def test_a_number_fits_is_clipped_or_is_refused(number: float) -> None:
    for bounds in (
        UNBOUNDED,
        Bounds.of(BOUNDED, labelled=True),
        Bounds.of(CLIPPING, labelled=True),
    ):
        fitting = bounds.fit_value(number)
        if abs(number) <= bounds.value:
            assert fitting == number
        elif bounds.clips:
            assert fitting == np.copysign(bounds.value, number)
        else:
            assert fitting is None
        fitting = bounds.fit_importance(number)
        if number < 0:
            assert fitting is None
        elif number > bounds.importance:
            assert fitting == (bounds.importance if bounds.clips else None)
    for wrong in (float("nan"), float("inf"), -float("inf"), 1.1e50, -1.1e50):
        assert Bounds.of(CLIPPING, labelled=True).fit_value(wrong) is None
        assert Bounds.of(CLIPPING, labelled=True).fit_importance(wrong) is None


def test_clipping_learns_the_numbers_at_the_bounds(kernel: Kernel) -> None:
    model, other = newborn(kernel, CLIPPING), newborn(kernel, BOUNDED)
    assert model.learn(ROWS).tolist() == other.learn(CLIPPED).tolist()
    one = newborn(kernel, CLIPPING)
    for row in ROWS:
        one.learn_one(*row)
    assert model.snapshot().digest() == other.snapshot().digest() == one.snapshot().digest()


def test_a_clipping_model_clips_what_it_predicts(kernel: Kernel) -> None:
    model = newborn(kernel, CLIPPING)
    model.learn(ROWS)
    asked = [row[0] for row in ROWS]
    expected = model.predict([row[0] for row in CLIPPED]).tolist()
    assert model.predict(asked).tolist() == expected
    assert [model.predict_one(features) for features in asked] == expected
    assert [model.explain(features).margin for features in asked] == expected
    assert Scorer(model).score(asked).tolist() == expected
    for limits in (None, CLIPPING):
        taken = OnlineSVM.from_bytes(model.to_bytes(), limits=limits, kernel=kernel.NAME)
        assert taken.predict(asked).tolist() == expected
        assert Scorer.from_bytes(Scorer(model).to_bytes()).score(asked).tolist() == expected


def test_a_bounding_model_predicts_whatever_it_would_not_learn(kernel: Kernel) -> None:
    model = newborn(kernel, BOUNDED)
    model.learn([({"a": 1.0}, 1)])
    assert model.predict([{"a": 1000.0}]).tolist() == [100.1]
    assert model.decision_function(np.array([[1000.0]])).tolist() == [0.1]


@pytest.mark.parametrize(
    ("row", "message", "path"),
    [
        (({"a": 4.5}, 1), f"{VALUE} 4.5", '[0]["a"]'),
        (({"b": 1, "a": -5}, 1), f"{VALUE} -5", '[0]["a"]'),
        (({"a": 2e50}, 1), f"{VALUE} 2e+50", '[0]["a"]'),
        ((["a"], 1, 2.5), f"{IMPORTANCE} 2.5", "[2]"),
        ((["a"], 1, 1e50), f"{IMPORTANCE} 1e+50", "[2]"),
    ],
)
def test_a_sample_beyond_the_bounds_is_refused_by_name(
    kernel: Kernel, row: Any, message: str, path: str
) -> None:
    model = newborn(kernel, BOUNDED)
    before = model.snapshot().digest()
    with pytest.raises(SampleError) as caught:
        model.learn([(["b"], 1), row])
    assert str(caught.value) == f"{message} at $[1]{path}"
    assert model.snapshot().digest() == before


@given(rows=st.lists(samples(), max_size=6), clip=st.booleans())
def test_both_kernels_bound_alike(rows: list[Any], clip: bool) -> None:
    limits = CLIPPING if clip else BOUNDED
    outcomes = []
    for name in ("native", "python"):
        model = OnlineSVM(limits=limits, kernel=name)
        try:
            margins = model.learn(rows).tolist()
        except SampleError as error:
            margins = [str(error)]
        outcomes.append((margins, model.snapshot().digest()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("make", [np.array, sparse.csr_array, sparse.csc_matrix])
def test_a_matrix_is_bounded_as_samples_are(kernel: Kernel, make: Any) -> None:
    X = np.array([[9.0, 0.0, 1.0], [0.5, -1e50, 0.0], [4.0, 2.0, -4.0]])  # noqa: N806
    y, weights = np.array([1, -1, 1]), np.array([1.0, 2.5, 0.0])
    given_matrix = make(X)
    model, other = newborn(kernel, CLIPPING), newborn(kernel, BOUNDED)
    model.partial_fit(given_matrix, y, weights)
    other.partial_fit(make(np.clip(X, -4, 4)), y, np.minimum(weights, 2.0))
    assert model.snapshot().digest() == other.snapshot().digest()
    assert model.decision_function(given_matrix).tolist() == (
        other.decision_function(make(np.clip(X, -4, 4))).tolist()
    )
    assert np.array_equal(np.asarray(given_matrix.todense() if make is not np.array else X), X)
    refusing = newborn(kernel, BOUNDED)
    with pytest.raises(SampleError) as caught:
        refusing.partial_fit(given_matrix, y)
    assert str(caught.value) == f"{VALUE} 9.0 at X[0][0]"
    with pytest.raises(SampleError) as caught:
        refusing.partial_fit(make(np.clip(X, -4, 4)), y, weights)
    assert str(caught.value) == f"{IMPORTANCE} 2.5 at sample_weight[1]"
    for wrong in (2e50, np.inf, np.nan):
        with pytest.raises(SampleError, match="got"):
            model.partial_fit(make(np.array([[wrong]])), [1])
        with pytest.raises(SampleError, match="got"):
            model.partial_fit(make(np.array([[1.0]])), [1], [wrong])


LINES = {
    "svmlight": "+1 a:1\n+1 b:1 a:{}\n",
    "vw": "+1 | a:1\n-1 1 |n:2 x |m b a:{}\n",
    "json": '{{"label":1,"features":["a"]}}\n{{"label":1,"features":{{"a":{}}}}}\n',
    "csv": "label,a\n1,{}\n",
}


@pytest.mark.parametrize("format", LINES)
def test_a_file_is_bounded_as_samples_are(kernel: Kernel, tmp_path: Path, format: str) -> None:
    template = LINES[format]
    column = {"label_column": "label"} if format == "csv" else {}

    def read(number: str, limits: Limits, **options: Any) -> list[float]:
        path = tmp_path / "f"
        path.write_text(template.format(number))
        reader = Reader(path, format=format, limits=limits, kernel=kernel.NAME, **column, **options)
        return [value for batch in reader for value in batch.values]

    for number in ("4.5", "-9", "1e50"):
        with pytest.raises(FormatError) as caught:
            read(number, BOUNDED)
        assert f"line 2: {VALUE} " in str(caught.value)
        clipped = "-4.0" if number == "-9" else "4.0"
        assert read(number, CLIPPING) == read(clipped, BOUNDED)
        assert read(number, BOUNDED, labelled=False) == read(number, Limits())
        assert read(number, CLIPPING, labelled=False) == read(clipped, BOUNDED)
    for number in ("2e50", "-1e60"):
        with pytest.raises(FormatError, match=r"at most 1e\+50"):
            read(number, CLIPPING)


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("vw", "+1 {} | a\n"),
        ("json", '{{"label":1,"importance":{},"features":["a"]}}\n'),
    ],
)
def test_importances_of_files_are_bounded(
    kernel: Kernel, tmp_path: Path, format: str, line: str
) -> None:
    path = tmp_path / "f"
    for number, expected in (("2", 2.0), ("2.5", 2.0), ("1e50", 2.0), ("0", 0.0)):
        path.write_text(line.format(number))
        (batch,) = Reader(path, format=format, limits=CLIPPING, kernel=kernel.NAME)
        assert list(batch.importances) == [expected]
        if number in ("2.5", "1e50"):
            with pytest.raises(FormatError) as caught:
                list(Reader(path, format=format, limits=BOUNDED, kernel=kernel.NAME))
            assert f"line 1: {IMPORTANCE} " in str(caught.value)


def test_a_namespace_weight_counts_in_the_value(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("+1 |n:100 a:0.04 b:0.05\n")
    (batch,) = Reader(path, format="vw", limits=CLIPPING, kernel=kernel.NAME)
    assert list(batch.values) == [4.0, 4.0]
    with pytest.raises(FormatError) as caught:
        list(Reader(path, format="vw", limits=BOUNDED, kernel=kernel.NAME))
    assert f'{VALUE[:-5]} after the namespace\'s weight, got 5.0 in "b:0.05"' in str(caught.value)


def test_a_body_is_clipped_in_every_form_of_a_number(kernel: Kernel) -> None:
    body = msgpack.packb([[1, {b"a": number}] for number in (5, -5, 2**63, 4.5, -1e50, 3, 4)])
    batch = kernel.decode(body, CLIPPING, labelled=True)
    assert list(batch.values) == [4.0, -4.0, 4.0, 4.0, -4.0, 3.0, 4.0]
    assert list(kernel.decode(body, CLIPPING, labelled=True).importances) == [1.0] * 7


@pytest.mark.parametrize("rule", ["sgd", "nag", "arow"])
def test_one_sample_cannot_ruin_a_model(kernel: Kernel, rule: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6_000, 5))  # noqa: N806
    y = np.where(X @ [2.0, -1.0, 0.5, -0.5, 0.2] > 0, 1, -1)
    poison = {"0": 1e9}

    def error_after(limits: Limits) -> float:
        model = OnlineSVM(rule=rule, limits=limits, kernel=kernel.NAME)
        model.partial_fit(X[:2_000], y[:2_000])
        if limits.max_value is None and not limits.clip:
            with pytest.raises(SampleError, match=r"at most 32 \(max_value\), got 1000000000"):
                model.learn_one(poison, -1)
        else:
            model.learn_one(poison, -1)
        model.partial_fit(X[2_000:5_000], y[2_000:5_000])
        return float(np.mean(np.sign(model.decision_function(X[5_000:])) != y[5_000:]))

    assert error_after(Limits(max_value=1e50)) > 0.25
    assert error_after(Limits()) < 0.05
    assert error_after(Limits(clip=True)) < 0.2


def test_bounds_are_kept_in_a_snapshot(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "m.msgpack"
    for limits in (Limits(), BOUNDED, CLIPPING, Limits(clip=True)):
        model = newborn(kernel, limits)
        model.save(path)
        unpacker = msgpack.Unpacker()
        unpacker.feed(path.read_bytes())
        header = unpacker.unpack()
        assert ("bounds" in header) == (limits != Limits())
        loaded = OnlineSVM.load(path, kernel=kernel.NAME)
        assert loaded.limits.bounds == model.limits.bounds
        assert OnlineSVM.load(path, limits=Limits(), kernel=kernel.NAME).limits.bounds == (
            32.0, 32.0, False,
        )  # fmt: skip
