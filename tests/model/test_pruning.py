"""Bounded models: new features are left out, or the weakest ones leave for them."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from onlinesvm import LearnerConfig, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.errors import ConfigError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model import pruning
from onlinesvm.model.scorer import Scorer
from onlinesvm.snapshot.reader import from_bytes
from onlinesvm.snapshot.writer import to_bytes
from tests.logs import bench, newest_snapshot
from tests.snapshot.test_view import advance
from tests.strategies import WIDE, configurations

Sample = tuple[dict[str, float], int, float]


def bounded(kernel: Kernel, most: int, **config: Any) -> OnlineSVM:
    config.setdefault("max_features_policy", "prune")
    return OnlineSVM(kernel=kernel.NAME, limits=replace(WIDE, max_features=most), **config)


def digest(model: OnlineSVM) -> str:
    return model.snapshot().digest()


# The oracle: which features a model has, and their ids, sample by sample.


@contextlib.contextmanager
def in_small_steps() -> Iterator[None]:
    """Prunes of a few features at a time, that choose their threshold among a few."""
    with (
        mock.patch.object(pruning, "STEP", 3), mock.patch.object(pruning, "FOR_NEW", 1),
        mock.patch.object(pruning, "MOST", 5), mock.patch.object(pruning, "EVERY", 4),
        mock.patch.object(pruning, "SAMPLED", 7),
    ):  # fmt: skip
        yield


class Oracle:
    """The ids by the definition of `onlinesvm.model.pruning`; the weights are the model's."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.ids: dict[int, str] = {}
        self.last = self.refused = self.prunes = 0
        self.is_pruning = False
        self.low = self.next = self.judge = self.equal = self.before = 0
        self.threshold = 0.0

    def learn(
        self,
        position: int,
        features: Sequence[str],
        importance: float,
        weights: Mapping[str, float],
    ) -> None:
        is_near = self.is_pruning or self.last > self.most * 7 / 8
        if (is_near and position % pruning.EVERY == 0) or self.last + len(features) > self.most:
            self.prune({id: abs(weights[name]) for id, name in self.ids.items()})
        for name in features if importance > 0 else ():
            if name in self.ids.values():
                continue
            if self.last == self.most:
                self.refused += 1
            else:
                self.last += 1
                self.ids[self.last] = name

    def prune(self, weights: Mapping[int, float]) -> None:
        if not self.is_pruning:
            n = self.last
            excess = n - (self.most - math.ceil(self.most / 4))
            if excess <= 0:
                return
            m = min(n, pruning.SAMPLED)
            looked_at = sorted(weights[i * n // m + 1] for i in range(m))
            rank = max(1, excess * m // n)
            self.threshold = looked_at[rank - 1]
            self.equal = (rank - sum(w < self.threshold for w in looked_at)) * n // m
            self.is_pruning, self.low, self.next = True, 0, 1
            self.judge = self.before = n
        size = pruning.STEP + pruning.FOR_NEW * (self.last - self.before)
        for id in range(self.next, min(self.next + min(size, pruning.MOST), self.last + 1)):
            name = self.ids.pop(id)
            leaves = self.judge > 0 and weights[id] < self.threshold
            if self.judge > 0 and weights[id] == self.threshold and self.equal > 0:
                self.equal -= 1
                leaves = True
            self.judge = max(0, self.judge - 1)
            self.next += 1
            if not leaves:
                self.low += 1
                self.ids[self.low] = name
        if self.next > self.last:
            self.is_pruning = False
            self.last = self.low
            self.prunes += 1
        self.before = self.last


def features() -> st.SearchStrategy[dict[str, float]]:
    values = st.sampled_from([1.0, 1.0, 2.0, -0.5, 1e-3])
    return st.dictionaries(st.integers(0, 30).map(str), values, max_size=9)


def sampled() -> st.SearchStrategy[list[Sample]]:
    importances = st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.0])
    return st.lists(st.tuples(features(), st.sampled_from([-1, 1]), importances), max_size=30)


@given(config=configurations(), samples=sampled(), most=st.integers(1, 20), small=st.booleans())
def test_prunes_are_those_of_the_oracle(
    kernel: Kernel, config: dict[str, Any], samples: list[Sample], most: int, small: bool
) -> None:
    model, oracle = bounded(kernel, most, **config), Oracle(most)
    with in_small_steps() if small else contextlib.nullcontext():
        for position, (row, label, importance) in enumerate(samples):
            before = dict(model.weights)
            oracle.learn(position, list(row), importance, before)
            model.learn([(row, label, importance)])
            assert dict(model.lookup) == {name: id for id, name in sorted(oracle.ids.items())}
            assert list(model.lookup) == [name for _, name in sorted(oracle.ids.items())]
            if importance == 0:  # nothing but a prune has changed it
                weights = dict(model.weights)
                assert weights == {name: before[name] for name in weights}
        assert model.refused_features == oracle.refused
        assert model.pruning.prunes == oracle.prunes


@given(
    config=configurations(), samples=sampled(), most=st.integers(1, 20), small=st.booleans(),
    data=st.data(),
)  # fmt: skip
def test_a_prune_depends_on_the_samples_alone(
    kernel: Kernel,
    config: dict[str, Any],
    samples: list[Sample],
    most: int,
    small: bool,
    data: st.DataObject,
) -> None:
    """In any batches, with views between them, and through snapshots."""
    expected = bounded(kernels.load("python"), most, **config)
    model = bounded(kernel, most, **config)
    with in_small_steps() if small else contextlib.nullcontext():
        margins = [expected.learn([sample])[0] for sample in samples]
        start, got, views = 0, [], []
        while start < len(samples):
            stop = data.draw(st.integers(start + 1, len(samples)))
            view, before = model.view(), model.snapshot()
            advance(view, start % 3, start % 4)
            views.append((view, before.digest()))
            got += model.learn(samples[start:stop]).tolist()
            if data.draw(st.booleans()):
                view, digested = views.pop(data.draw(st.integers(0, len(views) - 1)))
                assert view.snapshot().digest() == digested
            if data.draw(st.booleans()):
                taken = model.snapshot()
                again = from_bytes(to_bytes(taken))
                assert again.digest() == taken.digest()
                model = OnlineSVM.from_snapshot(again, kernel=kernel.NAME, limits=model.limits)
            start = stop
        for view, digested in views:
            assert view.snapshot().digest() == digested
        assert got == margins
        assert digest(model) == digest(expected)
        assert dict(model.lookup) == dict(expected.lookup)
        assert list(model.lookup) == list(expected.lookup)
        assert dict(model.weights) == dict(expected.weights)
        assert model.strongest(30) == expected.strongest(30)
        rows = [row for row, _, _ in samples]
        assert Scorer(model).score(rows).tolist() == expected.decision_function(rows).tolist()
        frozen = Scorer(model.snapshot()).score(rows)
        assert frozen.tolist() == expected.decision_function(rows).tolist()
        for each in (model, expected):
            each.learn([({str(i): 1.0 for i in range(25, 40)}, 1)])
        assert digest(model) == digest(expected)


@given(config=configurations(), samples=sampled(), most=st.integers(1, 20))
def test_matrices_are_pruned_for_as_names_are(
    kernel: Kernel, config: dict[str, Any], samples: list[Sample], most: int
) -> None:
    model, other = bounded(kernel, most, **config), bounded(kernel, most, **config)
    other.learn(samples)
    indptr, columns, data = [0], [], []
    for row, _, _ in samples:
        columns += [int(name) for name in row]
        data += row.values()
        indptr.append(len(columns))
    matrix = sparse.csr_array((data, columns, indptr), shape=(len(samples), 31))
    labels = np.array([label for _, label, _ in samples], dtype=np.float64)
    importances = np.array([importance for _, _, importance in samples], dtype=np.float64)
    for part in (slice(0, 7), slice(7, None)):
        model.partial_fit(matrix[part], labels[part], importances[part])
    assert digest(model) == digest(other)
    scored = model.decision_function([row for row, _, _ in samples])
    assert model.decision_function(matrix).tolist() == scored.tolist()


def test_the_weakest_leave_of_equal_ones_the_first(kernel: Kernel) -> None:
    model = bounded(kernel, 8, rule="sgd", bias=False)
    for i in range(8):  # weights of ±0.1, ±0.2 …
        model.learn([({f"f{i}": float(1 + i // 2)}, 1 if i % 2 else -1)])
    assert len(model.lookup) == 8 and model.pruning.prunes == 0
    # Two have to go for a quarter of the room to be free: f0 and f1, which weigh the same.
    model.learn([({"f4": 1.0, "new": 1.0}, 1)])
    assert list(model.lookup) == ["f2", "f3", "f4", "f5", "f6", "f7", "new"]
    assert list(model.lookup.values()) == [1, 2, 3, 4, 5, 6, 7]
    assert model.weights["f7"] == 0.4
    assert (model.pruning.prunes, model.pruning.features, model.refused_features) == (1, 2, 0)
    # More than fits even after a prune, which leaves six: the first ones enter.
    model.learn([({f"g{i}": 1.0 for i in range(12)}, 1)])
    assert len(model.lookup) == 8
    assert model.refused_features == 10
    assert model.decision_function([["f1"], ["g11"]]).tolist() == [0.0, 0.0]


def test_refused_features_are_counted(kernel: Kernel) -> None:
    model = bounded(kernel, 2, max_features_policy="refuse-new")
    model.learn([(["a", "b", "c"], 1), (["c", "d"], -1), (["a"], 1), (["e"], 1, 0.0)])
    x = sparse.csr_array(([1.0, 1.0], [3, 4], [0, 2]), shape=(1, 9))
    model.partial_fit(x, [1])
    model.decision_function([["f"]])
    assert (list(model.lookup), model.refused_features) == (["a", "b"], 5)
    assert model.pruning.prunes == 0


def test_a_lower_bound_prunes_before_the_next_sample(kernel: Kernel) -> None:
    model = bounded(kernel, 100, rule="pa1")
    model.learn([({str(i): float(i + 1)}, 1) for i in range(100)])
    model.limit(replace(WIDE, max_features=10))
    assert len(model.lookup) == 100
    model.learn([(["99"], -1)])
    assert len(model.lookup) == 8  # a quarter of ten is three; the sample's own is back
    assert model.pruning.features == 93
    assert model.refused_features == 0


def test_the_policy_is_part_of_the_configuration() -> None:
    config = LearnerConfig(max_features_policy="prune")
    assert config.as_dict()["max_features_policy"] == "prune"
    assert "max_features_policy" not in LearnerConfig().as_dict()
    with pytest.raises(ConfigError, match="expected one of refuse-new, prune, got 'forget'"):
        LearnerConfig(max_features_policy="forget")


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "ranking"])
def test_models_of_other_tasks_prune_alike(task: str) -> None:
    random = np.random.default_rng(7)
    rows = [{f"w{j}": 1.0 for j in random.integers(0, 60, 5)} for _ in range(160)]
    samples: list[Any] = []
    for i, row in enumerate(rows):
        label = f"label {i % 4}"
        second: Any = label if task == "multiclass" else [label, "even" if i % 2 else "odd"]
        samples.append((row, rows[i - 1] if task == "ranking" else second))
    found = []
    with in_small_steps():
        for name in kernels.KERNELS:
            for size in (1, 7, 160):
                model = bounded(kernels.load(name), 40, rule="hedge", task=task)
                within = 0
                for start in range(0, len(samples), size):
                    model.learn(samples[start : start + size])
                    taken = model.snapshot()
                    within += taken.prune is not None
                    again = from_bytes(to_bytes(taken))
                    assert again.digest() == taken.digest()
                    model = OnlineSVM.from_snapshot(again, kernel=name, limits=model.limits)
                assert within > 0 or size == 160
                found.append((digest(model), dict(model.lookup)))
    assert found[1:] == found[:-1]


def stream(n: int, seed: int) -> list[tuple[list[str], int]]:
    """Features that come and go, with many ties and long and short names."""
    random = np.random.default_rng(seed)
    names = np.char.add(
        "w" * 3, (random.integers(0, 300, (n, 8)) + np.arange(n)[:, None]).astype(str)
    )
    return [
        ([name * (1 + k % 3) for k, name in enumerate(row)], 1 if i % 3 else -1)
        for i, row in enumerate(names.tolist())
    ]


@pytest.mark.parametrize("rule", ["hedge", "nag", "sgd"])
def test_both_kernels_prune_alike_over_many_prunes(rule: str) -> None:
    samples = stream(1_500, 1)
    models = [
        bounded(kernels.load(name), 500, rule=rule, normalize="l2") for name in kernels.KERNELS
    ]
    for model in models:
        for start in range(0, len(samples), 170):
            model.learn(samples[start : start + 170])
    native, python = models
    assert native.pruning.prunes == python.pruning.prunes > 10
    assert native.pruning.features == python.pruning.features
    assert digest(native) == digest(python)
    assert native.decision_function([row for row, _ in samples[-50:]]).tolist() == (
        python.decision_function([row for row, _ in samples[-50:]]).tolist()
    )


def test_large_models_are_pruned_across_blocks_and_regions() -> None:
    # Blocks of 16,384 ids, regions of 64 KiB and more; half of the weights are equal.
    samples = [
        ([f"{'long' * (i % 7)}{i}-{k}" for k in range(50)], 1 if i % 2 else -1)
        for i in range(1_600)
    ]
    models = [bounded(kernels.load(name), 50_000, rule="arow") for name in kernels.KERNELS]
    for model in models:
        model.learn(samples)
        names = list(model.lookup)
        reading = iter(model.lookup)
        next(reading)
        model.learn([([f"more {k}" for k in range(20_000)], 1)])
        assert list(reading) == names[1:]  # as they were when reading began
        ids = list(model.lookup.values())
        assert ids == sorted(set(ids))
        assert [model.lookup[name] for name in model.lookup] == ids
    assert models[0].pruning.prunes == models[1].pruning.prunes >= 3
    assert digest(models[0]) == digest(models[1])


def test_threads_see_a_pruned_model_whole(kernel: Kernel) -> None:
    model = bounded(kernel, 300, rule="sgd", bias=False)
    samples = [([f"w{(i * 7) % 1000}", f"w{(i * 11) % 1000}"], 1) for i in range(1_500)]
    ends = threading.Event()
    failures: list[BaseException] = []

    def look() -> None:
        try:
            while not ends.is_set():
                taken = OnlineSVM.from_snapshot(model.snapshot(), kernel=kernel.NAME)
                # All labels are +1 and no value is negative: no margin can be below 0.
                assert len(taken.lookup) <= 300
                assert (model.decision_function([row for row, _ in samples[:100]]) >= 0).all()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    for start in range(0, len(samples), 50):
        model.learn(samples[start : start + 50])
    ends.set()
    thread.join(60)
    assert not failures
    straight = bounded(kernel, 300, rule="sgd", bias=False)
    straight.learn(samples)
    assert digest(model) == digest(straight)
    assert model.pruning.prunes > 10


# In the daemon: what was pruned is pruned again by a replay.


def test_a_replay_prunes_alike(kernel: Kernel, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ONLINESVM_KERNEL", kernel.NAME)
    config = {"rule": "hedge", "max_features_policy": "prune"}
    samples = stream(300, 3)
    parts = [samples[i : i + 20] for i in range(0, len(samples), 20)]
    model = bounded(kernel, 150, **config)
    for k, part in enumerate(parts):
        most = 150 if k < 8 else 90  # another start, another bound
        model.limit(replace(WIDE, max_features=most))
        model.learn(part)
        with bench(tmp_path, limits=replace(WIDE, max_features=most), **config) as found:
            assert len(found.model.lookup) <= 150
            found.learn(part)
            if k % 5 == 3:
                found.snapshot()
            reported = found.turn(("stats", None, {}, b"peer"))[0]
            assert reported["features"] == len(model.lookup)
        assert model.pruning.prunes >= k // 2
    with bench(tmp_path, limits=replace(WIDE, max_features=90), **config) as found:
        assert digest(found.model) == digest(model)
    newest = newest_snapshot(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    with bench(tmp_path, limits=replace(WIDE, max_features=90), **config) as found:
        assert digest(found.model) == digest(model)
        assert found.model.pruning.prunes > 3


def test_weights_beside_a_learner_that_prunes_are_of_one_state(kernel: Kernel) -> None:
    """Each sample has one feature, new and of value 1, so each weight is the step 0.5 or 0."""
    model = bounded(kernel, 40, rule="sgd", eta0=0.5, bias=False)
    done = threading.Event()
    faults: list[BaseException] = []

    def walk() -> None:
        try:
            while not done.is_set():
                weights, lookup = dict(model.weights), dict(model.lookup)
                assert set(weights.values()) <= {0.5}
                assert list(lookup.values()) == list(range(1, len(lookup) + 1))
                for view in (model.weights, model.lookup):
                    pairs = list(view.items())
                    assert 0 <= len(pairs) == len(view) <= 40
                    assert len(list(view.values())) == len(view)
                    view.get("f7")
                up, down = model.strongest(50)
                assert {weight for _, weight in up} <= {0.5}
                assert len(up) <= 40
                assert down == []
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=walk) for _ in range(2)]
    for one in threads:
        one.start()
    for i in range(4000 if kernel.NAME == "native" else 800):
        model.learn_one([f"f{i}"], 1)
    done.set()
    for one in threads:
        one.join(60)
        assert not one.is_alive()
    assert not faults
    assert model.pruning.prunes > 50
