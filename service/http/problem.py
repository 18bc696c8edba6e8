"""Problems: every error as a problem document (RFC 9457), with the daemon's code and place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from onlinesvm.errors import LimitError, OnlineSVMError
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused

__all__ = ["Problem", "problem_of", "respond"]

# The status of each code of the daemon.
STATUS_OF = {
    "BAD_REQUEST": 400, "UNKNOWN_OP": 400, "NO_MODEL": 404, "EXISTS": 409, "DAMAGED": 500,
    "BAD_SAMPLE": 422, "TOO_LARGE": 413, "FORBIDDEN": 403, "SEQUENCE_GAP": 409, "READ_ONLY": 409,
    "BUSY": 503, "NOT_DURABLE": 503, "INTERNAL": 500,
}  # fmt: skip
_RETRY_S = 1.0


class Problem(Exception):
    """An error that answers a request.

    code: a stable word, the daemon's where it refused. at, sample: the place in the body, and the
    index of the sample. retry_after_s: when the request may succeed.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        at: str | None = None,
        sample: int | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.at = at
        self.sample = sample
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        members = {
            "type": "about:blank", "status": self.status, "title": self.code,
            "detail": self.detail, "code": self.code, "at": self.at, "sample": self.sample,
        }  # fmt: skip
        return {name: value for name, value in members.items() if value is not None}

    def response(self) -> Response:
        """The answer to a request."""
        if self.retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return JSONResponse(
            self.document(), self.status, self.headers, media_type="application/problem+json"
        )


def problem_of(error: Exception) -> Problem:
    """The problem that an error of the client is; the error itself if it is none of those."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestRefused):
        status = STATUS_OF.get(error.code, 500)
        retry_after_s = error.retry_after_s or (_RETRY_S if status == 503 else None)
        return Problem(
            status, error.code, error.message, at=error.at, sample=error.sample,
            retry_after_s=retry_after_s,
        )  # fmt: skip
    if isinstance(error, DaemonTimeout):
        return Problem(504, "TIMEOUT", str(error), retry_after_s=_RETRY_S)
    if isinstance(error, DaemonLost):
        return Problem(503, "UNREACHABLE", str(error), retry_after_s=_RETRY_S)
    if isinstance(error, LimitError):
        return Problem(413, "TOO_LARGE", str(error))
    if isinstance(error, OnlineSVMError | TypeError | ValueError):
        return Problem(422, "BAD_SAMPLE", str(error))
    raise error


async def respond(request: Request, error: Exception) -> Response:
    """Answer with a problem; a handler of exceptions."""
    return problem_of(error).response()
