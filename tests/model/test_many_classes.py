"""A model of many classes: labels as they come, predictions, explanations, drops, files."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM, Scorer
from onlinesvm.errors import ConfigError, SampleError, SnapshotError
from onlinesvm.kernel.contract import Kernel
from tests.strategies import features

Sample = tuple[Any, Any, float]


def new(kernel: Kernel, **given: Any) -> OnlineSVM:
    return OnlineSVM(**{"task": "multiclass", "kernel": kernel.NAME, **given})


def digest(model: OnlineSVM) -> str:
    return model.snapshot().digest()


def stream(n: int, labels: int = 6, seed: int = 0) -> list[Sample]:
    """Each label has a word of its own, among common ones."""
    rng = np.random.default_rng(seed)
    made = []
    for truth in rng.integers(0, labels, n).tolist():
        common = [f"c{j}" for j in rng.integers(0, 60, 4).tolist()]
        made.append(([f"w{truth}", *common], f"L{truth}", 1.0))
    return made


LABELS = st.sampled_from(["a", "b", "c", 1, True, -1, "d", "e"])
IMPORTANCES = st.sampled_from([1.0, 1.0, 1.0, 0.0, 2.5])
STREAMS = st.lists(st.tuples(features(), LABELS, IMPORTANCES), max_size=12)


def test_labels_are_learned_as_they_come(kernel: Kernel) -> None:
    model = new(kernel)
    assert model.predict([["w1"]]).tolist() == [None]
    assert model.predict_one(["w1"]) is None
    assert model.decision_function([["w1"]]).shape == (1, 0)
    model.learn(stream(400))
    assert sorted(model.classes_) == [f"L{k}" for k in range(6)]
    asked = [[f"w{k}"] for k in range(6)]
    assert model.predict(asked).tolist() == [f"L{k}" for k in range(6)]
    assert model.predict_one(["w3"]) == "L3"
    scores, shares = model.decision_function(asked), model.predict_proba(asked)
    assert scores.shape == shares.shape == (6, 6)
    assert (model.classes_[scores.argmax(axis=1)] == model.predict(asked)).all()
    assert (shares.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert shares.sum(axis=1) == pytest.approx(np.ones(6))
    assert model.predict_proba_one(["w2"]).tolist() == shares[2].tolist()
    assert np.asarray(model.decision_function_one(["w2"])).tolist() == scores[2].tolist()
    for sample, best, row in zip(asked, model.top(asked, 3), shares, strict=True):
        assert len(best) == 3 and best[0][0] == model.predict_one(sample)
        assert [share for _, share in best] == sorted(row.tolist(), reverse=True)[:3]
    assert len(model.top([["w1"]], 0)[0]) == 6
    assert model.decision_function([]).shape == (0, 6)


@given(
    part=STREAMS, after=STREAMS, cut=st.integers(0, 12), normalize=st.sampled_from(["none", "l2"])
)
def test_batches_copies_and_files_leave_the_same_bits(
    kernel: Kernel, part: list[Sample], after: list[Sample], cut: int, normalize: str
) -> None:
    given = {"class_weight": "balanced", "normalize": normalize}
    whole, split = new(kernel, **given), new(kernel, **given)
    margins = whole.learn(part)
    parts = [split.learn(part[:cut]), split.learn(part[cut:])]
    assert np.concatenate(parts).tobytes() == margins.tobytes()
    assert digest(whole) == digest(split)
    again = pickle.loads(pickle.dumps(whole))
    other = OnlineSVM.from_bytes(whole.to_bytes(), kernel="python")
    assert again.learn(after).tobytes() == other.learn(after).tobytes()
    assert digest(again) == digest(other)
    assert [type(name) for name in again.labels.names()] == [
        type(name) for name in other.labels.names()
    ]


def test_a_full_model_prunes_alike_however_it_is_batched(kernel: Kernel) -> None:
    given = {"limits": Limits(max_features=30), "max_features_policy": "prune"}
    whole, split = new(kernel, **given), OnlineSVM(task="multiclass", kernel="python", **given)
    samples = stream(150)
    whole.learn(samples)
    for k in range(0, 150, 7):
        split.learn(samples[k : k + 7])
    assert whole.pruning.prunes > 0
    assert digest(whole) == digest(split)


def test_a_request_is_all_or_nothing(kernel: Kernel) -> None:
    model = new(kernel, limits=Limits(max_labels=3))
    model.learn([(["x"], "a"), (["y"], "b")])
    before = digest(model)
    message = r'had 3 labels \(max_labels\), got "d" at \$\[2\]\[1\]'
    with pytest.raises(SampleError, match=message):
        model.learn([(["x"], "a"), (["z"], "c"), (["z"], "d")])
    assert digest(model) == before
    with pytest.raises(SampleError, match=r"got 4 at y\[2\]"):
        model.partial_fit(np.eye(3), [1, "a", 4])
    assert digest(model) == before
    model.learn_one(["z"], "c")
    model.drop_label("c")  # its id counts still
    with pytest.raises(SampleError, match="max_labels"):
        model.learn_one(["z"], "c")


def test_a_dropped_label_is_as_if_it_had_never_been(kernel: Kernel) -> None:
    model = new(kernel, class_weight="balanced")
    model.learn(stream(300))
    model.drop_label("L2")
    assert "L2" not in model.classes_.tolist()
    assert model.decision_function([["w2"]]).shape == (1, 5)
    assert "L2" not in {name for name, _ in model.top([["w2"]], 0)[0]}
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        with pytest.raises(SampleError, match='got "L2" at label'):
            one.drop_label("L2")
        one.learn([(["w2", "c1"], "L2")] * 20)
        assert one.predict_one(["w2"]) == "L2"
        assert one.classes_.tolist()[-1] == "L2"
    assert digest(model) == digest(again)


def test_a_closed_set_takes_no_other_label(kernel: Kernel) -> None:
    model = new(kernel, task="auto", labels=("a", "b", 3))
    assert model.config.task == "multiclass"
    assert model.classes_.tolist() == ["a", "b", 3]
    with pytest.raises(SampleError, match=r"expected one of the model's labels, .*, got 4 at"):
        model.learn_one(["x"], 4)
    model.learn([(["x"], "b"), (["y"], 3)] * 5)
    assert model.predict_proba([["x"]])[0, 0] == 0.0
    assert model.decision_function([["x"]])[0, 0] == -np.inf
    assert model.predict_one(["x"]) == "b"
    assert digest(pickle.loads(pickle.dumps(model))) == digest(model)


def test_an_explanation_of_any_label_and_of_a_pair(kernel: Kernel) -> None:
    model = new(kernel)
    assert model.explain(["w1"]).label is None
    model.learn(stream(300))
    scores = dict(
        zip(model.classes_.tolist(), model.decision_function([["w1", "?"]])[0], strict=True)
    )
    best, third = model.explain(["w1", "?"]), model.explain(["w1", "?"], "L3")
    assert (best.label, best.margin) == ("L1", scores["L1"])
    assert (third.label, third.margin) == ("L3", scores["L3"])
    assert [part.name for part in best.contributions] == ["w1", "?"]
    assert [part.known for part in best.contributions] == [True, False]
    pair = model.explain(["w1"], "L1", "L3")
    assert pair.contributions[0].contribution > 0.5
    with pytest.raises(SampleError, match='got "L9" at label'):
        model.explain(["w1"], "L9")


def test_what_a_binary_model_has_alone_is_refused(kernel: Kernel) -> None:
    model, binary = new(kernel), OnlineSVM(kernel=kernel.NAME)
    model.learn(stream(20))
    for use in (
        lambda: model.weights, lambda: model.bias, lambda: model.strongest(3),
        lambda: Scorer(model), lambda: Scorer.from_bytes(model.to_bytes()),
    ):  # fmt: skip
        with pytest.raises(
            ConfigError, match=r"expected a binary (or ranking )?model, got a multiclass one"
        ):
            use()
    for use in (lambda: binary.top([["x"]]), lambda: binary.drop_label("x")):
        with pytest.raises(ConfigError, match="expected a multiclass model, got a binary one"):
            use()
    with pytest.raises(ConfigError, match="expected none for a binary model"):
        binary.explain(["x"], "a")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "sgd"}, "rule: expected hedge for task multiclass, got 'sgd'"),
        ({"threshold": 1.0}, "threshold: expected none, as task multiclass has no side"),
        ({"positive": ("a",)}, "positive: expected none, as task multiclass has no side"),
        ({"class_weight": (1.0, 2.0)}, "class_weight: expected balanced for task multiclass"),
        ({"task": "binary", "labels": ("a", "b", "c")}, "labels: expected two labels, got 3"),
        (
            {"task": "rank"},
            "task: expected one of auto, binary, multiclass, multilabel, ranking, got",
        ),
        ({"labels": ("a",)}, "labels: expected two labels, got 1"),
    ],
)
def test_other_combinations_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OnlineSVM(**{"task": "multiclass", **given})


def test_a_task_is_fixed_when_a_model_is_created() -> None:
    config = OnlineSVM(task="multiclass").config
    config.check_given({"task": "multiclass"})
    config.check_given({"task": "auto"})
    with pytest.raises(ConfigError, match="task: the model was created with 'multiclass'"):
        config.check_given({"task": "binary"})
    assert "task" not in OnlineSVM(task="binary").config.as_dict()


@pytest.mark.parametrize(
    "name", ["label_lengths", "label_names", "label_counts", "label_states", "seen", "row_labels"]
)
def test_a_forged_snapshot_makes_no_model(kernel: Kernel, name: str) -> None:
    model = new(kernel, class_weight="balanced")
    model.learn(stream(60))
    taken = model.snapshot()
    assert OnlineSVM.from_snapshot(taken).position == 60
    array = taken.arrays[name]
    forgeries = [array[:-1], np.append(array, array[:1]), array.astype(np.float64), None]
    for forged in forgeries[name == "label_counts" :]:  # fewer counts are of labels without samples
        arrays = {**taken.arrays, name: forged}
        if forged is None:
            del arrays[name]
        with pytest.raises(SnapshotError):
            OnlineSVM.from_snapshot(replace(taken, arrays=arrays), kernel=kernel.NAME)


def test_the_bound_of_labels_a_feature_is_kept_in_files(kernel: Kernel, tmp_path: Any) -> None:
    model = new(kernel, limits=Limits(max_labels_per_feature=8))
    model.learn([(["x"], f"L{k}") for k in range(40)])
    model.save(tmp_path / "m")
    again = OnlineSVM.load(tmp_path / "m", kernel=kernel.NAME)
    assert again.limits.max_labels_per_feature == 8
    assert digest(again) == digest(model)
    with pytest.raises(ConfigError, match="max_labels_per_feature: expected an integer from 8"):
        Limits(max_labels_per_feature=7)
