"""Flags: made from the fields of configuration dataclasses, and the kinds of their values."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, fields
from typing import Any

from onlinesvm.config import LearnerConfig, Limits, check_parameters
from onlinesvm.errors import ConfigError, OnlineSVMError
from onlinesvm.service.cli.parser import Parser, UsageError

__all__ = [
    "add_flags", "count", "duration", "from_flags", "given_flags", "limits_of", "parameters_of",
    "size",
]  # fmt: skip

_BYTES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def size(text: str) -> int:
    """Bytes: ``4096``, ``16MiB``, ``1GB``."""
    found = re.fullmatch(r"([0-9]+) ?([A-Za-z]*)", text)
    if found is None or found[2].lower() not in _BYTES:
        raise argparse.ArgumentTypeError(
            f"expected a size in bytes, as 4096, 64KiB, 16MiB or 1GB, got {text!r}"
        )
    return int(found[1]) * _BYTES[found[2].lower()]


def duration(text: str) -> float:
    """Seconds above 0: ``5``, ``0.5``, ``200ms``, ``5m``, ``1h``."""
    found = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?) ?([a-z]*)", text)
    seconds = math.nan
    if found is not None and found[2] in _SECONDS:
        with contextlib.suppress(ValueError):
            seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(
            f"expected a time above 0, as 10 (seconds), 200ms, 5m or 1h, got {text!r}"
        )
    return seconds


def count(text: str) -> int:
    """An integer from 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected an integer from 0, got {text!r}")
    return int(text)


def _class_weight(text: str) -> object:
    """``balanced``, or two numbers with a comma between."""
    if text == "balanced":
        return text
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected balanced or two numbers as 1,5, got {text!r}"
        ) from None
    return first, second


def _fields(text: str) -> object:
    """``name=kind``, with commas between."""
    pairs = [part.rpartition("=") for part in text.split(",") if part]
    if not all(name and kind for name, _, kind in pairs):
        raise argparse.ArgumentTypeError(
            f"expected fields and kinds as subject=text,sent=date, got {text!r}"
        )
    return tuple((name, kind) for name, _, kind in pairs)


def _crosses(text: str) -> object:
    """``*``, or ``a:b``, with commas between."""
    if text == "*":
        return text
    pairs = tuple(part.partition(":") for part in text.split(",") if part)
    if not all(a and b for a, _, b in pairs):
        raise argparse.ArgumentTypeError(
            f"expected * or pairs of fields as carrier:origin,origin:dest, got {text!r}"
        )
    return tuple((a, b) for a, _, b in pairs)


def _vectors(text: str) -> object:
    """The digest of a fastText file, by its name or as it is."""
    from onlinesvm.text.word_vectors import named

    try:
        return named(text)
    except (OSError, OnlineSVMError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_PARSERS: dict[str, Callable[[str], object]] = {
    "float": float,
    "int": int,
    "int | None": int,
    "str": str,
    "str | None": str,
    "float | None": float,
    "str | tuple[float, float] | None": _class_weight,
    "tuple[Written, ...] | None": lambda text: tuple(text.split(",")),
    "tuple[tuple[str, str], ...]": _fields,
    "str | tuple[tuple[str, str], ...]": _crosses,
}
_METAVARS = {
    "bind": "ENDPOINT", "state": "DIR", "follow": "DIR", "class_weight": "WEIGHTS",
    "key": "FILE", "allow": "DIR", "labels": "LABELS", "positive": "LABEL", "fields": "FIELDS",
    "crosses": "PAIRS",
}  # fmt: skip


def add_flags(parser: Parser, config: type, title: str, names: Sequence[str] | None = None) -> None:
    """Give `parser` one flag for each field of the dataclass `config`, of these `names` alone if
    given, under `title`.

    A field named ``…_bytes`` or ``…_bytes_per_s``, or max_memory, takes a size, one named ``…_s`` a
    duration, but a number where it is ``…_per_s``.
    """
    group = parser.add_argument_group(title)
    for field in fields(config):
        if names is not None and field.name not in names:
            continue
        options: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
        options["help"] = _help_of(field)
        if field.type == "bool":
            options["action"] = argparse.BooleanOptionalAction if field.default else "store_true"
        elif field.type == "bool | None":
            options["action"] = argparse.BooleanOptionalAction
        elif field.name == "positive":
            options.update(action="append", metavar="LABEL")
        else:
            options["choices"] = field.metadata["choices"]
            options["type"], metavar = _kind_of(field)
            options["metavar"] = None if options["choices"] else metavar
        group.add_argument("--" + field.name.replace("_", "-"), **options)


def _kind_of(field: Field[Any]) -> tuple[Callable[[str], object], str]:
    """The type and the metavar of a field that takes a value."""
    if field.name.endswith(("_bytes", "_bytes_per_s")) or field.name == "max_memory":
        return size, "SIZE"
    if field.name.endswith("_per_s"):
        return int, "N"
    if field.name.endswith("_s"):
        return duration, "TIME"
    if field.name == "vectors":
        return _vectors, "FILE"
    return _PARSERS[str(field.type)], _METAVARS.get(field.name, "N")


def _help_of(field: Field[Any]) -> str:
    help = str(field.metadata["help"]).replace("%", "%%")
    if field.default in (None, False, ()):
        return help
    return f"{help} (default: {_shown(field)})"


def _shown(field: Field[Any]) -> str:
    """The default as a user would write it."""
    default = field.default
    if field.name.endswith("_bytes") and isinstance(default, int):
        for unit in ("GiB", "MiB", "KiB"):
            if default % _BYTES[unit.lower()] == 0:
                return f"{default // _BYTES[unit.lower()]}{unit}"
    if field.name.endswith("_s") and isinstance(default, float):
        for unit in ("h", "m"):
            if default % _SECONDS[unit] == 0:
                return f"{default / _SECONDS[unit]:g}{unit}"
        return f"{default:g}s"
    return str(default)


def given_flags(arguments: argparse.Namespace, config: type) -> dict[str, Any]:
    """The fields of `config` that were given on the command line."""
    return {f.name: getattr(arguments, f.name) for f in fields(config) if f.name in arguments}


@contextlib.contextmanager
def from_flags() -> Iterator[None]:
    """Turn a ConfigError, of a value that a flag gave, into a UsageError."""
    try:
        yield
    except ConfigError as error:
        raise UsageError(error) from None


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits that were given, the others at their defaults. Raises UsageError."""
    with from_flags():
        return Limits(**given_flags(arguments, Limits))


def parameters_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The learner's parameters that were given. Raises UsageError."""
    given = given_flags(arguments, LearnerConfig)
    with from_flags():
        check_parameters(given)
    return given
