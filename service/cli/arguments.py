"""What the commands make of their arguments."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from onlinesvm.config import LearnerConfig, Limits, check_parameters
from onlinesvm.errors import ConfigError
from onlinesvm.readers.labels import Labels
from onlinesvm.service.cli.flags import given_flags
from onlinesvm.service.client.client import Client

__all__ = [
    "UsageError", "check_labels", "client_of", "from_flags", "limits_of", "parameters_of",
]  # fmt: skip


class UsageError(Exception):
    """Flags that make no sense, alone or together."""


@contextlib.contextmanager
def from_flags() -> Iterator[None]:
    """What is made here is made of flags alone: a value out of range is wrong usage."""
    try:
        yield
    except ConfigError as error:
        raise UsageError(error) from None


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits that were given, the others at their defaults. Raises UsageError."""
    with from_flags():
        return Limits(**given_flags(arguments, Limits))


def check_labels(arguments: argparse.Namespace) -> None:
    """Raise UsageError where what was given as `--positive` can be no label."""
    with from_flags():
        Labels(arguments.positive)


def client_of(arguments: argparse.Namespace, limits: Limits | None = None) -> Client:
    """A client of the daemon at `--connect`. Raises UsageError."""

    def say() -> None:
        note = f"onlinesvm: waiting for a daemon at {arguments.connect} (Ctrl-C to stop)"
        print(note, file=sys.stderr, flush=True)

    with from_flags():
        return Client(
            arguments.connect,
            timeout_s=arguments.timeout_s,
            wait_s=arguments.wait,
            limits=limits,
            on_waiting=say,
        )


def parameters_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The learner's parameters that were given. Raises UsageError."""
    given = given_flags(arguments, LearnerConfig)
    with from_flags():
        check_parameters(given)
    return given
