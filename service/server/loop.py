"""The loop: one thread that owns the socket and the models.

A turn takes some messages from the socket, plans all their requests at once (learn requests are
then in the log or on their way), carries out and answers each in order of arrival, then sends the
answers that were prepared beside the loop. A bad message gets an error and never stops the loop.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain

from onlinesvm.config import Limits
from onlinesvm.service.keys.permit import ANYONE
from onlinesvm.service.protocol import (
    DEFERRING,
    Id,
    Reply,
    Request,
    RequestError,
    encode_error,
    encode_reply,
    is_held,
    parse_request,
    split_envelope,
)
from onlinesvm.service.server.auth.access import Access
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.order import parts_of
from onlinesvm.service.server.plan import Fatal, Planned
from onlinesvm.service.server.router import Frames, Router, Sender
from onlinesvm.service.server.service import Answering

__all__ = ["Loop"]

log = logging.getLogger(__name__)

_RETRY_S = 0.02
# The time for a client to read some of its replies before it asks again.
_UNREAD_RETRY_S = 1.0
_LONGEST_SLEEP_S = 1.0
# An envelope is echoed, so it is bounded, in bytes as a header is; a REQ's is one empty frame,
# proxies add a few.
_MAX_ENVELOPE_FRAMES = 16
# Operations with long answers that change nothing.
_REPEATABLE = frozenset(("predict", "explain", "features", "labels", "fetch"))
# Requests that may wait for an answer; each costs little, but a client can send them without end.
_MAX_DEFERRED = 1024


@dataclass(slots=True)
class _Deferred:
    """A request whose answer is being prepared beside the loop."""

    sender: Sender
    envelope: Frames
    id: Id
    answer: Future[Reply]
    may_repeat: bool  # it changes nothing


@dataclass(slots=True)
class _Message:
    """A message of a turn: its sender, its envelope, and its request or the error that answers."""

    sender: Sender
    envelope: Frames
    parsed: Request | Exception


class Loop:
    """Turns of a socket bound to the endpoint `bind`; each is carried out by a service.

    `endpoint` is the real one. access: who may connect, and what each may do. on_hangup: is
    called after a SIGHUP, between turns. Raises StateError if it cannot be bound.
    """

    def __init__(
        self, bind: str, limits: Limits, counters: Counters, access: Access | None = None
    ) -> None:
        access = Access() if access is None else access
        self.counters = counters
        self.is_stopping = False
        self._limits = limits
        self._users = access.users
        self.on_hangup: Callable[[], None] = lambda: None
        self._has_hung_up = False
        self._router = Router(bind, limits, access)
        self.endpoint = self._router.endpoint
        self._due = 0.0
        self._deferred: list[_Deferred] = []

    def stop(self) -> None:
        """End `run` after its turn; from any thread."""
        self.is_stopping = True
        self._router.wake()

    def wake(self) -> None:
        """End a turn that waits; from any thread."""
        self._router.wake()

    def run(self, service: Answering, until: Callable[[], bool] = lambda: False) -> None:
        """Serve until stopped, or `until` returns True after a turn. Raises Fatal."""
        self._due = 0.0
        while not (self.is_stopping or until()):
            self._turn(service)

    def close(self) -> None:
        """Close the socket; replies that were sent are given a second to leave."""
        self._router.close()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT stop the loop, and a hangup read keys and settings again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            handlers[signal.SIGHUP] = self._hang_up
        before = {
            number: signal.signal(number, lambda *_, then=then: then())
            for number, then in handlers.items()
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hang_up(self) -> None:
        """Have keys and settings read again; from a signal handler."""
        self._has_hung_up = True
        self._router.wake()

    def _turn(self, service: Answering) -> None:
        if self._has_hung_up:
            self._has_hung_up = False
            self._users.reload()
            self.on_hangup()
        router, counters = self._router, self.counters
        counters.dropped_requests = router.dropped_requests
        counters.connections = router.door.connections
        counters.refused_connections = router.door.refused
        now = time.monotonic()
        if now >= self._due or self._router.was_woken:
            self._due = min(service.tick(now), now + _LONGEST_SLEEP_S)
            self._send_done()
        sleep_s = self._due - now
        if self._router.keeps:
            sleep_s = min(sleep_s, _RETRY_S)
        received = self._router.turn(max(0.0, sleep_s))
        self._router.retry()
        messages = [self._parse(sender, frames) for sender, frames in received]
        if messages:
            began = time.perf_counter()
            self._carry_out(service, messages)
            self.counters.note_turn(time.perf_counter() - began)
        self.answer_deferred(service)

    def _parse(self, sender: Sender, frames: Frames) -> _Message:
        """The request in a message, or the error that answers it."""
        self.counters.requests += 1
        envelope, rest = split_envelope(frames)
        refusal = self._error_of_envelope(envelope)
        if refusal is not None:
            return _Message(sender, (), refusal)
        permit = self._users.permit_of(sender.key)
        try:
            peer = sender.user.encode()
            request = parse_request(rest, self._limits, peer, permit or ANYONE)
            self.counters.operations[request.op] += 1
            self._users.check(permit, request)
            self._check_room(sender, request.id)
            self._users.quotas.enter(request, frames)
            return _Message(sender, envelope, request)
        except Exception as error:
            return _Message(sender, envelope, error)

    def _carry_out(self, service: Answering, messages: Sequence[_Message]) -> None:
        """Plan the requests of a turn, then answer each message in order."""
        requests = [m.parsed for m in messages if isinstance(m.parsed, Request)]
        plans = chain.from_iterable(map(service.plan, parts_of(requests)))
        for message in messages:
            request = message.parsed
            if isinstance(request, Request):
                self._handle(service, message, request, next(plans))
            else:
                self._refuse(message.sender, message.envelope, None, request)

    def _handle(
        self, service: Answering, message: _Message, request: Request, plan: Planned
    ) -> None:
        sender, envelope = message.sender, message.envelope
        try:
            if len(self._deferred) >= _MAX_DEFERRED and request.op in DEFERRING:
                raise RequestError(
                    "BUSY",
                    f"expected at most {_MAX_DEFERRED} requests that wait for a file, got one more",
                    None,
                    request.id,
                )
            if plan is None:  # those before it in its turn may have filled the queue
                self._check_room(sender, request.id)
            answer = service.handle(request, plan)
        except Fatal:
            raise
        except Exception as error:
            self._refuse(sender, envelope, request.id, error)
        else:
            if isinstance(answer, Future):
                may_repeat = request.op in _REPEATABLE and not is_held(request)
                deferred = _Deferred(sender, envelope, request.id, answer, may_repeat)
                self._deferred.append(deferred)
            else:
                self._reply(sender, envelope, request.id, answer)

    def _error_of_envelope(self, envelope: Frames) -> RequestError | None:
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

    def _check_room(self, sender: Sender, id: Id) -> None:
        """Raise RequestError (BUSY) where a client does not read its replies."""
        if self._router.is_full(sender):
            raise RequestError(
                "BUSY",
                "expected a client that reads its replies: 32 MiB of them wait",
                None,
                id,
                retry_after_s=_UNREAD_RETRY_S,
            )

    def _reply(self, sender: Sender, envelope: Frames, id: Id, reply: Reply) -> None:
        header = encode_reply(id, reply.keys)
        body = () if reply.body is None else (reply.body,)
        self._router.send(sender, (*envelope, header, *body))

    def _refuse(self, sender: Sender, envelope: Frames, id: Id, error: BaseException) -> None:
        refusal = error
        if not isinstance(refusal, RequestError):
            log.error("a request failed unexpectedly", exc_info=error)
            refusal = RequestError("INTERNAL", f"{type(error).__name__}: {error}", None, id)
        # Its frames hold the turn with all its messages, and these hold the error: a cycle.
        error.__traceback__ = None
        self.counters.errors[refusal.code] += 1
        self._router.send(sender, (*envelope, encode_error(refusal)))

    def answer_deferred(self, service: Answering | None = None) -> None:
        """Send the answers that were prepared beside the loop, after `service` has taken them."""
        if service is not None and any(deferred.answer.done() for deferred in self._deferred):
            service.tick(time.monotonic())  # an outcome takes effect before it is announced
        self._send_done()

    def _send_done(self) -> None:
        """Send the answers that are there."""
        done: list[_Deferred] = []
        waiting: list[_Deferred] = []
        for deferred in self._deferred:
            (done if deferred.answer.done() else waiting).append(deferred)
        self._deferred = waiting
        for deferred in done:
            if not self._router.is_open(deferred.sender):
                continue  # another client may have its identity by now
            try:
                reply = deferred.answer.result()
                if deferred.may_repeat:
                    self._check_room(deferred.sender, deferred.id)
            except Exception as error:
                self._refuse(deferred.sender, deferred.envelope, deferred.id, error)
            else:
                self._reply(deferred.sender, deferred.envelope, deferred.id, reply)
