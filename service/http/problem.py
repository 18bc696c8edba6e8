"""Problems: every error as a problem document (RFC 9457), with the daemon's code and place."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from onlinesvm.service.errors import (
    DaemonLost,
    DaemonTimeout,
    DaemonUnreachable,
    RequestRefused,
)

__all__ = ["STATUS_OF", "Problem", "json_bytes", "problem_of"]

log = logging.getLogger(__name__)

# The status of each code of the daemon.
STATUS_OF = {
    "BAD_REQUEST": 400, "UNKNOWN_OP": 501, "NO_MODEL": 404, "EXISTS": 409, "DAMAGED": 500,
    "BAD_SAMPLE": 422, "TOO_LARGE": 413, "FORBIDDEN": 403, "SEQUENCE_GAP": 409, "READ_ONLY": 409,
    "BUSY": 503, "NOT_DURABLE": 503, "INTERNAL": 500,
}  # fmt: skip
_RETRY_S = 1.0


class Problem(Exception):
    """An error that answers a request.

    code: a stable word, the daemon's where it refused. at, sample, line: the place in the body, the
    index of the sample, and its line, where the body has lines. retry_after_s: when the request may
    succeed.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        at: str | None = None,
        sample: int | None = None,
        line: int | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self._members = {
            "type": "about:blank", "status": status, "title": code.replace("_", " ").capitalize(),
            "detail": detail, "code": code, "at": at, "sample": sample, "line": line,
        }  # fmt: skip
        self.status = status
        self._headers = dict(headers or {})
        if retry_after_s is not None:
            self._headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {name: value for name, value in self._members.items() if value is not None}

    def response(self) -> Response:
        """The answer to a request."""
        return Response(
            json_bytes(self.document()), self.status, self._headers,
            media_type="application/problem+json",
        )  # fmt: skip


def json_bytes(value: Any) -> bytes:
    """`value` as JSON in UTF-8; "?" for what of a text is not UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def problem_of(error: Exception, line: int | None = None) -> Problem:
    """The problem that an error is, in that line of the body."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestRefused):
        status = STATUS_OF.get(error.code, 500)
        retry_after_s = error.retry_after_s or (_RETRY_S if status == 503 else None)
        return Problem(
            status, error.code, error.message, at=error.at, sample=error.sample, line=line,
            retry_after_s=retry_after_s,
        )  # fmt: skip
    if isinstance(error, DaemonUnreachable):
        return Problem(503, "UNREACHABLE", str(error), retry_after_s=_RETRY_S)
    # From here on it is unknown if the request was applied, so nothing invites to send it again.
    if isinstance(error, DaemonLost):
        return Problem(502, "LOST", f"{error}; it is unknown if the request was applied")
    if isinstance(error, DaemonTimeout):
        return Problem(504, "TIMEOUT", f"{error}; it is unknown if the request was applied")
    log.error("a request failed unexpectedly", exc_info=error)
    return Problem(500, "INTERNAL", f"the door failed: {type(error).__name__}")
