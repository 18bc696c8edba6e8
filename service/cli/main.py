"""The command line. Results on stdout, everything for humans on stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (Ctrl-C or SIGTERM).
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence

from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.cli import settings
from onlinesvm.service.cli.interrupt import interruptible
from onlinesvm.service.cli.output import BYTES_AS_GIVEN, naming
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.errors import ClientRefused, DaemonUnreachable
from onlinesvm.version import __version__

__all__ = ["COMMANDS", "main", "parser"]

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_SHELLS = ("bash", "zsh", "tcsh")

# Each command, its module, and its help. The module has a function of the command's name, which
# runs it, and one named ``add_…``, which adds its flags; it is imported when it is called.
COMMANDS = {
    "serve": ("serve", "learn and predict for clients, until SIGTERM or Ctrl-C"),
    "learn": ("learn", "learn the samples of files; print the outcome as a JSON object"),
    "train": ("train", "train a model on a Dask cluster, in rounds; print the outcome as JSON"),
    "ingest": ("ingest", "learn from a log, a Redis Stream or a file that grows, exactly once"),
    "predict": ("predict", "print the label, margin or probability of each sample, one a line"),
    "label": ("label", "learn samples that predict --hold left, by their keys and labels"),
    "evaluate": ("evaluate", "measure error, AUC, log loss, calibration on held-out files"),
    "explain": (
        "explain",
        "print why a sample is predicted so: its margin's parts, shaded or as JSON",
    ),
    "labels": ("classes", "print the labels of a multiclass model with their figures, or drop one"),
    "features": ("features", "print what each sample becomes, one JSON object a line"),
    "ping": ("ping", "print one line if a daemon answers; else exit with 1"),
    "stats": ("admin", "print a daemon's figures as a JSON object"),
    "models": ("registry", "print a daemon's models, one JSON object a line"),
    "create": ("registry", "create a model in a daemon; print its configuration as JSON"),
    "drop": ("registry", "drop one of a daemon's models, with all that it has learned"),
    "snapshot": ("admin", "have a daemon write a snapshot; print its path as JSON"),
    "inspect": ("admin", "print a snapshot's header and its strongest features"),
    "recover": ("admin", "repair a damaged state folder; print what was lost as JSON"),
    "keys": ("keys", "make, allow, list and revoke the keys of a daemon's users"),
    "top": ("top", "watch a daemon's figures in the terminal: all models, or one"),
    "http": ("http", "open an HTTP door to a daemon: JSON API, metrics, live page"),
    "demo": ("demo", "watch a daemon learn this machine's Python library"),
}


def parser() -> Parser:
    """The parser of all commands."""
    top = Parser(
        prog="onlinesvm",
        usage="onlinesvm [--version] [--completion SHELL] COMMAND [FLAGS] ...",
        description="An always-on linear classifier that learns while it serves.",
        epilog="example:\n  onlinesvm serve &\n  onlinesvm learn --wait 10s train.svm.gz\n"
        "  onlinesvm predict test.svm.gz > labels.txt\n\n"
        "onlinesvm COMMAND --help shows a command's flags and examples.",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and the kernel")
    top.add_argument(
        "--completion",
        action=_Completion,
        choices=_SHELLS,
        help='print a completion script for a shell: eval "$(onlinesvm --completion bash)"',
    )
    commands = top.add_subparsers(prog="onlinesvm", metavar="COMMAND", required=True)
    for name, (module, help) in COMMANDS.items():

        def fill(added: Parser, name: str = name, module: str = module) -> None:
            room = importlib.import_module(f"onlinesvm.service.cli.{module}")
            getattr(room, f"add_{name}")(added)
            settings.add_config(added)
            added.set_defaults(run=getattr(room, name), parser=added)

        commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            fill=fill,
            prepare=_take_settings,
        )
    return top


def _take_settings(command: Parser, words: Sequence[str]) -> None:
    """Let a file and the environment give the flags that `words` leave out. Raises UsageError."""
    if not {"-h", "--help"} & set(words):
        taken = settings.apply(command._actions, words, os.environ)
        command.set_defaults(settings=taken, words=list(words))


class _Version(argparse.Action):
    """Prints the version and the kernel, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *given: object) -> None:
        from onlinesvm import kernel as kernels

        try:
            print(f"onlinesvm {__version__}, {kernels.found()}")
        except OnlineSVMError as error:
            parser.exit(FAILED, f"onlinesvm {__version__}: {error}\n")
        parser.exit()


class _Completion(argparse.Action):
    """Prints a completion script, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        try:
            import shtab
        except ImportError:
            raise UsageError(
                "--completion needs shtab: pip install 'onlinesvm[completion]'"
            ) from None
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    command.fill()
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    # NumPy's BLAS, which no command uses, would start its threads: 30 ms.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    atexit.register(gc.freeze)  # the interpreter's end would search all objects for cycles: 10 ms
    _open_closed_streams()
    for stream, errors in ((sys.stdout, BYTES_AS_GIVEN), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):  # a name may hold what the terminal cannot show
            stream.reconfigure(errors=errors)
    try:
        with interruptible():
            arguments = parser().parse_args(argv)
            _run(arguments)
            with naming("stdout"):
                sys.stdout.flush()
    except UsageError as error:
        _say(str(error))
        return WRONG_USAGE
    except KeyboardInterrupt as interrupt:
        _say(str(interrupt) or "interrupted", interrupt)
        _drop_stdout()
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, `head` for example, has ended
        _drop_stdout()
        return FAILED
    except (OnlineSVMError, OSError, MemoryError) as error:
        _say(_text_of(error), error)
        _drop_stdout()
        return FAILED
    return DONE


def _run(arguments: argparse.Namespace) -> None:
    """Run the command. The error of a missing daemon gets a note with the remedies."""
    try:
        arguments.run(arguments)
    except ClientRefused:
        raise
    except DaemonUnreachable as error:
        takes_file = " --file FILE needs no daemon." if hasattr(arguments, "snapshot") else ""
        error.add_note(f"`onlinesvm serve` starts a daemon; --connect names another.{takes_file}")
        raise


def _say(text: str, error: BaseException | None = None) -> None:
    """Print a line for a human, and the notes of `error` below it."""
    with contextlib.suppress(BrokenPipeError):
        for line in (text, *getattr(error, "__notes__", ())):
            print(f"onlinesvm: {line}", file=sys.stderr)


def _open_closed_streams() -> None:
    """Open the standard streams that the caller has closed, on the null device.

    Python has None for them, and the next file opened would take the place of one.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            stream = open(null, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _drop_stdout() -> None:
    """Drop what stdout does not take; the interpreter would report it once more at its end."""
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
