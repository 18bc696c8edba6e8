"""Flags made from the fields of dataclasses."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.config import LearnerConfig, Limits, parameter
from onlinesvm.service.cli.flags import add_flags, given_flags
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.config import ServeConfig
from tests.daemons import flags_of
from tests.shell import commands
from tests.strategies import configurations


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """A field of each kind."""

    how_far: float = parameter(0.5, "how far it goes, in 100% of cases")
    how_many: int = parameter(3, "how many there are")
    room_bytes: int = parameter(2**20, "how much room it has")
    every_s: float = parameter(300.0, "how often it comes")
    where: str = parameter("here", "where it is", ("here", "there"))
    whom: str | None = parameter(None, "whom it follows")
    on: bool = parameter(True, "whether it is on")
    off: bool = parameter(False, "whether it is off")


def parse(config: type, *arguments: str) -> dict[str, Any]:
    parser = Parser(exit_on_error=False)
    add_flags(parser, config, "its flags")
    return given_flags(parser.parse_args(arguments), config)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ((), {}),
        (("--how-far", "1e-3"), {"how_far": 0.001}),
        (("--how-many=7",), {"how_many": 7}),
        (("--room-bytes", "4096"), {"room_bytes": 4096}),
        (("--room-bytes", "16MiB"), {"room_bytes": 16 * 2**20}),
        (("--room-bytes", "3kb"), {"room_bytes": 3000}),
        (("--every-s", "5"), {"every_s": 5.0}),
        (("--every-s", "0.25"), {"every_s": 0.25}),
        (("--every-s", "5m"), {"every_s": 300.0}),
        (("--every-s", "200ms"), {"every_s": 0.2}),
        (("--where", "there"), {"where": "there"}),
        (("--whom", ""), {"whom": ""}),
        (("--on",), {"on": True}),
        (("--no-on",), {"on": False}),
        (("--off",), {"off": True}),
        # A value that is the default was given all the same: it is compared with a model's own.
        (("--how-many", "3"), {"how_many": 3}),
    ],
)
def test_only_what_was_given_is_given(arguments: tuple[str, ...], given: dict[str, Any]) -> None:
    assert parse(Kinds, *arguments) == given
    Kinds(**given)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--room-bytes", "1.5MiB"),
        ("--room-bytes", "-1"),
        ("--room-bytes", "16M"),
        ("--every-s", "0"),
        ("--every-s", "-1"),
        ("--every-s", "1w"),
        ("--every-s", "1.2.3"),
        ("--every-s", "1e400"),
        ("--every-s", ""),
        ("--how-far", "far"),
        ("--how-many", "1.5"),
        ("--where", "elsewhere"),
        ("--how-far",),
    ],
)
def test_values_of_another_type_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(argparse.ArgumentError, match=arguments[0]):
        parse(Kinds, *arguments)


def test_a_flag_that_is_off_has_no_negation() -> None:
    parser = Parser()
    add_flags(parser, Kinds, "its flags")
    options = {option for action in parser._actions for option in action.option_strings}
    assert {"--on", "--no-on", "--off"} <= options
    assert "--no-off" not in options


def test_help_shows_what_a_field_costs_and_its_default() -> None:
    parser = Parser(prog="it")
    add_flags(parser, Kinds, "its flags")
    help = " ".join(parser.format_help().split())
    assert "its flags:" in help
    assert "--how-far N how far it goes, in 100% of cases (default: 0.5)" in help
    assert "--where {here,there} where it is (default: here)" in help
    assert "--room-bytes SIZE how much room it has (default: 1MiB)" in help
    assert "--every-s TIME how often it comes (default: 5m)" in help
    assert "--on, --no-on whether it is on (default: True)" in help
    assert "--off whether it is off" in help
    assert "None" not in help and "False" not in help


@given(configurations())
def test_any_configuration_can_be_given(config: dict[str, Any]) -> None:
    assert parse(LearnerConfig, *flags_of(config)) == config


@given(st.data())
def test_any_limits_can_be_given(data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from([f.name for f in fields(Limits)])))
    kinds = {
        "max_value": st.floats(1, 1e50), "max_importance": st.floats(1, 1e50), "clip": st.just(True)
    }  # fmt: skip
    limits = {name: data.draw(kinds.get(name, st.integers(1, 2**31 - 2))) for name in sorted(names)}
    assert parse(Limits, *flags_of(limits)) == limits


@pytest.mark.parametrize(
    ("command", "configs"),
    [
        ("serve", (ServeConfig, LearnerConfig, Limits)),
        ("learn", (LearnerConfig, Limits)),
        ("predict", (Limits,)),
    ],
)
def test_every_field_is_a_flag_of_its_command(command: str, configs: tuple[type, ...]) -> None:
    actions = {action.dest: action for action in commands()[command]._actions}
    for config in configs:
        for field in fields(config):
            action = actions[field.name]
            assert f"--{field.name.replace('_', '-')}" in action.option_strings
            assert str(action.help).startswith(field.metadata["help"].replace("%", "%%"))
