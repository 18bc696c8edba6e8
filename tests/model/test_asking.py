"""Which labels are worth asking for: the probability, the hash, the first samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.asking import ASKS_ALL, B, distances_of, worth_asking
from onlinesvm.service.config import ServeConfig
from tests.daemons import digest_of

ROWS = [([f"f{i % 50}", f"g{i % 7}"], 1 if i % 3 else -1) for i in range(400)]


@pytest.mark.parametrize("distance", [0.0, 0.1, 0.2, 1.0, 5.0])
def test_the_share_is_that_of_the_formula(distance: float) -> None:
    samples = [b"%d" % i for i in range(20_000)]
    worth = worth_asking(np.full(len(samples), -distance), samples, ASKS_ALL)
    expected = B / (B + distance)
    assert abs(worth.mean() - expected) <= 4 * np.sqrt(expected * (1 - expected) / len(samples))


@given(
    distances=st.lists(st.floats(-10, 10), max_size=5),
    position=st.integers(ASKS_ALL, 2**62),
    b=st.floats(1e-3, 1e3),
)
def test_an_answer_depends_on_sample_and_position_alone(
    distances: list[float], position: int, b: float
) -> None:
    samples = [b"%d" % i for i in range(len(distances))]
    worth = worth_asking(distances, samples, position, b)
    alone = [
        worth_asking([distance], [sample], position, b)[0]
        for distance, sample in zip(distances, samples, strict=True)
    ]
    assert worth.tolist() == alone
    more = worth_asking(distances, samples, position, 2 * b)
    assert (more | ~worth).all()  # a larger b asks for those, and others
    nearer = worth_asking(np.array(distances) / 2, samples, position, b)
    assert (nearer | ~worth).all()


def test_the_hash_is_fixed() -> None:
    """Readers and leaders, now and later, answer alike."""
    samples = [b"%d" % i for i in range(24)]
    drawn = worth_asking([0.2] * 24, samples, 12345)
    assert "".join("01"[int(worth)] for worth in drawn) == "110010010111001011010010"
    assert drawn.tolist() != worth_asking([0.2] * 24, samples, 12346).tolist()


def test_of_few_samples_every_label_is_worth_asking_for(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    model.learn(ROWS[: ASKS_ALL - 1])
    asked = [features for features, _ in ROWS]
    assert model.ask(asked)[1].all()
    model.learn(ROWS)
    before = digest_of(model)
    labels, worth = model.ask(asked)
    assert labels.tolist() == model.predict(asked).tolist()
    assert 0 < worth.sum() < len(asked)
    assert model.ask(asked)[1].tolist() == worth.tolist()
    assert model.ask(asked, b=1e9)[1].all()
    assert digest_of(model) == before
    assert [array.tolist() for array in model.ask([])] == [[], []]
    with pytest.raises(ValueError, match="b: expected a number above 0"):
        model.ask(asked, b=0.0)


def test_both_kernels_ask_alike() -> None:
    asked = [features for features, _ in ROWS]
    answers = []
    for name in ("native", "python"):
        model = OnlineSVM(kernel=name)
        model.learn(ROWS)
        answers.append(model.ask(asked)[1].tolist())
    assert answers[0] == answers[1]


def test_the_distance_is_that_from_the_threshold(kernel: Kernel) -> None:
    model = OnlineSVM(rule="sgd", threshold=0.5, kernel=kernel.NAME)
    model.learn(ROWS)
    batch = model.decode(b"\x92\x91\xa2f1\x91\xa2f2", labelled=False)
    margins = model.decision_function([["f1"], ["f2"]])
    assert distances_of(model, batch).tolist() == np.abs(margins - 0.5).tolist()


def test_of_many_classes_the_best_two_count(kernel: Kernel) -> None:
    model = OnlineSVM(task="multiclass", kernel=kernel.NAME)
    batch = model.decode(b"\x91\x91\xa2f1", labelled=False)
    assert distances_of(model, batch).tolist() == [0.0]
    model.learn([(["f1"], "x")])
    assert distances_of(model, batch).tolist() == [0.0]
    model.learn([(["f2"], "y"), (["f3"], "z")] * 3)
    scores = np.sort(model.decision_function([["f1"]])[0])
    assert distances_of(model, batch)[0] == pytest.approx(scores[-1] - scores[-2], rel=1e-6)


def test_the_daemons_default_is_the_models() -> None:
    assert ServeConfig().ask_b == B
