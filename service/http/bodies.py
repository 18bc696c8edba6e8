"""Bodies of requests: bounded, and read as JSON that has one meaning."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, NoReturn

from starlette.requests import ClientDisconnect, Request

from onlinesvm.errors import format_text
from onlinesvm.service.http.problem import Problem

__all__ = [
    "MAX_BODY_BYTES",
    "Sample",
    "json_of",
    "lines_of",
    "object_in",
    "sample_of",
    "samples_of",
]

MAX_BODY_BYTES = 16 * 2**20
_MAX_LINE_BYTES = 2**20


class Sample(NamedTuple):
    """A sample of a body. label, id: absent (None) where the body has none."""

    features: Any
    label: Any
    importance: float
    id: Any


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"expected a finite number, got {word}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Raises ValueError for a name that stands twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"expected each name once, got {format_text(twice)} twice")
    return members


def json_of(text: bytes, place: str = "the body") -> Any:
    """The JSON value in `text`. Raises Problem."""
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "BAD_REQUEST", f"{place}: expected JSON: {error}") from None


async def object_in(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request. Raises Problem."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Problem(
                413, "TOO_LARGE", f"expected a body of at most {MAX_BODY_BYTES} bytes, got more"
            )
        parts.append(part)
    value = json_of(b"".join(parts) or b"{}")
    if not isinstance(value, dict):
        raise Problem(400, "BAD_REQUEST", f"expected an object, got {type(value).__name__}", at="$")
    return value


async def lines_of(request: Request) -> AsyncIterator[list[bytes]]:
    """The lines of a request's body, as many at a time as have come. Raises Problem."""
    rest = b""
    try:
        async for part in request.stream():
            *lines, rest = (rest + part).split(b"\n")
            if max(map(len, (*lines, rest))) > _MAX_LINE_BYTES:
                raise Problem(
                    413, "TOO_LARGE", f"expected lines of at most {_MAX_LINE_BYTES} bytes, got more"
                )
            if lines:
                yield lines
    except ClientDisconnect:
        return
    if rest:
        yield [rest]


def samples_of(body: dict[str, Any], *, labelled: bool) -> tuple[list[Sample], bool]:
    """The samples of a body, and True where it is one sample and not an array of them.

    Raises Problem.
    """
    if "samples" not in body:
        return [sample_of(body, labelled=labelled, at="$")], True
    given = body.pop("samples")
    if not isinstance(given, list):
        raise Problem(
            400, "BAD_REQUEST", f"expected an array, got {type(given).__name__}", at="$.samples"
        )
    at = "$.samples[{}]"
    return [
        sample_of(one, labelled=labelled, at=at.format(i), index=i) for i, one in enumerate(given)
    ], False


def sample_of(given: Any, *, labelled: bool, at: str, index: int = 0) -> Sample:
    """A sample, an object of features, label, importance, id. Raises Problem."""
    if not isinstance(given, dict) or "features" not in given:
        raise _bad("expected an object with features", at, index)
    if labelled and "label" not in given:
        raise _bad("expected an object with features and label", at, index)
    importance = given.get("importance", 1.0)
    if type(importance) not in (int, float) or not math.isfinite(importance):
        raise _bad("expected a number", f"{at}.importance", index)
    return Sample(given["features"], given.get("label"), importance, given.get("id"))


def _bad(detail: str, at: str, index: int) -> Problem:
    return Problem(422, "BAD_SAMPLE", detail, at=at, sample=index)
