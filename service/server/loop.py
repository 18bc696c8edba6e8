"""The loop: one thread that owns the socket and the models.

It looks at the socket, answers the requests that change nothing and have no other of their
connection and model before them, then does a slice of the work under way, and looks again. The
work is a turn: it takes some of the requests that wait, plans them at once (learn requests are then
in the log or on their way), then carries out and answers each in its order. Between turns, models
come and go. A bad message gets an error and never stops the loop.
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
from onlinesvm.service.server.answer import Answer
from onlinesvm.service.server.auth.access import Access
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.lines import FEATURE_BYTES, Lines, Message
from onlinesvm.service.server.order import parts_of
from onlinesvm.service.server.plan import Change, Fatal, Planned
from onlinesvm.service.server.router import Frames, Router, Sender
from onlinesvm.service.server.service import Answering
from onlinesvm.service.server.slices import SLICE_S, Slices
from onlinesvm.service.server.work import Work

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
    """A request whose answer is being prepared beside the loop. holds_up: those after it wait."""

    message: Message
    id: Id
    answer: Future[Reply]
    holds_up: bool
    may_repeat: bool  # it changes nothing


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
        self._is_woken = False  # since the last tick
        self._lines = Lines()
        self._work = Work()
        self._deferred: list[_Deferred] = []

    def stop(self) -> None:
        """End `run` after the work under way; from any thread."""
        self.is_stopping = True
        self._router.wake()

    def wake(self) -> None:
        """Have the loop look at what is due; from any thread."""
        self._router.wake()

    def run(self, service: Answering, until: Callable[[], bool] = lambda: False) -> None:
        """Serve until stopped, or `until` returns True between turns. Raises Fatal."""
        self._due = 0.0
        while self._work or not (self.is_stopping or until()):
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
        """Look at the socket, answer what can be answered, and do a slice of the work."""
        if self._work.is_between:
            self._rest(service)
        received = self._receive()
        began = time.perf_counter()
        for sender, frames in received:
            self._admit(service, self._parse(sender, frames))
        if self._work.is_between and self._lines and not self.is_stopping:
            self._work.begin(self._carry_out(service, self._lines.take()))
        if self._work:
            # As much for the work as for those that are answered before it, within bounds.
            spent = time.perf_counter() - began
            self._do_work(min(max(SLICE_S, spent), 4 * SLICE_S))
        elif not received:
            return
        self.counters.note_turn(time.perf_counter() - began)

    def _do_work(self, seconds: float) -> None:
        """Work for about so long, or until there is nothing but waiting to do. Raises Fatal."""
        work, began = self._work, time.perf_counter()
        while (job := work.next()) is not None:
            try:
                awaited = next(job)
            except StopIteration:
                work.ended(job)
            else:
                work.paused(job, awaited)
            if time.perf_counter() - began >= seconds:
                return

    def _rest(self, service: Answering) -> None:
        """Do between two turns what is due."""
        if self._has_hung_up:
            self._has_hung_up = False
            self._users.reload()
            self.on_hangup()
        router, counters = self._router, self.counters
        counters.dropped_requests = router.dropped_requests
        counters.connections = router.door.connections
        counters.refused_connections = router.door.refused
        now = time.monotonic()
        # An outcome takes effect before it is announced.
        if now >= self._due or self._is_woken or any(each.answer.done() for each in self._deferred):
            self._is_woken = False
            self._due = min(service.tick(now), now + _LONGEST_SLEEP_S)
            self._work.begin(service.waited())
            self.answer_deferred()

    def _receive(self) -> list[tuple[Sender, Frames]]:
        """Messages that have come; waits for one while there is nothing else to do."""
        router, awaited = self._router, self._work.awaited
        if self._lines.is_full or self.is_stopping:
            if awaited is not None:
                awaited.wait(_RETRY_S)
            router.retry()
            return []
        sleep_s = 0.0
        if awaited is not None or not (self._work or self._lines):
            sleep_s = max(0.0, self._due - time.monotonic())
            if router.keeps:
                sleep_s = min(sleep_s, _RETRY_S)
        if awaited is not None:
            awaited.call_when_done(router.wake)
        received = router.turn(sleep_s)
        self._is_woken |= router.was_woken
        router.retry()
        return received

    def _admit(self, service: Answering, message: Message) -> None:
        """Answer a message, or let it wait for its turn."""
        if not message.is_read or self._lines.must_wait(message):
            self._lines.add(message)
        elif message.is_quick:
            for _ in self._read(service, message):  # a read has nothing to wait for
                pass
        else:
            self._lines.begin_read(message)
            self._work.read(self._read_long(service, message))

    def _read(self, service: Answering, message: Message) -> Slices[float]:
        """Answer a message that changes nothing; what that costs."""
        request = message.parsed
        if isinstance(request, Request):
            return (yield from self._handle(message, request, None, service.read(request)))
        return self._refuse(message, None, request)

    def _read_long(self, service: Answering, message: Message) -> Slices[None]:
        """The same for one that needs many slices."""
        cost = yield from self._read(service, message)
        self._lines.end_read(message, cost + message.size)

    def _parse(self, sender: Sender, frames: Frames) -> Message:
        """The request in a message, or the error that answers it."""
        self.counters.requests += 1
        envelope, rest = split_envelope(frames)
        refusal = self._error_of_envelope(envelope)
        if refusal is not None:
            return Message(sender, (), refusal)
        permit = self._users.permit_of(sender.key)
        try:
            peer = sender.user.encode()
            request = parse_request(rest, self._limits, peer, permit or ANYONE)
            self.counters.operations[request.op] += 1
            self._users.check(permit, request)
            self._check_room(sender, request.id)
            self._users.quotas.enter(request, frames)
            return Message(sender, envelope, request)
        except Exception as error:
            return Message(sender, envelope, error)

    def _carry_out(self, service: Answering, messages: Sequence[Message]) -> Slices[None]:
        """Plan the requests of a turn, then answer each message in order."""
        rest = iter(messages)
        requests = [m.parsed for m in messages if isinstance(m.parsed, Request)]
        for part in parts_of(requests):
            plans = yield from service.plan(part)
            for plan in plans:
                yield from self._answer_next(service, rest, plan)
        for message in rest:
            if not isinstance(message.parsed, Request):
                self._lines.answered(message, self._refuse(message, None, message.parsed))

    def _answer_next(
        self, service: Answering, messages: Iterator[Message], plan: Planned
    ) -> Slices[None]:
        """Answer the messages up to the next request, and that one by its plan."""
        for message in messages:
            request = message.parsed
            if not isinstance(request, Request):
                self._lines.answered(message, self._refuse(message, None, request))
                continue
            work = service.handle(request, plan)
            cost = yield from self._handle(message, request, plan, work)
            if isinstance(plan, Change):
                cost += FEATURE_BYTES * plan.features
            self._lines.answered(message, cost)
            yield None
            return

    def _handle(
        self, message: Message, request: Request, plan: Planned, work: Slices[Answer]
    ) -> Slices[float]:
        """Do the work of a request, and answer it; what that costs."""
        try:
            # What is planned is in the log, or waits already: it cannot be refused any more.
            if plan is None:
                self._check_deferred(request)
                # Those before it in its turn may have filled the queue.
                self._check_room(message.sender, request.id)
            answer = yield from work
        except Fatal:
            raise
        except Exception as error:
            return self._refuse(message, request.id, error)
        if not isinstance(answer, Future):
            return self._reply(message, request.id, answer)
        # A request that waits for its model holds up those after it; one that waits for a file of
        # its own does not.
        holds_up = request.op not in DEFERRING
        may_repeat = request.op in _REPEATABLE and not is_held(request)
        self._lines.hold(message, holds_up=holds_up)
        self._deferred.append(_Deferred(message, request.id, answer, holds_up, may_repeat))
        return 0.0

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

    def _check_deferred(self, request: Request) -> None:
        """Raise RequestError (BUSY) where as many answers are being prepared as may be."""
        if len(self._deferred) >= _MAX_DEFERRED and request.op in DEFERRING:
            raise RequestError(
                "BUSY",
                f"expected at most {_MAX_DEFERRED} requests that wait for a file, got one more",
                None,
                request.id,
            )

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

    def _reply(self, message: Message, id: Id, reply: Reply) -> float:
        """Send a reply; what that costs."""
        header = encode_reply(id, reply.keys)
        body = () if reply.body is None else (reply.body,)
        self._send(message, header, *body)
        return len(reply.body or b"")

    def _refuse(self, message: Message, id: Id, error: BaseException) -> float:
        """Send an error; what that costs."""
        refusal = error
        if not isinstance(refusal, RequestError):
            log.error("a request failed unexpectedly", exc_info=error)
            refusal = RequestError("INTERNAL", f"{type(error).__name__}: {error}", None, id)
        # Its frames hold the turn with all its messages, and these hold the error: a cycle.
        error.__traceback__ = None
        self.counters.errors[refusal.code] += 1
        self._send(message, encode_error(refusal))
        return 0.0

    def _send(self, message: Message, *frames: bytes) -> None:
        """Send the frames of a reply, unless another client may have the sender's identity now."""
        if not message.has_waited or self._router.is_open(message.sender):
            self._router.send(message.sender, (*message.envelope, *frames))

    def answer_deferred(self) -> None:
        """Send the answers that were prepared beside the loop."""
        done: list[_Deferred] = []
        waiting: list[_Deferred] = []
        for deferred in self._deferred:
            (done if deferred.answer.done() else waiting).append(deferred)
        self._deferred = waiting
        for deferred in done:
            message = deferred.message
            if deferred.holds_up:
                self._lines.answered(message, 0.0)
            try:
                reply = deferred.answer.result()
                if deferred.may_repeat:
                    self._check_room(message.sender, deferred.id)
            except Exception as error:
                self._refuse(message, deferred.id, error)
            else:
                self._reply(message, deferred.id, reply)
