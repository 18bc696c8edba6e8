"""The labels of a binary model: sides, names, probabilities that agree with them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import Label, label_of
from onlinesvm.data.objects import Packer
from onlinesvm.errors import ConfigError, SampleError, SnapshotError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.labels import Labels, RefusedLabel
from tests.strategies import WIDE, configurations, features, samples

VALUES = st.one_of(
    st.text(min_size=1, max_size=5).filter(lambda text: not set(text) & set("0123456789")),
    st.integers(-3, 3), st.booleans(),
)  # fmt: skip


def table(*values: Any) -> list[Label]:
    return [label_of(value) for value in values]


def learned(*values: Any, **given: Any) -> Labels:
    labels = Labels(**given)
    labels.learn(table(*values))
    return labels


@pytest.mark.parametrize(
    ("seen", "names"),
    [
        (("spam", "ham"), ("spam", "ham")),
        ((1, -1), (-1, 1)),
        ((-1, 1), (-1, 1)),
        ((0, 1), (0, 1)),
        ((True, False), (False, True)),
        ((0, -1), (0, -1)),
        ((-1, 0), (-1, 0)),
        (("spam", 1), ("spam", 1)),
        ((1, "spam"), ("spam", 1)),
        (("spam", 0), ("spam", 0)),
        ((0, "spam"), (0, "spam")),
        (("1.0", "+0"), ("+0", "1.0")),
        ((2, 3), (2, 3)),
        (("spam",), ("spam", None)),
        ((1,), (None, 1)),
        ((), (None, None)),
    ],
)
def test_the_sides_of_labels(seen: tuple[Any, ...], names: tuple[Any, ...]) -> None:
    assert learned(*seen).names() == names


@given(st.lists(VALUES, max_size=8))
def test_two_labels_however_they_come(values: list[Any]) -> None:
    labels = Labels()
    try:
        labels.learn(table(*values))
    except RefusedLabel as error:
        texts = [label_of(value).text for value in values]
        third = list(dict.fromkeys(texts))[2]
        assert error.place == texts.index(third)
        assert labels.names() == (None, None)
        return
    one_by_one = Labels()
    for value in values:
        before = one_by_one.names()
        one_by_one.learn(table(value))
        for old, new in zip(before, one_by_one.names(), strict=True):
            assert old is None or (type(old), old) == (type(new), new)  # as first written
    assert one_by_one.dump() == labels.dump()
    assert labels.know(table(*values))
    sides = labels.find(table(*values)).tolist()
    assert set(sides) <= {-1.0, 1.0}
    assert len(set(sides)) == len({label_of(value).text for value in values})
    restored = Labels()
    restored.restore(labels.dump())
    assert restored.dump() == labels.dump()
    assert restored.find(table(*values)).tolist() == sides


def test_labels_that_are_closed() -> None:
    labels = Labels(closed=("spam", "ham"))
    assert labels.names() == ("spam", "ham")
    with pytest.raises(RefusedLabel, match='"spam" or "ham", got "eggs"'):
        labels.learn(table("ham", "eggs"))
    assert Labels(closed=(1, 0)).names() == (0, 1)
    assert Labels(closed=("ham", "spam"), positive=("ham",)).names() == ("spam", "ham")
    with pytest.raises(ConfigError, match="one of each side, got"):
        Labels(closed=("ham", "spam"), positive=("eggs",))
    with pytest.raises(SnapshotError, match='expected "spam" or "ham", got'):
        labels.restore([["eggs", -1.0], ["ham", 1.0]])


def test_one_against_the_rest() -> None:
    labels = learned("ham", "spam", positive=("spam",))
    assert labels.names() == ("ham", "spam")
    labels.learn(table("eggs", "ham"))
    assert labels.names() == ("rest", "spam")
    assert labels.find(table("spam", "ham", "new")).tolist() == [1.0, -1.0, -1.0]
    several = learned("a", "b", "c", positive=("a", "b"))
    assert several.names() == ("c", "a,b")
    numbers = learned(3, -1, 2, 0, positive=(">0",))
    assert numbers.names() == ("rest", ">0")
    assert numbers.find(table(1, "7", 0, -7, "spam")).tolist() == [1.0, 1.0, -1.0, -1.0, -1.0]
    assert numbers.find(table("007", "000")).tolist() == [-1.0, -1.0]  # texts, not integers
    for made in (labels, several, numbers):
        copy = made.copy()
        copy.restore(made.dump())
        assert copy.dump() == made.dump()
        assert copy.know(table("x1", "x2")) == made.know(table("x1", "x2"))
    assert learned("+1", "0", positive=(1,)).names() == ("0", "+1")
    with pytest.raises(SnapshotError, match="expected the sides of `positive`"):
        labels.restore([["spam", -1.0]])


# Models ---------------------------------------------------------------------------------------


def test_predictions_are_labels(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    assert model.predict([["a"]]).tolist() == [None]
    assert model.predict_one(["a"]) is None
    model.learn_one(["a"], "spam")
    assert model.predict([["a"], []]).tolist() == ["spam", "spam"]
    model.learn([(["a"], "spam"), (["b"], "ham")] * 20)
    assert model.predict([["a"], ["b"]]).tolist() == ["spam", "ham"]
    assert model.classes_.tolist() == ["spam", "ham"]
    assert model.predict_one(["b"]) == model.explain(["b"]).label == "ham"
    proba = model.predict_proba([["a"], ["b"]])
    assert proba.shape == (2, 2)
    assert proba.sum(axis=1).tolist() == [1.0, 1.0]
    assert model.classes_[proba.argmax(axis=1)].tolist() == ["spam", "ham"]
    assert model.predict_proba_one(["b"]).tolist() == proba[1].tolist()
    assert model.decision_function([["b"]]).tolist() == [model.decision_function_one(["b"])]


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [((0, 1), np.int64), ((False, True), np.bool_), (("a", "b"), "<U1"), (("a", 1), object)],
)
def test_predictions_have_the_labels_type(
    kernel: Kernel, labels: tuple[Any, Any], dtype: Any
) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    model.learn([(["a"], labels[0]), (["b"], labels[1])] * 20)
    for y in (model.predict([["a"], ["b"]]), model.classes_):
        assert (y.dtype, y.tolist()) == (dtype, list(labels))


def test_integers_beyond_64_bits_are_shown_as_text(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    model.learn([(["a"], 10**30), (["b"], 2**64 - 1)])
    assert model.classes_.tolist() == [str(10**30), 2**64 - 1]
    copy = pickle.loads(pickle.dumps(model))
    assert copy.snapshot().digest() == model.snapshot().digest()
    assert copy.classes_.tolist() == model.classes_.tolist()


def test_labels_are_part_of_snapshot_and_digest(kernel: Kernel) -> None:
    digests = []
    for y in (("spam", "ham"), ("\udcff", "ham"), (-1, 1), ("-1", True), (0, 1)):
        model = OnlineSVM(kernel=kernel.NAME)
        model.learn([(["a"], y[0]), (["b"], y[1])])
        loaded = OnlineSVM.from_bytes(model.to_bytes(), kernel=kernel.NAME)
        assert loaded.labels.names() == model.labels.names() == y
        assert loaded.snapshot().digest() == model.snapshot().digest()
        with pytest.raises(SampleError, match="two labels"):
            loaded.learn_one(["a"], "third")
        digests.append(model.snapshot().digest())
    assert digests[2] == digests[3]  # of one text
    assert len(set(digests)) == 4


def test_a_third_label_is_refused_before_anything_is_learned(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onlinesvm.data.objects._PIECE_BYTES", 1)  # a batch each
    model = OnlineSVM(kernel=kernel.NAME)
    rows: list[Any] = [(["a"], "spam"), (["b"], "ham"), (["c"], "spam"), (["d"], "eggs")]
    more = r"; other labels need a model of their own, of --task multiclass if more than two"
    message = rf'^expected one of the model\'s two labels, "spam" or "ham", got "eggs"{more} at '
    with pytest.raises(SampleError, match=message + r"\$\[3\]\[1\]$"):
        model.learn(rows)
    names, y = zip(*rows, strict=True)
    with pytest.raises(SampleError, match=message + r"y\[3\]$"):
        model.partial_fit(names, y)
    with pytest.raises(SampleError, match=message + r"y\[3\]$"):
        model.partial_fit(np.eye(4), y)
    assert (model.position, len(model.lookup), model.labels.names()) == (0, 0, (None, None))
    model.learn(rows[:3])
    with pytest.raises(SampleError, match=message + r"\$\[1\]$"):
        model.learn_one(["d"], "eggs")
    assert (model.position, model.labels.names()) == (3, ("spam", "ham"))


@given(rows=st.lists(samples(), min_size=1, max_size=12), config=configurations())
def test_names_change_no_bit_of_what_is_learned(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    plain = OnlineSVM(kernel=kernel.NAME, labels=(-1, 1), limits=WIDE, **config)
    named = OnlineSVM(kernel=kernel.NAME, labels=("no", "yes"), limits=WIDE, **config)
    expected = plain.learn(rows)
    renamed = [(row[0], "yes" if row[1] > 0 else "no", *row[2:]) for row in rows]
    assert named.learn(renamed).tobytes() == expected.tobytes()
    assert dict(named.weights) == dict(plain.weights)


@given(
    rows=st.lists(samples(), max_size=25),
    asked=st.lists(features(), min_size=1, max_size=8),
    config=configurations(),
)
def test_probability_and_label_never_disagree(
    kernel: Kernel, rows: list[tuple[Any, ...]], asked: list[Any], config: dict[str, Any]
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, labels=(-1, 1), limits=WIDE, **config)
    model.learn(rows)
    margins = model.decision_function(asked)
    p = model.predict_proba(asked)
    assert ((p[:, 1] > 0.5) == (margins > 0)).all()
    assert (model.classes_[p.argmax(axis=1)] == model.predict(asked)).all()
    order = np.argsort(margins)
    grid = model.probabilities(np.concatenate((margins[order], [-0.0, 0.0, 5e-324, -5e-324])))
    assert (grid[-4:-2] <= 0.5).all()
    assert grid[-2] > 0.5 >= grid[-1]


def test_ten_thousand_of_one_class_and_three_of_the_other(kernel: Kernel) -> None:
    model, n = OnlineSVM(kernel=kernel.NAME), 10_000 if kernel.NAME == "native" else 1_000
    rng = np.random.default_rng(1)
    for rare, common in (("rare", "common"), ("common", "rare")):
        model = OnlineSVM(kernel=kernel.NAME, labels=(rare, common))
        rows = [([f"w{j}" for j in rng.integers(0, 300, 8)], "common") for _ in range(n)]
        for at in (100, n // 3, n // 2):
            rows[at] = (["odd", *rows[at][0]], "rare")
        model.learn(rows)
        asked = [row for row, _ in rows[:200]] + [["odd"], ["odd", "w1"], []]
        p, margins = model.predict_proba(asked)[:, 1], model.decision_function(asked)
        assert ((p > 0.5) == (margins > 0)).all()
        assert (model.predict(asked[:200]) == "common").mean() > 0.95


def test_a_threshold_leaves_probabilities_as_they_are(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, threshold=2.0)
    model.learn([(["a"], 1), (["b"], -1)] * 100)
    margins = np.array([-1.0, 0.0, 1.0])
    metrics = model.head.metrics.probabilities(margins)
    assert model.probabilities(margins).tolist() == metrics.tolist()


def test_a_batch_of_as_many_labels_as_samples(kernel: Kernel) -> None:
    n = 16_384
    packer = Packer()
    body = pack_array([packer.sample(["a"], f"label {i}") for i in range(n)])
    for positive in ((), ("label 5",)):
        model = OnlineSVM(kernel=kernel.NAME, positive=positive or None)
        batch = kernel.decode(body, model.limits, labelled=True)
        assert len(batch.label_table) == n
        if positive:
            model.learn_batch(batch)
            assert model.labels.names() == ("rest", "label 5")
        else:
            with pytest.raises(SampleError, match=r'got "label 2"; .* at \$\[2\]\[0\]'):
                model.learn_batch(batch)
