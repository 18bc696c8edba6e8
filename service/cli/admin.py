"""The commands of the daemon and its state folder. `cli` parses the arguments and turns errors into
exit codes.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from onlinesvm import kernel as kernels
from onlinesvm.errors import SnapshotError
from onlinesvm.service.cli.arguments import (
    UsageError,
    client_of,
    from_flags,
    limits_of,
    parameters_of,
)
from onlinesvm.service.cli.flags import given_flags
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.endpoint import check_exposure
from onlinesvm.service.errors import StateError
from onlinesvm.service.server.allocator import keep_freed_memory
from onlinesvm.service.server.daemon import Daemon, load_leader, load_reader
from onlinesvm.service.server.service import Service
from onlinesvm.service.storage import recovery
from onlinesvm.service.storage.snapshots import DEFAULT_MODEL, model_folder, snapshots_in
from onlinesvm.service.storage.state_dir import StateDir
from onlinesvm.snapshot.reader import read_header
from onlinesvm.svm import OnlineSVM
from onlinesvm.version import __version__

__all__ = ["inspect", "recover", "serve", "snapshot", "stats"]


def serve(arguments: argparse.Namespace) -> None:
    """Run a daemon until it is told to stop."""
    limits, parameters = limits_of(arguments), parameters_of(arguments)
    with from_flags():
        config = ServeConfig(**given_flags(arguments, ServeConfig))
        check_exposure(config.bind, insecure=config.insecure)
    if config.follow is not None and (parameters or "state" in arguments):
        raise UsageError("--follow takes the model as it is: no --state, no learner's flags")
    idle = "reload_every_s" if config.follow is None else "snapshot_every_s"
    if idle in arguments:
        raise UsageError(
            "--reload-every-s goes with --follow, --snapshot-every-s with a learner's --state"
        )
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    if config.follow is not None:
        load = load_reader(config.follow, limits, reload_every_s=config.reload_every_s)
        source = f"follows {config.follow}"
    else:
        load = load_leader(config, limits, parameters)
        source = f"state {config.state}"
    keep_freed_memory()
    daemon = Daemon(load, config.bind, limits)
    settings = " ".join(
        f"{key}={value}"
        for key, value in (asdict(config) | asdict(limits)).items()
        if key not in ("bind", "state", "follow")
    )

    def ready(service: Service) -> None:
        line = f"onlinesvm {__version__} {service.mode} at {daemon.endpoint}: {_kernel()}, {source}"
        print(f"{line}, {service.describe()}, {settings}", file=sys.stderr, flush=True)

    daemon.run(ready)


def _kernel() -> str:
    """The kernel in use, and why it is not the best there is."""
    name, reason = kernels.load().NAME, kernels.fallback()
    return f"kernel {name} ({reason})" if reason else f"kernel {name}"


def _ask(arguments: argparse.Namespace, op: str) -> None:
    with client_of(arguments) as client:
        print(json.dumps(client.request(op)[0], indent=2))


def stats(arguments: argparse.Namespace) -> None:
    """Print a daemon's figures."""
    _ask(arguments, "stats")


def snapshot(arguments: argparse.Namespace) -> None:
    """Have a daemon write a snapshot."""
    _ask(arguments, "snapshot")


def recover(arguments: argparse.Namespace) -> None:
    """Make a state folder whole again that was damaged; print what was lost."""
    if not Path(arguments.state).is_dir():
        raise StateError(f"state folder {arguments.state}: no such folder")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    with StateDir(arguments.state) as state:
        print(json.dumps(recovery.recover(state), indent=2))


def inspect(arguments: argparse.Namespace) -> None:
    """Show what is in a snapshot."""
    path = Path(arguments.snapshot)
    if path.is_dir():
        listing = snapshots_in(model_folder(path, DEFAULT_MODEL))
        if not listing:
            raise SnapshotError(f"{path}: no snapshot there")
        path = listing[0][1]
    header = read_header(path)
    model = OnlineSVM.load(path)
    figures = model.progressive
    header |= {
        "path": str(path),
        "config": model.config.as_dict(),
        "id": header["id"].hex(),
        "producers": len(header["attachments"].get("producers", {})),
        "digest": model.snapshot().digest(),
        "bias": model.bias,
        "progressive_error": figures.error,
        "progressive_hinge_loss": figures.hinge_loss,
        "recent_error": figures.recent_error,
        "recent_hinge_loss": figures.recent_hinge_loss,
        **model.judged,
    }
    experts = model.experts
    if experts is not None:
        header["experts"] = experts
    for name in ("arrays", "totals", "scalars", "figures", "attachments"):
        del header[name]
    up, down = model.strongest(arguments.top)
    if arguments.json:
        print(json.dumps({**header, "positive": up, "negative": down}))
        return
    header.pop("experts", None)
    for key, value in header.items():
        shown = " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{key:23} {'-' if shown is None else shown}")
    if experts is not None:
        _print_experts(experts)
    for title, rows in (("+1", up), ("-1", down)):
        print(f"\nstrongest features for {title}")
        for name, weight in rows:
            # A name may hold anything, also what a terminal would obey.
            print(f"  {weight:+12.6f}  {name if name.isprintable() else ascii(name)}")


def _print_experts(experts: dict[str, dict[str, float | None]]) -> None:
    columns = list(next(iter(experts.values())))
    print(f"\n{'experts':16}" + "".join(f"{name:>14}" for name in columns))
    for name, figures in experts.items():
        cells = ("-" if (v := figures[c]) is None else f"{v:.4f}" for c in columns)
        print(f"  {name:14}" + "".join(f"{cell:>14}" for cell in cells))
