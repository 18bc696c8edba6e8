"""Open an HTTP door to a daemon: JSON API and metrics."""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from typing import Any

from onlinesvm.errors import ConfigError
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.target import add_connection, async_client_of
from onlinesvm.service.endpoint import is_local
from onlinesvm.version import __version__

__all__ = ["add_http", "http"]

DEFAULT_LISTEN = "127.0.0.1:8577"
_STOP_S = 5
_CONCURRENCY = 512  # requests at once; each may have a body of 16 MiB


def add_http(parser: Parser) -> None:
    """Add the flags of `http`."""
    parser.usage = "onlinesvm http [FLAGS]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm http\n"
        "  onlinesvm http --listen 0.0.0.0:8577 --tokens tokens\n"
        '  curl localhost:8577/v1/models/default/predict --json \'{"features": "free prize"}\''
    )
    add_connection(parser)
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default=DEFAULT_LISTEN,
        help=f"the address to answer at (default: {DEFAULT_LISTEN}); beyond this machine --tokens"
        " are demanded",
    )
    parser.add_argument(
        "--tokens",
        metavar="FILE",
        help="bearer tokens: a role (read, learn or admin) and a token on each line; without it"
        " everybody has every role",
    )


def http(arguments: argparse.Namespace) -> None:
    """Answer HTTP requests until SIGTERM or Ctrl-C."""
    host, separator, port = arguments.listen.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"--listen: expected HOST:PORT, got {arguments.listen!r}")
    try:
        import uvicorn

        from onlinesvm.service.http.app import application
        from onlinesvm.service.http.tokens import Tokens
    except ImportError as error:
        raise UsageError(f"http needs its extra: pip install 'onlinesvm[http]' ({error})") from None
    try:
        tokens = Tokens({}) if arguments.tokens is None else Tokens.of(arguments.tokens)
    except ConfigError as error:
        raise UsageError(error) from None
    if not tokens and not is_local(f"tcp://{arguments.listen}"):
        raise UsageError(f"--listen {arguments.listen} lets other machines in: give --tokens FILE")
    try:
        bound = socket.create_server((host.strip("[]"), int(port)), family=_family_of(host))
    except OSError as error:
        raise OSError(error.errno, error.strerror, arguments.listen) from None
    client = async_client_of(arguments)
    config = uvicorn.Config(
        application(client, tokens),
        log_level="warning",
        limit_concurrency=_CONCURRENCY,
        timeout_graceful_shutdown=_STOP_S,
        server_header=False,
    )
    address, port = bound.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    server = _announcing(uvicorn.Server)(config)
    server.line = f"onlinesvm {__version__} http://{shown}:{port} for {client.endpoint}\nready"
    with bound, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises its signal once more
        server.run(sockets=[bound])


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _announcing(server: type[Any]) -> type[Any]:
    """A server that prints its `line` once it answers."""

    class Announcing(server):  # type: ignore[misc]
        line = ""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(self.line, file=sys.stderr, flush=True)

    return Announcing
