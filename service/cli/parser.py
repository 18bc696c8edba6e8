"""The parser of a command's arguments: short usage, help that fits 80 columns, suggestions."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "UsageError", "suggestion"]

_COLUMNS = 80


class UsageError(Exception):
    """Flags that make no sense, alone or together."""


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_COLUMNS)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that names the nearest flag or choice in its errors.

    fill: adds the flags, the first time that the parser is used, so that a command costs the
    imports of its own flags alone. prepare: is called with the parser and its arguments before
    they are parsed.
    """

    def __init__(
        self,
        *,
        fill: Callable[[Parser], None] | None = None,
        prepare: Callable[[Parser, Sequence[str]], None] = lambda parser, words: None,
        **options: Any,
    ) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)
        self._fill = fill
        self._prepare = prepare

    def fill(self) -> Parser:
        """Add the flags, if they are not there yet; this parser."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return self

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse has it, but that a flag with an optional value takes integers alone."""
        self.fill()
        given = list(sys.argv[1:] if args is None else args)
        self._prepare(self, given)
        for i, word in enumerate(given):
            if word == "--":
                break
            if word in self._optional_values() and not _is_count(given[i + 1 : i + 2]):
                given[i] = f"{word}={self._option_string_actions[word].const}"
        parsed, unknown = super().parse_known_args(given, namespace)
        if unknown:
            self._refuse(unknown)
        return parsed, []

    def _optional_values(self) -> set[str]:
        return {
            option for option, action in self._option_string_actions.items() if action.nargs == "?"
        }

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        for word in unknown:
            if word.startswith("-") and word != "-":
                flag = word.partition("=")[0]
                self.error(f"unknown flag {flag}{suggestion(flag, self._option_string_actions)}")
        self.error(f"expected no argument {unknown[0]!r}")

    def error(self, message: str) -> NoReturn:
        """Print usage and `message`, with the nearest choice to a wrong one; exit code 2."""
        if message.startswith("the following arguments are required"):
            message += f"; see {self.prog} --help"
        wrong = re.search(r"^(?:argument (.*?): )?invalid choice: '(.*?)'", message)
        if wrong:
            for action in self._actions:
                name = argparse._get_action_name(action)
                if action.choices is None or wrong[1] not in (None, name):
                    continue
                if isinstance(action, argparse._SubParsersAction):
                    near = suggestion(wrong[2], action.choices)
                    message = f"unknown command {wrong[2]!r} ({self.prog} --help lists them){near}"
                else:
                    message += suggestion(wrong[2], action.choices)
        super().error(message)


def _is_count(words: Sequence[str]) -> bool:
    return bool(words) and words[0].isascii() and words[0].isdigit()


def suggestion(word: str, known: Iterable[Any]) -> str:
    """The nearest of the `known` words, as the end of a message; empty if none is near."""
    import difflib  # for this message alone

    of = {str(one).lstrip("-"): str(one) for one in known}  # dashes are in common to all flags
    near = difflib.get_close_matches(word.lstrip("-"), of, 1)
    return f"; did you mean {of[near[0]]}?" if near else ""
