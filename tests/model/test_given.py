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
