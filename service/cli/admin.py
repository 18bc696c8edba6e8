"""The commands of a daemon (stats, snapshot), a snapshot (inspect) and a state folder (recover)."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from onlinesvm.errors import SnapshotError
from onlinesvm.service.cli.flags import count
from onlinesvm.service.cli.output import one_line, write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.target import add_daemon, client_of
from onlinesvm.service.errors import StateError

__all__ = [
    "add_inspect", "add_recover", "add_snapshot", "add_stats",
    "inspect", "recover", "snapshot", "stats",
]  # fmt: skip

_STATE = "./state"


def add_stats(parser: Parser) -> None:
    """Add the flags of `stats`."""
    parser.usage = "onlinesvm stats [FLAGS]"
    parser.epilog = "example:\n  onlinesvm stats --connect tcp://127.0.0.1:5577"
    add_daemon(parser)


def stats(arguments: argparse.Namespace) -> None:
    """Print a daemon's figures."""
    _ask(arguments, "stats")


def add_snapshot(parser: Parser) -> None:
    """Add the flags of `snapshot`."""
    parser.usage = "onlinesvm snapshot [FLAGS]"
    parser.epilog = (
        "example:\n  onlinesvm snapshot --connect tcp://127.0.0.1:5577\n"
        "  onlinesvm snapshot --model spam --output spam.msgpack"
    )
    add_daemon(parser)
    parser.add_argument("--output", metavar="FILE", help="fetch the snapshot to this file")


def snapshot(arguments: argparse.Namespace) -> None:
    """Have a daemon write a snapshot; print its path, position, size, checksum and digest."""
    if arguments.output is None:
        _ask(arguments, "snapshot")
        return
    with client_of(arguments) as client:
        write(json.dumps(client.fetch(arguments.output), indent=2) + "\n")


def _ask(arguments: argparse.Namespace, op: str) -> None:
    with client_of(arguments) as client:
        write(json.dumps(client.request(op)[0], indent=2) + "\n")


def add_recover(parser: Parser) -> None:
    """Add the flags of `recover`."""
    parser.usage = "onlinesvm recover [FLAGS]"
    parser.epilog = "example:\n  onlinesvm recover --state ./state"
    parser.add_argument(
        "--state", metavar="DIR", default=_STATE, help=f"the state folder (default: {_STATE})"
    )
    parser.add_argument("--model", metavar="NAME", help="repair one model alone (default: all)")


def recover(arguments: argparse.Namespace) -> None:
    """Repair a damaged state folder; print what was lost."""
    from onlinesvm.service.cli.replay_progress import ReplayProgress
    from onlinesvm.service.storage import recovery
    from onlinesvm.service.storage.state_dir import StateDir

    if not arguments.state:  # it would be the current folder
        raise UsageError("--state: expected a folder, got ''")
    folder = Path(arguments.state).absolute()
    if not folder.is_dir():
        raise StateError(f"state folder {folder}: no such folder")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    with StateDir(folder) as state, ReplayProgress() as progress:
        report = recovery.recover(state, on_progress=progress, name=arguments.model)
    write(json.dumps(report, indent=2) + "\n")


def add_inspect(parser: Parser) -> None:
    """Add the flags of `inspect`."""
    parser.usage = "onlinesvm inspect [FLAGS] SNAPSHOT"
    parser.epilog = (
        "example:\n  onlinesvm inspect m.msgpack\n  onlinesvm inspect --top 20 --json ./state"
    )
    parser.add_argument(
        "snapshot", metavar="SNAPSHOT", help="a snapshot file, or a state folder (its newest)"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="of a state folder: the model's name (default: default)"
    )
    parser.add_argument(
        "--top", type=count, default=10, metavar="N", help="features each way (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def inspect(arguments: argparse.Namespace) -> None:
    """Print a snapshot's header and its strongest features."""
    from onlinesvm.snapshot.reader import read_header
    from onlinesvm.svm import OnlineSVM

    path = _snapshot_at(Path(arguments.snapshot), arguments.model)
    header = read_header(path)
    model = OnlineSVM.load(path)
    figures = model.progressive
    header |= {
        "written_at": _date(header["written_at"]),
        "path": str(path.absolute()),
        "config": model.config.as_dict(),
        "labels": len(model.labels.names()) if model.is_multiclass else list(model.labels.names()),
        "id": header["id"].hex(),
        "producers": len(header["attachments"].get("producers", {})),
        "digest": model.snapshot().digest(),
        **({} if model.is_multiclass else {"bias": model.bias}),
        "progressive_error": figures.error,
        "progressive_hinge_loss": figures.hinge_loss,
        "recent_error": figures.recent_error,
        "recent_hinge_loss": figures.recent_hinge_loss,
        **model.metrics,
    }
    experts = model.experts
    if experts is not None:
        header["experts"] = experts
    for name in ("arrays", "totals", "scalars", "counters", "attachments"):
        header.pop(name, None)
    if model.is_multiclass:  # the command `labels` shows the rest
        text = json.dumps(header) if arguments.json else "\n".join(_figures(header, experts))
        write(text + "\n")
        return
    up, down = model.strongest(arguments.top)
    if arguments.json:
        write(json.dumps({**header, "positive": up, "negative": down}) + "\n")
    else:
        write("\n".join(_table(header, experts, up, down)) + "\n")


def _snapshot_at(path: Path, name: str | None) -> Path:
    """The snapshot file that `path` names: itself, or the newest of a model in a state folder."""
    if not path.is_dir():
        return path
    from onlinesvm.service.storage.snapshots import (
        DEFAULT_MODEL,
        model_folder,
        models_in,
        snapshots_in,
    )

    listing = snapshots_in(model_folder(path, name or DEFAULT_MODEL))
    if not listing:
        known = ", ".join(models_in(path)[:5])
        raise SnapshotError(
            f"{path}: expected a snapshot of model {name or DEFAULT_MODEL} in this folder, got"
            f" {f'those of {known}' if known else 'none'}"
        )
    return listing[0][1]


def _date(written_at: float) -> str:
    """A time of the header in the local time zone, as ISO 8601 has it."""
    return datetime.fromtimestamp(written_at).astimezone().isoformat(timespec="seconds")


def _table(
    header: dict[str, Any],
    experts: dict[str, dict[str, float | None]] | None,
    up: list[tuple[str, float]],
    down: list[tuple[str, float]],
) -> list[str]:
    lines = _figures(header, experts)
    down_name, up_name = header["labels"]
    for label, sign, rows in ((up_name, "+1", up), (down_name, "-1", down)):
        title = sign if label is None else one_line(str(label))
        lines.append(f"\nstrongest features for {title}")
        for name, weight in rows:
            # A name may hold anything, also the commands of a terminal.
            lines.append(f"  {weight:+12.6f}  {name if name.isprintable() else ascii(name)}")
    return lines


def _figures(
    header: dict[str, Any], experts: dict[str, dict[str, float | None]] | None
) -> list[str]:
    lines = []
    for key, value in header.items():
        if key == "experts":
            continue
        shown = " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
        lines.append(f"{key:31} {'-' if shown is None else shown}")
    if experts is not None:
        columns = list(next(iter(experts.values())))
        wide = max(map(len, experts))
        lines.append(f"\n{'experts':{wide + 2}}" + "".join(f"{name:>14}" for name in columns))
        for name, figures in experts.items():
            cells = ("-" if (v := figures[c]) is None else f"{v:.4f}" for c in columns)
            lines.append(f"  {name:{wide}}" + "".join(f"{cell:>14}" for cell in cells))
    return lines
