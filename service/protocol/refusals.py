"""Refusals: the codes of errors, and the error of a request.

    code          the request
    BAD_REQUEST   is not one of this protocol
    UNKNOWN_OP    asks for an operation that does not exist
    BAD_SAMPLE    has a sample that cannot be learned or scored, at `at`
    TOO_LARGE     exceeds a limit
    NO_MODEL      names a model that the daemon does not have
    EXISTS        would create a model under a name that is taken
    DAMAGED       is for a model that neither its snapshots nor the log make whole
    FORBIDDEN     is not permitted to its user
    SEQUENCE_GAP  has a number that does not follow the producer's last one
    READ_ONLY     would change a model that is served read-only
    BUSY          cannot be answered now, and may be sent again
    NOT_DURABLE   could not be written to the log, and may be sent again
    INTERNAL      failed

Clients go by the codes; the messages beside them are for people.
"""

from __future__ import annotations

from typing import Any

from onlinesvm.errors import BodyError, LimitError, OnlineSVMError, SampleError
from onlinesvm.service.errors import RequestRefused

__all__ = [
    "CODES",
    "Id",
    "RequestError",
    "code_of",
    "refusal_of",
    "request_error_of",
]

CODES = (
    "BAD_REQUEST",
    "UNKNOWN_OP",
    "BAD_SAMPLE",
    "TOO_LARGE",
    "NO_MODEL",
    "EXISTS",
    "DAMAGED",
    "FORBIDDEN",
    "SEQUENCE_GAP",
    "READ_ONLY",
    "BUSY",
    "NOT_DURABLE",
    "INTERNAL",
)
Id = int | str | bytes | None


class RequestError(OnlineSVMError):
    """A request that is answered with an error. `id` is the request's, nil where unreadable.

    at: the path to the wrong value in the body. sample: the index of the sample that it is in.
    retry_after_s: the seconds after which a request that is BUSY may succeed, where that is known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        at: str | None = None,
        id: Id = None,
        sample: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, message, at)
        self.code = code
        self.message = message
        self.at = at
        self.id = id
        self.sample = sample
        self.retry_after_s = retry_after_s


def code_of(error: BodyError | SampleError) -> str:
    """The wire's code for an error in a request's body."""
    if isinstance(error, LimitError):
        return "TOO_LARGE"
    return "BAD_SAMPLE" if isinstance(error, SampleError) else "BAD_REQUEST"


def request_error_of(error: BodyError | SampleError, id: Id) -> RequestError:
    """The error that answers a request with `error` in its body."""
    if isinstance(error, SampleError):
        return RequestError(code_of(error), error.message, error.at, id, _sample_of(error))
    return RequestError(code_of(error), str(error), None, id)


def _sample_of(error: SampleError) -> int | None:
    """The index of the sample that `error` is in; None where it is in the batch as a whole."""
    first = error.path[0] if error.path else None
    return first if isinstance(first, int) else None


def refusal_of(header: dict[str, Any]) -> RequestRefused:
    """The exception for an error's header. Keys of another type than the protocol's are dropped."""
    error = header["error"]
    at, sample, seconds = error.get("at"), error.get("sample"), error.get("retry_after_s")
    return RequestRefused(
        str(error.get("code")),
        str(error.get("message")),
        at if isinstance(at, str) else None,
        sample=sample if type(sample) is int and sample >= 0 else None,
        retry_after_s=seconds if isinstance(seconds, int | float) else None,
    )
