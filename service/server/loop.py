"""The loop: one thread that owns the socket and the model.

A turn takes some messages from the socket, has all that they teach written to the journal at once,
then carries out and answers each in order of arrival, then sends what the worker has prepared. A
bad message gets an error and never stops the loop.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from onlinesvm.config import Limits
from onlinesvm.service.protocol import (
    DEFERRING,
    Id,
    Request,
    RequestError,
    encode_error,
    encode_reply,
    parse_request,
    split_envelope,
)
from onlinesvm.service.server.handlers import Fatal, Reply, Serving
from onlinesvm.service.server.router import Frames, Router

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

_RETRY_S = 0.02
_LONGEST_SLEEP_S = 1.0
# An envelope is echoed, so it is bounded, in bytes as a header is; a REQ's is one empty frame,
# proxies add a few.
_MAX_ENVELOPE_FRAMES = 16
# Requests that may wait for the worker; each costs little, but a client can send them without end.
_MAX_DEFERRED = 1024


@dataclass(slots=True)
class _Deferred:
    """A request whose answer the worker is preparing."""

    identity: bytes
    envelope: Frames
    id: Id
    answer: Future[Reply]


@dataclass(slots=True)
class _Message:
    """A message of a turn: who sent it, its envelope, and the request or what is wrong with it."""

    identity: bytes
    envelope: Frames
    parsed: Request | Exception


class Daemon:
    """Serves `serving` at the endpoint `bind` until SIGTERM, SIGINT or `stop`.

    ``tcp://127.0.0.1:*`` binds any free port; `endpoint` is the real one. Raises StateError if it
    cannot be bound.
    """

    def __init__(self, serving: Serving, bind: str, limits: Limits) -> None:
        self._serving = serving
        self._limits = limits
        self._router = Router(bind, limits)
        self.endpoint = self._router.endpoint
        self._stopping = False
        self._due = 0.0
        self._deferred: list[_Deferred] = []
        serving.wake = self._router.wake

    def stop(self) -> None:
        """Have `run` end after its turn; from any thread."""
        self._stopping = True
        self._router.wake()

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until stopped, then leave everything on disk.

        `on_ready` is called once a signal would be obeyed. Raises OSError if that fails, Fatal if
        the model can no longer be trusted.
        """
        try:
            with self._signals():
                on_ready()
                while not self._stopping:
                    self._turn()
                try:
                    self._serving.stop()
                finally:
                    self._answer_deferred()
        finally:
            self._router.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM, SIGINT and a hangup stop the loop, and wake it if it sleeps."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, lambda *_: self.stop()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _turn(self) -> None:
        self._serving.figures.dropped_requests = self._router.dropped_requests
        now = time.monotonic()
        if now >= self._due or self._router.was_woken:
            self._due = now + min(self._serving.tick(now), _LONGEST_SLEEP_S)
        sleep_s = self._due - now
        if self._router.keeps:
            sleep_s = min(sleep_s, _RETRY_S)
        messages = self._router.turn(max(0.0, sleep_s))
        self._router.retry()
        parsed = [self._parse(identity, frames) for identity, frames in messages]
        if parsed:
            self._serving.prepare([m.parsed for m in parsed if isinstance(m.parsed, Request)])
        for message in parsed:
            self._handle(message)
        self._answer_deferred()

    def _parse(self, identity: bytes, frames: Frames) -> _Message:
        """The request in a message, or what is wrong with it."""
        self._serving.figures.requests += 1
        envelope, rest = split_envelope(frames)
        fault = self._fault_of_envelope(envelope)
        if fault is not None:
            return _Message(identity, (), fault)
        try:
            return _Message(identity, envelope, parse_request(rest, self._limits, identity))
        except Exception as error:
            return _Message(identity, envelope, error)

    def _handle(self, message: _Message) -> None:
        identity, envelope, request = message.identity, message.envelope, message.parsed
        if isinstance(request, Exception):
            self._refuse(identity, envelope, getattr(request, "id", None), request)
            return
        try:
            if len(self._deferred) >= _MAX_DEFERRED and request.op in DEFERRING:
                raise RequestError(
                    "BUSY",
                    f"expected at most {_MAX_DEFERRED} requests that wait for a file, got one more",
                    None,
                    request.id,
                )
            answer = self._serving.handle(request)
        except Fatal:
            raise
        except Exception as error:
            self._refuse(identity, envelope, request.id, error)
        else:
            if isinstance(answer, Future):
                self._deferred.append(_Deferred(identity, envelope, request.id, answer))
            else:
                self._reply(identity, envelope, request.id, answer)

    def _fault_of_envelope(self, envelope: Frames) -> RequestError | None:
        if not envelope:
            return None
        frames, size = len(envelope), sum(map(len, envelope))
        if frames > _MAX_ENVELOPE_FRAMES:
            return RequestError(
                "BAD_REQUEST",
                f"expected an envelope of at most {_MAX_ENVELOPE_FRAMES} frames, got {frames}",
            )
        if size > self._limits.max_header_bytes:
            return RequestError(
                "TOO_LARGE",
                f"expected an envelope of at most {self._limits.max_header_bytes} bytes,"
                f" got {size}",
            )
        return None

    def _reply(self, identity: bytes, envelope: Frames, id: Id, reply: Reply) -> None:
        header = encode_reply(id, reply.keys)
        body = () if reply.body is None else (reply.body,)
        self._router.send(identity, (*envelope, header, *body))

    def _refuse(self, identity: bytes, envelope: Frames, id: Id, error: BaseException) -> None:
        if isinstance(error, RequestError):
            fault = error
        else:
            log.error("a request failed unexpectedly", exc_info=error)
            fault = RequestError("INTERNAL", f"{type(error).__name__}: {error}", None, id)
        self._serving.figures.errors[fault.code] += 1
        self._router.send(identity, (*envelope, encode_error(fault)))

    def _answer_deferred(self) -> None:
        """Send the answers that the worker has prepared."""
        done: list[_Deferred] = []
        waiting: list[_Deferred] = []
        for deferred in self._deferred:
            (done if deferred.answer.done() else waiting).append(deferred)
        if not done:
            return
        self._deferred = waiting
        # What the worker brought takes effect before anyone is told of it.
        self._serving.tick(time.monotonic())
        for deferred in done:
            error = deferred.answer.exception()
            if error is None:
                reply = deferred.answer.result()
                self._reply(deferred.identity, deferred.envelope, deferred.id, reply)
            else:
                self._refuse(deferred.identity, deferred.envelope, deferred.id, error)
