"""Run a daemon: one that learns, or one that follows another's folder."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from onlinesvm import kernel as kernels
from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.service.cli import settings
from onlinesvm.service.cli.flags import (
    add_flags,
    from_flags,
    given_flags,
    limits_of,
    parameters_of,
)
from onlinesvm.service.cli.log_lines import write_log_lines
from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.reload import Reload
from onlinesvm.service.cli.replay_progress import ReplayProgress
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.server.allocator import keep_freed_memory
from onlinesvm.service.server.auth.access import Access
from onlinesvm.service.server.daemon import Daemon, load_leader, load_reader
from onlinesvm.service.server.descriptors import room_for
from onlinesvm.service.server.service import Service
from onlinesvm.service.server.supervisor import Supervisor
from onlinesvm.version import __version__

__all__ = ["add_serve", "serve"]

log = logging.getLogger(__name__)

# A thread that loads or writes a model hands the interpreter over to the loop after so long.
_SWITCH_S = 0.0005


def add_serve(parser: Parser) -> None:
    """Add the flags of `serve`."""
    parser.usage = "onlinesvm serve [FLAGS]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm serve --state ./state\n"
        "  onlinesvm serve --bind tcp://127.0.0.1:5578 --follow ./state\n"
        "  onlinesvm serve --bind tcp://0.0.0.0:5577 --key d.secret --allow permits"
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print a TOML file of all flags with their help, those given here set, and end",
    )
    add_flags(parser, ServeConfig, "the daemon")
    add_flags(parser, LearnerConfig, "the learner (fixed when the model is created)")
    add_flags(parser, Limits, "limits")


def serve(arguments: argparse.Namespace) -> None:
    """Run a daemon until it is stopped."""
    if getattr(arguments, "follow", None) is not None:  # a reader takes the model as it is
        settings.drop(arguments, LearnerConfig)
    limits, parameters = limits_of(arguments), parameters_of(arguments)
    with from_flags():
        config = ServeConfig(**given_flags(arguments, ServeConfig))
    if config.follow is not None and (parameters or "state" in arguments):
        raise UsageError("--follow takes the model as it is: no --state, no learner's flags")
    idle = "reload_every_s" if config.follow is None else "snapshot_every_s"
    if idle in arguments:
        raise UsageError(
            "--reload-every-s goes with --follow, --snapshot-every-s with a learner's --state"
        )
    if arguments.print_config:
        _print_config(arguments, config, limits, parameters)
        return
    write_log_lines(config.log_level, config.log_format)
    config = _with_absolute_paths(config)
    progress = ReplayProgress()
    access = Access.of(config)
    room = room_for(config.max_connections)
    if room < config.max_connections:
        log.warning(
            "at most %d connections: the system's limit of file descriptors has room for no more"
            " (max_connections is %d)",
            room, config.max_connections,
        )  # fmt: skip
        access = replace(access, max_connections=room)
    if config.follow is not None:
        folder = Path(config.follow).absolute()
        load = load_reader(
            str(folder),
            limits,
            reload_every_s=config.reload_every_s,
            max_memory_bytes=config.max_memory,
            users=access.users,
            ask_b=config.ask_b,
        )
        source = f"follows {folder}"
    else:
        load = load_leader(config, limits, parameters, on_progress=progress, users=access.users)
        source = f"state {config.state}"
    keep_freed_memory()
    sys.setswitchinterval(_SWITCH_S)
    daemon = Daemon(load, config.bind, limits, access, Supervisor(os.environ))
    every = asdict(config) | asdict(limits)
    log.debug("settings: %s", " ".join(f"{key}={value}" for key, value in every.items()))

    def ready(service: Service) -> None:
        progress.close()
        gc.freeze()  # a search for cycles in all that stays would stop the loop for 10 ms and more
        gc.enable()
        lines = (
            f"onlinesvm {__version__} {service.mode} at {daemon.endpoint}: {source}",
            f"{kernels.in_use()}, {service.describe()}",
            "ready",
        )
        if config.log_format == "json":
            log.info("; ".join(lines))
        else:
            print(*lines, sep="\n", file=sys.stderr, flush=True)

    gc.disable()  # until all is loaded, all stays
    with progress:
        daemon.run(
            ready,
            Reload(partial(_read_again, arguments.words), config, asdict(limits) | parameters),
        )


def _print_config(
    arguments: argparse.Namespace,
    config: ServeConfig,
    limits: Limits,
    parameters: dict[str, Any],
) -> None:
    """Print the file of settings that would start this daemon."""
    values = asdict(config) | dict.fromkeys(f.name for f in fields(LearnerConfig))
    values |= asdict(limits) | parameters
    given = vars(arguments).keys()
    write(
        f"# onlinesvm {__version__}: `onlinesvm serve --config FILE` takes flags from this file.\n"
    )
    for line in settings.printed(arguments.parser._actions, values, given):
        write(line + "\n")


def _read_again(words: Sequence[str]) -> tuple[ServeConfig, dict[str, Any]]:
    """The settings of `words` as they are now: the daemon's, and those fixed at the start."""
    arguments = settings.read(add_serve, words)
    with from_flags():
        config = ServeConfig(**given_flags(arguments, ServeConfig))
    return _with_absolute_paths(config), asdict(limits_of(arguments)) | parameters_of(arguments)


def _with_absolute_paths(config: ServeConfig) -> ServeConfig:
    """`config` with the paths that are reported later."""
    return replace(config, state=str(Path(config.state).absolute()))
