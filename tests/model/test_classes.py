"""The head of many classes: the best labels, probabilities, explanations, metrics, snapshots."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.classes import ClassHead
from tests.class_streams import FEATURES, Samples, csr_of, samples, words


def head_of(kernel: Kernel, stream: Samples, bias: bool = True) -> ClassHead:
    head = ClassHead(kernel, bias, 1000, 16)
    learn(head, stream)
    return head


def learn(head: ClassHead, stream: Samples) -> np.ndarray:
    margins = head.learn(stream.csr(), stream.labels, stream.importances, stream.importances)
    return np.asarray(margins)


def test_the_best_labels_come_first(kernel: Kernel) -> None:
    stream = words(300, 12)
    head = head_of(kernel, stream)
    head.drop(4)
    csr = stream.csr()
    labels, scores = head.top(csr, 3)
    assert labels.shape == scores.shape == (300, 3)
    assert (labels.dtype, scores.dtype) == (np.int32, np.float32)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (labels[:, 0] == head.score(csr).argmax(axis=1)).all()
    assert head.top(csr, 1)[0].tolist() == labels[:, :1].tolist()
    every, _ = head.top(csr, 0)
    assert every.shape == (300, 11) and (every[:, :3] == labels).all()
    assert head.top(csr, 99)[0].tolist() == every.tolist()
    assert sorted(every[0].tolist()) == [k for k in range(12) if k != 4]
    assert head.top(csr_of([]), 2)[0].shape == (0, 2)
    assert ClassHead(kernel, True, 9, 9).top(csr, 2)[0].shape == (300, 0)


def test_of_equal_scores_the_lower_label_comes_first(kernel: Kernel) -> None:
    head = head_of(kernel, Samples([{}, {}, {}], [2, 0, 1], [1.0] * 3))
    arrays, scalars = head.snapshot(0)
    arrays["bias_weights"][:] = 0
    head.restore(arrays, scalars)
    assert head.top(csr_of([{5: 1.0}]), 0)[0].tolist() == [[0, 1, 2]]


def test_many_scores_are_made_in_pieces(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = words(100, 12)
    head = head_of(kernel, stream)
    whole = head.top(stream.csr(), 2), head.probabilities(stream.csr())
    monkeypatch.setattr("onlinesvm.model.classes._CELLS", 50)
    pieces = head.top(stream.csr(), 2), head.probabilities(stream.csr())
    assert whole[0][0].tobytes() == pieces[0][0].tobytes()
    assert whole[1].tobytes() == pieces[1].tobytes()


@given(part=samples(20), bias=st.booleans())
def test_an_explanation_adds_up_to_the_score(kernel: Kernel, part: Samples, bias: bool) -> None:
    rows = [{i: x for i, x in row.items() if abs(x) < 1e9} for row in part.rows]
    head = head_of(kernel, part._replace(rows=rows), bias)
    known = np.flatnonzero(head.rule.states == 1).tolist()
    off = 1e-3 + 1e-6 * float(np.abs(head.rule.coefficients).max())  # scores are float32
    for row in rows[:3]:
        csr = csr_of([row])
        for label in known[:3]:
            explained = head.explain(csr, label)
            assert explained.score == head.score(csr)[0, label]
            total = sum(part.contribution for part in explained.parts) + explained.bias
            assert total == pytest.approx(explained.score, rel=1e-3, abs=off)
            assert [part.value for part in explained.parts] == list(row.values())
        for label, other in pairwise(known[:3]):
            explained = head.explain(csr, label, other)
            total = sum(part.contribution for part in explained.parts) + explained.bias
            assert total == pytest.approx(explained.score, rel=1e-3, abs=2 * off)


def test_an_explanation_of_a_pair_says_why_a_and_not_b(kernel: Kernel) -> None:
    head = head_of(kernel, words(300, 5))
    explained = head.explain(csr_of([{1: 1.0, 2: 1.0, 40: 1.0}]), 0, 1)
    own, others, unknown = explained.parts
    assert own.contribution > 0.1 > -0.1 > others.contribution
    assert (own.seen > 0, own.known) == (True, True)
    assert (unknown.contribution, unknown.known, unknown.seen) == (0.0, False, 0)
    for label, other in ((7, None), (0, 7), (-1, None)):
        wrong = 7 if label != -1 else -1
        with pytest.raises(ValueError, match=f"label: expected a known one, got {wrong}"):
            head.explain(csr_of([{1: 1.0}]), label, other)


def test_the_metrics_count_what_was_predicted(kernel: Kernel) -> None:
    stream = words(400, 6)
    head = ClassHead(kernel, True, 100, 16)
    wrong = 0
    for k in range(0, 400, 40):
        part = stream.part(k, k + 40)
        for row, label in zip(part.rows, part.labels, strict=True):
            found = head.top(csr_of([row]), 1)[0]
            wrong += not found.size or found[0, 0] != label
            learn(head, Samples([row], [label], [1.0]))
    assert head.progressive.count == 400
    assert head.progressive.error == pytest.approx(wrong / 400)
    report = head.report()
    assert 0 < report["recent_balanced_error"] < 0.5 < report["recent_macro_f1"] < 1  # type: ignore[operator]
    assert 0 <= report["recent_calibration_error"] < 0.5  # type: ignore[operator]
    assert head.drifts == 0
    figures = head.experts
    assert list(figures) == ["arow", "adaptive_slow", "adaptive_fast", "adaptive_fastest", "stack"]
    assert sum(f["weight"] for f in figures.values()) == pytest.approx(1)  # type: ignore[misc]
    assert all(0 < f["error"] < 0.9 for f in figures.values())  # type: ignore[operator]
    assert head.by_label.label(3).recall is not None


@given(part=samples(20), after=samples())
def test_a_restored_head_goes_on_bit_for_bit(kernel: Kernel, part: Samples, after: Samples) -> None:
    head, restored = head_of(kernel, part), ClassHead(kernel, True, 1000, 16)
    restored.restore(*head.snapshot(FEATURES))
    assert learn(head, after).tobytes() == learn(restored, after).tobytes()
    mine, reference = head.snapshot(FEATURES), restored.snapshot(FEATURES)
    assert mine[1] == reference[1]
    assert {n: a.tobytes() for n, a in mine[0].items()} == {
        n: a.tobytes() for n, a in reference[0].items()
    }


@pytest.mark.parametrize("name", ["progressive", "label_states", "label_votes", "seen"])
def test_a_forged_snapshot_changes_nothing(kernel: Kernel, name: str) -> None:
    head = head_of(kernel, words(50, 4))
    before, _ = head.snapshot(30)
    arrays, scalars = head.snapshot(30)
    del arrays[name]
    with pytest.raises(ValueError, match="expected"):
        head.restore(arrays, scalars)
    after, _ = head.snapshot(30)
    assert {n: a.tobytes() for n, a in before.items()} == {n: a.tobytes() for n, a in after.items()}
