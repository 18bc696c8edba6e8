"""The command `ping`: does a daemon answer?"""

from __future__ import annotations

import argparse
import time

from onlinesvm.service.cli.arguments import client_of

__all__ = ["ping"]


def ping(arguments: argparse.Namespace) -> None:
    """Print one line if the daemon answers; else the error ends the command with exit code 1."""
    with client_of(arguments) as client:
        client.ping()  # connects
        started = time.perf_counter()
        mode = client.ping()["mode"]
        milliseconds = 1000 * (time.perf_counter() - started)
    print(f"{mode} at {arguments.connect}: {milliseconds:.2f} ms")
