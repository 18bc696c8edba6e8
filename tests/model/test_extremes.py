"""Every rule at the limits of its parameters and of samples' numbers: all stays finite, on both
kernels alike, and a snapshot of it can be loaded.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from onlinesvm import OnlineSVM
from onlinesvm.config import NORMALIZE, POLICIES, RULE_PARAMETERS, RULES, SCHEDULES
from onlinesvm.data.codec import pack_array
from onlinesvm.errors import ConfigError
from tests.strategies import WIDE

MAGNITUDES = (1e-50, 1e-49, 1e-25, 1e-6, 1.0, 1e6, 1e25, 1e49, 1e50)
# Of the parameters of all rules; one that is not here fails the test of this name.
PARAMETERS: dict[str, tuple[Any, ...]] = {
    "eta0": MAGNITUDES,
    "schedule": SCHEDULES,
    "alpha": (0.0, 5e-324, *MAGNITUDES),
    "average": (False, True),
    "C": MAGNITUDES,
    "r": MAGNITUDES,
    "forgetting": (0.0, 5e-324, 1e-50, 0.5, 1.0),
}
SHARED: dict[str, tuple[Any, ...]] = {
    "bias": (True, False),
    "normalize": NORMALIZE,
    "class_weight": (None, "balanced", (1e-6, 1e6), (1e6, 1e-6), (1e6, 1e6), (1e-6, 1e-6)),
    "threshold": (0.0, -1e50, 1e50, 1e-50, 5e-324),
    "max_features_policy": POLICIES,
}

VALUES = st.sampled_from([sign * size for size in MAGNITUDES for sign in (1, -1)])
FEATURES = st.one_of(
    st.dictionaries(st.sampled_from("abcdefgh"), VALUES, max_size=6),
    st.lists(st.sampled_from("abcdefgh"), max_size=6),
)
IMPORTANCES = st.sampled_from((0.0, 1.0, *MAGNITUDES))
SAMPLES = st.lists(st.tuples(FEATURES, st.sampled_from((1, -1)), IMPORTANCES), max_size=8)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Of every rule, any parameter at a limit or left out."""
    rule = draw(st.sampled_from(RULES))
    choices = {**{name: PARAMETERS[name] for name in RULE_PARAMETERS[rule]}, **SHARED}
    drawn = {
        name: draw(st.sampled_from(values)) for name, values in choices.items()
        if draw(st.booleans())
    }  # fmt: skip
    return {"rule": rule, **drawn}


def test_every_parameter_is_tried() -> None:
    assert {name for own in RULE_PARAMETERS.values() for name in own} == set(PARAMETERS)


@given(
    config=configurations(),
    samples=SAMPLES,
    times=st.sampled_from((1, 3, 40)),
    most=st.sampled_from((2, 10_000)),
    asked=st.lists(FEATURES, max_size=3),
)
def test_no_accepted_configuration_or_sample_makes_a_number_infinite(
    config: dict[str, Any], samples: list[Any], times: int, most: int, asked: list[Any]
) -> None:
    limits = replace(WIDE, max_features=most)
    digests, answers = [], []
    for kernel in ("native", "python"):
        try:
            model = OnlineSVM(limits=limits, kernel=kernel, **config)
        except ConfigError:  # refused, by name: tests/test_config.py
            return
        margins = model.learn(samples * times)
        assert np.isfinite(margins).all()
        taken = model.snapshot()
        numbers = [*taken.totals, *taken.scalars.values()]
        numbers += [number for figures in taken.figures.values() for number in figures]
        assert all(map(math.isfinite, numbers))
        assert all(np.isfinite(array).all() for array in taken.arrays.values())
        asked_margins = model.decision_function(asked)
        probabilities = model.probabilities(asked_margins)
        assert np.isfinite(asked_margins).all()
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        for figure in model.metrics.values():
            assert figure is None or math.isfinite(figure)
        OnlineSVM.check_snapshot(taken)
        loaded = OnlineSVM.from_bytes(model.to_bytes(), kernel=kernel)
        assert np.array_equal(loaded.decision_function(asked), asked_margins)
        digests.append(taken.digest())
        answers.append((margins.tobytes(), asked_margins.tobytes(), probabilities.tobytes()))
    assert digests[0] == digests[1]
    assert answers[0] == answers[1]


@given(config=configurations(), order=st.permutations(range(6)))
def test_sums_of_duplicates_keep_the_magnitudes_of_a_value(
    config: dict[str, Any], order: list[int]
) -> None:
    tiny = np.nextafter(1e-50, 1.0)
    rows = [[1e50] * 40, [-1e50] * 40, [tiny, -1e-50], [1.0, -1.0], [1e50, -1e50], [1e-50] * 40]
    csr = sparse.csr_array(
        (
            np.concatenate([rows[i] for i in order]),
            np.zeros(sum(map(len, rows)), dtype=np.int32),
            np.cumsum([0, *(len(rows[i]) for i in order)]),
        ),
        shape=(len(rows), 1),
    )
    body = msgpack.Packer()
    named = [
        b"".join(
            (
                b"\x92\x01",
                body.pack_map_header(len(rows[i])),
                *(b"\xa10" + body.pack(x) for x in rows[i]),
            )
        )
        for i in order
    ]
    states = []
    for kernel in ("native", "python"):
        try:
            model = OnlineSVM(limits=WIDE, kernel=kernel, **config)
        except ConfigError:
            return
        model.partial_fit(csr, [1] * len(rows))
        again = OnlineSVM(limits=WIDE, kernel=kernel, **config)
        again.learn_batch(again.kernel.decode(pack_array(named), WIDE, labelled=True))
        assert (
            OnlineSVM.from_bytes(model.to_bytes()).snapshot().digest() == model.snapshot().digest()
        )
        states += [model.snapshot().digest(), again.snapshot().digest()]
    assert len(set(states)) == 1
