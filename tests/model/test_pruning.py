"""Bounded models: new features are left out, or the weakest ones leave for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from onlinesvm import LearnerConfig, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.errors import ConfigError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.snapshot.format import Snapshot
from tests.logs import bench, newest_snapshot
from tests.snapshot.test_view import advance
from tests.strategies import WIDE, configurations

Sample = tuple[dict[str, float], int, float]


def bounded(kernel: Kernel, most: int, **config: Any) -> OnlineSVM:
    config.setdefault("max_features_policy", "prune")
    return OnlineSVM(kernel=kernel.NAME, limits=replace(WIDE, max_features=most), **config)


def digest(model: OnlineSVM) -> str:
    return model.snapshot().digest()


# The oracle: one sample at a time, the state as the arrays of a snapshot, sorted and cut.


def names_of(taken: Snapshot) -> list[bytes]:
    ends = np.cumsum(taken.lengths)
    raw = taken.names.tobytes()
    return [raw[int(end) - int(n) : int(end)] for n, end in zip(taken.lengths, ends, strict=True)]


def pruned(model: OnlineSVM, own: set[bytes], most: int) -> OnlineSVM:
    taken = model.snapshot()
    names = names_of(taken)
    sizes = np.abs(np.array(list(model.weights.values())))
    leaves: list[int] = []
    for i in np.lexsort((np.arange(len(names)), sizes)):
        if 4 * (most - (len(names) - len(leaves))) >= most:
            break
        if names[i] not in own:
            leaves.append(int(i))
    stays = np.array(sorted(set(range(len(names))) - set(leaves)), dtype=np.intp)
    taken.lengths = taken.lengths[stays]
    taken.names = np.frombuffer(b"".join(names[i] for i in stays), dtype=np.uint8)
    taken.arrays = {name: array[stays] for name, array in taken.arrays.items()}
    return OnlineSVM.from_snapshot(taken, kernel="python", limits=model.limits)


def learned_by_the_oracle(
    samples: Sequence[Sample], most: int, **config: Any
) -> tuple[OnlineSVM, list[float], int]:
    model = bounded(kernels.load("python"), most, **config)
    margins, prunes = [], 0
    for features, label, importance in samples:
        own = {name.encode() for name in features if name in model.lookup}
        fresh = len(features) - len(own)
        if importance > 0 and fresh and len(model.lookup) + fresh > most:
            smaller = pruned(model, own, most)
            prunes += len(smaller.lookup) < len(model.lookup)
            model = smaller
            # With all the room that there is, no prune can be called for again.
            assert len(model.lookup) == len(own) or 4 * (most - len(model.lookup)) >= most
        margins += model.learn([(features, label, importance)]).tolist()
    return model, margins, prunes


def features() -> st.SearchStrategy[dict[str, float]]:
    values = st.sampled_from([1.0, 1.0, 2.0, -0.5, 1e-3])
    return st.dictionaries(st.integers(0, 30).map(str), values, max_size=9)


def sampled() -> st.SearchStrategy[list[Sample]]:
    importances = st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.0])
    return st.lists(st.tuples(features(), st.sampled_from([-1, 1]), importances), max_size=30)


@given(config=configurations(), samples=sampled(), most=st.integers(1, 20), data=st.data())
def test_prunes_are_those_of_the_oracle(
    kernel: Kernel, config: dict[str, Any], samples: list[Sample], most: int, data: st.DataObject
) -> None:
    expected, margins, prunes = learned_by_the_oracle(samples, most, **config)
    model = bounded(kernel, most, **config)
    # In any batches, and with readers between them.
    start, got = 0, []
    while start < len(samples):
        stop = data.draw(st.integers(start + 1, len(samples)))
        view, before = model.view(), model.snapshot()
        advance(view, start % 3, start % 4)
        got += model.learn(samples[start:stop]).tolist()
        if data.draw(st.booleans()):
            assert view.snapshot().digest() == before.digest()
        start = stop
    assert got == margins
    assert digest(model) == digest(expected)
    assert list(model.lookup) == list(expected.lookup)
    assert list(model.lookup.values()) == list(range(1, len(model.lookup) + 1))
    assert len(model.lookup) <= most
    assert model.pruning.prunes == prunes
    # It goes on from a snapshot as if it had never stopped.
    again = OnlineSVM.from_snapshot(model.snapshot(), kernel=kernel.NAME, limits=model.limits)
    for each in (model, again):
        each.learn([({str(i): 1.0 for i in range(25, 40)}, 1)])
    assert digest(model) == digest(again)


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
    scored = model.predict([row for row, _, _ in samples])
    assert model.decision_function(matrix).tolist() == scored.tolist()


def test_the_weakest_leave_and_the_samples_own_stay(kernel: Kernel) -> None:
    model = bounded(kernel, 8, rule="sgd", bias=False)
    for i in range(8):  # weights of ±0.1, ±0.2 …
        model.learn([({f"f{i}": float(1 + i // 2)}, 1 if i % 2 else -1)])
    assert len(model.lookup) == 8 and model.pruning.prunes == 0
    # f0 and f1 weigh the same: two have to go, f0 is the sample's own, so f1 and f2 do.
    model.learn([({"f0": 1.0, "new": 1.0}, 1)])
    assert list(model.lookup) == ["f0", "f3", "f4", "f5", "f6", "f7", "new"]
    assert list(model.lookup.values()) == [1, 2, 3, 4, 5, 6, 7]
    assert model.weights["f7"] == 0.4
    assert (model.pruning.prunes, model.pruning.features, model.refused_features) == (1, 2, 0)
    # More than fits even after a prune: the first ones enter.
    model.learn([({f"g{i}": 1.0 for i in range(12)}, 1)])
    assert len(model.lookup) == 8
    assert model.refused_features == 10
    assert model.predict([["f1"], ["g11"]]).tolist() == [0.0, 0.0]


def test_refused_features_are_counted(kernel: Kernel) -> None:
    model = bounded(kernel, 2, max_features_policy="refuse-new")
    model.learn([(["a", "b", "c"], 1), (["c", "d"], -1), (["a"], 1), (["e"], 1, 0.0)])
    x = sparse.csr_array(([1.0, 1.0], [3, 4], [0, 2]), shape=(1, 9))
    model.partial_fit(x, [1])
    model.predict([["f"]])
    assert (list(model.lookup), model.refused_features) == (["a", "b"], 5)
    assert model.pruning.prunes == 0


def test_a_lower_bound_prunes_at_the_next_new_feature(kernel: Kernel) -> None:
    model = bounded(kernel, 100, rule="pa1")
    model.learn([({str(i): float(i + 1)}, 1) for i in range(100)])
    model.limit(replace(WIDE, max_features=10))
    model.learn([(["5"], -1)])
    assert len(model.lookup) == 100
    model.learn([(["new"], -1)])
    assert len(model.lookup) == 8  # a quarter of ten is three
    assert model.pruning.features == 93


def test_the_policy_is_part_of_the_configuration() -> None:
    config = LearnerConfig(max_features_policy="prune")
    assert config.as_dict()["max_features_policy"] == "prune"
    assert "max_features_policy" not in LearnerConfig().as_dict()
    with pytest.raises(ConfigError, match="expected one of refuse-new, prune, got 'forget'"):
        LearnerConfig(max_features_policy="forget")


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
    assert native.predict([row for row, _ in samples[-50:]]).tolist() == (
        python.predict([row for row, _ in samples[-50:]]).tolist()
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
        assert [model.lookup[name] for name in names[-5:]] == [
            list(model.lookup).index(name) + 1 for name in names[-5:]
        ]
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
                assert (model.predict([row for row, _ in samples[:100]]) >= 0).all()
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
