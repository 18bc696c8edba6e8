"""Open an HTTP door to a daemon: JSON API and metrics."""

from __future__ import annotations

import argparse
import contextlib
import socket

from onlinesvm.errors import ConfigError
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.target import add_connection, async_client_of, client_of
from onlinesvm.service.endpoint import is_local
from onlinesvm.version import __version__

__all__ = ["add_http", "http"]

DEFAULT_LISTEN = "127.0.0.1:8577"


def add_http(parser: Parser) -> None:
    """Add the flags of `http`."""
    parser.usage = "onlinesvm http [FLAGS]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm http\n"
        "  onlinesvm http --listen 0.0.0.0:8577 --tokens tokens\n"
        "  curl localhost:8577/v1/models/default/predict \\\n"
        '    --json \'{"features": "free prize"}\''
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
        from onlinesvm.service.http.app import application
        from onlinesvm.service.http.server import Server
        from onlinesvm.service.http.tokens import Tokens
    except ImportError as error:
        raise UsageError(f"http needs its extra: pip install 'onlinesvm[http]' ({error})") from None
    try:
        tokens = Tokens({}) if arguments.tokens is None else Tokens.of(arguments.tokens)
    except ConfigError as error:
        raise UsageError(error) from None
    if not tokens and not is_local(f"tcp://{arguments.listen}"):
        raise UsageError(f"--listen {arguments.listen} lets other machines in: give --tokens FILE")
    if arguments.wait:
        with client_of(arguments) as waiting:
            waiting.ping()
    arguments.wait = 0.0  # requests to the door do not wait: without a daemon they get 503
    client = async_client_of(arguments)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=1024)
    except OSError as error:
        raise OSError(error.errno, error.strerror, arguments.listen) from None
    address, number = bound.getsockname()[:2]
    shown = f"[{address}]" if family == socket.AF_INET6 else address
    line = f"onlinesvm {__version__} http://{shown}:{number} for {client.endpoint}\nready"
    with bound, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises its signal once more
        made = application(client, tokens)
        Server(made, line, made.state.live.end).run(sockets=[bound])
