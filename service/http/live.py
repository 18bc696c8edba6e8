"""The live figures: history, events as they come, and the list of models with sparklines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from onlinesvm.service.http.answers import Json, Lines, plain
from onlinesvm.service.http.history import digits
from onlinesvm.service.http.problem import Problem, json_bytes
from onlinesvm.service.http.watch import ModelSeen, Watch
from onlinesvm.service.protocol import is_model_name

__all__ = ["MAX_LISTENERS", "SORTS", "Live"]

MAX_LISTENERS = 64
_MOST_ROWS = 200
_STALE_S = 10
# The daemon's figures that the page shows beside the curves.
_SHOWN = ("version", "mode", "uptime_s", "models", "loaded_models", "connections", "fsync",
          "log_error", "errors")  # fmt: skip
SORTS = ("active", "name", "samples", "error")


class Events(Lines):
    """Server-sent events."""

    media_type = "text/event-stream"


class Live:
    """Answers with what a watch has seen."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._listeners = 0
        self._is_ending = False
        self._order: tuple[tuple[int, str], list[ModelSeen]] | None = None

    def end(self) -> None:
        """End all streams of events."""
        self._is_ending = True
        self._watch.wake()

    def history(self, name: str | None) -> Response:
        """The rows of the last hour: of the daemon, and of a model where one is named."""
        watch = self._watch
        ring = watch.kept.get(name or "")
        return Json({
            "second": watch.second,
            "daemon": watch.rows.since(0) if watch.rows.last else None,
            "model": None if ring is None or not ring.last else ring.since(0),
        })  # fmt: skip

    def events(self, request: Request, name: str | None) -> Response:
        """An event a second with the rows since the last one. Raises Problem.

        The first follows the `second` that the query has, that of a history. A client that reads
        slowly gets fewer events, each with more rows.
        """
        if name is not None and not is_model_name(name):
            raise Problem(400, "BAD_REQUEST", "expected the name of a model", at="model")
        if self._listeners >= MAX_LISTENERS or self._is_ending:
            raise Problem(
                503, "BUSY", f"expected at most {MAX_LISTENERS} listeners, got one more",
                retry_after_s=5.0,
            )  # fmt: skip
        return Events(self._events(request, name))

    async def _events(self, request: Request, name: str | None) -> AsyncGenerator[bytes]:
        watch = self._watch
        text = request.query_params.get("since", "")
        since = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else watch.second
        with self._listening(name):
            while not (self._is_ending or await request.is_disconnected()):
                yield b"data: " + json_bytes(self._event(name, since)) + b"\n\n"
                since = watch.second
                await watch.ticked()

    @contextlib.contextmanager
    def _listening(self, name: str | None) -> Iterator[None]:
        self._listeners += 1
        try:
            with contextlib.nullcontext() if name is None else self._watch.watched(name):
                yield
        finally:
            self._listeners -= 1

    def _event(self, name: str | None, since: int) -> dict[str, Any]:
        watch = self._watch
        daemon = watch.daemon
        event: dict[str, Any] = {
            "second": watch.second,
            "error": watch.error,
            "status": plain({key: daemon[key] for key in _SHOWN if key in daemon}),
            "daemon": watch.rows.since(since),
        }
        ring = watch.kept.get(name or "")
        if ring is not None:
            event["model"] = ring.since(since)
        return event

    async def overview(self, request: Request) -> Response:
        """A page of the models, with a sparkline of each. Raises Problem."""
        query, watch = request.query_params, self._watch
        sort, search = query.get("sort", "active"), query.get("search", "").lower()
        if sort not in SORTS:
            raise Problem(400, "BAD_REQUEST", f"expected one of {', '.join(SORTS)}", at="sort")
        offset, limit = _integer(query.get("offset", "0"), "offset", 10**9), _integer(
            query.get("limit", "50"), "limit", _MOST_ROWS
        )  # fmt: skip
        found = self._sorted(sort)
        if search:
            found = [seen for seen in found if search in seen.name.lower()]
        page = found[offset : offset + limit]
        await self._refresh(page)
        return Json({
            "count": watch.count, "seen": len(watch.models), "matches": len(found),
            "error": watch.error, "rows": [self._row(seen) for seen in page],
        })  # fmt: skip

    def _sorted(self, sort: str) -> list[ModelSeen]:
        """All models in an order, which is made once a look."""
        key = (self._watch.second, sort)
        if self._order is None or self._order[0] != key:
            models = sorted(self._watch.models.values(), key=lambda seen: seen.name)
            if sort == "active":
                models.sort(key=lambda seen: (-seen.rate, -(seen.samples or 0)))
            elif sort == "samples":
                models.sort(key=lambda seen: -(seen.samples or 0))
            elif sort == "error":
                models.sort(key=lambda seen: -1.0 if seen.error is None else -1.0 - seen.error)
            self._order = key, models
        return self._order[1]

    async def _refresh(self, page: list[ModelSeen]) -> None:
        """Ask for the figures of those models on a page that are in memory and were not seen
        lately.
        """
        now = self._watch.second
        stale = [
            seen
            for seen in page
            if seen.is_loaded and (seen.figures_at is None or seen.figures_at < now - _STALE_S)
        ]
        if self._watch.error is None and stale:
            await self._watch.refresh(stale, now)

    def _row(self, seen: ModelSeen) -> dict[str, Any]:
        row = seen.row
        return {
            "name": seen.name, "loaded": row["loaded"], "samples": seen.samples,
            "features": row.get("features"), "rule": row.get("rule"), "damage": row.get("damage"),
            "task": seen.task, "error": None if seen.error is None else digits(seen.error),
            "rate": digits(seen.rate), "spark": seen.spark.rates(self._watch.second),
        }  # fmt: skip


def _integer(text: str, name: str, most: int) -> int:
    """A parameter of the query. Raises Problem."""
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= most):
        raise Problem(400, "BAD_REQUEST", f"expected an integer from 0 to {most}", at=name)
    return int(text)
