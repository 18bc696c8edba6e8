"""Command-line flags made from the fields of configuration dataclasses."""

from __future__ import annotations

import argparse
from dataclasses import Field, fields
from typing import Any, TypeVar

__all__ = ["add_flags", "given_flags"]

T = TypeVar("T")


def _class_weight(text: str) -> object:
    """``balanced``, or two numbers with a comma between."""
    if text == "balanced":
        return text
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected balanced or two numbers as 1,5, got {text}"
        ) from None
    return first, second


_PARSERS = {
    "float": float,
    "int": int,
    "str": str,
    "str | None": str,
    "float | None": float,
    "str | tuple[float, float] | None": _class_weight,
}


def add_flags(parser: argparse.ArgumentParser, config: type, title: str) -> None:
    """Give `parser` one flag for each field of the dataclass `config`, under `title`."""
    group = parser.add_argument_group(title)
    for field in fields(config):
        flag = "--" + field.name.replace("_", "-")
        options: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
        options["help"] = _help_of(field)
        if field.type == "bool":
            options["action"] = argparse.BooleanOptionalAction if field.default else "store_true"
        elif field.type == "bool | None":
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = _PARSERS[str(field.type)]
            options["choices"] = field.metadata["choices"]
            options["metavar"] = None if options["choices"] else _METAVARS.get(field.name, "N")
        group.add_argument(flag, **options)


_METAVARS = {"bind": "ENDPOINT", "state": "DIR", "follow": "DIR"}


def _help_of(field: Field[Any]) -> str:
    help = str(field.metadata["help"]).replace("%", "%%")
    return help if field.default in (None, False) else f"{help} (default: {field.default})"


def given_flags(arguments: argparse.Namespace, config: type) -> dict[str, Any]:
    """The fields of `config` that were given on the command line."""
    return {f.name: getattr(arguments, f.name) for f in fields(config) if f.name in arguments}
