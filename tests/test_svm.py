"""OnlineSVM: what it learns, sample by sample, against oracles and by law."""

from __future__ import annotations

import argparse
import collections
import inspect
import io
import itertools
import math
import re
import textwrap
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.errors import ConfigError, LimitError, SampleError
from onlinesvm.kernel.contract import Kernel
from tests.oracle import DenseSgd, row_of
from tests.strategies import WIDE, configurations, features, samples, sgd_configurations


def newborn(kernel: Kernel, **parameters: Any) -> OnlineSVM:
    if "rule" not in parameters:
        parameters = {"rule": "sgd", "eta0": 0.1, **parameters}
    return OnlineSVM(kernel=kernel.NAME, **{"limits": WIDE, **parameters})


def digest(model: OnlineSVM) -> str:
    return model.snapshot().digest()


def twin(model: OnlineSVM) -> OnlineSVM:
    return OnlineSVM.from_snapshot(model.snapshot(), kernel=model.kernel.NAME)


# Against the textbook and a dense vector.


def prose_rows(source: str) -> set[int]:
    """The lines of Python source that hold comments or strings that are statements."""
    rows: set[int] = set()
    starts_statement = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        comment = token.type == tokenize.COMMENT and token.line.strip().startswith("#")
        if comment or (token.type == tokenize.STRING and starts_statement):
            rows.update(range(token.start[0], token.end[0] + 1))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            starts_statement = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return rows


def source_lines() -> Iterator[tuple[list[str], int]]:
    """Lines of the standard library as lists of distinct words; +1 is a comment or docstring."""
    for module in (argparse, collections, inspect, textwrap, tokenize):
        source = inspect.getsource(module)
        prose = prose_rows(source)
        for number, line in enumerate(source.splitlines(), 1):
            yield list(dict.fromkeys(re.findall(r"\w+", line.lower()))), 2 * (number in prose) - 1


def test_twelve_lines_of_a_textbook_learn_the_same_weights(kernel: Kernel) -> None:
    stream = list(source_lines())
    assert len(stream) > 3000

    eta0 = 0.1
    ids: dict[str, int] = {}
    weights: defaultdict[int, float] = defaultdict(float)
    for words, y in stream:
        score = 0.0
        for word in words:
            score += weights[ids.setdefault(word, len(ids) + 1)]
        if max(0.0, 1.0 - y * score) > 0.0:
            for word in words:
                weights[ids[word]] += eta0 * y

    model = OnlineSVM(rule="sgd", eta0=0.1, bias=False, kernel=kernel.NAME)
    model.learn(stream)
    assert dict(model.lookup) == ids
    assert dict(model.weights) == {word: weights[i] for word, i in ids.items()}
    assert model.bias == 0.0
    assert model.progressive.error is not None
    assert model.progressive.error < sum(y > 0 for _, y in stream) / len(stream) / 2  # it learns


@given(rows=st.lists(samples(), max_size=12), config=sgd_configurations(alpha=False))
def test_equals_the_dense_oracle(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    oracle = DenseSgd(**{k: v for k, v in config.items() if k != "rule"})
    expected = [oracle.learn(*row) for row in rows]
    model = newborn(kernel, **config)
    assert model.learn(rows).tolist() == expected
    assert dict(model.weights) == oracle.weights()
    assert model.bias == oracle.b
    assert {name.encode("utf-8", "surrogateescape"): i for name, i in model.lookup.items()} == (
        oracle.ids
    )
    assert model.position == len(rows)


def random_rows(seed: int, n: int, width: int = 30) -> list[tuple[dict[int, float], int, float]]:
    """Sparse samples with a label that their values explain in part."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=width)
    rows = []
    for _ in range(n):
        chosen = rng.choice(width, size=rng.integers(0, 8), replace=False).tolist()
        row = {j: float(rng.normal()) for j in chosen}
        score = sum(truth[j] * x for j, x in row.items()) + rng.normal() / 4
        rows.append((row, 1 if score > 0 else -1, float(rng.choice([0.0, 0.3, 1.0, 1.7]))))
    return rows


@pytest.mark.parametrize("schedule", ["constant", "invscaling"])
@pytest.mark.parametrize("bias", [True, False])
def test_arithmetic_is_in_the_order_of_the_design(
    kernel: Kernel, schedule: str, bias: bool
) -> None:
    # Values of which hardly any sum or product is exact: another order shows in the last bits.
    rows = random_rows(1, 1000)
    oracle = DenseSgd(0.1, schedule=schedule, bias=bias)
    expected = [oracle.learn(*row) for row in rows]
    model = newborn(kernel, schedule=schedule, bias=bias)
    assert model.learn(rows).tolist() == expected
    assert dict(model.weights) == oracle.weights()
    assert model.bias == oracle.b


@given(seed=st.integers(0, 2**32), alpha=st.sampled_from([1e-4, 0.01, 0.3, 2.0]))
@pytest.mark.parametrize("schedule", ["constant", "invscaling"])
def test_lazy_shrinkage_equals_really_scaling_every_weight(
    kernel: Kernel, schedule: str, seed: int, alpha: float
) -> None:
    rows = random_rows(seed, 60)
    oracle = DenseSgd(0.4, alpha, schedule)
    expected = [oracle.learn(*row) for row in rows]
    # A signed margin within rounding of 1 may fall on either side.
    labels = [y for _, y, _ in rows]
    assume(all(abs(y * m - 1) > 1e-9 for y, m in zip(labels, expected, strict=True)))
    model = newborn(kernel, eta0=0.4, alpha=alpha, schedule=schedule)
    assert np.allclose(model.learn(rows), expected, rtol=1e-9, atol=1e-12)
    assert list(model.weights) == list(oracle.weights())
    learned = np.array(list(model.weights.values()))
    assert np.allclose(learned, list(oracle.weights().values()), rtol=1e-9, atol=1e-12)
    assert np.isclose(model.bias, oracle.b, rtol=1e-9, atol=1e-12)


@given(
    seed=st.integers(0, 2**32),
    row=st.dictionaries(st.integers(0, 29), st.floats(-4, 4), min_size=1, max_size=6),
    alpha=st.sampled_from([0.01, 0.3, 2.0]),
)
def test_a_shrunken_weight_has_the_same_bits_read_or_updated(
    kernel: Kernel, seed: int, row: dict[int, float], alpha: float
) -> None:
    row = row_of(row)  # type: ignore[assignment]
    updated = newborn(kernel, eta0=0.4, alpha=alpha)
    updated.learn(random_rows(seed, 40))
    read = twin(updated)
    assert dict(read.weights) == dict(read.weights)
    # One sample more scales all weights; the one of importance 1e-50 adds nothing to the others.
    read.learn_one(["another"], 1, importance=1e-50)
    y = -1 if updated.decision_function_one(row) > 0 else 1  # a violation for certain
    updated.learn_one(row, y)
    for name, x in row.items():
        assert updated.weights[name] == read.weights.get(name, 0.0) + 0.4 * y * x  # type: ignore


def test_shrinkage_goes_on_beyond_the_range_of_a_float(kernel: Kernel) -> None:
    model = newborn(kernel, eta0=1.0, alpha=0.5)
    model.learn([(["old"], 1)])
    model.learn([(["new"], (-1) ** i) for i in range(3000)])  # all weights × 2**-3000
    assert model.weights["old"] == 0.0
    assert 0.5 < abs(model.weights["new"]) < 2
    again = twin(model)
    tail = [(["new", "old"], (-1) ** i) for i in range(50)]
    assert again.learn(tail).tolist() == model.learn(tail).tolist()
    assert digest(again) == digest(model)
    assert 0.1 < abs(model.weights["old"]) < 2


def test_inverse_scaling_counts_learned_samples(kernel: Kernel) -> None:
    model = newborn(kernel, eta0=0.5, schedule="invscaling", bias=False)
    model.learn([(["a"], 1), (["b"], 1, 0), (["c"], 1), (["a"], 1)])
    assert dict(model.weights) == {"a": 0.5 + 0.5 / math.sqrt(3), "c": 0.5 / math.sqrt(2)}


# Batches.


@given(
    rows=st.lists(samples(), max_size=12),
    cuts=st.sets(st.integers(0, 12)),
    config=configurations(),
)
def test_a_split_batch_equals_the_whole_bit_for_bit(
    kernel: Kernel, rows: list[tuple[Any, ...]], cuts: set[int], config: dict[str, Any]
) -> None:
    whole = newborn(kernel, **config)
    margins = whole.learn(rows)
    assert margins.dtype == np.float64
    assert margins.shape == (len(rows),)

    split = newborn(kernel, **config)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    parts = [split.learn(rows[a:b]) for a, b in itertools.pairwise(bounds)]
    assert np.concatenate(parts).tobytes() == margins.tobytes()
    assert digest(split) == digest(whole)

    single = newborn(kernel, **config)
    assert np.array([single.learn_one(*row) for row in rows]).tobytes() == margins.tobytes()
    assert digest(single) == digest(whole)

    one = newborn(kernel, limits=replace(WIDE, max_samples_per_batch=2), **config)
    assert one.learn(rows).tobytes() == margins.tobytes()
    assert digest(one) == digest(whole)


LABEL = "expected a label as text, integer or boolean, got "
IMPORTANCE = "expected an importance from 0 to 1e+50, got "
NAME = "expected a feature name (text, bytes or an integer), got "
FIELD = "expected a number, text, true, false, null or an array of names, got "
FEATURES = "expected features as an iterable of names or a mapping from name to value, got "
SAMPLE = "expected (features, label) or (features, label, importance), got "

BAD_SAMPLES: list[tuple[Any, type[Exception], str]] = [
    ((["a"], 0.5), SampleError, LABEL + "0.5 at $[3][1]"),
    ((["a"], ""), SampleError, "expected a label, got an empty text at $[3][1]"),
    ((["a"], None), SampleError, LABEL + "nil at $[3][1]"),
    ((["a"], math.nan), SampleError, LABEL + "nan at $[3][1]"),
    ((["a"], 1, -1), SampleError, IMPORTANCE + "-1 at $[3][2]"),
    ((["a"], 1, math.nan), SampleError, IMPORTANCE + "nan at $[3][2]"),
    ((["a"], 1, math.inf), SampleError, IMPORTANCE + "inf at $[3][2]"),
    ((["a"], 1, 2e50), SampleError, IMPORTANCE + "2e+50 at $[3][2]"),
    ((["a"], 1, False), SampleError, IMPORTANCE + "false at $[3][2]"),
    ((["a"], 1, True), SampleError, IMPORTANCE + "true at $[3][2]"),
    ((["a"], 1, None), SampleError, IMPORTANCE + "nil at $[3][2]"),
    ((["a", 1.5], 1), SampleError, NAME + "1.5 at $[3][0][1]"),
    (([True], 1), SampleError, NAME + "true at $[3][0][0]"),
    (([["a"]], 1), SampleError, NAME + "an array at $[3][0][0]"),
    (({None: 1}, 1), SampleError, NAME + "nil at $[3][0]"),
    (({"n": math.nan}, 1), SampleError, 'expected a finite number, got nan at $[3][0]["n"]'),
    (({"n": -math.inf}, 1), SampleError, 'expected a finite number, got -inf at $[3][0]["n"]'),
    (({"n": {}}, 1), SampleError, FIELD + 'a map at $[3][0]["n"]'),
    (({"t": "two words", "n": [[]]}, 1), SampleError, NAME + 'an array at $[3][0]["n"][0]'),
    (
        ({"n": 2e50}, 1),
        SampleError,
        'expected a number of magnitude at most 1e+50, got 2e+50 at $[3][0]["n"]',
    ),
    (
        (["a" * 4097], 1),
        LimitError,
        "expected at most 4096 bytes a feature name, got 4097 at $[3][0][0]",
    ),
    (
        ([str(j) for j in range(65537)], 1),
        LimitError,
        "expected at most 65536 features a sample, got 65537 at $[3][0]",
    ),
    (
        ("free prize", 1),
        TypeError,
        FEATURES + "a bare str at $[3][0] (its letters would be learned; use a list)",
    ),
    (
        (5, 1),
        TypeError,
        FEATURES + "int at $[3][0] (for the rows of a matrix give np.array(rows); for names give"
        ' ["5", "7"] or {5: 1, 7: 1})',
    ),
    ((["a"],), TypeError, SAMPLE + "tuple at $[3]"),
    ("ab", TypeError, SAMPLE + "str at $[3]"),
]


@pytest.mark.parametrize(("bad", "kind", "message"), BAD_SAMPLES, ids=lambda v: str(v)[:30])
@pytest.mark.parametrize("piece", [16_384, 2])
def test_a_faulty_sample_last_leaves_the_model_unchanged(
    kernel: Kernel, bad: Any, kind: type[Exception], message: str, piece: int
) -> None:
    model = newborn(kernel, limits=replace(WIDE, max_samples_per_batch=piece))
    model.learn([(["a", "b"], 1)])
    before = digest(model)
    good = [(["b"], -1), (["new"], 1), ({"c": 2.5}, -1, 0.5)]
    with pytest.raises(kind) as caught:
        model.learn([*good, bad])
    assert type(caught.value) is kind
    assert str(caught.value) == message
    assert digest(model) == before
    assert "new" not in model.lookup


def test_a_faulty_sample_by_itself_names_its_own_parts(kernel: Kernel) -> None:
    model = newborn(kernel)
    for arguments, at in [
        (({"len": math.nan}, 1), '$[0]["len"]'),
        ((["a"], 0.5), "$[1]"),
        ((["a"], 1, -1), "$[2]"),
    ]:
        with pytest.raises(SampleError) as caught:
            model.learn_one(*arguments)
        assert caught.value.at == at
    with pytest.raises(SampleError) as caught:
        model.decision_function_one({"len": math.nan})
    assert caught.value.at == '$["len"]'
    with pytest.raises(SampleError) as caught:
        model.decision_function([["a"], {"len": math.inf}])
    assert caught.value.at == '$[1]["len"]'
    with pytest.raises(TypeError, match="got a bare str"):
        model.decision_function("ab")  # type: ignore[arg-type]
    assert digest(model) == digest(newborn(kernel))


def test_an_iterable_that_fails_midway_leaves_the_model_unchanged(kernel: Kernel) -> None:
    def broken() -> Iterator[tuple[list[str], int]]:
        yield ["a"], 1
        raise OSError("the disk is gone")

    model = newborn(kernel)
    with pytest.raises(OSError, match="the disk is gone"):
        model.learn(broken())
    assert digest(model) == digest(newborn(kernel))


def test_an_empty_batch_learns_nothing(kernel: Kernel) -> None:
    model = newborn(kernel)
    assert model.learn([]).tolist() == []
    assert model.decision_function([]).tolist() == []
    assert digest(model) == digest(newborn(kernel))
    assert model.position == 0


def test_an_empty_sample_is_the_bias_alone(kernel: Kernel) -> None:
    model = newborn(kernel)
    assert model.learn([([], -1), ({}, -1)]).tolist() == [0.0, -0.1]
    assert model.bias == -0.2
    assert model.decision_function_one([]) == -0.2
    assert len(model.lookup) == 0
    without = newborn(kernel, bias=False)
    assert without.learn([([], -1), ({}, -1)]).tolist() == [0.0, 0.0]
    assert without.bias == 0.0


# The boundary of a violation.


def test_signed_margin_exactly_one_does_not_update(kernel: Kernel) -> None:
    for y in (1, -1):
        model = newborn(kernel, eta0=1.0, bias=False)
        assert model.learn_one(["a"], y) == 0.0
        assert model.learn_one(["a"], y) == y  # exactly 1: not a violation
        assert model.weights["a"] == y
        just_below = np.nextafter(1.0, 0.0)
        model.learn_one({"a": just_below}, y)
        assert model.weights["a"] == y + y * just_below


# Importance.


def test_importance_zero_is_scored_and_counted_and_nothing_else(kernel: Kernel) -> None:
    model = newborn(kernel, schedule="invscaling", alpha=0.5)
    model.learn([(["a"], 1), (["b"], -1)])
    before = model.snapshot()
    figures = repr(model.progressive)
    expected = model.decision_function([["a", "new"], ["b"], ["a"]])
    # In one batch with others, and in the shapes that count as 0.
    margins = model.learn([(["a", "new"], -1, 0), (["b"], 1, -0.0), (["a"], -1, 1e-51)])
    assert margins.tobytes() == expected.tobytes()
    assert model.position == before.position + 3
    assert "new" not in model.lookup
    assert repr(model.progressive) == figures
    before.position = model.position
    assert digest(model) == before.digest()


def test_importance_scales_the_step(kernel: Kernel) -> None:
    model = newborn(kernel, bias=True)
    model.learn([({"a": 2.0}, -1, 2.5)])
    assert model.weights["a"] == 0.1 * 2.5 * -1 * 2.0
    assert model.bias == 0.1 * 2.5 * -1


# Values and names.


@given(rows=st.lists(samples(), max_size=8), config=configurations())
def test_a_zero_value_is_the_same_as_absent(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    maps = [(g, *rest) for g, *rest in rows if isinstance(g, dict)]
    first, last = {"first one": 0}, {"negative": -0.0, b"smallest": 1e-51}
    padded = [({**first, **g, **last}, *rest) for g, *rest in maps]
    stripped = [({n: x for n, x in g.items() if abs(x) >= 1e-50}, *rest) for g, *rest in maps]
    one, other = newborn(kernel, **config), newborn(kernel, **config)
    assert one.learn(padded).tobytes() == other.learn(stripped).tobytes()
    assert digest(one) == digest(other)


def test_duplicates_are_summed_in_order_at_the_place_of_the_first(kernel: Kernel) -> None:
    model = newborn(kernel, eta0=1.0, bias=False)
    model.learn_one({"b": 1.0, 5: 0.1, "a": 1.0, "5": 0.2, b"5": 0.3}, 1)
    assert list(model.lookup.items()) == [("b", 1), ("5", 2), ("a", 3)]
    assert model.weights[5] == (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)
    assert (
        model.decision_function_one(["b", 5, "a", "5"])
        == ((0.0 + 1.0) + model.weights[5] * 2.0) + 1.0
    )
    other = newborn(kernel)
    other.learn_one(["a", "a", "a"], 1)
    assert other.weights["a"] == 0.1 * 3.0


def test_a_zero_is_dropped_before_it_can_take_a_place(kernel: Kernel) -> None:
    model = newborn(kernel)
    model.learn_one({5: 0, "a": 1, "5": 2}, 1)
    assert list(model.lookup) == ["a", "5"]


def test_a_sum_of_zero_stays(kernel: Kernel) -> None:
    model = newborn(kernel)
    model.learn_one({5: 1.5, "a": 1, "5": -1.5}, 1)
    assert dict(model.lookup) == {"5": 1, "a": 2}
    assert model.weights["5"] == 0.0


@given(rows=st.lists(samples(), max_size=6), asked=st.lists(features()), config=configurations())
def test_prediction_changes_nothing(
    kernel: Kernel, rows: list[tuple[Any, ...]], asked: list[Any], config: dict[str, Any]
) -> None:
    model = newborn(kernel, **config)
    model.learn(rows)
    before = digest(model)
    margins = model.decision_function(asked)
    assert margins.dtype == np.float64
    assert [model.decision_function_one(row) for row in asked] == margins.tolist()
    assert digest(model) == before
    # A prediction is the margin that learning reports.
    for row, margin in zip(asked, margins, strict=True):
        assert twin(model).learn_one(row, 1) == margin


def test_unknown_features_score_nothing(kernel: Kernel) -> None:
    model = newborn(kernel)
    model.learn_one(["a"], 1)
    assert (
        model.decision_function_one({"a": 1, "never": 1e50, "seen": 3})
        == model.decision_function_one(["a"])
        == 0.2
    )


@given(rows=st.lists(samples(), max_size=10), bound=st.integers(1, 6), config=configurations())
def test_at_the_bound_new_features_are_as_if_absent(
    kernel: Kernel, rows: list[tuple[Any, ...]], bound: int, config: dict[str, Any]
) -> None:
    free = newborn(kernel, **config)
    free.learn(rows)
    known = list(free.lookup)[:bound]
    bounded = newborn(kernel, limits=replace(WIDE, max_features=bound), **config)
    margins = bounded.learn(rows)
    assert list(bounded.lookup) == known

    reported = {name.encode("utf-8", "surrogateescape") for name in known}
    trimmed = [({n: x for n, x in row_of(g).items() if n in reported}, *rest) for g, *rest in rows]
    other = newborn(kernel, **config)
    assert other.learn(trimmed).tobytes() == margins.tobytes()
    assert digest(other) == digest(bounded)


def test_extreme_magnitudes_neither_overflow_nor_become_nan(kernel: Kernel) -> None:
    for config in ({}, {"schedule": "invscaling"}, {"alpha": 0.9e-50}):
        model = newborn(kernel, eta0=1e50, **config)
        wide = {str(j): (-1) ** j * 1e50 for j in range(1000)}
        again = {0: 1e50, "0": 1e50, b"0": 1e50}
        rows = [(wide, 1, 1e50), (wide, -1, 1e50), (again, -1, 1e50), ({"tiny": 1e-50}, 1, 1e-50)]
        margins = model.learn(rows * 5)
        assert np.isfinite(margins).all()
        assert np.isfinite(model.snapshot().totals).all()
        assert all(math.isfinite(weight) for weight in model.weights.values())
        assert math.isfinite(model.bias)
        assert math.isfinite(model.decision_function_one(wide))
        assert digest(twin(model)) == digest(model)


# The attributes of a model.


def test_the_configuration_is_fixed_and_checked(kernel: Kernel) -> None:
    with pytest.raises(ConfigError):
        newborn(kernel, eta0=0)
    with pytest.raises(TypeError):
        newborn(kernel, eta=0.1)
    with pytest.raises(TypeError):
        OnlineSVM("sgd")  # type: ignore[misc]


def test_what_a_model_shows(kernel: Kernel) -> None:
    model = newborn(kernel)
    assert model.progressive.error is None
    model.learn(iter([(Counter("aab"), 1), ({"c", "d"}, -1), ((x for x in ["e"]), 1)]))
    assert model.position == 3
    assert set(model.lookup) == set("abcde")
    assert model.weights["a"] == 0.2
    assert repr(model) == (f"OnlineSVM(rule='sgd', position=3, features=5, kernel='{kernel.NAME}')")


@given(rows=st.lists(samples(), max_size=10), config=configurations())
def test_same_samples_same_model(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    reference = OnlineSVM(kernel="python", limits=WIDE, **config)
    model = newborn(kernel, **config)
    assert model.learn(rows).tobytes() == reference.learn(rows).tobytes()
    assert digest(model) == digest(reference)
