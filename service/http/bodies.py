"""Bodies of requests: bounded, and read as JSON that has one meaning."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from onlinesvm.errors import format_text
from onlinesvm.service.http.problem import Problem

__all__ = ["MAX_BODY_BYTES", "MAX_LINE_BYTES", "MAX_TOTAL_BYTES", "Bodies", "json_of"]

MAX_BODY_BYTES = 16 * 2**20
MAX_LINE_BYTES = 2**20
MAX_TOTAL_BYTES = 256 * 2**20
_PIECE_S = 30.0  # a client that sends nothing for so long is sent away
_CLOSE = {"Connection": "close"}


class Bodies:
    """Reads the bodies of all requests, whose bytes under way are bounded together."""

    def __init__(self, max_total_bytes: int = MAX_TOTAL_BYTES, piece_s: float = _PIECE_S) -> None:
        self._max_total_bytes = max_total_bytes
        self._piece_s = piece_s
        self._held = 0

    @contextlib.asynccontextmanager
    async def object_in(self, request: Request) -> AsyncIterator[dict[str, Any]]:
        """The JSON object in the body of a request; its bytes count until the end of the context.

        Raises Problem.
        """
        parts, size = [], 0
        try:
            async for part in self._pieces(request):
                if size + len(part) > MAX_BODY_BYTES:
                    raise Problem(
                        413, "TOO_LARGE",
                        f"expected a body of at most {MAX_BODY_BYTES} bytes, got more",
                        headers=_CLOSE,
                    )  # fmt: skip
                self._take(len(part))
                size += len(part)
                parts.append(part)
            text = b"".join(parts)
            del parts
            yield _object_of(request, text)
        finally:
            self._held -= size

    @contextlib.asynccontextmanager
    async def lines_in(self, request: Request) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """The lines of a request's body, as many at a time as have come. Raises Problem."""
        with self._room(2 * MAX_LINE_BYTES):
            yield self._lines(request)

    @contextlib.contextmanager
    def _room(self, size: int) -> Iterator[None]:
        self._take(size)
        try:
            yield
        finally:
            self._held -= size

    def _take(self, size: int) -> None:
        """Count bytes that are under way. Raises Problem where there are too many."""
        if self._held + size > self._max_total_bytes:
            raise Problem(
                503, "BUSY",
                f"expected bodies of at most {self._max_total_bytes} bytes together, got more",
                retry_after_s=1.0, headers=_CLOSE,
            )  # fmt: skip
        self._held += size

    async def _lines(self, request: Request) -> AsyncIterator[list[bytes]]:
        rest: list[bytes] = []  # pieces of the last line
        size = 0
        async for part in self._pieces(request):
            first, *lines = part.split(b"\n")
            rest.append(first)
            size += len(first)
            if max(size, *map(len, lines), 0) > MAX_LINE_BYTES:
                raise Problem(
                    413, "TOO_LARGE",
                    f"expected lines of at most {MAX_LINE_BYTES} bytes, got more", headers=_CLOSE,
                )  # fmt: skip
            if lines:
                whole = [b"".join(rest), *lines[:-1]]
                rest, size = [lines[-1]], len(lines[-1])
                yield whole
        if size:
            yield [b"".join(rest)]

    async def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Problem for a client that is silent or leaves."""
        pieces = request.stream()
        while True:
            try:
                async with asyncio.timeout(self._piece_s):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise Problem(
                    408, "TIMEOUT", f"expected more of the body within {self._piece_s:g} s",
                    headers=_CLOSE,
                ) from None  # fmt: skip
            except ClientDisconnect:
                raise Problem(
                    400, "BAD_REQUEST", "expected a whole body, got the end of the connection"
                ) from None
            if piece is None:
                return
            if piece:
                yield piece


def _object_of(request: Request, text: bytes) -> dict[str, Any]:
    """The object that `text` is. Raises Problem."""
    if not text:
        return {}
    # A page of another site cannot send this type without being asked for permission first.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            415, "BAD_REQUEST", "expected a Content-Type of application/json,"
            f" got {format_text(kind) if kind else 'none'}",
        )  # fmt: skip
    value = json_of(text)
    if not isinstance(value, dict):
        raise Problem(400, "BAD_REQUEST", f"expected an object, got {type(value).__name__}", at="$")
    return value


def json_of(text: bytes, *, line: int | None = None) -> Any:
    """The JSON value in `text`. Raises Problem."""
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except RecursionError:
        error: Exception = ValueError("nested too deeply")
    except ValueError as caught:
        error = caught
    raise Problem(400, "BAD_REQUEST", f"expected JSON: {error}", line=line)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"expected a finite number, got {word}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Raises ValueError for a name that is there twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"expected each name once, got {format_text(name)} twice")
            seen.add(name)
    return members
