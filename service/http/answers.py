"""Answers: JSON that every reader takes, at once or line by line."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from onlinesvm.service.http.problem import json_bytes, problem_of

__all__ = ["LINES", "Json", "Lines", "lines_in", "plain", "streamed"]

LINES = "application/x-ndjson"


class Json(Response):
    """A value as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return json_bytes(content)


class Lines(Response):
    """The lines of `parts`, each sent as it comes.

    Starlette's StreamingResponse waits for the end of the client meanwhile, and so takes pieces of
    the body that are still to be read.
    """

    media_type = LINES

    def __init__(self, parts: AsyncGenerator[bytes]) -> None:
        self._parts = parts
        self.status_code = 200
        self.background = None
        self.init_headers()
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        async with contextlib.aclosing(self._parts) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def streamed(parts: AsyncGenerator[bytes]) -> Response:
    """The lines of an answer. An error before the first is the answer; a later one ends the answer
    with a line of its problem, under the name "error".
    """
    try:
        first = await anext(parts, b"")
    except Exception as error:
        return problem_of(error).response()

    async def all_parts() -> AsyncGenerator[bytes]:
        try:
            async with contextlib.aclosing(parts):
                yield first
                async for part in parts:
                    yield part
        except Exception as error:
            yield lines_in([{"error": problem_of(error).document()}])

    return Lines(all_parts())


def lines_in(values: Sequence[dict[str, Any]]) -> bytes:
    """Each value as a line."""
    return b"".join(json_bytes(value) + b"\n" for value in values)


def plain(value: Any) -> Any:
    """A figure of a reply as JSON has it: bytes as text, no NaN and no infinity.

    Recursive; replies are nested a few levels deep.
    """
    if isinstance(value, dict):
        return {str(plain(name)): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
