"""The routes of the door, as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

import msgpack
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from onlinesvm.config import LearnerConfig
from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.http import metrics
from onlinesvm.service.http.answers import LINES, Json, lines_in, plain, streamed
from onlinesvm.service.http.bodies import Bodies, json_of
from onlinesvm.service.http.files import Files
from onlinesvm.service.http.live import Live
from onlinesvm.service.http.openapi import document
from onlinesvm.service.http.predictions import Asked, predict
from onlinesvm.service.http.problem import Problem, problem_of
from onlinesvm.service.http.samples import Batch, Labels, in_body
from onlinesvm.service.http.tokens import Tokens
from onlinesvm.service.http.watch import Watch
from onlinesvm.service.inspection import decode_inspection
from onlinesvm.service.protocol import decode_explanations, decode_features, decode_margins

__all__ = ["Door", "application"]

_BATCH = 1024
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Door:
    """The handlers of the routes; each asks the daemon by `client`."""

    def __init__(
        self, client: AsyncClient, tokens: Tokens, bodies: Bodies, live: Live, files: Files
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._bodies = bodies
        self._live = live
        self._files = files

    def routes(self) -> list[Route]:
        """All routes, each with the role that it takes."""
        of_model = "/v1/models/{model}"
        return [
            Route("/", self._for(None, self._files.index)),
            Route("/page/{name:path}", self._for(None, self._files.file)),
            Route("/healthz", self._for(None, self.health)),
            Route("/readyz", self._for(None, self.ready)),
            Route("/openapi.json", self._for(None, self.openapi)),
            Route("/metrics", self._for("read", self.metrics)),
            Route("/v1/overview", self._for("read", self._live.overview)),
            Route("/v1/history", self._for("read", self.history)),
            Route("/v1/live", self._for("read", self.live)),
            Route("/v1/models", self._for("read", self.models)),
            Route(of_model, self._for("read", self.stats), methods=["GET"]),
            Route(of_model, self._for("admin", self.create), methods=["PUT"]),
            Route(of_model, self._for("admin", self.drop), methods=["DELETE"]),
            Route(of_model + "/labels", self._for("read", self.labels)),
            Route(of_model + "/inspect", self._for("read", self.inspect)),
            Route(of_model + "/learn", self._for("learn", self.learn), methods=["POST"]),
            Route(of_model + "/predict", self._for("read", self.predict), methods=["POST"]),
            Route(of_model + "/label", self._for("learn", self.label), methods=["POST"]),
            Route(of_model + "/explain", self._for("read", self.explain), methods=["POST"]),
            Route(of_model + "/features", self._for("read", self.features), methods=["POST"]),
        ]

    def _for(self, role: str | None, handler: Handler) -> Handler:
        """`handler`, for callers that have the role, None for all; its errors are problems."""

        async def handle(request: Request) -> Response:
            try:
                if role is not None:
                    self._tokens.check(request, role)
                return await handler(request)
            except Exception as error:
                return problem_of(error).response()

        return handle

    async def health(self, request: Request) -> Response:
        """The door answers."""
        return Json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """The daemon answers, and serves."""
        answer = await self._client.ping()
        if answer["mode"] == "loading":
            share = answer.get("replayed") or 0.0
            raise Problem(503, "BUSY", f"the daemon loads: {share:.0%} done", retry_after_s=1.0)
        return Json({"status": "ok", "mode": answer["mode"]})

    async def openapi(self, request: Request) -> Response:
        """The description of all routes."""
        return Json(document())

    async def metrics(self, request: Request) -> Response:
        """Figures for Prometheus."""
        names = request.query_params.getlist("model")
        body, media_type = await metrics.collected(self._client, names)
        return Response(body, headers={"Content-Type": media_type})

    async def history(self, request: Request) -> Response:
        """The figures of the last hour."""
        return self._live.history(request.query_params.get("model"))

    async def live(self, request: Request) -> Response:
        """Figures as they come, as server-sent events."""
        return self._live.events(request, request.query_params.get("model"))

    async def models(self, request: Request) -> Response:
        """A page of the models."""
        after, limit = request.query_params.get("after", ""), _integer(request, "limit", 100)
        page, _ = await self._client.request("models", after=after, limit=limit)
        return Json(plain({name: page[name] for name in ("models", "count", "next")}))

    async def stats(self, request: Request) -> Response:
        """The figures of a model, and if it reads text."""
        figures = await self._of(request).stats()
        if figures["config"] is not None:  # which leaves out what is its rule's own
            figures["reads_text"] = LearnerConfig.from_dict(figures["config"]).text != "off"
        return Json(plain(figures))

    async def create(self, request: Request) -> Response:
        """Create a model; the body is its configuration."""
        keys: dict[str, Any] = {
            name: request.query_params[name]
            for name in ("copy_of", "if_exists")
            if name in request.query_params
        }
        async with self._bodies.object_in(request) as config:
            if config:
                keys["config"] = config
            made, _ = await self._of(request).request("create", **keys)
        return Json(plain(made), 201)

    async def drop(self, request: Request) -> Response:
        """Drop a model."""
        await self._of(request).request("drop")
        return Response(status_code=204)

    async def labels(self, request: Request) -> Response:
        """The labels of a model: a page of many, or both."""
        client, first = self._of(request), _integer(request, "first", 0)
        task = await client.stats()
        if task["task"] in ("multiclass", "multilabel"):
            return Json(plain(await client.labels(first, _integer(request, "count", 100))))
        known = [{"label": label} for label in task["labels"] or () if label is not None]
        return Json(plain({"labels": known, "next": None, "confusion": None}))

    async def inspect(self, request: Request) -> Response:
        """Diagrams of a model, and its strongest features."""
        query = request.query_params
        keys: dict[str, Any] = {
            name: query[name] for name in ("contains", "label") if name in query
        }
        header, body = await self._of(request).request(
            "inspect", top=_integer(request, "top", 20), **keys
        )
        return Json(plain({**header, **decode_inspection(body)}))

    async def learn(self, request: Request) -> Response:
        """Learn samples; the margins that they had before."""
        if _is_lines(request):
            return await streamed(self._lines(request, labelled=True))
        async with self._bodies.object_in(request) as body:
            batch, is_one = in_body(body, labelled=True)
            body.clear()
            margins = await _learn(self._of(request), batch)
        return Json(margins[0] if is_one else {"margins": [row["margin"] for row in margins]})

    async def predict(self, request: Request) -> Response:
        """Predict samples, and have them held where they have keys."""
        if _is_lines(request):
            return await streamed(self._lines(request, labelled=False))
        async with self._bodies.object_in(request) as body:
            batch, is_one = in_body(body, labelled=False)
            asked = Asked(body)
            body.clear()
            found = await self._predicted(request, batch, asked)
        return Json(found[0] if is_one else {"predictions": found})

    async def label(self, request: Request) -> Response:
        """Learn held samples by their keys; the outcome of each."""
        async with self._bodies.object_in(request) as body:
            labels = Labels(body)
            body.clear()
            try:
                _, answer = await self._of(request).request("label", labels.body())
            except RequestRefused as error:
                raise labels.problem_of(error) from None
        outcomes = msgpack.unpackb(answer)
        return Json({"outcome": outcomes[0]} if labels.is_one else {"outcomes": outcomes})

    async def explain(self, request: Request) -> Response:
        """Explain predictions."""
        async with self._bodies.object_in(request) as body:
            batch, is_one = in_body(body, labelled=False)
            keys = {name: body[name] for name in ("label", "other") if body.get(name) is not None}
            body.clear()
            answer = await self._shown(request, "explain", batch, keys)
        explained = [
            {
                "margin": one.margin,
                "label": one.label,
                "bias": one.bias,
                "contributions": [part._asdict() for part in one.contributions],
                "fields": [
                    part._asdict() | {"text": [text._asdict() for text in part.text]}
                    for part in one.fields
                ],
            }
            for one in decode_explanations(answer)
        ]
        return Json(plain(explained[0] if is_one else {"explanations": explained}))

    async def features(self, request: Request) -> Response:
        """Show the features that the model makes of samples."""
        async with self._bodies.object_in(request) as body:
            batch, is_one = in_body(body, labelled=False)
            body.clear()
            answer = await self._shown(request, "features", batch, {})
        found = [plain(features) for features in decode_features(answer)]
        return Json({"features": found[0]} if is_one else {"samples": found})

    async def _shown(self, request: Request, op: str, batch: Batch, keys: dict[str, Any]) -> bytes:
        """The body of the daemon's answer to an operation that shows more of samples."""
        if batch.is_held:
            raise Problem(400, "BAD_REQUEST", "expected hold with predict alone", at="$.hold")
        try:
            _, answer = await self._of(request).request(op, batch.body(), **keys)
        except RequestRefused as error:
            raise batch.problem_of(error) from None
        return answer

    async def _lines(self, request: Request, *, labelled: bool) -> AsyncGenerator[bytes]:
        """The answer to each line, as a line; as many samples at a time as have come."""
        client = self._of(request)
        asked = None if labelled else Asked.of_query(request.query_params)
        samples = number = 0
        async with self._bodies.lines_in(request) as pieces:
            async for lines in pieces:
                for start in range(0, len(lines), _BATCH):
                    batch = Batch(labelled=labelled)
                    for line in lines[start : start + _BATCH]:
                        number += 1
                        if line.strip():
                            batch.add(json_of(line, line=number), "$", samples, number)
                            samples += 1
                    if not len(batch):
                        continue
                    if asked is None:
                        yield lines_in(await _learn(client, batch))
                    else:
                        yield lines_in(await self._predicted(request, batch, asked))

    async def _predicted(
        self, request: Request, batch: Batch, asked: Asked
    ) -> list[dict[str, Any]]:
        """The predictions of samples; to have them held takes the role learn."""
        if batch.is_held:
            self._tokens.check(request, "learn")
        return await predict(self._of(request), batch, asked)

    def _of(self, request: Request) -> AsyncClient:
        """A client of the model in the path."""
        return self._client.model(request.path_params["model"])


async def _learn(client: AsyncClient, batch: Batch) -> list[dict[str, Any]]:
    """Have a batch learned; the margins before."""
    try:
        _, answer = await client.request("learn", batch.body())
    except RequestRefused as error:
        raise batch.problem_of(error) from None
    margins = plain(decode_margins(answer))
    return [{"margin": m} | id for m, id in zip(margins, batch.ids(), strict=True)]


def application(client: AsyncClient, tokens: Tokens, bodies: Bodies | None = None) -> Starlette:
    """The door to the daemon of `client`, which is closed with it. `state.live` has its streams of
    events, which are to be ended before the server waits for the requests under way.
    """
    watch = Watch(client)
    live = Live(watch)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(watch.run())
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.close()

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "BAD_REQUEST")
        return Problem(
            error.status_code, code, error.detail, headers=error.headers or {}
        ).response()

    made = Starlette(
        routes=Door(client, tokens, bodies or Bodies(), live, Files()).routes(),
        exception_handlers={HTTPException: refuse},
        lifespan=lifespan,
    )
    made.state.live = live
    return made


def _is_lines(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == LINES


def _integer(request: Request, name: str, default: int) -> int:
    """A parameter of the query. Raises Problem."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem(400, "BAD_REQUEST", "expected an integer from 0", at=name)
    return int(text)
