"""The keys of a daemon and its users: make, allow, list, revoke."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from onlinesvm.service.cli.output import note, write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.errors import KeyFileError
from onlinesvm.service.keys.permit import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add_keys", "keys"]

_KEYS, _PERMITS = "./keys", "./permits"
_RELOAD = "a daemon that runs obeys once it reads its keys again: SIGHUP, or Client.reload()"


def add_keys(parser: Parser) -> None:
    """Add the actions of `keys` and their flags."""
    parser.usage = "onlinesvm keys new|allow|list|revoke [FLAGS] [NAME|FILE]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm keys new alice\n"
        "  onlinesvm keys allow keys/alice.public --role learn --models 'spam*'\n"
        "  onlinesvm keys list\n"
        "  onlinesvm keys revoke alice"
    )
    actions = parser.add_subparsers(
        metavar="ACTION", required=True, parser_class=Parser, help="new, allow, list or revoke"
    )

    def add(name: str, act: Callable[[argparse.Namespace], None], help: str, folder: str) -> Parser:
        added = actions.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        added.set_defaults(act=act)
        added.add_argument(
            "--folder", metavar="DIR", default=folder,
            help=f"the folder of its files (default: {folder})",
        )  # fmt: skip
        return added

    new = add("new", _new, "make a pair of keys, in two files", _KEYS)
    new.add_argument("name", metavar="NAME", help="the user's name")
    allow = add("allow", _allow, "permit a key, or change what it permits", _PERMITS)
    allow.add_argument("file", metavar="FILE", help="the user's NAME.public")
    allow.add_argument(
        "--role", choices=ROLES, required=True,
        help="read (predict, look), learn, or admin (create, drop, snapshots, reload)",
    )  # fmt: skip
    allow.add_argument(
        "--models", metavar="GLOB", default="*", help="the models it is for (default: all)"
    )
    allow.add_argument(
        "--producers", metavar="PREFIX", default="",
        help="how the names of its producers start (default: anyhow)",
    )  # fmt: skip
    allow.add_argument("--name", metavar="NAME", help="the user's name (default: the file's)")
    add("list", _list, "print the permits, one JSON object a line", _PERMITS)
    revoke = add("revoke", _revoke, "remove a permit", _PERMITS)
    revoke.add_argument("name", metavar="NAME", help="the user's name")


def keys(arguments: argparse.Namespace) -> None:
    """Carry out the action."""
    if not arguments.folder:  # it would be the current folder
        raise UsageError("--folder: expected a folder, got ''")
    arguments.act(arguments)


def _new(arguments: argparse.Namespace) -> None:
    from onlinesvm.service.keys.pair import create_pair, public_key_of

    secret, public = create_pair(arguments.name, Path(arguments.folder))
    made = {
        "name": arguments.name,
        "public": public_key_of(public),
        "secret_file": str(secret),
        "public_file": str(public),
    }
    write(json.dumps(made, indent=2) + "\n")


def _allow(arguments: argparse.Namespace) -> None:
    from onlinesvm.service.keys.folder import write_permit
    from onlinesvm.service.keys.pair import public_key_of
    from onlinesvm.service.keys.permit import Permit

    file = Path(arguments.file)
    permit = Permit(
        file.stem if arguments.name is None else arguments.name,
        public_key_of(file),
        arguments.role,
        arguments.models,
        arguments.producers,
    )
    write_permit(Path(arguments.folder), permit)
    write(json.dumps(permit.as_dict()) + "\n")
    note(_RELOAD)


def _list(arguments: argparse.Namespace) -> None:
    from onlinesvm.service.keys.folder import read_permits

    permits, errors = read_permits(Path(arguments.folder))
    for permit in permits:
        write(json.dumps(permit.as_dict()) + "\n")
    if errors:
        raise KeyFileError("\n".join(errors))


def _revoke(arguments: argparse.Namespace) -> None:
    from onlinesvm.service.keys.folder import remove_permit

    remove_permit(Path(arguments.folder), arguments.name)
    note(_RELOAD)
