"""The routes of the door, as an ASGI application."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.errors import RequestRefused, ServiceError
from onlinesvm.service.http import metrics
from onlinesvm.service.http.bodies import (
    Sample,
    json_of,
    lines_of,
    object_in,
    sample_of,
    samples_of,
)
from onlinesvm.service.http.openapi import document
from onlinesvm.service.http.predictions import Predictor, number, plain
from onlinesvm.service.http.problem import Problem, problem_of, respond
from onlinesvm.service.http.tokens import Tokens

__all__ = ["Door", "application"]

_LINES = "application/x-ndjson"
_BATCH = 1024
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Door:
    """The handlers of the routes; each asks the daemon by `client`."""

    def __init__(self, client: AsyncClient, tokens: Tokens) -> None:
        self._client = client
        self._tokens = tokens
        self._predictor = Predictor(client)

    def routes(self) -> list[Route]:
        """All routes, each with the role that it takes."""
        of_model = "/v1/models/{model}"
        return [
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/openapi.json", self.openapi),
            Route("/metrics", self._for("read", self.metrics)),
            Route("/v1/models", self._for("read", self.models)),
            Route(of_model, self._for("read", self.stats), methods=["GET"]),
            Route(of_model, self._for("admin", self.create), methods=["PUT"]),
            Route(of_model, self._for("admin", self.drop), methods=["DELETE"]),
            Route(of_model + "/labels", self._for("read", self.labels)),
            Route(of_model + "/learn", self._for("learn", self.learn), methods=["POST"]),
            Route(of_model + "/predict", self._for("read", self.predict), methods=["POST"]),
            Route(of_model + "/explain", self._for("read", self.explain), methods=["POST"]),
        ]

    def _for(self, role: str, handler: Handler) -> Handler:
        """`handler`, for callers that have the role."""

        async def handle(request: Request) -> Response:
            self._tokens.check(request, role)
            return await handler(request)

        return handle

    async def health(self, request: Request) -> Response:
        """The door answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """The daemon answers, and serves."""
        answer = await self._client.ping()
        if answer["mode"] == "loading":
            share = answer.get("replayed")
            raise Problem(503, "BUSY", f"the daemon loads: {share:.0%} done", retry_after_s=1.0)
        return JSONResponse({"status": "ok", "mode": answer["mode"]})

    async def openapi(self, request: Request) -> Response:
        """The description of all routes."""
        return JSONResponse(document())

    async def metrics(self, request: Request) -> Response:
        """Figures for Prometheus."""
        body, media_type = await metrics.collected(self._client)
        return Response(body, media_type=media_type)

    async def models(self, request: Request) -> Response:
        """A page of the models."""
        after = request.query_params.get("after", "")
        limit = request.query_params.get("limit", "100")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 1000):
            raise Problem(400, "BAD_REQUEST", "limit: expected an integer from 1 to 1000")
        page, _ = await self._client.request("models", after=after, limit=int(limit))
        return JSONResponse({name: page[name] for name in ("models", "count", "next")})

    async def stats(self, request: Request) -> Response:
        """The figures of a model."""
        return _json(await self._of(request).stats())

    async def create(self, request: Request) -> Response:
        """Create a model; the body is its configuration."""
        given = await object_in(request)
        keys = {name: request.query_params[name] for name in ("copy_of", "if_exists")
                if name in request.query_params}  # fmt: skip
        made = await self._client.create(request.path_params["model"], **keys, **given)
        return JSONResponse(made, 201)

    async def drop(self, request: Request) -> Response:
        """Drop a model."""
        await self._client.drop(request.path_params["model"])
        return Response(status_code=204)

    async def labels(self, request: Request) -> Response:
        """The labels of a model."""
        client = self._of(request)
        first = request.query_params.get("first", "0")
        if not (first.isascii() and first.isdigit() and len(first) < 10):
            raise Problem(400, "BAD_REQUEST", "first: expected an id from 0")
        try:
            page = await client.labels(int(first))
        except RequestRefused as error:
            if error.code != "BAD_REQUEST":
                raise
            page = {"labels": (await client.stats())["labels"], "next": None}  # of a binary model
        return _json(page)

    async def learn(self, request: Request) -> Response:
        """Learn samples; the margins that they had before."""
        if _is_lines(request):
            return await _stream(self._learned(request))
        samples, is_one = samples_of(await object_in(request), labelled=True)
        margins = (await self._of(request).learn(_labelled(samples))).tolist()
        return JSONResponse({"margin": margins[0]} if is_one else {"margins": margins})

    async def predict(self, request: Request) -> Response:
        """Predict samples."""
        if _is_lines(request):
            return await _stream(self._predicted(request))
        body = await object_in(request)
        output, top = body.pop("output", "probability"), body.pop("top", 1)
        samples, is_one = samples_of(body, labelled=False)
        found = await self._predictor.predict(
            request.path_params["model"], [sample.features for sample in samples], output, top
        )
        return JSONResponse(found[0] if is_one else {"predictions": found})

    async def explain(self, request: Request) -> Response:
        """Explain predictions."""
        body = await object_in(request)
        label, other = body.pop("label", None), body.pop("other", None)
        samples, is_one = samples_of(body, labelled=False)
        features = [sample.features for sample in samples]
        found = [
            {
                "margin": number(one.margin),
                "label": plain(one.label),
                "bias": one.bias,
                "contributions": [part._asdict() for part in one.contributions],
            }
            for one in await self._of(request).explain(features, label, other)
        ]
        return _json(found[0] if is_one else {"explanations": found})

    async def _learned(self, request: Request) -> AsyncIterator[bytes]:
        """The margin of each line, as a line."""
        client = self._of(request)
        async for samples in _batches(request, labelled=True):
            margins = (await client.learn(_labelled(samples))).tolist()
            yield _lines(
                [{"margin": margin} | _id_of(sample)
                 for sample, margin in zip(samples, margins, strict=True)]
            )  # fmt: skip

    async def _predicted(self, request: Request) -> AsyncIterator[bytes]:
        """The prediction of each line, as a line."""
        output = request.query_params.get("output", "probability")
        top = request.query_params.get("top", "1")
        if not (top.isascii() and top.isdigit() and len(top) < 7):
            raise Problem(400, "BAD_REQUEST", "top: expected an integer from 0 to 100000")
        async for samples in _batches(request, labelled=False):
            found = await self._predictor.predict(
                request.path_params["model"], [s.features for s in samples], output, int(top)
            )
            yield _lines([one | _id_of(sample) for sample, one in zip(samples, found, strict=True)])

    def _of(self, request: Request) -> AsyncClient:
        """A client of the model in the path."""
        return self._client.model(request.path_params["model"])


def application(client: AsyncClient, tokens: Tokens) -> Starlette:
    """The door to the daemon of `client`, which is closed with it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await client.close()

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "BAD_REQUEST")
        return Problem(
            error.status_code, code, error.detail, headers=error.headers or {}
        ).response()

    handled = (Problem, ServiceError, TypeError, ValueError)
    return Starlette(
        routes=Door(client, tokens).routes(),
        exception_handlers={**dict.fromkeys(handled, respond), HTTPException: refuse},
        lifespan=lifespan,
    )


def _is_lines(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip() == _LINES


def _labelled(samples: Sequence[Sample]) -> list[tuple[Any, Any, float]]:
    return [(sample.features, sample.label, sample.importance) for sample in samples]


def _id_of(sample: Sample) -> dict[str, Any]:
    return {} if sample.id is None else {"id": sample.id}


def _json(value: Any) -> Response:
    """A reply whose texts may have bytes that are not UTF-8."""
    text = json.dumps(value, ensure_ascii=True, default=_shown)
    return Response(text, media_type="application/json")


def _shown(value: Any) -> Any:
    """What JSON has no form for: bytes as text, NumPy's values as Python's."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist()


def _lines(values: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


async def _batches(request: Request, *, labelled: bool) -> AsyncIterator[list[Sample]]:
    """The samples of a body of lines, as many at a time as have come, at most 1,024."""
    number = 0
    async for lines in lines_of(request):
        samples = []
        for line in lines:
            number += 1
            if line.strip():
                place = f"line {number}"
                samples.append(
                    sample_of(json_of(line, place), labelled=labelled, at=place, index=number - 1)
                )
        for start in range(0, len(samples), _BATCH):
            yield samples[start : start + _BATCH]


async def _stream(parts: AsyncIterator[bytes]) -> Response:
    """The lines of an answer. An error before the first is the answer; a later one ends the answer
    with a line of its problem, under the name "error".
    """
    try:
        first = await anext(parts, b"")
    except Exception as error:
        return problem_of(error).response()

    async def all_parts() -> AsyncIterator[bytes]:
        yield first
        try:
            async for part in parts:
                yield part
        except Exception as error:
            yield _lines([{"error": problem_of(error).document()}])

    return StreamingResponse(all_parts(), media_type=_LINES)
