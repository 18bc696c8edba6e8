"""Learning samples that were predicted before: the rule as ever, the metrics by those margins."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.kernel.contract import Kernel
from onlinesvm.metrics.monitor import Metrics
from onlinesvm.model.given import FEWEST, MOST, Given

CONFIGS: list[dict[str, Any]] = [
    {"rule": "hedge"}, {"rule": "sgd"}, {"rule": "sgd", "normalize": "l2"},
    {"rule": "hedge", "max_features_policy": "prune"}, {"rule": "sgd", "class_weight": "balanced"},
]  # fmt: skip
ROWS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcdefgh"), max_size=4), st.sampled_from([-1, 1]),
        st.sampled_from([0.0, 1.0, 2.5]), st.floats(-3, 3),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(parts=st.lists(ROWS, max_size=4))
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_metrics_go_by_the_margins_given(
    kernel: Kernel, config: dict[str, Any], parts: list[Any]
) -> None:
    limits = Limits(max_features=5)
    model = OnlineSVM(limits=limits, kernel=kernel.NAME, **config)
    plain = OnlineSVM(limits=limits, kernel=kernel.NAME, **config)
    metrics = Metrics(0.0)
    for rows in parts:
        body = msgpack.packb([[y, names, h] for names, y, h, _ in rows])
        margins = np.array([margin for *_, margin in rows])
        learned = model.learn_batch(model.decode(body, labelled=True), given=margins)
        assert learned.tolist() == plain.learn_batch(plain.decode(body, labelled=True)).tolist()
        signs, importances = [y for _, y, _, _ in rows], [h for _, _, h, _ in rows]
        metrics.observe(margins, np.array(signs, dtype=float), importances)
    assert model.head.metrics.dump().tolist() == metrics.dump().tolist()
    assert dict(model.weights) == dict(plain.weights)


def test_samples_that_could_not_be_learned_are_refused_at_once(kernel: Kernel) -> None:
    model = OnlineSVM(rule="sgd", kernel=kernel.NAME)
    body = msgpack.packb([["a"], {"b": 33.0}])
    assert len(model.decode(body, labelled=False)) == 2
    with pytest.raises(ValueError, match=r"at most 32 \(max_value\), got 33.0 at \$\[1\]\[.b.\]"):
        model.decode(body, labelled=False, learnable=True)
    clipping = OnlineSVM(rule="sgd", kernel=kernel.NAME, limits=Limits(clip=True))
    for learnable in (False, True):
        batch = clipping.decode(body, labelled=False, learnable=learnable)
        assert list(batch.values) == [1.0, 32.0]


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[list[str], list[str], float]]:
    """Samples whose labels come in another order than they were predicted in."""
    names = st.lists(st.sampled_from("abcdefgh"), max_size=4)
    labels = st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=3, unique=True)
    return draw(st.lists(st.tuples(names, labels, st.sampled_from([0.0, 1.0, 2.5])), max_size=12))


@settings(max_examples=30, deadline=None)
@given(samples=streams(), late=st.integers(0, 5))
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_metrics_of_many_classes_go_by_what_predicting_gave(
    kernel: Kernel, task: str, samples: list[Any], late: int
) -> None:
    """They are those of a model that learned each sample at once, whatever is learned between."""
    model = OnlineSVM(task=task, kernel=kernel.NAME)
    head = model.many[0]
    taught = msgpack.packb([[label, [label, "a"]] for label in "uvwxy"])
    model.learn_batch(model.decode(taught, labelled=True))
    held: list[Any] = []
    metrics, by_label = kernel.Metrics(0.0), type(head.by_label)()
    metrics.restore(head.metrics.dump())
    by_label.restore(head.by_label.dump(5), 5)

    def come(count: int) -> None:
        while len(held) > count:
            body, part = held.pop(0)
            model.learn_batch(model.decode(body, labelled=True), given=Given.unpacked([part]))

    for names, labels, importance in samples:
        written = labels if task == "multilabel" else labels[0]
        body = msgpack.packb([[written, names, importance]])
        asked = model.decode(msgpack.packb([names]), labelled=False)
        (part,) = model.give_batch(asked)
        held.append((body, part))
        # A twin that learns the sample at once, to be judged by.
        twin = OnlineSVM.from_snapshot(model.snapshot(), kernel=kernel.NAME)
        twin.many[0].metrics.restore(metrics.dump())
        twin.many[0].by_label = by_label
        twin.learn_batch(twin.decode(body, labelled=True))
        metrics.restore(twin.many[0].metrics.dump())
        by_label = twin.many[0].by_label
        come(late)
    come(0)
    assert head.metrics.dump().tolist() == metrics.dump().tolist()
    assert head.by_label.report() == by_label.report()


def asked_of(model: OnlineSVM, *names: str) -> Given:
    batch = model.decode(msgpack.packb([list(names)]), labelled=False)
    return Given.unpacked(model.give_batch(batch))


def test_a_label_beyond_the_best_counts_with_the_last_of_their_scores(kernel: Kernel) -> None:
    model = OnlineSVM(task="multiclass", kernel=kernel.NAME)
    model.learn([([f"w{k}", "a"], f"L{k}") for k in range(FEWEST + 4)])
    given = asked_of(model, "w7", "a")
    scores = np.sort(model.decision_function([["w7", "a"]])[0])[::-1]
    assert [len(best) for best in given.best] == [FEWEST]
    assert given.rests == [scores[FEWEST - 1]]
    states = model.many[0].rule.states == 1
    last, known = int(given.best[0]["id"][-1]), set(given.best[0]["id"].tolist())
    beyond = min(set(range(FEWEST + 4)) - known)
    for label in (last, beyond, FEWEST + 4):
        learned = given.of_labels(np.array([label], np.int32), states)
        assert learned.margins.tolist() == [scores[FEWEST - 1] - scores[0]]
        assert learned.predicted.tolist() == [7]


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_label_that_is_dropped_meanwhile_was_not_predicted(kernel: Kernel, task: str) -> None:
    model = OnlineSVM(task=task, kernel=kernel.NAME)
    model.learn([([f"w{k}", "a"], f"L{k}") for k in range(4)] * 10)
    given = asked_of(model, "w2", "a")
    model.drop_label("L2")
    body = msgpack.packb([["L1", ["w2", "a"]]])
    model.learn_batch(model.decode(body, labelled=True), given=given)
    assert [row["label"] for row in model.label_figures(0, 9)[0]] == ["L0", "L1", "L3"]
    assert model.head.by_label.label(2).precision is None
    if task == "multiclass":
        assert None not in model.confusion()[0]


@pytest.mark.parametrize(
    "part",
    [
        None, 1.5, b"", b"\0" * 11, b"\0" * 13, b"\0" * 12 + b"\1\0\0\0\0\0\0\0" * 2,
        b"\0" * 12 + b"\xff" * 8, b"\xff" * 12,
        b"\0" * 12 + np.array([(k, 0) for k in range(MOST + 1)], "<i4,<f4").tobytes(),
    ],
)  # fmt: skip
def test_other_bytes_are_refused(part: object) -> None:
    with pytest.raises(ValueError, match="of a held sample, got"):
        Given.unpacked([part])
