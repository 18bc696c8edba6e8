"""Small models: what they take, and how they grow into large ones."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from onlinesvm import Limits, OnlineSVM
from onlinesvm.kernel.contract import Kernel
from tests.daemons import HOUSE

GROWN = """
import gc, sys
from onlinesvm import OnlineSVM

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def made(features):
    model = OnlineSVM(kernel="native")
    for first in range(0, features, 25):
        names = [f"feature-{i}" for i in range(first, min(first + 25, features))]
        model.learn([(names, 1 if first % 2 else -1)])
    return model

features, number = int(sys.argv[1]), int(sys.argv[2])
kept = [made(features)]
gc.collect()
before = resident_bytes()
kept += [made(features) for _ in range(number)]
gc.collect()
print((resident_bytes() - before) // number)
"""


@pytest.mark.parametrize(
    ("features", "number", "most"),
    [(0, 500, 8 * 1024), (25, 500, 24 * 1024), (1000, 100, 120 * 1024)],
)
def test_the_memory_of_a_small_model(features: int, number: int, most: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWN, str(features), str(number)],
        cwd=HOUSE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) <= most


def test_a_lookup_finds_all_names_at_every_size(kernel: Kernel) -> None:
    """Learned one by one, and at a size restored from a snapshot."""
    model = OnlineSVM(rule="pa1", kernel=kernel.NAME)
    names = [f"name {i}" * (1 + i % 3) for i in range(1, 1300)]
    for i, name in enumerate(names, start=1):
        assert model.decision_function_one([name]) == model.bias
        model.learn_one([name], i % 2)
        if i in (1, 22, 23, 24, 25, 46, 47, 48, 94, 95, 96, 190, 191, 192, 382, 383, 384, 1299):
            restored = OnlineSVM.from_snapshot(model.snapshot(), kernel=kernel.NAME)
            for grown in (model, restored):
                assert [grown.lookup[known] for known in names[:i]] == [*range(1, i + 1)]
            assert names[i - 1] + "?" not in restored.lookup
            restored.learn([([f"more {j}" for j in range(i)], 1)])
            assert len(restored.lookup) == 2 * i


def test_a_small_lookup_is_pruned(kernel: Kernel) -> None:
    model = OnlineSVM(
        rule="pa1", kernel=kernel.NAME, limits=Limits(max_features=20), max_features_policy="prune"
    )
    for i in range(200):
        model.learn_one([f"name {i}", "all"], i % 2)
    assert model.pruning.prunes > 5
    assert 15 <= len(model.lookup) <= 20
    assert model.lookup["all"]


def test_the_bytes_of_all_names(kernel: Kernel) -> None:
    """As they are learned, pruned and restored."""
    limits = Limits(max_features=30)
    model = OnlineSVM(
        rule="pa1", kernel=kernel.NAME, limits=limits, max_features_policy="prune"
    )  # fmt: skip
    for i in range(100):
        model.learn_one([f"{'name' * (i % 9)}{i}", "alle \u00e9"], i % 2)
        assert model.name_bytes == sum(len(name.encode()) for name in model.lookup)
    restored = OnlineSVM.from_snapshot(model.snapshot(), kernel=kernel.NAME)
    assert restored.name_bytes == model.name_bytes > 0


def test_threads_share_no_row() -> None:
    """What a walk needs is left to the next, of whichever model: one at a time."""

    def learned(seed: int) -> str:
        chance = random.Random(seed)
        model = OnlineSVM(kernel="native")
        for _ in range(60):
            model.learn(
                [
                    ([f"f{chance.randrange(3000)}" for _ in range(chance.randrange(1, 400))], 1),
                    ({f"f{chance.randrange(50)}": chance.random()}, 0),
                ]
            )
            model.predict([[f"f{chance.randrange(3000)}" for _ in range(50)]])
        return model.snapshot().digest()

    expected = [learned(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(learned, range(8))) == expected
