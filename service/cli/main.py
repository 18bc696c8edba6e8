"""The command line. Results on stdout, everything for humans on stderr; exit 0 done, 1 failed,
2 wrong usage.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Sequence

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import OnlineSVMError
from onlinesvm.readers.reader import FORMATS
from onlinesvm.service.cli import admin as commands
from onlinesvm.service.cli import data as file_commands
from onlinesvm.service.cli import demo
from onlinesvm.service.cli.arguments import UsageError
from onlinesvm.service.cli.flags import add_flags
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.protocol import DEFAULT_ENDPOINT
from onlinesvm.version import __version__

__all__ = ["main", "parser"]

DONE, FAILED, WRONG_USAGE = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="onlinesvm",
        description="An always-on linear classifier that learns while it serves.",
        epilog="example:\n  onlinesvm serve &\n  onlinesvm learn train.svm.gz\n"
        "  onlinesvm predict test.svm.gz > margins.txt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"onlinesvm {__version__}")
    subparsers = top.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], None], help: str, example: str
    ) -> argparse.ArgumentParser:
        added = subparsers.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=f"example:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    serve = command(
        "serve",
        commands.serve,
        "learn and predict for whoever asks, until SIGTERM or Ctrl-C",
        "  onlinesvm serve --state ./state\n"
        "  onlinesvm serve --bind tcp://127.0.0.1:5578 --follow ./state --reload-every-s 5",
    )
    add_flags(serve, ServeConfig, "the daemon")
    add_flags(serve, LearnerConfig, "the learner (fixed when the model is born)")
    add_flags(serve, Limits, "limits")

    learn = command(
        "learn",
        file_commands.learn,
        "learn the samples of files; one JSON object with the outcome on stdout",
        "  onlinesvm learn --model m.msgpack train.svm.gz\n"
        "  zcat clicks.vw.gz | onlinesvm learn --connect tcp://127.0.0.1:5577 -\n"
        "  onlinesvm learn --connect tcp://127.0.0.1:5577 --producer clicks clicks.vw.gz\n"
        "  onlinesvm learn --model m.msgpack --positive spam sms.tsv",
    )
    _add_samples(learn, "--model FILE is made, or learned on and saved once at the end")
    learn.add_argument(
        "--producer",
        metavar="NAME",
        help="with --connect: learn each sample of the files exactly once under this name of 1 to"
        " 64 bytes; a run that broke off goes on behind what was applied when it is started again",
    )
    add_flags(learn, LearnerConfig, "the learner (with --model; fixed when the model is born)")
    add_flags(learn, Limits, "limits")

    predict = command(
        "predict",
        file_commands.predict,
        "print the margin of each sample of files, one a line; positive means +1",
        "  onlinesvm predict --model m.msgpack test.svm.gz > margins.txt\n"
        "  echo '| free prize' | onlinesvm predict -",
    )
    _add_samples(predict, "a snapshot file to predict by")
    predict.add_argument(
        "--probability", action="store_true", help="print probabilities of +1 instead of margins"
    )
    add_flags(predict, Limits, "limits")

    explain = command(
        "explain",
        file_commands.explain,
        "print what makes up the margin of each sample of files, one JSON object a line",
        "  echo '| free prize' | onlinesvm explain --model m.msgpack -",
    )
    _add_samples(explain, "a snapshot file to explain by")
    add_flags(explain, Limits, "limits")

    for name, run, help in (
        ("stats", commands.stats, "print a daemon's figures as one JSON object"),
        ("snapshot", commands.snapshot, "have a daemon write a snapshot; print where, as JSON"),
    ):
        asking = command(name, run, help, f"  onlinesvm {name} --connect {DEFAULT_ENDPOINT}")
        _add_connection(asking)

    recover = command(
        "recover",
        commands.recover,
        "make a damaged state folder whole: apply the log up to its first damage, set the rest"
        " aside, print what was lost as one JSON object",
        "  onlinesvm recover --state ./state",
    )
    recover.add_argument("--state", metavar="DIR", required=True, help="the state folder")

    inspect = command(
        "inspect",
        commands.inspect,
        "show a snapshot's header and its strongest features both ways",
        "  onlinesvm inspect m.msgpack\n  onlinesvm inspect --top 20 --json ./state",
    )
    inspect.add_argument("snapshot", help="a snapshot file, or a state folder (its newest)")
    inspect.add_argument(
        "--top", type=_count, default=10, metavar="N", help="features each way (default: 10)"
    )
    inspect.add_argument("--json", action="store_true", help="one JSON object instead of a table")

    shown = command(
        "demo",
        demo.run,
        "stream this machine's Python library through a daemon, and watch it learn",
        '  onlinesvm demo\n  onlinesvm demo "return the first match" "x = f(y)"',
    )
    shown.add_argument("lines", nargs="*", metavar="LINE", help="a line to tell: prose or code?")
    return top


def _add_connection(added: argparse.ArgumentParser, exclusive: object = None) -> None:
    target = exclusive if isinstance(exclusive, argparse._MutuallyExclusiveGroup) else added
    target.add_argument(
        "--connect",
        metavar="ENDPOINT",
        default=DEFAULT_ENDPOINT,
        help=f"the daemon's endpoint (default: {DEFAULT_ENDPOINT})",
    )
    added.add_argument(
        "--timeout-s",
        type=_seconds,
        default=10.0,
        metavar="N",
        help="seconds to wait for the daemon (default: 10)",
    )


def _add_samples(added: argparse.ArgumentParser, model_help: str) -> None:
    added.add_argument(
        "files", nargs="*", default=["-"], metavar="FILE", help="- is stdin; .gz is unpacked"
    )
    where = added.add_mutually_exclusive_group()
    _add_connection(added, where)
    where.add_argument("--model", metavar="FILE", help=model_help)
    added.add_argument(
        "--format", choices=FORMATS, help="the files' format (default: told by the first line)"
    )
    added.add_argument(
        "--positive",
        action="append",
        default=[],
        metavar="LABEL",
        help="the label that means +1, all others mean -1; may be repeated; '>0' means any"
        " number above 0",
    )
    added.add_argument(
        "--skip-bad", action="store_true", help="count bad lines and go on, instead of stopping"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a count from 0, got {text}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text}")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    _open_what_is_closed()
    arguments = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except UsageError as error:
        print(f"onlinesvm: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("onlinesvm: interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # who read our output has left
        _give_stdout_up()
        return FAILED
    except (OnlineSVMError, OSError, MemoryError) as error:
        print(f"onlinesvm: {_text_of(error)}", file=sys.stderr)
        _give_stdout_up()
        return FAILED
    return DONE


def _open_what_is_closed() -> None:
    """Give the standard streams that the caller has closed to nobody.

    Else Python has None for them, and the next file opened would get what goes to them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nobody = os.open(os.devnull, os.O_RDWR)
            stream = open(nobody, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _give_stdout_up() -> None:
    """Drop what stdout does not take, which the interpreter would tell of once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _text_of(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, OnlineSVMError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
