"""The figures that `top` shows: a thread looks at the daemon twice a second."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from onlinesvm.service.client.client import Client
from onlinesvm.service.errors import RequestRefused, ServiceError
from onlinesvm.service.protocol import DEFAULT_MODEL
from onlinesvm.service.turns import Pace, Turns

__all__ = ["EVERY_S", "Figures", "Seen", "View"]

EVERY_S = 0.5
POINTS = 120  # a minute
_MAX_MODELS = 20_000
_PAGE = 1000
_RATE_S = 5.0  # over which a rate is taken


@dataclass(slots=True)
class Seen:
    """A model as it was last seen. figures: its `stats`, None before it was asked."""

    name: str
    row: dict[str, Any]
    figures: dict[str, Any] | None = None
    marks: deque[tuple[float, int]] = field(default_factory=deque)
    round: int = 0

    @property
    def samples(self) -> int:
        """The samples that it has learned, as far as is known."""
        return int(self.row.get("position") or 0)

    @property
    def rate(self) -> float:
        """Samples a second, over the last five."""
        if len(self.marks) < 2:
            return 0.0
        (before, old), (now, new) = self.marks[0], self.marks[-1]
        return max(0, new - old) / max(now - before, 1e-3)

    def see(self, row: dict[str, Any], at: float) -> None:
        """Take its row of the daemon's list."""
        self.row = row
        self.marks.append((at, self.samples))
        while len(self.marks) > 2 and at - self.marks[1][0] >= _RATE_S:
            self.marks.popleft()


@dataclass(frozen=True, slots=True)
class View:
    """All that a screen shows. error: why the last look failed. count: of all models. curves: the
    last minute of the daemon's samples a second, and of the one model's, with its recent error.
    """

    endpoint: str
    daemon: dict[str, Any]
    pace: Pace
    models: list[Seen]
    count: int
    error: str | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)


class Figures:
    """Looks at a daemon on a thread of its own. `view` is the newest; `want` says of which models
    figures are wanted. model: the one with whose figures those of the daemon come.
    """

    def __init__(self, client: Client, model: str = DEFAULT_MODEL) -> None:
        self._client = client
        self._model = model
        self._models: dict[str, Seen] = {}
        self._cursor, self._round, self._count = "", 0, 0
        self._turns = Turns()
        self._curves: dict[str, deque[float]] = {}
        self._wanted: tuple[tuple[str, ...], str | None] = (), None
        self._one: str | None = None  # the model that has curves
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.view = View(client.endpoint, {}, Pace(None, None, None), [], 0)

    def start(self) -> None:
        """Take the first look here, and the others on the thread. Raises ServiceError."""
        self._look()
        self._thread.start()

    def want(self, names: Iterable[str], one: str | None) -> None:
        """Ask for the figures of these models from now on, and keep curves of `one`."""
        self._wanted = tuple(names), one

    def stop(self) -> None:
        """End the thread, and a request that waits."""
        self._stop.set()
        self._client.close()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + EVERY_S, time.monotonic())
            if self._stop.wait(due - time.monotonic()):
                return
            try:
                self._look()
            except ServiceError as error:
                if self._stop.is_set():
                    return
                self._turns.clear()
                last = self.view
                self.view = View(
                    last.endpoint, last.daemon, last.pace, last.models, last.count, str(error),
                    last.curves,
                )  # fmt: skip

    def _look(self) -> None:
        daemon = self._client.request("stats", model=self._model)[0]
        now = time.monotonic()
        pace = self._turns.take(daemon, now)
        self._look_at_list(now)
        names, one_name = self._wanted
        if one_name != self._one:
            self._one = one_name
            for name in ("rate", "error"):
                self._curves.pop(name, None)
        for name in names:
            self._ask(name)
        self._draw("samples", daemon["samples_per_s"])
        one = self._models.get(self._one or "")
        if one is not None:
            self._draw("rate", one.rate)
            error = (one.figures or {}).get("recent_error")
            if error is not None:
                self._draw("error", error)
        models = sorted(self._models.values(), key=lambda seen: (-seen.rate, seen.name))
        curves = {name: list(points) for name, points in self._curves.items()}
        self.view = View(
            self.view.endpoint, daemon, pace, models, self._count, None, curves
        )  # fmt: skip

    def _look_at_list(self, now: float) -> None:
        """See the next page of the list of models."""
        page = self._client.request("models", after=self._cursor, limit=_PAGE)[0]
        self._count = page["count"]
        for row in page["models"]:
            name = row["name"]
            if name not in self._models and len(self._models) >= _MAX_MODELS:
                continue
            seen = self._models.setdefault(name, Seen(name, row))
            seen.see(row, now)
            seen.round = self._round
        self._cursor = page["next"] or ""
        if not self._cursor:
            gone = [name for name, seen in self._models.items() if seen.round != self._round]
            for name in gone:
                del self._models[name]
            self._round += 1

    def _ask(self, name: str) -> None:
        """Ask for the figures of a model, unless they are those that are known."""
        seen = self._models.get(name)
        if seen is None or (seen.figures is not None and not seen.row["loaded"]):
            return
        known = seen.figures
        if known is not None and known["position"] == seen.samples and name != self._one:
            return
        try:
            seen.figures = self._client.request("stats", model=name)[0]
        except RequestRefused:  # dropped meanwhile, damaged, or not permitted
            return

    def _draw(self, name: str, point: float) -> None:
        self._curves.setdefault(name, deque(maxlen=POINTS)).append(point)
