"""The two kernels side by side: same columns, rows, bits, errors and snapshots.

What each has to do is tested elsewhere, on both; here they are compared, as two implementations
drift where nobody looks. The compiled one also has memory of its own to account for.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from onlinesvm import LearnerConfig, Limits, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.data.batch import CSR, Batch
from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import any_label_of, label_of
from onlinesvm.data.matrix import Targets
from onlinesvm.errors import SampleError, SnapshotError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.metrics.progressive import TOTALS
from onlinesvm.model.head import Head
from onlinesvm.model.mappings import names_of
from tests.strategies import WIDE, bodies, configurations, names, samples


class Kernels(NamedTuple):
    native: Kernel
    python: Kernel


@pytest.fixture(scope="session", params=["native"])
def both() -> Kernels:
    """Both kernels; an error, no skip, where the compiled one is missing (-k 'not native')."""
    return Kernels(kernels.load("native"), kernels.load("python"))


def outcome(call: Callable[[], Any]) -> Any:
    """The result of `call`, or the type and text of what it raises."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


def decoded(
    kernel: Kernel, indptr: Any, columns: Any, data: Any, targets: Targets | None = None
) -> Any:
    """Rows of a matrix as the kernel's batch."""
    ends = np.array(indptr, dtype=np.int64)
    return kernel.decode_columns(ends, np.array(columns), np.array(data, dtype=float), targets)


def same(arrays: CSR, others: CSR) -> None:
    for array, other in zip(arrays, others, strict=True):
        assert array.dtype == other.dtype
        assert array.tobytes() == other.tobytes()


def batches(both: Kernels, body: bytes) -> tuple[Any, Any]:
    return both.native.decode(body, Limits(), labelled=True), both.python.decode(
        body, Limits(), labelled=True
    )


def body_of(rows: list[tuple[float, list[Any]]]) -> bytes:
    """(importance, names) rows as a learn body."""
    batch = Batch()
    for importance, row in rows:
        raw = [name if isinstance(name, bytes) else str(name).encode() for name in row]
        batch.append(label_of(1), importance, raw, [1.0] * len(row))
    return kernels.load("python").encode(batch, labelled=True)


# Rows.


@given(
    data=st.data(),
    parts=st.lists(st.lists(samples(), max_size=5), max_size=4),
    most=st.sampled_from([0, 1, 3, 100]),
)
def test_the_same_rows_and_ids(
    both: Kernels, data: st.DataObject, parts: list[list[tuple[Any, ...]]], most: int
) -> None:
    native, python = both.native.Lookup(most), both.python.Lookup(most)
    for rows in parts:
        mine, reference = batches(both, data.draw(bodies(rows)))
        assert native.reserve([mine]) == python.reserve([reference])
        same(native.ids(mine), python.ids(reference))
        same(native.ids(mine, grow=True), python.ids(reference, grow=True))
        same(native.ids(mine), python.ids(reference))
        assert len(native) == len(python) <= most
    assert list(names_of(native.view())) == list(names_of(python.view()))
    mine, reference = native.view().arrays(), python.view().arrays()
    assert list(mine) == list(reference) == ["lengths", "names"]
    for name in mine:
        assert mine[name].dtype == reference[name].dtype
        assert mine[name].tobytes() == reference[name].tobytes()


def test_the_same_rows_of_many_names_of_all_lengths(both: Kernels) -> None:
    rng = np.random.default_rng(5)
    lengths = [*range(70), 255, 256, 257, 300, 4096, 70_000]
    known = [bytes(rng.integers(0, 256, n, dtype=np.uint8)) for n in lengths for _ in range(3)]
    known += [name[:-1] + b"\x00" for name in known if name] + [b"%d" % i for i in range(30_000)]
    native, python = both.native.Lookup(10**6), both.python.Lookup(10**6)
    limits = Limits(max_name_bytes=10**6)
    for size in (1, 7, 40, 900):
        rows = []
        for _ in range(40):
            kind = rng.integers(0, 3)
            picked = rng.integers(0, [300, len(known), 40_000][kind], size)
            rows.append((float(rng.integers(0, 3)), [known[i % len(known)] for i in picked]))
        body = body_of(rows)
        mine, reference = (kernel.decode(body, limits, labelled=True) for kernel in both)
        same(native.ids(mine), python.ids(reference))
        same(native.ids(mine, grow=True), python.ids(reference, grow=True))
    assert list(names_of(native.view())) == list(names_of(python.view()))
    assert all(native.id(name) == python.id(name) for name in known)


def test_the_same_rows_in_buffers_that_are_used_again(both: Kernels) -> None:
    """Batches of 64 KiB and more get the memory of those that are gone, of other sizes too."""
    native, python = both.native.Lookup(10**6), both.python.Lookup(10**6)
    kept = []
    for size in (20_000, 6000, 9000, 20_000, 3, 12_000, 0, 6000):
        rows = [(1.0, [f"{size} {i}" for i in range(size // 2)]), (1.0, list(range(size // 2)))]
        mine, reference = batches(both, body_of(rows))
        assert mine.names == reference.names
        same(native.ids(mine, grow=True), python.ids(reference, grow=True))
        kept = [*kept[-1:], (mine, reference)]  # a batch that lives keeps its memory
        assert all(batch.names == other.names for batch, other in kept)


@given(
    data=st.data(),
    most=st.sampled_from([0, 2, 5, 100]),
    named=st.lists(st.integers(-3, 12), max_size=5),
)
def test_the_same_rows_of_columns(
    both: Kernels, data: st.DataObject, most: int, named: list[int]
) -> None:
    far = st.sampled_from([4095, 4096, 2**24 - 1, 2**24, 2**31, 2**40, 2**63 - 1])
    native, python = both.native.Lookup(most), both.python.Lookup(most)
    for step in range(3):
        rows = data.draw(st.lists(st.lists(st.one_of(st.integers(0, 9), far), max_size=6)))
        if data.draw(st.booleans()):
            rows = [sorted(set(row)) for row in rows]
        values = [[float(data.draw(st.integers(-3, 3)) or 1) for _ in row] for row in rows]
        columns = (
            np.cumsum([0, *map(len, rows)]).astype(np.int64),
            np.array([j for row in rows for j in row], dtype=np.int64),
            np.array([x for row in values for x in row], dtype=np.float64),
        )
        importances = np.array([data.draw(st.sampled_from([0.0, 1.0])) for _ in rows])
        targets = Targets([any_label_of(1)], np.zeros(len(rows), np.int32), importances)
        mine, reference = (kernel.decode_columns(*columns, targets) for kernel in both)
        assert mine.names == reference.names
        assert list(mine.values) == reference.values
        assert mine.label_table == reference.label_table
        assert list(mine.importances) == reference.importances
        assert native.reserve([mine]) >= min(python.reserve([reference]), len(native))
        same(native.ids(mine), python.ids(reference))
        same(native.ids(mine, grow=True), python.ids(reference, grow=True))
        same(native.ids(mine), python.ids(reference))
        if step == 0:  # names and columns meet
            mine, reference = batches(both, body_of([(1.0, named)]))
            same(native.ids(mine, grow=True), python.ids(reference, grow=True))
    assert list(names_of(native.view())) == list(names_of(python.view()))


# Bits.


@given(parts=st.lists(st.lists(samples(), max_size=6), max_size=4), config=configurations())
def test_the_same_bits(
    both: Kernels, parts: list[list[tuple[Any, ...]]], config: dict[str, Any]
) -> None:
    native = OnlineSVM(kernel="native", limits=WIDE, **config)
    python = OnlineSVM(kernel="python", limits=WIDE, **config)
    for rows in parts:
        asked = [features for features, *_ in rows]
        assert (
            native.decision_function(asked).tobytes() == python.decision_function(asked).tobytes()
        )
        assert native.learn(rows).tobytes() == python.learn(rows).tobytes()
        assert native.progressive.totals.tobytes() == python.progressive.totals.tobytes()
        assert native.snapshot().digest() == python.snapshot().digest()
        assert dict(native.weights) == dict(python.weights)
        assert native.bias == python.bias
    n = len(native.lookup)
    (weights, bias), reference = (model.head.rule.weights(n + 3) for model in (native, python))
    assert (weights.tobytes(), bias) == (reference[0].tobytes(), reference[1])


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.9])
@pytest.mark.parametrize("schedule", ["constant", "invscaling"])
def test_the_same_bits_over_a_long_stream(both: Kernels, alpha: float, schedule: str) -> None:
    rng = np.random.default_rng(7)
    rows = []
    for _ in range(4000):
        picked = np.floor(np.exp(rng.random(12) * np.log(60_000))).astype(int).tolist()
        values = rng.normal(size=12).tolist()
        rows.append((dict(zip(picked, values, strict=True)), float(rng.choice([-1, 1]))))
    config: dict[str, Any] = {"rule": "sgd", "eta0": 0.5, "alpha": alpha, "schedule": schedule}
    native = OnlineSVM(kernel="native", limits=WIDE, **config)
    python = OnlineSVM(kernel="python", limits=WIDE, **config)
    assert native.learn(rows).tobytes() == python.learn(rows).tobytes()
    assert native.snapshot().digest() == python.snapshot().digest()


@given(data=st.data(), config=configurations())
def test_the_same_bits_from_a_matrix(
    both: Kernels, data: st.DataObject, config: dict[str, Any]
) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    x = sparse.random_array((20, 30), density=0.2, format="csr", rng=rng)
    y = rng.choice([-1, 1], 20)
    h = rng.choice([0, 1, 0.5], 20)
    models = [OnlineSVM(kernel=name, limits=WIDE, **config) for name in ("native", "python")]
    for model in models:
        model.learn([(["3", 7, "word"], 1)])
        model.partial_fit(x, y, h)
    native, python = models
    assert native.decision_function(x).tobytes() == python.decision_function(x).tobytes()
    assert native.snapshot().digest() == python.snapshot().digest()


@given(rows=st.lists(samples(), max_size=6), data=st.data())
def test_the_same_bytes_are_written(
    both: Kernels, rows: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    mine, reference = batches(both, data.draw(bodies(rows)))
    assert len(mine) == len(reference) == len(rows)
    for labelled in (True, False):
        expected = both.python.encode(reference, labelled=labelled)
        assert both.native.encode(mine, labelled=labelled) == expected
        assert both.python.encode(mine, labelled=labelled) == expected


def test_the_same_bytes_of_all_sizes_are_written(both: Kernels) -> None:
    for size in (0, 1, 31, 32, 255, 256, 65_535, 65_536):
        rows = [(1.0, [b"x" * size]), (2.0, [b"%d" % i for i in range(size // 4)])]
        body = body_of(rows)
        limits = Limits(max_name_bytes=10**5)
        mine, reference = (kernel.decode(body, limits, labelled=True) for kernel in both)
        assert (
            both.native.encode(mine, labelled=True)
            == both.python.encode(reference, labelled=True)
            == body
        )


# Snapshots.


@given(
    rows=st.lists(samples(), max_size=8),
    more=st.lists(samples(), max_size=8),
    config=configurations(),
)
def test_a_snapshot_of_one_goes_on_in_the_other(
    both: Kernels,
    rows: list[tuple[Any, ...]],
    more: list[tuple[Any, ...]],
    config: dict[str, Any],
) -> None:
    straight = OnlineSVM(kernel="python", limits=WIDE, **config)
    straight.learn(rows)
    for first, second in (("native", "python"), ("python", "native"), ("native", "native")):
        model = OnlineSVM(kernel=first, limits=WIDE, **config)
        model.learn(rows)
        moved = OnlineSVM.from_snapshot(model.snapshot(), kernel=second)
        assert moved.snapshot().digest() == model.snapshot().digest()
        assert list(moved.lookup.items()) == list(model.lookup.items())
        moved.learn(more)
        model.learn(more)
        assert moved.snapshot().digest() == model.snapshot().digest()
    straight.learn(more)
    assert model.snapshot().digest() == straight.snapshot().digest()


def test_a_file_of_one_is_the_file_of_the_other(both: Kernels, tmp_path: Path) -> None:
    rows = [([f"w{i}", i % 7, f"w{i * i % 50}"], 1 if i % 3 else -1) for i in range(5000)]
    saved = {}
    for name in ("native", "python"):
        model = OnlineSVM(rule="sgd", kernel=name, alpha=0.001)
        model.learn(rows)
        saved[name] = model.save(tmp_path / name)
    assert saved["native"].digest == saved["python"].digest
    loaded = OnlineSVM.load(tmp_path / "python", kernel="native")
    assert loaded.snapshot().digest() == saved["python"].digest


@pytest.mark.parametrize(
    ("lengths", "text"),
    [([1, 1], b"aa"), ([0, 0], b""), ([2], b"a"), ([1], b"ab"), ([2**32 - 1], b"a"), ([], b"a")],
)
def test_the_same_refusals_of_names(both: Kernels, lengths: list[int], text: bytes) -> None:
    arrays = np.array(lengths, np.uint32), np.frombuffer(text, np.uint8)
    native = outcome(lambda: both.native.Lookup(9).restore(*arrays))
    assert native == outcome(lambda: both.python.Lookup(9).restore(*arrays))
    assert native[0] is ValueError


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, scalars: arrays.pop("weights"),
        lambda arrays, scalars: arrays.pop("mantissas"),
        lambda arrays, scalars: scalars.pop("t"),
        lambda arrays, scalars: scalars.pop("product_exponent"),
        lambda arrays, scalars: arrays.update(mantissas=np.array([0.0, 1.0])),
        lambda arrays, scalars: arrays.update(mantissas=np.array([1, 1])),
        lambda arrays, scalars: arrays.update(mantissas=np.array([np.nan, 1.0])),
        lambda arrays, scalars: arrays.update(mantissas=np.array([1.0])),
        lambda arrays, scalars: arrays.update(exponents=np.array([0.0, 0.0])),
        lambda arrays, scalars: arrays.update(exponents=np.array([1, 0])),
        lambda arrays, scalars: arrays.update(exponents=np.array([-(2**63), 0])),
        lambda arrays, scalars: scalars.update(product_exponent=-(2**60)),
        lambda arrays, scalars: scalars.update(product_exponent=1),
        lambda arrays, scalars: scalars.update(product_mantissa=0.0),
        lambda arrays, scalars: scalars.update(product_exponent=-(2**52) - 1),
        lambda arrays, scalars: scalars.update(product_exponent=-1.0),
        lambda arrays, scalars: scalars.update(t=-5),
        lambda arrays, scalars: scalars.update(t=1.5),
        lambda arrays, scalars: scalars.update(t=True),
        lambda arrays, scalars: scalars.update(t=2**53 + 1),
        lambda arrays, scalars: scalars.update(t=2**63),
        lambda arrays, scalars: scalars.update(bias=1.7e308),
        lambda arrays, scalars: scalars.update(bias="0"),
        lambda arrays, scalars: scalars.update(other=0.0),
        lambda arrays, scalars: arrays.update(other=np.zeros(2)),
        lambda arrays, scalars: arrays.update(weights=np.array([1.7e308, 0.0])),
        lambda arrays, scalars: arrays.update(weights=np.array([np.nan, 0.0])),
        lambda arrays, scalars: arrays.update(weights=np.array([1, 0])),
        lambda arrays, scalars: arrays.update(weights=np.array([0.0, 0.0], np.float32)),
        lambda arrays, scalars: arrays.update(weights=np.array([[0.0, 0.0]])),
        lambda arrays, scalars: arrays.update({name: a[:1] for name, a in arrays.items()}),
    ],
)
def test_the_same_refusals_of_a_rule_s_state(both: Kernels, change: Any) -> None:
    outcomes = []
    for kernel in both:
        model = OnlineSVM(rule="sgd", kernel=kernel.NAME, alpha=0.1)
        model.learn([(["a", "b"], 1)])
        taken = model.snapshot()
        change(taken.arrays, taken.scalars)
        outcomes.append(outcome(lambda: OnlineSVM.from_snapshot(taken, kernel=kernel.NAME)))  # noqa: B023
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[0], tuple)


STATES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # configuration, arrays and scalars that its honest use cannot have
    ({"rule": "sgd", "average": True}, {}, {"t": 0}),
    ({"rule": "sgd", "average": True}, {}, {"bias": 0.25}),
    ({"rule": "sgd", "average": True}, {"offsets": [1e300, 0.0]}, {}),
    ({"rule": "pa1"}, {"weights": [0.0, -1e201]}, {}),
    ({"rule": "arow"}, {"variances": [0.0, 1.0]}, {}),
    ({"rule": "arow"}, {"variances": [1.5, 1.0]}, {}),
    ({"rule": "arow"}, {}, {"bias_variances": 0.0}),
    ({"rule": "adagrad"}, {"squares": [-1.0, 1.0]}, {}),
    ({"rule": "adagrad"}, {}, {"bias_squares": 1.7e308}),
    ({"rule": "nag"}, {"scales": [-1.0, 1.0]}, {}),
    ({"rule": "nag"}, {}, {"norms": -1.0}),
    ({"rule": "nag"}, {}, {"importance": -1.0}),
    ({"rule": "hedge"}, {"scw_weights": [1e200, 0.0]}, {}),
    ({"rule": "hedge"}, {"arow_variances": [-1.0, 1.0]}, {}),
    ({"rule": "hedge"}, {"mean_squares": [5e-324, 1.0]}, {}),
    ({"rule": "hedge"}, {"seen": [0, 1]}, {}),
    ({"rule": "hedge"}, {"ages": [0, 1]}, {}),
    ({"rule": "hedge"}, {"runs": [32, 0]}, {}),
    ({"rule": "hedge"}, {}, {"samples": -1}),
    ({"rule": "hedge"}, {}, {"samples": 1.0}),
    ({"rule": "hedge"}, {}, {"log_importance": 1e9}),
    ({"rule": "hedge"}, {}, {"mixture_count": -1.0}),
    ({"rule": "hedge"}, {}, {"mixture_sizes_0": -1.0}),
    ({"rule": "hedge"}, {}, {"mixture_stack_0": 1.7e308}),
    ({"rule": "hedge"}, {}, {"mixture_covariance_0": -0.2}),
    ({"rule": "hedge"}, {}, {"mixture_covariance_1": 0.1}),
    ({"rule": "hedge"}, {}, {"judged_errors_0": -1.0}),
]


@pytest.mark.parametrize(("config", "arrays", "scalars"), STATES, ids=str)
def test_the_same_refusals_of_states_made_up(
    both: Kernels, config: dict[str, Any], arrays: dict[str, Any], scalars: dict[str, Any]
) -> None:
    outcomes = []
    for kernel in both:
        model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
        model.learn([(["a", "b"], 1), (["a"], -1), (["b"], -1)])
        before = model.snapshot()
        made_up = model.snapshot()
        made_up.arrays.update((name, np.array(column)) for name, column in arrays.items())
        made_up.scalars.update(scalars)
        outcomes.append(outcome(lambda: OnlineSVM.from_snapshot(made_up, kernel=kernel.NAME)))  # noqa: B023
        # A rule that refuses a state stays as it was.
        with pytest.raises(ValueError, match=next(iter({**arrays, **scalars})).rstrip("_01")):
            model.head.rule.restore(made_up.arrays, made_up.scalars)
        assert model.snapshot().digest() == before.digest()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] is SnapshotError


# Arguments from outside the kernels.


def test_rows_that_cannot_be_walked_are_refused(kernel: Kernel) -> None:
    rule = Head(kernel, LearnerConfig(rule="sgd")).rule
    one = np.ones(1)

    def csr(indptr: list[int], indices: list[int], data: list[float]) -> CSR:
        return CSR(np.array(indptr, np.int64), np.array(indices, np.int32), np.array(data))

    for rows, message in [
        (csr([], [], []), "indptr: expected an element at least"),
        (csr([0, 2], [1], [1.0]), "indptr: expected ends of rows that rise within the elements"),
        (csr([0, 1], [1, 2], []), "indptr: expected ends of rows that rise within the elements"),
        (csr([-1, 1], [1], [1.0]), "indptr: expected ends of rows that rise within the elements"),
        (csr([1, 0], [1], [1.0]), "indptr: expected ends of rows that rise within the elements"),
        (csr([0, 1], [-1], [1.0]), "indices: expected ids from 0 to 2147483646, got -1 to -1"),
        (csr([0, 2], [1, 2**31 - 1], [1.0, 1.0]), "from 0 to 2147483646, got 1 to 2147483647"),
    ]:
        for call in (lambda r=rows: rule.learn(r, one, one), lambda r=rows: rule.score(r)):
            with pytest.raises(ValueError, match=message):
                call()
    with pytest.raises(ValueError, match="signs: expected 1 elements, got 2"):
        rule.learn(csr([0, 1], [1], [1.0]), np.ones(2), one)
    with pytest.raises(ValueError, match="importances: expected 1 elements, got 2"):
        rule.learn(csr([0, 1], [1], [1.0]), one, np.ones(2))
    for ids in ([0], [2, 1], [1, 1]):
        with pytest.raises(ValueError, match="ids: expected rising ones from 1"):
            rule.strengths(np.array(ids, np.int32))
    for to in (0, 4):
        with pytest.raises(ValueError, match=f"to: expected an id from 1 to 3, got {to}"):
            rule.move(to, 3, np.ones(2, np.bool_))
    far = csr([0, 2], [2**31 - 2, 0], [1.0, 5.0])
    assert rule.score(far).tolist() == [0.0]
    assert rule.feature(2**31 - 2) == rule.feature(0) == (0.0, None)
    lookup = kernel.Lookup(9)
    for columns in [
        ([0, 3], [1], [1.0]), ([-1, 1], [1], [1.0]), ([0, 1, 0], [1], [1.0]), ([0, 1], [1], []),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="indptr: expected ends of rows that rise"):
            decoded(kernel, *columns)
    with pytest.raises(ValueError, match="indptr: expected an element at least, got none"):
        decoded(kernel, [], [1], [1.0])
    for ids, importances, wrong in [([0, 0], [1.0], "label_ids"), ([0], [1.0, 1.0], "importances")]:
        targets = Targets([any_label_of(1)], np.array(ids, np.int32), np.array(importances))
        with pytest.raises(ValueError, match=f"{wrong}: expected 1 elements, got 2"):
            decoded(kernel, [0, 1], [1], [1.0], targets)
    rows = decoded(kernel, [0, 1], [1], [1.0])
    metrics = kernel.Metrics(0.0)
    for signs, weights in [(np.ones(2), one), (one, np.ones(2))]:
        with pytest.raises(ValueError, match="expected 1 elements, got 2"):
            kernel.learn(lookup, rule, metrics, rows, signs, weights)
    for signs, importances in [(one, np.ones(2)), (np.ones(2), one)]:
        with pytest.raises(ValueError, match=r"expected 1 elements, got 2"):
            metrics.observe(one, signs, importances)
    with pytest.raises(ValueError, match="kept: expected 1 to 0 elements, got 2"):
        lookup.prune(np.ones(2, np.bool_))
    for sweep in ((1, 1), (-1, 2), (1, 2)):
        with pytest.raises(ValueError, match="sweep: expected one within 1 features, got"):
            lookup.restore(np.ones(1, np.uint32), np.ones(1, np.uint8), (), sweep)
    assert len(lookup) == 0
    assert not metrics.dump()[: len(TOTALS)].any()
    for call in (
        lambda: kernel.learn(lookup, rule, metrics, rows, one, None, 2),
        lambda: lookup.ids(rows, grow=True, first=2),
    ):
        with pytest.raises(ValueError, match="first: expected one of 1 samples, got 2"):
            call()
    for stop in (0, 2):
        with pytest.raises(ValueError, match=f"stop: expected one from 1 to 1, got {stop}"):
            lookup.ids(rows, grow=True, first=1, stop=stop)


def test_a_batch_reads_names_where_they_came(both: Kernels) -> None:
    body = bytearray(body_of([(1.0, ["some", 5, "name"])]))
    batch = both.native.decode(memoryview(body), Limits(), labelled=True)
    with pytest.raises(BufferError):
        body.clear()
    assert batch.names == [b"some", b"5", b"name"]
    assert batch.values.tolist() == [1.0, 1.0, 1.0]
    del batch
    body.clear()


@pytest.mark.parametrize("name", Kernels._fields)
def test_a_lookup_that_refuses_names_stays_as_it_was(both: Kernels, name: str) -> None:
    kernel: Kernel = getattr(both, name)
    lookup = kernel.Lookup(9)
    lookup.ids(
        kernel.decode(body_of([(1.0, ["some", "names"])]), Limits(), labelled=True), grow=True
    )
    with pytest.raises(ValueError, match="expected distinct names"):
        lookup.restore(np.array([1, 1], np.uint32), np.frombuffer(b"aa", np.uint8))
    assert list(names_of(lookup.view())) == [b"some", b"names"]
    assert (lookup.id(b"some"), lookup.id(b"names"), lookup.id(b"a")) == (1, 2, 0)


def test_threads_that_share_a_model_wait_for_each_other(both: Kernels) -> None:
    model = OnlineSVM(kernel="native")
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(40):
                rows = [([f"w{i}" for i in rng.integers(0, 5000, 20)], 1) for _ in range(20)]
                model.learn_batch(
                    model.kernel.decode(
                        body_of([(1.0, r[0]) for r in rows]), Limits(), labelled=True
                    )
                )
                model.decision_function([r[0] for r in rows])
                list(model.lookup)
                model.snapshot()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert list(model.lookup.values()) == list(range(1, len(model.lookup) + 1))
    assert sorted(model.lookup) == sorted(set(model.lookup))


def test_the_reason_for_a_fallback_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONLINESVM_KERNEL", raising=False)
    monkeypatch.setattr(kernels, "_warned", True)
    monkeypatch.setitem(sys.modules, "onlinesvm.kernel.native", None)
    assert kernels.load().NAME == "python"
    reason = kernels.fallback()
    assert reason is not None
    assert reason.startswith("kernel native: import of onlinesvm.kernel.native halted")
    with pytest.raises(ImportError, match="kernel native: "):
        kernels.load("native")
    assert kernels.load("python").NAME == "python"
    assert kernels.fallback() == reason  # forcing one is no fallback
    monkeypatch.setattr(kernels, "KERNELS", ("python",))
    assert kernels.load().NAME == "python"
    assert kernels.fallback() is None


# Floods of names.


def test_names_made_to_collide_under_weak_hashes(both: Kernels) -> None:
    """Sets that collide under plain xor, sum and multiply-and-fold hashes, whatever their seed."""
    word = [i.to_bytes(8, "little") for i in range(1, 70)]
    flood = [a + b for a in word for b in word]  # a and b change places, a xor b agree
    flood += [b"\0" * 8 + a + b for a in word[:30] for b in word[:30]]
    flood += [a + b"\0" * 8 + b for a in word[:30] for b in word[:30]]
    flood += [a * k for a in word for k in range(2, 30)]
    flood += [b"\0" * n for n in range(3000)]
    lookup = both.native.Lookup(10**6)
    body = body_of([(1.0, flood)])
    rows = lookup.ids(both.native.decode(body, Limits(), labelled=True), grow=True)
    expected = {name: i for i, name in enumerate(dict.fromkeys(flood), 1)}
    assert rows.indices.tolist() == list(range(1, len(expected) + 1))
    assert {name: lookup.id(name) for name in flood} == expected


# Memory.

NO_MEMORY = """
import resource, sys
import numpy as np
from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.codec import pack_array

model = OnlineSVM(kernel="native")
model.learn([(["a", "b"], 1)])
names = [b"\\xce" + i.to_bytes(4, "big") for i in range(60000)]
sample = b"\\x92\\x01\\xdc" + len(names).to_bytes(2, "big") + b"".join(names)
batch = model.kernel.decode(pack_array([sample]), Limits(), labelled=True)
before = model.snapshot().digest()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
refused = 0
for room in range(0, 8 * 2**20, 2**18):
    resource.setrlimit(resource.RLIMIT_AS, (used + room, -1))
    try:
        model.reserve([batch])
    except MemoryError:
        refused += 1
        assert model.snapshot().digest() == before
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert refused
model.learn_batch(batch)
assert len(model.lookup) == 60002, len(model.lookup)
assert list(model.lookup.values()) == list(range(1, 60003))
print("done")
"""

# The room reserved for several batches at once is enough for all of them.
SEVERAL = """
import resource
from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.codec import pack_array

model = OnlineSVM(rule="sgd", kernel="native", limits=Limits(max_features=10**6))
def batch(first, n):
    names = [b"\\xce" + i.to_bytes(4, "big") for i in range(first, first + n)]
    sample = b"\\x92\\x01\\xdd" + n.to_bytes(4, "big") + b"".join(names)
    return model.kernel.decode(pack_array([sample]), Limits(), labelled=True)
for first in range(0, 300000, 50000):
    model.learn_batch(batch(first, 50000))
parts = [batch(300000 + first, 30000) for first in range(0, 120000, 30000)]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for room in range(0, 2**27, 2**18):
    resource.setrlimit(resource.RLIMIT_AS, (used + room, -1))
    try:
        model.reserve(parts)
        break
    except MemoryError:
        pass
# The rows of a batch take memory of their own, which is given back: 16 bytes a feature and more.
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**21, -1))
for part in parts:
    model.learn_batch(part)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert list(model.lookup.values()) == list(range(1, 420001))
print("done")
"""

# Segments of the table cannot split here: they fill to the brim and are chained.
NO_SPLITS = """
import resource, sys
from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.codec import pack_array

model = OnlineSVM(rule="sgd", kernel="native", limits=Limits(max_features=10**6))
def batch(first, n):
    names = [b"\\xce" + i.to_bytes(4, "big") for i in range(first, first + n)]
    sample = b"\\x92\\x01\\xdd" + n.to_bytes(4, "big") + b"".join(names)
    return model.kernel.decode(pack_array([sample]), Limits(), labelled=True)
parts = [batch(first, 20000) for first in range(0, 100000, 20000)]
again = [batch(first, 20000) for first in range(0, 100000, 20000)]
done = 0
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for part in parts:
    for room in range(0, 2**26, 2**17):
        resource.setrlimit(resource.RLIMIT_AS, (used + room, -1))
        try:
            model.reserve([part])
        except MemoryError:
            continue
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        try:
            model.learn_batch(part)
        except MemoryError:  # for the rows, before the first name was entered
            continue
        break
    done += 1
    assert len(model.lookup) == 20000 * done, (done, len(model.lookup))
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
for i, part in enumerate(again):
    found = model._lookup.ids(part)
    assert found.indices.tolist() == list(range(20000 * i + 1, 20000 * i + 20001))
model.learn_batch(batch(10**6, 60000))
assert list(model.lookup.values()) == list(range(1, 160001))
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits its memory by /proc")
@pytest.mark.parametrize(
    "script", [NO_MEMORY, SEVERAL, NO_SPLITS], ids=["reserve", "several", "splits"]
)
def test_running_out_of_memory_changes_nothing(both: Kernels, script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.stderr, done.stdout) == ("", "done\n")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def turn(model: OnlineSVM, body: bytes, asked: bytes, x: Any, y: Any) -> None:
    """Everything that the compiled kernel does, once."""
    kernel = model.kernel
    batch = kernel.decode(body, model.limits, labelled=True)
    model.learn_batch(batch)
    kernel.encode(batch, labelled=True)
    assert len(batch.names) == len(batch.values)
    question = kernel.decode(asked, model.limits, labelled=False)
    assert len(question.label_ids) == len(question.importances)
    model.score_batch(question)
    kernel.encode(question, labelled=False)
    model.partial_fit(x, y)
    model.decision_function(x)
    taken = model.snapshot()
    OnlineSVM.from_snapshot(taken, kernel="native")
    assert sum(1 for _ in model.lookup) == len(model.weights)
    for broken in (body[:-1], body + b"\0", body[:3] + b"\xc1" + body[4:]):
        with pytest.raises(ValueError):
            kernel.decode(broken, model.limits, labelled=True)
    damaged = taken.lengths.copy()
    damaged[0] += 1
    taken.lengths = damaged
    with pytest.raises(ValueError, match="parts do not make a model"):
        OnlineSVM.from_snapshot(taken, kernel="native")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_memory_does_not_grow(both: Kernels, alpha: float) -> None:
    model = OnlineSVM(rule="sgd", kernel="native", alpha=alpha)
    rows = [
        (1.0, [f"word {i} {k}" for k in range(20)] + [i * k for k in range(9)]) for i in range(90)
    ]
    body = body_of(rows)
    batch = both.native.decode(body, Limits(), labelled=True)
    asked = both.native.encode(batch, labelled=False)
    x = sparse.random_array((50, 400), density=0.1, format="csr", rng=np.random.default_rng(1))
    y = np.ones(50)
    for _ in range(30):
        turn(model, body, asked, x, y)
    gc.collect()
    held = [body, asked, x.data, y, model.limits]
    references = [sys.getrefcount(thing) for thing in held]
    before = resident_bytes()
    for _ in range(150):
        turn(model, body, asked, x, y)
    gc.collect()
    # A batch, lookup or array that leaked at every turn would be 4 MiB at least.
    assert resident_bytes() - before < 3 * 2**20
    assert [sys.getrefcount(thing) for thing in held] == references


@settings(max_examples=20)
@given(wanted=st.lists(names(), max_size=30))
def test_limits_of_a_lookup_may_change(both: Kernels, wanted: list[Any]) -> None:
    native, python = both.native.Lookup(3), both.python.Lookup(3)
    body = pack_array(
        [pack_array([b"\x01", both.python.encode(_names(wanted), labelled=False)[1:]])]
    )
    mine, reference = batches(both, body)
    for most in (3, 0, 2**31 - 2):
        native.max_features = python.max_features = most
        same(native.ids(mine, grow=True), python.ids(reference, grow=True))
    with pytest.raises(SampleError):
        both.native.decode(b"\x91\x90", Limits(), labelled=True)


def _names(wanted: list[Any]) -> Batch:
    batch = Batch()
    raw = [n if isinstance(n, bytes) else str(n).encode("utf-8", "surrogateescape") for n in wanted]
    batch.append(label_of(1), 1.0, raw, [1.0] * len(raw))
    return batch
