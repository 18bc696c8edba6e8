"""The model that a round starts from, and the models for which mixing is defined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from onlinesvm.config import LearnerConfig
from onlinesvm.errors import ConfigError
from onlinesvm.metrics.classes import ClassMetrics
from onlinesvm.metrics.monitor import Metrics
from onlinesvm.metrics.progressive import TOTALS
from onlinesvm.metrics.temperature import Temperature
from onlinesvm.model.rules.class_layout import TEMPERATURE
from onlinesvm.snapshot.format import Snapshot

__all__ = ["RULES", "TASKS", "check_mixable", "started"]

RULES = ("hedge", "sgd")
TASKS = ("binary", "multiclass")


def check_mixable(config: LearnerConfig) -> None:
    """Raise ConfigError, naming the parameter, for a model whose mixing is not defined."""
    wanted: list[tuple[str, tuple[Any, ...]]] = [
        ("task", TASKS),
        ("rule", RULES),
        ("max_features_policy", ("refuse-new",)),  # a prune gives other ids
        ("crosses", ((),)),  # they depend on how many values one learner has met
        ("vectors", (None,)),
    ]
    if config.rule == "sgd":
        wanted.append(("normalize", ("none",)))
    for name, allowed in wanted:
        given = getattr(config, name)
        if given not in allowed:
            expected = " or ".join(str(one) for one in allowed if one) or "none"
            raise ConfigError(f"{name}: expected {expected} for a model to be mixed, got {given!r}")


def started(model: Snapshot) -> Snapshot:
    """The model as a round starts from it: its metrics and its calibration begin anew."""
    numbers = Metrics(model.config.threshold).dump().tolist()
    scalars = {
        name: 0.0 if name.startswith("judged_") else number
        for name, number in model.scalars.items()
    }
    arrays = dict(model.arrays)
    if model.config.task == "multiclass":
        scalars.update(zip(TEMPERATURE, Temperature().numbers(), strict=True))
        arrays.update(ClassMetrics().dump(len(model.arrays["label_states"])))
    return replace(
        model,
        totals=numbers[: len(TOTALS)],
        counters={**model.counters, "monitor": numbers[len(TOTALS) :]},
        scalars=scalars,
        arrays=arrays,
    )
