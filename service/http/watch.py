"""The watch: asks the daemon for its figures every second, and keeps an hour of them.

A second costs the daemon one `stats`, one page of `models` (a thousand), and a `stats` for each
model whose rows are kept and whose position has moved: at most 48. Rows are kept of the models that
pages show, then of the most active, 64 in all (17 MB). Of up to 20,000 models a sparkline and the
last figures are kept (about 1 kB each); with more than a thousand models each is looked at every
few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.errors import RequestRefused, ServiceError
from onlinesvm.service.http.history import DAEMON, MODEL, Ring, Spark
from onlinesvm.service.turns import Turns

__all__ = ["MAX_KEPT", "MAX_MODELS", "ModelSeen", "Watch"]

log = logging.getLogger(__name__)

MAX_MODELS = 20_000
MAX_KEPT = 64
_ACTIVE = 32
_WATCHED = 16
_PAGE = 1000
_RATE_S = 5.0  # the mean age of what a rate is of
_FIGURES = (
    "position", None, "progressive_error", "recent_error", "progressive_hinge_loss",
    "recent_hinge_loss", "recent_calibration_error", "drifts", "features",
)  # fmt: skip


@dataclass(slots=True)
class ModelSeen:
    """A model as it was last seen. rate: samples a second, mean of the last seconds. has_moved: if
    it has learned since it was seen before. error: its recent error, as of `figures_at`; None while
    it is not known.
    """

    name: str
    row: dict[str, Any]
    at: int
    round: int
    rate: float = 0.0
    has_moved: bool = False
    task: str | None = None
    error: float | None = None
    figures_at: int | None = None
    spark: Spark = field(default_factory=Spark)

    @property
    def samples(self) -> int | None:
        """The samples that it has learned, None where that is not known."""
        samples: int | None = self.row.get("position")
        return samples

    @property
    def is_loaded(self) -> bool:
        """True while it is in memory."""
        return bool(self.row["loaded"])

    def see(self, row: dict[str, Any], second: int, round: int) -> None:
        """Take its row of the daemon's list."""
        before, passed = self.samples, second - self.at
        self.row, self.round = row, round
        if passed <= 0:
            return
        moved = max(0, (self.samples or 0) - before) if before is not None else 0
        kept = math.exp(-passed / _RATE_S)
        self.rate = self.rate * kept + moved / passed * (1.0 - kept)
        self.at, self.has_moved = second, moved > 0
        if moved:
            self.spark.add(second, passed, moved / passed)


class Watch:
    """The figures of a daemon and of its models; `run` keeps them up to date.

    error: why the last look failed, None where it did not.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.second = 0
        self.error: str | None = None
        self.daemon: dict[str, Any] = {}
        self.rows = Ring(DAEMON)
        self.models: dict[str, ModelSeen] = {}
        self.count = 0
        self.kept: dict[str, Ring] = {}
        self._watched: Counter[str] = Counter()
        self._cursor = ""
        self._round = 0
        self._turns = Turns()
        self._ticked = asyncio.Event()

    async def run(self) -> None:
        """Look once a second, for ever."""
        while True:
            second = int(time.time())
            if second > self.second:
                self.second = second
                await self._look(second)
                ticked, self._ticked = self._ticked, asyncio.Event()
                ticked.set()
            await asyncio.sleep(max(0.05, second + 1.0 - time.time()))

    async def ticked(self) -> None:
        """Wait for the next look."""
        await self._ticked.wait()

    def wake(self) -> None:
        """Let all go on who wait for a look."""
        self._ticked.set()

    @contextlib.contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Keep the rows of a model in this block, before those of others."""
        self._watched[name] += 1
        try:
            yield
        finally:
            self._watched[name] -= 1
            if not self._watched[name]:
                del self._watched[name]

    async def _look(self, second: int) -> None:
        began = time.perf_counter()
        try:
            self.daemon = await self._figures()
            self._take_daemon(second, (time.perf_counter() - began) * 1e3)
            await self._look_at_list(second)
            await self._look_at_models(second)
            self.error = None
        except ServiceError as error:
            self.error = str(error)
            self._turns.clear()
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
            log.error("a look at the daemon failed", exc_info=error)

    async def _figures(self) -> dict[str, Any]:
        """The daemon's figures: with those of the model `default`, or of the first that there is
        where that one is not permitted.
        """
        try:
            return await self._client.stats()
        except RequestRefused:
            page, _ = await self._client.request("models", after="", limit=1)
            if not page["models"]:
                raise
            return await self._client.model(page["models"][0]["name"]).stats()

    def _take_daemon(self, second: int, round_trip_ms: float) -> None:
        daemon = self.daemon
        pace = self._turns.take(daemon, time.monotonic())
        self.rows.add(second, (
            daemon["samples_per_s"], *pace, round_trip_ms, daemon["memory_bytes"],
            daemon.get("log_bytes"),
        ))  # fmt: skip

    async def _look_at_list(self, second: int) -> None:
        """See the next page of the list of models."""
        page, _ = await self._client.request("models", after=self._cursor, limit=_PAGE)
        self.count = page["count"]
        for row in page["models"]:
            seen = self.models.get(row["name"])
            if seen is not None:
                seen.see(row, second, self._round)
            elif len(self.models) < MAX_MODELS:
                self.models[row["name"]] = ModelSeen(row["name"], row, second, self._round)
        self._cursor = page["next"] or ""
        if not self._cursor:
            gone = [name for name, seen in self.models.items() if seen.round != self._round]
            for name in gone:
                del self.models[name]
                self.kept.pop(name, None)
            self._round += 1

    async def _look_at_models(self, second: int) -> None:
        """Keep a row for each model that is watched, or among the most active."""
        names = [name for name, _ in self._watched.most_common(_WATCHED) if name in self.models]
        active = nsmallest(_ACTIVE, self.models.values(), key=lambda s: (-s.rate, s.name))
        names = list(dict.fromkeys([*names, *(seen.name for seen in active)]))
        self._make_room(names)
        is_listed = self.count <= _PAGE  # so each was seen just now
        asked = []
        for name in names:
            seen, ring = self.models[name], self.kept.setdefault(name, Ring(MODEL))
            is_new = not ring.last
            if not seen.is_loaded or (is_listed and not is_new and not seen.has_moved):
                if not is_new:
                    row = ring.newest().tolist()
                    row[1] = 0.0
                    ring.add(second, row)
            else:
                asked.append(seen)
        await self.refresh(asked, second)

    def _make_room(self, wanted: Sequence[str]) -> None:
        """Forget the rows that are oldest, so that those that are wanted have room."""
        others = sorted(
            (name for name in self.kept if name not in wanted), key=lambda n: self.kept[n].last
        )
        room = MAX_KEPT - len(wanted)
        for name in others[: max(0, len(others) - room)]:
            del self.kept[name]

    async def refresh(self, models: Sequence[ModelSeen], second: int) -> None:
        """Ask for the figures of models."""

        async def ask(seen: ModelSeen) -> None:
            try:
                figures = await self._client.model(seen.name).stats()
            except RequestRefused:  # dropped meanwhile, or not permitted
                seen.figures_at = second
                return
            self._take(seen, figures, second)

        await asyncio.gather(*map(ask, models))

    def _take(self, seen: ModelSeen, figures: dict[str, Any], second: int) -> None:
        seen.task, seen.error, seen.figures_at = figures["task"], figures["recent_error"], second
        ring = self.kept.get(seen.name)
        if ring is None or ring.last >= second:
            return
        row = [None if key is None else figures.get(key) for key in _FIGURES]
        before, passed = ring.newest()[0], second - ring.last
        if ring.last and before == before and row[0] is not None:
            row[1] = max(0.0, row[0] - before) / passed
        ring.add(second, row)
