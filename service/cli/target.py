"""The model that a command means: a daemon's (`--connect`) or a snapshot file's (`--file`)."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.kernel.contract import Kernel, KernelExtractor
from onlinesvm.model.class_labels import AnyLabels, ClassLabels, SetLabels
from onlinesvm.model.labels import Labels
from onlinesvm.model.ranking import NoLabels
from onlinesvm.service.cli.flags import duration, from_flags
from onlinesvm.service.cli.output import note
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.errors import DaemonLost, DaemonUnreachable, RequestRefused
from onlinesvm.service.protocol import DEFAULT_ENDPOINT, DEFAULT_MODEL
from onlinesvm.text.constants import TEXT_BYTES

if TYPE_CHECKING:
    from onlinesvm.service.client.async_client import AsyncClient
    from onlinesvm.service.client.client import Client
    from onlinesvm.service.client.configured import Configured
    from onlinesvm.svm import OnlineSVM

_AGAIN_S = 0.05

T = TypeVar("T", bound="Configured")

__all__ = [
    "async_client_of",
    "add_connection",
    "add_daemon",
    "add_target",
    "check_target",
    "client_of",
    "figures_of",
    "extractor_of",
    "labels_in",
    "load",
]


def add_daemon(parser: Parser) -> None:
    """Add the flags that name a daemon and one of its models."""
    add_connection(parser)
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"the name of the daemon's model (default: {DEFAULT_MODEL})",
    )


def add_connection(parser: Parser) -> None:
    """Add the flags that name a daemon."""
    parser.add_argument(
        "--connect",
        metavar="ENDPOINT",
        help=f"the daemon's endpoint (default: {DEFAULT_ENDPOINT})",
    )
    parser.add_argument(
        "--timeout-s",
        type=duration,
        default=10.0,
        metavar="TIME",
        help="the time that a request may take (default: 10s)",
    )
    parser.add_argument(
        "--wait",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="wait so long at the start for a daemon that does not run yet (default: do not wait)",
    )
    parser.add_argument(
        "--key",
        metavar="FILE",
        help="your keys, NAME.secret, where the daemon has keys (default: $ONLINESVM_KEY)",
    )
    parser.add_argument(
        "--server-key",
        metavar="KEY",
        help="the daemon's public key, or its file (default: $ONLINESVM_SERVER_KEY)",
    )


def add_target(parser: Parser, help: str) -> None:
    """Add the flags that name a daemon's model or a snapshot file; `help` is that of the file."""
    add_daemon(parser)
    parser.add_argument("--file", metavar="FILE", dest="snapshot", help=help)


def check_target(arguments: argparse.Namespace) -> None:
    """Raise UsageError where a daemon and a snapshot file are both named, or a file without one."""
    if arguments.snapshot == "":
        raise UsageError("--file: expected a file's name, got ''")
    for flag in ("connect", "model"):
        if arguments.snapshot is not None and getattr(arguments, flag) is not None:
            raise UsageError(f"expected --file or --{flag}, got both: one model is meant")


def client_of(arguments: argparse.Namespace, limits: Limits | None = None) -> Client:
    """A client of the daemon at `--connect`. Raises UsageError."""
    from onlinesvm.service.client.client import Client

    return _client_of(Client, arguments, limits)


def async_client_of(arguments: argparse.Namespace) -> AsyncClient:
    """A client for asyncio of the daemon at `--connect`. Raises UsageError."""
    from onlinesvm.service.client.async_client import AsyncClient

    return _client_of(AsyncClient, arguments, None)


def _client_of(kind: type[T], arguments: argparse.Namespace, limits: Limits | None) -> T:
    endpoint = DEFAULT_ENDPOINT if arguments.connect is None else arguments.connect

    def say() -> None:
        note(f"waiting for a daemon at {endpoint} (Ctrl-C to stop)")

    with from_flags():
        return kind(
            endpoint,
            timeout_s=arguments.timeout_s,
            wait_s=arguments.wait,
            limits=limits,
            model=getattr(arguments, "model", None),
            on_waiting=say,
            key=arguments.key,
            server_key=arguments.server_key,
        )


def figures_of(client: Client) -> dict[str, Any]:
    """The figures of a daemon's model. Asks again, for as long as a request may take, where the
    connection breaks, as the daemon may be started again, and where it is busy, as one that starts
    is until its log is replayed.

    Raises DaemonUnreachable at once where no daemon is.
    """
    deadline = time.monotonic() + client.timeout_s
    was_there = False
    while True:
        try:
            return client.stats()
        except DaemonLost as error:
            was_there |= not isinstance(error, DaemonUnreachable)
            if not was_there or time.monotonic() > deadline:
                raise
        except RequestRefused as refusal:
            was_there = True
            if refusal.code != "BUSY" or time.monotonic() > deadline:
                raise
        time.sleep(_AGAIN_S)


def load(path: str, arguments: argparse.Namespace, limits: Limits) -> OnlineSVM:
    """The model in a file. Its own bound on features holds unless another is given, and so do its
    bounds of values and importances.

    Raises OSError if the file cannot be read, SnapshotError if it is not a whole snapshot.
    """
    from onlinesvm.snapshot.reader import read
    from onlinesvm.svm import OnlineSVM

    taken = read(path)
    if "max_features" not in arguments:
        limits = replace(limits, max_features=taken.max_features)
    if "max_labels_per_feature" not in arguments:
        limits = replace(limits, max_labels_per_feature=taken.max_labels_per_feature)
    if not {"max_value", "max_importance", "clip"} & vars(arguments).keys():
        limits = limits.bounded(*taken.limits.bounds)
    return OnlineSVM.from_snapshot(taken, limits=limits)


def extractor_of(config: LearnerConfig, kernel: Kernel, limits: Limits) -> KernelExtractor:
    """An extractor for the records of a daemon's model."""
    return kernel.Extractor(config.text_options(), limits, TEXT_BYTES)


def labels_in(stats: dict[str, Any]) -> AnyLabels:
    """The labels of a daemon's model, by its figures; those of a multiclass model come as they
    are read.
    """
    config = stats["config"] or {}
    if stats["task"] in ("multiclass", "multilabel"):
        kind = ClassLabels if stats["task"] == "multiclass" else SetLabels
        return kind(config.get("labels") or ())
    if stats["task"] == "ranking":
        return NoLabels()
    labels = Labels(config.get("positive") or (), config.get("labels") or ())
    names = zip(stats["labels"] or (), (-1.0, 1.0), strict=False)
    labels.restore([[name, side] for name, side in names if name is not None])
    return labels
