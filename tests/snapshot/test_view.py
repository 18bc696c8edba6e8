"""Views: a model as it was at one instant, whatever is learned while it is copied."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.kernel.contract import Kernel
from tests.strategies import WIDE, configurations, samples

Part = list[tuple[Any, ...]]

# Every rule, and every stride of its state.
RULES: list[dict[str, Any]] = [
    {"rule": "hedge"}, {"rule": "sgd"}, {"rule": "sgd", "alpha": 0.01},
    {"rule": "sgd", "average": True}, {"rule": "pa1"}, {"rule": "pa2"}, {"rule": "arow"},
    {"rule": "adagrad"}, {"rule": "nag"},
]  # fmt: skip


def newborn(kernel: Kernel, **config: Any) -> OnlineSVM:
    limits = replace(WIDE, max_features_per_sample=10**6)
    return OnlineSVM(kernel=kernel.NAME, limits=limits, **config)


def advance(view: Any, names: int, records: int) -> None:
    for part, n in ((view._names, names), (view._rule, records)):
        if hasattr(part, "_advance"):  # the native kernel's; the python kernel copies at once
            part._advance(n)


@given(
    config=configurations(),
    before=st.lists(samples(), max_size=8),
    steps=st.lists(
        st.tuples(st.lists(samples(), max_size=4), st.integers(0, 9), st.integers(0, 9)),
        max_size=5,
    ),
)
def test_a_view_is_of_the_instant(
    kernel: Kernel, config: dict[str, Any], before: Part, steps: list[tuple[Part, int, int]]
) -> None:
    model, straight = newborn(kernel, **config), newborn(kernel, **config)
    model.learn(before)
    straight.learn(before)
    expected = model.snapshot()
    view = model.view()
    for part, names, records in steps:
        model.learn(part)
        straight.learn(part)
        advance(view, names, records)
    taken = view.snapshot()
    assert taken.digest() == expected.digest()
    assert taken.scalars == expected.scalars
    assert taken.position == expected.position
    for name, array in expected.all_arrays().items():
        assert taken.all_arrays()[name].dtype == array.dtype
        assert taken.all_arrays()[name].tobytes() == array.tobytes()
    # Looking at it has changed nothing.
    assert model.snapshot().digest() == straight.snapshot().digest()


def numbered(kernel: Kernel, numbers: list[list[int]]) -> Any:
    rows = [(names, 1 if sum(names) % 3 else -1) for names in numbers]
    packer = Packer()
    body = pack_array([packer.sample([b"%d" % i for i in row], label, 1.0) for row, label in rows])
    return kernel.decode(body, Limits(max_features_per_sample=10**6), labelled=True)


@pytest.mark.parametrize("config", RULES, ids=lambda c: "-".join(map(str, c.values())))
def test_a_view_is_of_the_instant_across_blocks(kernel: Kernel, config: dict[str, Any]) -> None:
    # 16,384 ids are a block: later ids were not there, or had no state yet.
    n = 40_000
    model = newborn(kernel, **config)
    model.learn_batch(numbered(kernel, [list(range(i, n, 4)) for i in range(4)]))
    expected = model.snapshot()
    views = [model.view(), model.view()]
    for step, first in enumerate((0, 16_380, n - 50)):
        model.learn_batch(numbered(kernel, [list(range(first, first + 100))]))
        for view in views:
            advance(view, 9_000, 5_000 * step)
        model.learn_batch(numbered(kernel, [list(range(0, n + 100, 997))]))
        # A matrix is walked another way; its columns are the same features.
        columns = np.arange(1, n, 1009)
        matrix = csr_array((np.ones(len(columns)), columns, [0, len(columns)]), shape=(1, n))
        model.partial_fit(matrix, [1 if step else -1])
    for view in views:
        assert view.snapshot().digest() == expected.digest()


@pytest.mark.parametrize("config", RULES[:3], ids=["hedge", "sgd", "alpha"])
def test_a_view_is_copied_beside_a_thread_that_learns(
    kernel: Kernel, config: dict[str, Any]
) -> None:
    n = 60_000 if kernel.NAME == "native" else 4_000
    model = newborn(kernel, **config)
    model.learn_batch(numbered(kernel, [list(range(i, n, 4)) for i in range(4)]))
    parts = [
        numbered(kernel, [list(range(i, n + 10 * i, 13 + i)) for i in range(k, k + 3)])
        for k in range(4)
    ]
    digests, views, learned = [], [], 0
    ends = threading.Event()

    def learn() -> None:
        nonlocal learned
        while not ends.is_set() or learned < 8:
            if not learned % 4:
                digests.append(model.snapshot().digest())
                views.append(model.view())
            model.learn_batch(parts[learned % len(parts)])
            learned += 1

    thread = threading.Thread(target=learn)
    thread.start()
    taken = []
    try:
        while len(taken) < 3:
            if views:
                taken.append(views.pop(0).snapshot().digest())
    finally:
        ends.set()
        thread.join(60)
    taken += [view.snapshot().digest() for view in views]
    assert taken == digests
    assert len(set(digests)) == len(digests) >= 3


def test_replaced_values_are_copied_first(kernel: Kernel) -> None:
    model, other = newborn(kernel, rule="arow"), newborn(kernel, rule="arow")
    model.learn_batch(numbered(kernel, [list(range(20_000))]))
    other.learn([(["something"], 1)])
    expected = model.snapshot().digest()
    view = model.view()
    advance(view, 100, 100)
    theirs = other.snapshot()
    model._lookup.restore(theirs.lengths, theirs.names)
    model.head.rule.restore(theirs.arrays, theirs.scalars)
    assert view.snapshot().digest() == expected
    assert list(model.lookup) == ["something"]


def test_a_view_is_read_once(kernel: Kernel) -> None:
    model = newborn(kernel)
    model.learn([(["some", "names"], 1)])
    view = model.view()
    view.snapshot()
    for closed in (view, model.view()):
        closed.close()
        closed.close()
        advance(closed, 1, 1)
        with pytest.raises(ValueError, match="expected a view that is open, got one that was read"):
            closed.snapshot()
    # One that nobody closes is closed with the last reference.
    model.view()
    gc.collect()
    model.learn([(["some", "names"], 1)])
    assert len(model.snapshot().lengths) == 2


# A view that has no memory for what learning changes fails alone.
NO_MEMORY = """
import resource
from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.codec import pack_array

def batch(n):
    names = [b"\\xce" + i.to_bytes(4, "big") for i in range(n)]
    samples = [b"\\x92" + y + b"\\xdd" + n.to_bytes(4, "big") + b"".join(names)
               for y in (b"\\x01", b"\\xff")]
    return model.kernel.decode(pack_array(samples), limits, labelled=True)

limits = Limits(max_features_per_sample=10**6)
model = OnlineSVM(rule="hedge", kernel="native", limits=limits)
straight = OnlineSVM(rule="hedge", kernel="native", limits=limits)
part = batch(200000)
for each in (model, straight):
    each.learn_batch(part)
rows = model._lookup.ids(part)
view = model.view()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**21, -1))  # the log would have 20 MB
model.head.rule.learn(rows, model._truths(part)[1], part.importances)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
try:
    view.snapshot()
except MemoryError as error:
    print(error)
straight.head.rule.learn(rows, straight._truths(part)[1], part.importances)
assert model.snapshot().digest() == straight.snapshot().digest()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits its memory by /proc")
def test_a_view_that_runs_out_of_memory_fails_alone(kernel: Kernel) -> None:
    if kernel.NAME != "native":
        pytest.skip("the python kernel copies everything when a view is opened")
    done = subprocess.run(
        [sys.executable, "-c", NO_MEMORY], capture_output=True, text=True, timeout=60
    )
    said = "no memory to keep the records that were learned meanwhile\n"
    assert (done.stderr, done.stdout) == ("", said)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_views_give_their_memory_back(kernel: Kernel) -> None:
    if kernel.NAME != "native":
        pytest.skip("the python kernel's memory is Python's")
    model = newborn(kernel, rule="arow")
    part = numbered(kernel, [list(range(50_000))])
    model.learn_batch(part)

    def turn(i: int) -> None:
        view = model.view()
        model.learn_batch(part)
        if i % 3:
            view.snapshot()
        elif i % 2:
            view.close()

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for i in range(6):
        turn(i)
    before = resident()
    for i in range(60):
        turn(i)
    assert resident() - before < 8 * 2**20  # each log is 1.2 MB, each copy as much


def test_a_view_that_was_read_is_found_by_the_garbage_collector_anywhere(kernel: Kernel) -> None:
    """Also while the lock is held under which it was left: a snapshot that failed is in a cycle."""
    model = newborn(kernel, rule="hedge")
    model.learn([(["a", "b"], 1)])
    rule, lookup = model.head.rule, model._lookup

    def collected_within(call: Callable[[], object]) -> None:
        for view in (rule.view(2), lookup.view()):
            view.arrays()
            cycle: list[Any] = [view]
            cycle.append(cycle)
        del view, cycle
        made = [({},) for _ in range(3000)]  # those that are kept for reuse are made already
        gc.set_threshold(1)
        gc.enable()  # the next container that is made starts a collection
        call()
        gc.disable()
        assert made

    def run() -> None:
        for call in (partial(rule.feature, 1), lookup.view, partial(rule.view, 2)):
            collected_within(call)

    thresholds = gc.get_threshold()
    gc.disable()
    try:
        worker = threading.Thread(target=run, daemon=True)
        worker.start()
        worker.join(20)
        assert not worker.is_alive()
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()
