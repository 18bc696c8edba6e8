"""The commands of a daemon's models: models, create, drop."""

from __future__ import annotations

import argparse
import json
import sys

from onlinesvm.config import LearnerConfig
from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.cli.flags import add_flags, parameters_of
from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.target import add_connection, client_of

__all__ = ["add_create", "add_drop", "add_models", "create", "drop", "models"]


def add_models(parser: Parser) -> None:
    """Add the flags of `models`."""
    parser.usage = "onlinesvm models [FLAGS]"
    parser.epilog = "example:\n  onlinesvm models --connect tcp://127.0.0.1:5577"
    add_connection(parser)


def models(arguments: argparse.Namespace) -> None:
    """Print a daemon's models, one JSON object a line."""
    with client_of(arguments) as client:
        for row in client.models():
            write(json.dumps(row) + "\n")


def add_create(parser: Parser) -> None:
    """Add the flags of `create`."""
    parser.usage = "onlinesvm create [FLAGS] NAME"
    parser.epilog = (
        "example:\n  onlinesvm create --rule sgd spam\n  onlinesvm create --from m.msgpack spam\n"
        "  onlinesvm create --copy-of spam trial"
    )
    parser.add_argument("name", metavar="NAME", help="the new model's name")
    add_connection(parser)
    parser.add_argument(
        "--from", metavar="FILE", dest="file", help="go on from the model in a snapshot file"
    )
    parser.add_argument("--copy-of", metavar="NAME", help="go on from another of the models")
    parser.add_argument(
        "--if-exists",
        choices=("error", "same"),
        default="error",
        help="same: a model of that name and configuration will do (default: error)",
    )
    add_flags(parser, LearnerConfig, "the learner (fixed when the model is created)")


def create(arguments: argparse.Namespace) -> None:
    """Create a model; print its configuration and position as a JSON object."""
    config = parameters_of(arguments)
    given = [
        flag
        for flag, value in (
            ("--from", arguments.file),
            ("--copy-of", arguments.copy_of),
            ("the learner's flags", config),
        )
        if value
    ]
    if len(given) > 1:
        raise UsageError(f"expected {given[0]} or {given[1]}, got both: one origin is meant")
    with client_of(arguments) as client:
        reply = client.create(
            arguments.name,
            if_exists=arguments.if_exists,
            copy_of=arguments.copy_of,
            file=arguments.file,
            **config,
        )
    write(json.dumps(reply, indent=2) + "\n")


def add_drop(parser: Parser) -> None:
    """Add the flags of `drop`."""
    parser.usage = "onlinesvm drop [FLAGS] NAME"
    parser.epilog = "example:\n  onlinesvm drop spam"
    parser.add_argument("name", metavar="NAME", help="the model's name")
    add_connection(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask, as a terminal is asked")


def drop(arguments: argparse.Namespace) -> None:
    """Drop a model, with everything that it has learned. A user at a terminal is asked first.

    Raises OnlineSVMError where the user does not agree.
    """
    if not arguments.yes and sys.stdin.isatty() and not _is_agreed(arguments.name):
        raise OnlineSVMError(f"model {arguments.name} stays: expected y to drop it")
    with client_of(arguments) as client:
        client.drop(arguments.name)


def _is_agreed(name: str) -> bool:
    """True if the user at the terminal agrees to drop a model."""
    text = f"onlinesvm: drop model {name} with everything that it has learned? [y/N] "
    print(text, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
