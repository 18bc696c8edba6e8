"""Configuration: ranges, messages, and what may change in a model's life."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from onlinesvm import LearnerConfig, Limits
from onlinesvm.config import RULE_PARAMETERS
from onlinesvm.errors import ConfigError, OnlineSVMError


def test_defaults_are_those_of_the_design() -> None:
    assert LearnerConfig().as_dict() == {"rule": "hedge", "bias": True}
    own = {
        "sgd": {"eta0": 0.1, "schedule": "constant", "alpha": 0.0},
        "pa1": {"C": 1.0},
        "pa2": {"C": 1.0},
        "arow": {"r": 1.0},
        "adagrad": {"eta0": 0.1, "forgetting": 1.0},
        "nag": {"eta0": 0.5},
    }
    for rule, parameters in own.items():
        assert LearnerConfig(rule=rule).as_dict() == {"rule": rule, **parameters, "bias": True}
    assert dataclasses.asdict(Limits()) == {
        "max_features_per_sample": 65_536,
        "max_samples_per_batch": 16_384,
        "max_name_bytes": 4_096,
        "max_message_bytes": 16 * 2**20,
        "max_header_bytes": 4_096,
        "max_features": 10_000_000,
        "max_labels": 100_000,
        "max_labels_per_feature": 128,
        "max_value": None,
        "max_importance": None,
        "clip": False,
    }
    assert Limits().socket_message_bytes == 32 * 2**20


@pytest.mark.parametrize("kind", [LearnerConfig, Limits])
def test_every_parameter_says_what_it_costs(kind: type) -> None:
    for field in dataclasses.fields(kind):
        assert len(field.metadata["help"]) > 10, field.name
        choices = field.metadata["choices"]
        assert choices is None or field.default is None or field.default in choices


@pytest.mark.parametrize("kind", [LearnerConfig, Limits])
def test_configurations_are_frozen_and_keyword_only(kind: type) -> None:
    with pytest.raises(TypeError):
        kind("hedge")
    first = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), first, 1)


NUMBER = "expected a number from"
RULES = ", ".join(RULE_PARAMETERS)
OF_ETA0 = ", ".join(rule for rule, own in RULE_PARAMETERS.items() if "eta0" in own)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "none"}, f"rule: expected one of {RULES}, got 'none'"),
        ({"rule": None}, f"rule: expected one of {RULES}, got None"),
        ({"schedule": "fast"}, "schedule: expected one of constant, invscaling, got 'fast'"),
        ({"eta0": 0}, f"eta0: {NUMBER} 1e-50 to 1e+50, got 0"),
        ({"eta0": -0.1}, f"eta0: {NUMBER} 1e-50 to 1e+50, got -0.1"),
        ({"eta0": math.nan}, f"eta0: {NUMBER} 1e-50 to 1e+50, got nan"),
        ({"eta0": math.inf}, f"eta0: {NUMBER} 1e-50 to 1e+50, got inf"),
        ({"eta0": 10**60}, f"eta0: {NUMBER} 1e-50 to 1e+50, got {10**60}"),
        ({"eta0": True}, "eta0: expected a number, got True"),
        ({"eta0": "0.1"}, "eta0: expected a number, got '0.1'"),
        ({"alpha": -1e-9}, f"alpha: {NUMBER} 0 to 1e+50, got -1e-09"),
        ({"alpha": math.nan}, f"alpha: {NUMBER} 0 to 1e+50, got nan"),
        (
            {"eta0": 0.5, "alpha": 2},
            "alpha: expected eta0 * alpha below 1 (shrinking must not turn weights around),"
            " got 0.5 * 2",
        ),
        (
            {"eta0": 0.5, "alpha": 1e-17},
            "alpha: expected 0, or eta0 * alpha above 2**-54 (less shrinks nothing, by rounding),"
            " got 0.5 * 1e-17",
        ),
        ({"bias": 1}, "bias: expected true or false, got 1"),
        (
            {"class_weight": np.array([1, 2])},
            "class_weight: expected balanced or a pair of numbers (for -1 and +1), got"
            " array([1, 2])",
        ),
    ],
)
def test_a_parameter_out_of_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LearnerConfig(**{"rule": "sgd", **given})
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, OnlineSVMError)


def test_one_and_one_point_zero_are_one_configuration() -> None:
    whole = LearnerConfig(rule="sgd", eta0=1, alpha=0)
    assert whole == LearnerConfig(rule="sgd", eta0=1.0, alpha=0.0)
    assert repr(whole.eta0) == "1.0"


BOUNDS = ("max_value", "max_importance", "clip")


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(Limits) if f.name not in BOUNDS]
)
def test_a_limit_out_of_range_is_refused(field: str) -> None:
    most = 2**24 if "labels" in field else 2**31 - 2
    for wrong in (0, -1, most + 1, 1.5, True, "7", None):
        with pytest.raises(ConfigError) as caught:
            Limits(**{field: wrong})  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"{field}: expected an integer from 1 to {most}, got {wrong!r}"
        )
    assert getattr(Limits(**{field: most}), field) == most  # type: ignore[arg-type]


@pytest.mark.parametrize("field", BOUNDS[:2])
def test_a_bound_out_of_range_is_refused(field: str) -> None:
    for wrong in (0.5, 2e50, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError) as caught:
            Limits(**{field: wrong})  # type: ignore[arg-type]
        assert str(caught.value) == f"{field}: expected a number from 1 to 1e+50, got {wrong!r}"
    for wrong in (True, "7"):
        with pytest.raises(ConfigError, match=f"{field}: expected a number, got"):
            Limits(**{field: wrong})  # type: ignore[arg-type]
    for bound in (1, 32, 1e50):
        assert getattr(Limits(**{field: bound}), field) == bound  # type: ignore[arg-type]


def test_a_rule_that_one_sample_could_ruin_has_bounds_of_its_own() -> None:
    top = 1e50
    own = {rule: Limits().under(rule).bounds for rule in RULE_PARAMETERS}
    assert {rule: bounds for rule, bounds in own.items() if bounds != (top, top, False)} == {
        "sgd": (32.0, 32.0, False), "arow": (32.0, top, False), "nag": (32.0, top, False),
    }  # fmt: skip
    assert Limits(max_value=5).under("sgd").bounds == (5.0, 32.0, False)
    assert Limits(max_importance=7, clip=True).under("hedge").bounds == (top, 7.0, True)
    assert Limits(clip=True).under("nag").bounds == (32.0, top, True)


def test_clipping_at_no_bound_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Limits(clip=True).under("hedge")
    assert str(caught.value) == (
        "clip: expected max_value or max_importance with it, as rule hedge bounds neither by"
        " itself, got none"
    )
    with pytest.raises(ConfigError, match="clip: expected true or false, got 1"):
        Limits(clip=1)  # type: ignore[arg-type]


def test_a_stored_configuration_comes_back() -> None:
    for config in (
        LearnerConfig(rule="sgd", eta0=0.3, schedule="invscaling", alpha=0.01, bias=False),
        LearnerConfig(rule="sgd", average=True),
        LearnerConfig(rule="adagrad", forgetting=0.999),
        LearnerConfig(),
    ):
        assert LearnerConfig.from_dict(config.as_dict()) == config
    for stored, message in [
        ([], "configuration: expected a map, got list"),
        ({"eta": 1}, "configuration: unknown parameter 'eta'"),
        ({5: 1}, "configuration: unknown parameter 5"),
        ({"rule": "sgd", "eta0": "x"}, "eta0: expected a number, got 'x'"),
    ]:
        with pytest.raises(ConfigError) as caught:
            LearnerConfig.from_dict(stored)
        assert str(caught.value) == message


def test_a_parameter_that_differs_is_refused_naming_both_values() -> None:
    config = LearnerConfig(rule="sgd", eta0=0.3)
    config.check_given({})
    config.check_given({"eta0": 0.3, "bias": True, "alpha": 0})
    with pytest.raises(ConfigError) as caught:
        config.check_given({"rule": "sgd", "eta0": 0.1})
    assert str(caught.value) == (
        "eta0: the model was created with 0.3, got 0.1; leave it out, or start a new model"
    )
    with pytest.raises(ConfigError, match=r"eta0: the model was created with 0\.3, got -1"):
        config.check_given({"eta0": -1})
    with pytest.raises(ConfigError) as caught:
        config.check_given({"rule": "arow", "r": 2.0})
    assert str(caught.value) == (
        "rule: the model was created with 'sgd', got 'arow'; leave it out, or start a new model"
    )
    with pytest.raises(ConfigError, match="C: expected none, as rule sgd has no such parameter"):
        config.check_given({"C": 1.0})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"eta0": 0.1},
            "eta0: expected none, as rule hedge has no such parameter, got 0.1"
            f" (rules with it: {OF_ETA0})",
        ),
        (
            {"rule": "sgd", "C": 1},
            "C: expected none, as rule sgd has no such parameter, got 1 (rules with it: pa1, pa2)",
        ),
        ({"rule": "pa1", "C": 0}, f"C: {NUMBER} 1e-50 to 1e+50, got 0"),
        ({"rule": "arow", "r": -1}, f"r: {NUMBER} 1e-50 to 1e+50, got -1"),
        ({"rule": "adagrad", "forgetting": 1.1}, f"forgetting: {NUMBER} 0 to 1, got 1.1"),
        ({"rule": "sgd", "average": 1}, "average: expected true or false, got 1"),
        (
            {"rule": "sgd", "average": True, "alpha": 0.1},
            "average: expected alpha 0 (a mean of shrinking weights is not kept), got 0.1",
        ),
    ],
)
def test_a_rule_takes_its_own_parameters_only(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LearnerConfig(**given)
    assert str(caught.value) == message
