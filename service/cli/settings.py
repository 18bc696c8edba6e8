"""Settings: values of flags that come from a file (`--config FILE.toml`) or the environment.

A flag ``--fsync`` is the key ``fsync`` of the file and the variable ``ONLINESVM_FSYNC``; dashes
become underscores. A flag on the command line wins over the environment, the environment over the
file. A value is read as the flag's own value would be, so all three refuse the same ones.
"""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from onlinesvm.service.cli.parser import Parser, UsageError, suggestion

__all__ = ["VARIABLE_PREFIX", "add_config", "apply", "drop", "key_of", "printed", "read"]

VARIABLE_PREFIX = "ONLINESVM_"
_MAX_FILE_BYTES = 2**20
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# Flags of which the first excludes the others: one that is given drops the others' settings.
_EXCLUSIVE = (("file", "connect", "model"), ("follow", "state", "snapshot_every_s"))


class _Setting(NamedTuple):
    """A value, and the place that its errors name."""

    value: object
    place: str


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names a file of settings."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help='take flags from this TOML file, as fsync = "always"; the environment'
        " (ONLINESVM_FSYNC) and flags win over it",
    )


def key_of(action: argparse.Action) -> str | None:
    """The key of a flag in files; None for one that a file cannot set."""
    flag = next((option for option in action.option_strings if option.startswith("--")), None)
    if flag is None or (action.nargs == 0 and not _is_switch(action)) or flag == "--config":
        return None
    return flag.removeprefix("--").replace("-", "_")


def apply(
    actions: Iterable[argparse.Action], words: Sequence[str], environment: Mapping[str, str]
) -> frozenset[str]:
    """Make the settings of a file and the environment the defaults of the flags that `words`, a
    command's arguments, leave out; the names of the attributes that they set.

    Raises UsageError for a file that cannot be read, an unknown key or a bad value.
    """
    known = {key: action for action in actions if (key := key_of(action)) is not None}
    given = {key for key, action in known.items() if _is_given(action, words)}
    settings: dict[str, _Setting] = {}
    if (path := _config_of(words, environment)) is not None:
        settings.update(_in_file(path, known))
    settings.update(_in_environment(environment, known))
    _drop_excluded(settings, given)
    applied = set()
    for key, setting in settings.items():
        if key not in given:
            action = known[key]
            action.default = _value_of(action, setting)
            action.required = False
            applied.add(action.dest)
    return frozenset(applied)


def read(add: Callable[[Parser], None], words: Sequence[str]) -> argparse.Namespace:
    """The arguments that `words` mean to a command, whose flags `add` adds, with the settings as
    they are now. Raises UsageError.
    """
    parser = Parser()
    add(parser)
    add_config(parser)
    parser.set_defaults(settings=apply(parser._actions, words, os.environ))
    return parser.parse_args(words)


def drop(arguments: argparse.Namespace, config: type) -> None:
    """Drop the values that settings gave to the flags of the dataclass `config`: the command, as
    its other flags are, has no use for them.
    """
    for field in fields(config):
        if field.name in arguments.settings:
            delattr(arguments, field.name)


def printed(
    actions: Iterable[argparse.Action], values: Mapping[str, object], given: Container[str]
) -> Iterator[str]:
    """The lines of a file of settings: each flag's help, and its value, as a comment where it was
    not given. A flag without a value in `values` is left out.
    """
    for action in actions:
        key = key_of(action)
        if key is None or action.dest not in values:
            continue
        yield ""
        help = (action.help or "").replace("%%", "%")
        yield from (f"# {line}" for line in textwrap.wrap(help, 96))
        value = values[action.dest]
        if value is None:
            yield f"# {key} ="
        else:
            yield f"{'' if action.dest in given else '# '}{key} = {_toml(value)}"


def _is_switch(action: argparse.Action) -> bool:
    return isinstance(action, argparse.BooleanOptionalAction | argparse._StoreTrueAction)


def _is_given(action: argparse.Action, words: Sequence[str]) -> bool:
    options = action.option_strings
    return any(word.partition("=")[0] in options for word in _flags_in(words))


def _flags_in(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word == "--":
            return
        yield word


def _config_of(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The file that the last ``--config`` names, or else the environment."""
    path = environment.get(VARIABLE_PREFIX + "CONFIG")
    before = ""
    for word in _flags_in(words):
        if before == "--config":
            path = word
        elif word.startswith("--config="):
            path = word.partition("=")[2]
        before = word
    return path


def _in_file(path: str, known: Mapping[str, argparse.Action]) -> Iterator[tuple[str, _Setting]]:
    import tomllib  # for this alone

    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1)
        if len(text) > _MAX_FILE_BYTES:
            raise UsageError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes, got more")
        tables = tomllib.loads(text.decode())
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected TOML in UTF-8, got other bytes") from None
    except (ValueError, RecursionError) as error:  # no TOML, too many digits, too deep
        raise UsageError(f"{path}: expected TOML: {error}") from None
    for written, value in tables.items():
        key = written.replace("-", "_")
        if key not in known:
            raise UsageError(f"{path}: unknown key {written!r}{suggestion(key, known)}")
        yield key, _Setting(value, f"{path}: {written}")


def _in_environment(
    environment: Mapping[str, str], known: Mapping[str, argparse.Action]
) -> Iterator[tuple[str, _Setting]]:
    for key, action in known.items():
        variable = VARIABLE_PREFIX + key.upper()
        text = environment.get(variable)
        if text is not None:
            value: object = text
            if isinstance(action, argparse._AppendAction):
                value = text.split(",")
            yield key, _Setting(value, variable)


def _drop_excluded(settings: dict[str, _Setting], given: set[str]) -> None:
    """Drop the settings that a flag on the command line excludes."""
    for first, *others in _EXCLUSIVE:
        if first in given:
            for other in others:
                settings.pop(other, None)
        elif given.intersection(others):
            settings.pop(first, None)


def _value_of(action: argparse.Action, setting: _Setting) -> Any:
    """The value that the flag would have. Raises UsageError."""
    value, place = setting
    if _is_switch(action):
        return _switched(value, place)
    if isinstance(action, argparse._AppendAction):
        values = value if isinstance(value, list) else [value]
        return [_read(action, _text_of(one, place), place) for one in values]
    return _read(action, _text_of(value, place), place)


def _switched(value: object, place: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise UsageError(f"{place}: expected true or false, got {value!r}")


def _text_of(value: object, place: str) -> str:
    """A value as the command line would have it: a list with commas, a table as name=value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
        raise UsageError(f"{place}: expected a text or a number, got {value!r}")
    if isinstance(value, list):
        return ",".join(_text_of(one, place) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{name}={_text_of(one, place)}" for name, one in value.items())
    return repr(value)


def _read(action: argparse.Action, text: str, place: str) -> Any:
    kind: Callable[[str], Any] = str if action.type is None else action.type  # type: ignore[assignment]
    try:
        value = kind(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{place}: {error}") from None
    except (TypeError, ValueError):
        name = getattr(kind, "__name__", "value")
        kinds = {"int": "an integer", "float": "a number"}
        raise UsageError(f"{place}: expected {kinds.get(name, name)}, got {text!r}") from None
    if action.choices is not None and value not in action.choices:
        choices = ", ".join(map(str, action.choices))
        raise UsageError(
            f"{place}: expected one of {choices}, got {text!r}{suggestion(text, action.choices)}"
        )
    return value


def _toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return "{" + ", ".join(f"{_toml(name)} = {_toml(one)}" for name, one in value) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 or c in '"\\' else c for c in str(value)
    )
    return f'"{escaped}"'
