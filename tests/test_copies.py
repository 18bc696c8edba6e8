"""Copies of learners and scorers: bytes, pickle, copy, deepcopy, joblib; they share nothing."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM, Scorer
from onlinesvm.errors import SnapshotError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.snapshot.writer import SYNC_BYTES
from tests.strategies import WIDE, configurations, features, samples


def through_joblib(given: Any) -> Any:
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(given, file)
    file.seek(0)
    return joblib.load(file)


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "joblib": through_joblib,
    **{
        f"pickle {n}": lambda given, n=n: pickle.loads(pickle.dumps(given, n))
        for n in (0, 2, pickle.HIGHEST_PROTOCOL)
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_whole_and_shares_nothing(kernel: Kernel, way: str) -> None:
    limits = Limits(max_features=50, max_name_bytes=9)
    model = OnlineSVM(kernel=kernel.NAME, limits=limits, max_features_policy="prune")
    model.learn([([f"f{i % 70}", "a"], (-1) ** i) for i in range(100)])
    before = model.snapshot().digest()
    made = WAYS[way](model)
    assert type(made) is OnlineSVM
    assert (made.limits, made.kernel.NAME) == (limits, kernel.NAME)
    assert made.snapshot().digest() == before
    rows = [([f"g{i}", "a"], 1) for i in range(60)]
    assert made.learn(rows).tobytes() == model.learn(rows).tobytes()
    assert made.snapshot().digest() == model.snapshot().digest() != before
    made.learn_one(["new"], -1)
    assert "new" in made.lookup
    assert "new" not in model.lookup


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("normalize", ["none", "l2", "mean"])
def test_a_copied_scorer_scores_alike(kernel: Kernel, way: str, normalize: str) -> None:
    model = OnlineSVM(kernel=kernel.NAME, normalize=normalize, limits=Limits(max_features=9))
    model.learn([({"a": 3.0, "b": 0.1}, 1), (["b", "c"], -1)] * 5)
    scorer = Scorer(model)
    asked = [["a", "never"], {"b": 0.3, "c": 7}, []]
    expected = scorer.score(asked).tobytes()
    model.learn_one(["d", "a"], 1)  # the scorer shares the names, and does not see this one
    made = WAYS[way](scorer)
    assert (made.limits, made.kernel.NAME) == (scorer.limits, kernel.NAME)
    assert (made.position, made.reduce, made.bias) == (10, scorer.reduce, scorer.bias)
    assert made.score(asked).tobytes() == expected
    assert made.score([["d"]]).tolist() == [made.bias]


@given(rows=st.lists(samples(), max_size=6), asked=st.lists(features()), config=configurations())
def test_bytes_hold_the_whole_state(
    kernel: Kernel, rows: list[Any], asked: list[Any], config: dict[str, Any]
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    model.learn(rows)
    for name in ("native", "python"):
        made = OnlineSVM.from_bytes(model.to_bytes(), kernel=name)
        assert made.snapshot().digest() == model.snapshot().digest()
        expected = model.predict(asked).tobytes()
        assert made.predict(asked).tobytes() == expected
        for raw in (model.to_bytes(), Scorer(model).to_bytes()):
            assert Scorer.from_bytes(raw, kernel=name).score(asked).tobytes() == expected


def test_bytes_are_those_of_a_file(tmp_path: Path) -> None:
    model = OnlineSVM()
    model.learn_one(["a"], 1)
    (tmp_path / "m").write_bytes(model.to_bytes())
    assert OnlineSVM.load(tmp_path / "m").snapshot().digest() == model.snapshot().digest()
    model.save(tmp_path / "m")
    made = OnlineSVM.from_bytes((tmp_path / "m").read_bytes())
    assert made.snapshot().digest() == model.snapshot().digest()


def test_bytes_of_more_than_a_file_is_synced_at() -> None:
    model = OnlineSVM(rule="sgd")
    n = SYNC_BYTES // 8 + 1
    model.partial_fit(np.ones((1, 1)), [1])
    taken = model.snapshot()
    taken.lengths = np.full(n, 8, dtype=np.uint32)
    taken.names = np.arange(n, dtype=np.uint64).view(np.uint8)
    taken.arrays = {"weights": np.ones(n)}
    large = OnlineSVM.from_snapshot(taken, limits=Limits(max_features=n))
    raw = large.to_bytes()
    assert len(raw) > SYNC_BYTES
    made = OnlineSVM.from_bytes(raw, limits=large.limits)
    assert made.snapshot().digest() == large.snapshot().digest()


@pytest.mark.parametrize("kind", [OnlineSVM, Scorer])
@pytest.mark.parametrize("damage", [lambda raw: b"", lambda raw: raw[:-1], lambda raw: raw + b"x",
                                    lambda raw: raw.replace(b"hedge", b"hedgf")])  # fmt: skip
def test_damaged_bytes_are_refused(kind: Any, damage: Callable[[bytes], bytes]) -> None:
    model = OnlineSVM()
    model.learn_one(["a"], 1)
    with pytest.raises(SnapshotError, match="snapshot: "):
        kind.from_bytes(damage(model.to_bytes()))


def test_representations_are_readable(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    model.learn_one(["a", "b"], 1)
    assert repr(model) == f"OnlineSVM(rule='hedge', position=1, features=2, kernel='{kernel.NAME}')"
    assert repr(Scorer(model)) == (
        f"Scorer(features=2, position=1, reduce='sum', kernel='{kernel.NAME}')"
    )
    assert repr(model.weights) == "<WeightsView of 2 features>"
    assert repr(model.lookup) == "<LookupView of 2 features>"
