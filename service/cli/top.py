"""Watch a daemon in the terminal: all models, or one."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

from onlinesvm.service.cli.interrupt import uninterrupted
from onlinesvm.service.cli.parser import Parser, UsageError
from onlinesvm.service.cli.target import add_connection, client_of
from onlinesvm.service.protocol import DEFAULT_MODEL

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from onlinesvm.service.cli.top_figures import Figures

__all__ = ["add_top", "top"]


def add_top(parser: Parser) -> None:
    """Add the flags of `top`."""
    parser.usage = "onlinesvm top [FLAGS]"
    parser.epilog = "example:\n  onlinesvm top\n  onlinesvm top --model spam"
    add_connection(parser)
    parser.add_argument("--model", metavar="NAME", help="show this model (default: all of them)")


def top(arguments: argparse.Namespace) -> None:
    """Show a daemon's figures, twice a second, until q or Ctrl-C."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError as error:
        raise UsageError(f"top needs its extra: pip install 'onlinesvm[top]' ({error})") from None
    from onlinesvm.service.cli.keyboard import keyboard
    from onlinesvm.service.cli.top_figures import EVERY_S, Figures

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal; onlinesvm stats prints the figures once")
    console = Console()
    with client_of(arguments) as client, contextlib.ExitStack() as stack:
        figures = Figures(client, arguments.model or DEFAULT_MODEL)
        place = _Place(figures, arguments.model)
        figures.start()
        try:
            with uninterrupted():  # in the midst of it the terminal would not be restored
                keys = stack.enter_context(keyboard(sys.stdin.fileno()))
                live = Live(console=console, screen=True, auto_refresh=False)
                stack.enter_context(live)
            live.update(place.screen(console), refresh=True)
            while not any(place.take(key, console) for key in keys.keys(EVERY_S)):
                live.update(place.screen(console), refresh=True)
        except KeyboardInterrupt:
            pass
        finally:
            with uninterrupted():
                stack.close()
                figures.stop()


class _Place:
    """The part of the figures that is looked at: the marked model of the list, or one alone.

    one: the model that is shown alone.
    """

    def __init__(self, figures: Figures, one: str | None) -> None:
        self._figures = figures
        self._one = one
        self._chosen = self._first = 0
        self._want(1)

    def take(self, key: str, console: Console) -> bool:
        """Carry out a key; True for the one that ends it all."""
        from onlinesvm.service.cli.top_screen import ROWS_AROUND

        models = self._figures.view.models
        page = max(1, console.height - ROWS_AROUND)
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page}
        if key in steps:
            self._chosen = max(0, min(self._chosen + steps[key], len(models) - 1))
        elif key == "enter" and self._one is None and models:
            self._one = models[min(self._chosen, len(models) - 1)].name
        elif key in ("escape", "left"):
            self._one = None
        return key in ("q", "Q")

    def screen(self, console: Console) -> RenderableType:
        """The screen as of now."""
        from onlinesvm.service.cli.top_screen import ROWS_AROUND, screen

        view, room = self._figures.view, max(1, console.height - ROWS_AROUND)
        self._chosen = max(0, min(self._chosen, len(view.models) - 1))
        self._first = max(min(self._first, self._chosen), self._chosen - room + 1)
        self._want(room)
        return screen(
            view, console.width, console.height, first=self._first, chosen=self._chosen,
            one=self._one,
        )  # fmt: skip

    def _want(self, room: int) -> None:
        """Have the figures asked for that are on the screen."""
        shown = self._figures.view.models[self._first : self._first + room]
        names = [seen.name for seen in shown] if self._one is None else [self._one]
        self._figures.want(names, self._one)
