"""The strongest features of a snapshot, by name and by label, against sums over a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model import strongest as module
from onlinesvm.model.strongest import ClassWeights, strongest
from tests.strategies import WIDE, configurations, samples


def expected(
    weights: dict[str, float], n: int, part: bytes
) -> tuple[list[tuple[str, float]], list[tuple[str, float]], int]:
    """By a loop over all names; of equal weights the one seen first is first."""
    found = [
        (name, weight)
        for name, weight in weights.items()
        if part.lower() in name.encode("utf-8", "surrogateescape").lower()
    ]
    up = sorted((pair for pair in found if pair[1] > 0), key=lambda pair: -pair[1])
    down = sorted((pair for pair in found if pair[1] < 0), key=lambda pair: pair[1])
    return up[:n], down[:n], len(found)


@given(
    rows=st.lists(samples(), max_size=12),
    config=configurations(),
    n=st.integers(0, 5),
    part=st.sampled_from([b"", b"a", b"A", b"ab", b"1", b"\xc3", b"b:"]),
)
def test_the_strongest_of_a_snapshot(
    kernel: Kernel, rows: list[Any], config: dict[str, Any], n: int, part: bytes
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    model.learn(rows)
    found = strongest(model.snapshot(), kernel, n, part)
    assert found == expected(dict(model.weights), n, part)


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_a_name_is_found_wherever_pieces_end(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    monkeypatch.setattr(module, "_BLOCK", piece)
    model = OnlineSVM(kernel=kernel.NAME, rule="sgd")
    names = ["abab", "b", "ba", "xab", "", "aab", "abc", "Ab\n", "a", "b"]
    model.learn([([name], (-1) ** i) for i, name in enumerate(names) if name])
    for part in (b"ab", b"a", b"b", b"bb", b"abab", b"ababa", b"\n"):
        assert strongest(model.snapshot(), kernel, 9, part) == expected(
            dict(model.weights), 9, part
        )


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_strongest_for_a_label(kernel: Kernel, task: str) -> None:
    model = OnlineSVM(kernel=kernel.NAME, task=task)
    rows = [({"x": 2.0, "a": 1.0}, "A"), (["b"], "B"), (["c", "a"], "C")] * 6
    model.learn([(features, [y] if task == "multilabel" else y) for features, y in rows])
    head, labels = model.many
    shown = {}
    for name in ("A", "B", "C"):
        of = ClassWeights(labels.id_of(name), head.rule.coefficients)
        found = strongest(model.snapshot(), kernel, 9, of=of)
        assert found.matches == 4
        shown[name] = dict([*found.up, *found.down])
        (explained,) = [model.explain({"x": 2.0, "a": 1.0, "b": 1.0, "c": 1.0}, label=name)]
        parts = {part.name: part.contribution for part in explained.contributions}
        # A contribution is weight·value over the norm, which all features of a sample share.
        ratios = [
            parts[name] / (shown[name_of][name] * value)
            for name_of in (name,)
            for name, value in {"x": 2.0, "a": 1.0, "b": 1.0, "c": 1.0}.items()
            if name in shown[name_of]
        ]
        assert len(ratios) >= 2
        assert np.allclose(ratios, ratios[0], rtol=1e-5)
    assert shown["A"]["x"] > 0 > shown["C"].get("x", -1.0)
