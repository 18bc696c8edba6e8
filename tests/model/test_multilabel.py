"""Several labels a sample: the formulas against a dense oracle, the model, its files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinesvm import OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.data.batch import CSR
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.errors import ConfigError, SampleError
from onlinesvm.metrics.sets import SetMetrics
from onlinesvm.model.rules.class_layout import SetLayout

ETAS = np.array([0.25, 4.0, 64.0])
KERNELS = pytest.mark.parametrize("kernel", ["native", "python"])


class DenseSets:
    """Experts over `d` features of value 1, and `k` labels, in float64, as the formulas say."""

    def __init__(self, d: int, k: int) -> None:
        self.w = np.zeros((4, d + 1, k))
        self.S, self.G = np.ones(d + 1), np.full((3, d + 1), 1e-30)
        self.known = np.zeros(k, dtype=bool)
        self.q, self.L = np.full(4, 0.25), np.zeros(4)

    def learn(self, features: list[int], labels: list[int]) -> Any:
        """The scores before the sample is learned."""
        x = np.zeros(len(self.S))
        x[features] = 1.0
        x[-1] = 1.0
        x /= math.sqrt(x @ x)
        s = -1.0 + np.einsum("rik,i->rk", self.w, x)
        before = self.q @ s
        own = np.zeros(len(self.known), dtype=bool)
        own[labels] = True
        self.known |= own
        if not self.known.any():
            return before
        wrong = (((s > 0) & self.known) != own).sum(axis=1)
        self.L = self.L * 0.9997 + wrong
        rate = 2 / (1 + math.sqrt(0.1 * self.L.min()))
        self.q = np.exp(-rate * (self.L - self.L.min()))
        self.q /= self.q.sum()
        u = np.where(self.known & ~own & (s > -1).any(axis=0), self.q @ s, -np.inf)
        rivals = [int(k) for k in np.argsort(-u, kind="stable")[:16] if np.isfinite(u[k])]
        most = np.array([1024.0, 2.0, 2.0, 2.0])
        losses = {k: (1, np.clip(1 - s[:, k], 0, most)) for k in labels}
        losses |= {k: (-1, np.clip(1 + s[:, k], 0, most)) for k in rivals}
        if not losses:
            return before
        g = np.max([loss for _, loss in losses.values()], axis=0)
        beta = 1 / (self.S @ x**2 + 0.1)
        self.G += g[1:, None] ** 2 * x**2
        rho = (x**2 / np.sqrt(self.G)).sum(axis=1)
        for k, (sign, loss) in losses.items():
            self.w[0, :, k] += sign * beta * loss[0] * self.S * x
            step = ETAS * loss[1:] / (1 + ETAS * rho)
            self.w[1:, :, k] += sign * step[:, None] * x / np.sqrt(self.G)
        if g[0] > 0:
            self.S = np.maximum(1e-30, self.S - beta * (self.S * x) ** 2)
        return before


def stream(n: int, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """Names and labels: each label has a word of its own, some words mean nothing."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(n):
        labels = rng.choice(6, rng.integers(0, 4), replace=False).tolist()
        noise = rng.integers(0, 12, 3).tolist()
        samples.append(
            (
                list({*(f"w{k}" for k in labels), *(f"n{k}" for k in noise)}),
                [f"L{k}" for k in labels],
            )
        )
    return samples


@KERNELS
def test_the_scores_are_those_of_the_formulas(kernel: str) -> None:
    rng = np.random.default_rng(4)
    learner = kernels.load(kernel).Multilabel(True, 99, 128, SetLayout)
    oracle = DenseSets(10, 6)
    for _ in range(150):
        features = np.unique(rng.integers(0, 10, 3)).tolist()
        labels = [k for k in range(6) if k in features and rng.random() < 0.8]
        expected = oracle.learn(features, labels)
        csr = CSR(
            np.array([0, len(features)]), np.array(features, np.int32) + 1, np.ones(len(features))
        )
        scores = learner.score(csr)[0]
        known = learner.states == 1
        assert np.allclose(scores[known], expected[: len(known)][known], atol=2e-4)
        learner.learn(csr, LabelSets.of([labels]), [1.0])


@KERNELS
def test_labels_are_learned_and_predicted_as_sets(kernel: str) -> None:
    model = OnlineSVM(task="multilabel", kernel=kernel)
    assert model.predict([["w1"]]).tolist() == [()]
    model.learn(stream(600))
    assert sorted(model.predict_one(["w1", "w4"])) == ["L1", "L4"]  # type: ignore[arg-type]
    assert model.predict([["n1"], ["w0", "n2"]]).tolist() == [(), ("L0",)]
    shares = model.predict_proba([["w1"]])[0]
    by_label = dict(zip(model.classes_.tolist(), shares.tolist(), strict=True))
    assert by_label["L1"] > 0.9 and by_label["L2"] < 0.1
    best = model.top([["w1", "w2"]], 3)[0]
    assert {label for label, _ in best[:2]} == {"L1", "L2"}
    assert model.metrics["micro_f1"] > 0.9
    explained = model.explain(["w3", "n1"], "L3")
    assert explained.contributions[0].weight > 1.0
    model.drop_label("L1")
    assert model.predict_one(["w1"]) == ()
    model.learn([(["w1"], "L1")] * 5)  # one label needs no array
    assert model.predict_one(["w1"]) == ("L1",)


@KERNELS
def test_a_file_holds_the_whole_model(kernel: str, tmp_path: Path) -> None:
    model = OnlineSVM(task="multilabel", kernel=kernel)
    model.learn(stream(200))
    model.drop_label("L2")
    model.save(tmp_path / "m.msgpack")
    again = OnlineSVM.load(tmp_path / "m.msgpack")
    assert again.snapshot().digest() == model.snapshot().digest()
    assert again.metrics == model.metrics
    assert again.learn(stream(50, 1)).tolist() == model.learn(stream(50, 1)).tolist()
    assert again.snapshot().digest() == model.snapshot().digest()


def test_both_kernels_make_the_same_file() -> None:
    digests = set()
    for kernel in ("native", "python"):
        model = OnlineSVM(task="multilabel", kernel=kernel)
        model.learn(stream(150))
        digests.add(model.snapshot().digest())
    assert len(digests) == 1


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_other_models_take_one_label(task: str) -> None:
    model = OnlineSVM(task=task)
    with pytest.raises(SampleError) as caught:
        model.learn([(["x"], "a"), (["y"], ["a", "b"])])
    assert "expected one label, got 2 in an array" in str(caught.value)
    assert "--task multilabel" in str(caught.value)
    assert model.position == 0


def test_a_sample_has_at_most_64_labels() -> None:
    model = OnlineSVM(task="multilabel")
    model.learn([(["x"], [f"L{k}" for k in range(64)])])
    with pytest.raises(SampleError, match="at most 64 labels a sample, got an array of 65"):
        model.learn([(["x"], [f"L{k}" for k in range(65)])])
    with pytest.raises(SampleError, match="expected a label as text, integer or boolean, got"):
        model.learn([(["x"], ["a", ["b"]])])


def test_equal_labels_of_a_sample_are_one() -> None:
    model, other = OnlineSVM(task="multilabel"), OnlineSVM(task="multilabel")
    model.learn([(["x"], ["1", 1, True, "b"])])
    other.learn([(["x"], ["1", "b"])])
    assert model.snapshot().digest() == other.snapshot().digest()


def test_a_closed_set_refuses_other_labels() -> None:
    model = OnlineSVM(task="multilabel", labels=["a", "b"])
    model.learn([(["x"], ["a", "b"])])
    with pytest.raises(SampleError, match='expected one of the model\'s labels, "a", "b", got "c"'):
        model.learn([(["x"], ["a"]), (["x"], ["b", "c"])])


def test_what_a_multilabel_model_lacks_is_refused() -> None:
    for given in ({"class_weight": "balanced"}, {"rule": "sgd"}, {"positive": ["a"]}):
        with pytest.raises(ConfigError, match="task multilabel"):
            OnlineSVM(task="multilabel", **given)
    with pytest.raises(ConfigError, match="expected a multiclass model, got a multilabel one"):
        OnlineSVM(task="multilabel").confusion()


def test_the_metrics_are_those_of_their_definition() -> None:
    rng = np.random.default_rng(0)
    truth = [rng.choice(5, rng.integers(0, 4), replace=False).tolist() for _ in range(1500)]
    guess = [rng.choice(5, rng.integers(0, 4), replace=False).tolist() for _ in range(1500)]
    h = rng.choice([0.0, 1.0, 2.0], 1500)
    metrics, parts = SetMetrics(), SetMetrics()
    metrics.observe(LabelSets.of(truth), LabelSets.of(guess), h)
    for start in range(0, 1500, 7):
        rows = slice(start, start + 7)
        parts.observe(LabelSets.of(truth[rows]), LabelSets.of(guess[rows]), h[rows])
    assert parts.report() == metrics.report()
    both = sum(w * len({*a} & {*b}) for a, b, w in zip(truth, guess, h, strict=True))
    total = sum(w * (len(a) + len(b)) for a, b, w in zip(truth, guess, h, strict=True))
    assert metrics.report()["micro_f1"] == pytest.approx(2 * both / total)
    again = SetMetrics()
    again.restore(metrics.dump(5), 5)
    assert again.report() == metrics.report()


@KERNELS
def test_a_set_has_no_order(kernel: str) -> None:
    """However its labels are written, and however the samples are batched."""
    stream = [(["x"], ["a", "b", "c"]), (["x", "y"], ["c", "b", "a"]), (["y"], ["b", "c"])]
    whole = OnlineSVM(task="multilabel", kernel=kernel)
    split = OnlineSVM(task="multilabel", kernel=kernel)
    whole.learn(stream)
    for record, labels in stream:
        split.learn_one(record, labels)
    assert whole.snapshot().digest() == split.snapshot().digest()
