"""Check that a daemon answers."""

from __future__ import annotations

import argparse
import time

from onlinesvm.service.cli.output import write
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.target import add_daemon, client_of

__all__ = ["add_ping", "ping"]

_POLL_S = 0.05


def add_ping(parser: Parser) -> None:
    """Add the flags of `ping`."""
    parser.usage = "onlinesvm ping [FLAGS]"
    parser.epilog = "example:\n  onlinesvm ping --connect tcp://127.0.0.1:5577 --wait 30s"
    add_daemon(parser)


def ping(arguments: argparse.Namespace) -> None:
    """Print one line if the daemon answers, with `--wait` once it has loaded its models; else the
    error ends the command with exit code 1.
    """
    deadline = time.monotonic() + arguments.wait
    with client_of(arguments) as client:
        while client.ping()["mode"] == "loading" and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        started = time.perf_counter()
        mode = client.ping()["mode"]
        milliseconds = 1000 * (time.perf_counter() - started)
        write(f"{mode} at {client.endpoint}: {milliseconds:.2f} ms\n")
