"""Learn from a log, a Redis Stream or a file that grows, by a daemon that keeps the place in it."""

from __future__ import annotations

import argparse
import hashlib
import json
import threading
import time
from collections.abc import Callable

from onlinesvm.config import Limits
from onlinesvm.errors import ConfigError
from onlinesvm.service.cli.flags import add_flags, duration, from_flags, limits_of
from onlinesvm.service.cli.interrupt import stopping
from onlinesvm.service.cli.output import naming, note, plural, write
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.target import add_daemon, client_of
from onlinesvm.service.errors import DaemonUnreachable
from onlinesvm.service.ingest.file_tail import FileTail
from onlinesvm.service.ingest.form import FORMATS, Form
from onlinesvm.service.ingest.ingester import Ingester, Options
from onlinesvm.service.ingest.redis_streams import RedisStream
from onlinesvm.service.ingest.source import Source

__all__ = ["add_ingest", "ingest"]

_MAX_NAME_BYTES = 64
_DIGEST_BYTES = 8
_HEADER_BYTES = 1024  # of a learn request, at most
_GRACE_S = 5.0
_RETRY_S = 0.2


def add_ingest(parser: Parser) -> None:
    """Add the flags of `ingest`."""
    parser.usage = "onlinesvm ingest [FLAGS] SOURCE"
    parser.epilog = (
        "example:\n"
        "  onlinesvm ingest --follow file:/var/log/samples.jsonl\n"
        "  onlinesvm ingest redis://127.0.0.1/samples\n"
        "  onlinesvm ingest --label-field spam --model mail redis://127.0.0.1:6379/mail"
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="file:PATH, lines that are JSON objects; or redis://HOST[:PORT]/STREAM (rediss:// with"
        " TLS; ?db=N another database; REDISCLI_AUTH in the environment: the password)",
    )
    add_daemon(parser)
    parser.add_argument(
        "--producer",
        metavar="NAME",
        help="the name of 1 to 64 bytes under which the daemon keeps the place in the source;"
        " another name begins at the start (default: the source)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="what an entry holds: a JSON object, a msgpack sample, or its fields are a record"
        " (default: json; fields for redis with --label-field alone)",
    )
    parser.add_argument(
        "--field", metavar="NAME", help="the field that holds the sample (default: the only one)"
    )
    parser.add_argument(
        "--label-field",
        metavar="NAME",
        help="the object or the fields are a record, and this one is its label",
    )
    for key in ("label", "features"):
        parser.add_argument(
            f"--{key}-key",
            default=key,
            metavar="KEY",
            help=f"the key of the {key} in objects that are no record (default: {key})",
        )
    parser.add_argument(
        "--follow",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="wait for further entries, until SIGTERM or Ctrl-C; else end with the source (default:"
        " a file ends, a stream is followed)",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="pass over entries that are no samples, and count them, instead of stopping at the"
        " first",
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go on where entries were removed before they were read, instead of stopping",
    )
    parser.add_argument(
        "--rotate-after",
        type=duration,
        default=_GRACE_S,
        metavar="TIME",
        help="leave a file that was renamed once nothing was written to it for so long (default:"
        " 5s)",
    )
    add_flags(parser, Limits, "limits")


def ingest(arguments: argparse.Namespace) -> None:
    """Learn the entries of a source until it ends, or until SIGTERM or Ctrl-C."""
    limits = limits_of(arguments)
    is_file = arguments.source.startswith("file:")
    form = _form_of(arguments, limits, is_file=is_file)
    source = _source_of(arguments, limits, is_file=is_file)
    producer = arguments.producer or _name_of(source.name)
    started = time.monotonic()
    wait_s, arguments.wait = arguments.wait, 0.0  # a wait that a signal ends is its own
    with stopping() as must_stop, client_of(arguments, limits) as client:
        options = Options(arguments.skip_bad, note, must_stop.is_set)
        ingester = _joined(
            lambda: Ingester(client, source, form, producer, options), wait_s, must_stop
        )
        try:
            known = ingester.cursor
            place = "from its start" if known is None else f"after {source.place(known)}"
            note(f"learning {source.name} {place} (producer {producer!r})")
            with naming(arguments.source):
                ingester.run()
        except BaseException as error:
            error.add_note(f"{plural(ingester.samples, 'sample')} of this run were learned")
            raise
        finally:
            ingester.close()
        cursor = ingester.cursor
    outcome = {
        "samples": ingester.samples,
        "skipped": ingester.skipped,
        "lost": source.lost,
        "producer": producer,
        "cursor": None if cursor is None else cursor.decode("utf-8", "backslashreplace"),
        "seconds": round(time.monotonic() - started, 3),
    }
    write(json.dumps(outcome) + "\n")


def _joined(join: Callable[[], Ingester], wait_s: float, must_stop: threading.Event) -> Ingester:
    """The ingester, once there is a daemon. Raises DaemonUnreachable after `wait_s`."""
    deadline = time.monotonic() + wait_s
    is_waiting = False
    while True:
        try:
            return join()
        except DaemonUnreachable as error:
            if time.monotonic() >= deadline or must_stop.is_set():
                raise
            if not is_waiting:
                note(f"waiting for the daemon: {error}")
            is_waiting = True
            must_stop.wait(_RETRY_S)


def _form_of(arguments: argparse.Namespace, limits: Limits, *, is_file: bool) -> Form:
    """The form of the entries. Raises UsageError."""
    format = arguments.format
    if is_file:
        if format not in (None, "json") or arguments.field is not None:
            raise UsageError("a file has lines of JSON: no other --format, no --field")
        format = "json"
    if format is None:
        is_record = arguments.label_field is not None and arguments.field is None
        format = "fields" if is_record else "json"
    with from_flags():
        return Form(
            format=format,
            field=arguments.field,
            label_field=arguments.label_field,
            label_key=arguments.label_key,
            features_key=arguments.features_key,
            max_bytes=limits.max_message_bytes - _HEADER_BYTES,
        )


def _source_of(arguments: argparse.Namespace, limits: Limits, *, is_file: bool) -> Source:
    """The source, not yet read. Raises UsageError."""
    text, follow = arguments.source, arguments.follow
    with from_flags():
        if is_file:
            path = text.removeprefix("file://").removeprefix("file:")
            if not path:
                raise ConfigError("source: expected file:PATH, got no path")
            return FileTail(
                path,
                follow=bool(follow),
                accept_loss=arguments.accept_loss,
                max_line_bytes=limits.max_message_bytes,
                grace_s=arguments.rotate_after,
                say=note,
            )
        if text.startswith(("redis://", "rediss://")):
            is_followed = follow is not False
            return RedisStream(
                text, follow=is_followed, accept_loss=arguments.accept_loss, say=note
            )
    meant = "" if ":" in text else f"; did you mean file:{text}?"
    raise UsageError(f"source: expected file:PATH or redis://HOST/STREAM, got {text!r}{meant}")


def _name_of(source: str) -> str:
    """The producer's name for a source: that of the source, shortened where it is too long."""
    raw = source.encode("utf-8", "surrogateescape")
    if len(raw) <= _MAX_NAME_BYTES:
        return source
    digest = hashlib.blake2b(raw, digest_size=_DIGEST_BYTES).hexdigest()
    kept = _MAX_NAME_BYTES - len(digest) - 1
    return f"{digest} {raw[-kept:].decode('utf-8', 'ignore')}"
