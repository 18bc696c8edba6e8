"""Python samples: their errors name the sample in the list that the user gave."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onlinesvm import Limits, OnlineSVM
from onlinesvm.data import objects
from onlinesvm.errors import SampleError
from onlinesvm.kernel.contract import Kernel


def fault(call: Callable[[], Any]) -> SampleError:
    with pytest.raises(SampleError) as caught:
        call()
    return caught.value


def test_an_error_names_the_sample(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    good: list[Any] = [(["a"], 1)] * 5
    for piece in (4 * 2**20, 1):  # in one body, and in a body each
        monkeypatch.setattr(objects, "_PIECE_BYTES", piece)
        for bad in (({"a": math.nan}, 1), (["a"], 0.5), (["a"], 1, -1), ({"a": 10**60}, 1)):
            assert fault(lambda: model.learn([*good, bad])).sample == 5  # noqa: B023
        assert fault(lambda: model.decision_function([["a"], {"b": math.inf}])).sample == 1
    assert fault(lambda: model.partial_fit(np.array([[1.0], [math.nan]]), [1, -1])).sample == 1
    assert fault(lambda: model.partial_fit(np.ones((2, 1)), [1, 0.5])).sample == 1
    assert fault(lambda: model.partial_fit(np.ones((2, 1)), [1, 1], [1, -1])).sample == 1
    assert model.position == 0


def test_an_error_of_a_sample_alone_names_none(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=Limits(max_name_bytes=3))
    for call in (
        lambda: model.learn_one(["a", "long"], 1),
        lambda: model.learn_one(["a"], 0.5),
        lambda: model.learn_one({10**60: 1.0}, 1),
        lambda: model.decision_function_one(["a", "long"]),
        lambda: model.explain(["a", "long"]),
    ):
        assert fault(call).sample is None
    assert fault(lambda: model.decision_function_one(["a", "long"])).path == (1,)


@pytest.mark.parametrize("value", [np.complex64(1), np.datetime64(1, "s"), np.timedelta64(1, "s")])
def test_scalars_of_numpy_that_are_no_real_numbers_are_refused(value: Any) -> None:
    text = rf"expected text, bytes or a number, got {type(value).__name__} at \$\[0\]"
    with pytest.raises(TypeError, match=text):
        OnlineSVM().learn([({"a": value}, 1)])


def test_a_long_double_is_a_number() -> None:
    model, other = OnlineSVM(), OnlineSVM()
    model.learn_one({"a": np.longdouble("1.5")}, 1)
    other.learn_one({"a": 1.5}, 1)
    assert model.snapshot().digest() == other.snapshot().digest()


@pytest.mark.parametrize("samples", [None, 5])
def test_anything_but_an_iterable_is_no_samples(samples: Any) -> None:
    kind = type(samples).__name__
    with pytest.raises(TypeError, match=f"expected an iterable of samples .* got {kind}"):
        OnlineSVM().learn(samples)


def test_an_error_of_a_whole_batch_names_no_sample(kernel: Kernel) -> None:
    error = fault(
        lambda: kernel.decode(b"\x92\x90\x90", Limits(max_samples_per_batch=1), labelled=False)
    )
    assert (error.path, error.sample) == ((), None)


@pytest.mark.parametrize("alone", [False, True])
def test_an_error_is_pickled_whole(alone: bool) -> None:
    error = SampleError("expected this, got that", (3, b"len"), alone=alone)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.sample) == (str(error), None if alone else 3)
