"""The requests that wait for their turn, a line for each connection.

A connection's requests are carried out in the order in which they came. Those that change nothing
may be answered at once where no other of their connection and model waits. Of several connections
the next request is one of the connection that has had least, in bytes and features; so a
connection's large or many requests delay its own, not those of others.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import dataclass, field

from onlinesvm.service.protocol import MODELLESS, Request, is_held
from onlinesvm.service.server.router import Frames, Sender

__all__ = ["TURN_BYTES", "TURN_MESSAGES", "Lines", "Message"]

# A turn ends when either is reached.
TURN_MESSAGES = 64
TURN_BYTES = 4 * 2**20
# Requests that wait in all, beside the first of each connection; those beyond wait in the socket,
# and so do all after them.
_MAX_WAITING = 4096
_MAX_WAITING_BYTES = 16 * 2**20
# Beside its body, a request costs as much as so many bytes.
_REQUEST_BYTES = 256
# A feature costs as much as so many bytes of a reply.
FEATURE_BYTES = 16
# Connections that are remembered, with what they have had.
_MAX_LINES = 4096
# Requests that change nothing and need no log, and how many bytes of them are answered at once.
_QUICK_BYTES = {
    "ping": 2**13, "models": 2**13, "predict": 2**13, "labels": 2**13, "explain": 2**10,
    "features": 2**10,
}  # fmt: skip


@dataclass(slots=True, eq=False)
class Message:
    """A message: its sender, its envelope, and its request or the error that answers it."""

    sender: Sender
    envelope: Frames
    parsed: Request | Exception
    has_waited: bool = False  # its connection may be closed by now

    @property
    def size(self) -> int:
        return len(self.parsed.body) if isinstance(self.parsed, Request) else 0

    @property
    def model(self) -> str | None:
        """The name of its model; None where it has none."""
        request = self.parsed
        if not isinstance(request, Request) or request.op in MODELLESS:
            return None
        return request.model

    @property
    def is_read(self) -> bool:
        """True where it changes nothing and needs no log."""
        request = self.parsed
        if not isinstance(request, Request):
            return True
        return request.op in _QUICK_BYTES and not is_held(request)

    @property
    def is_quick(self) -> bool:
        """True for a read so small that it needs no slices."""
        request = self.parsed
        return not isinstance(request, Request) or len(request.body) <= _QUICK_BYTES[request.op]


@dataclass(slots=True, eq=False)
class _Line:
    """The requests of a connection. unanswered: how many, by model. spent: what it has had."""

    spent: float
    waiting: deque[Message] = field(default_factory=deque)
    unanswered: Counter[str | None] = field(default_factory=Counter)
    reads: int = 0  # long ones under way: what comes after them waits
    is_ready: bool = False  # it is among those of which the next is taken


class Lines:
    """The lines of all connections."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._ready: list[tuple[float, int, _Line]] = []  # a heap; `spent` may have grown since
        self._number = self._bytes = 0  # that wait
        self._waiting = 0  # lines with any
        self._order = 0  # of equals, the one that came first
        self._floor = 0.0  # what the connection had that was last taken from

    def __bool__(self) -> bool:
        """True where a turn can be made."""
        return bool(self._ready)

    @property
    def is_full(self) -> bool:
        """True while no more is to be taken from the socket: some connection has several requests
        waiting, and all of them are many.
        """
        are_many = self._number >= _MAX_WAITING or self._bytes >= _MAX_WAITING_BYTES
        return are_many and self._number > self._waiting

    def must_wait(self, message: Message) -> bool:
        """True where an earlier request of the same connection and model is not answered yet; of
        one without a model, where any is not.
        """
        line = self._lines.get(message.sender.user)
        if line is None:
            return False
        model = message.model
        return bool(line.unanswered.total() if model is None else line.unanswered[model])

    def add(self, message: Message) -> None:
        """Let a message wait for its turn."""
        message.has_waited = True
        line = self._line_of(message)
        line.unanswered[message.model] += 1
        self._waiting += not line.waiting
        line.waiting.append(message)
        self._number += 1
        self._bytes += message.size
        self._make_ready(line)

    def hold(self, message: Message, *, holds_up: bool) -> None:
        """Note that a message is answered later; it may hold up those after it, until it is
        `answered` once more.
        """
        message.has_waited = True
        if holds_up:
            self._line_of(message).unanswered[message.model] += 1

    def begin_read(self, message: Message) -> None:
        """Let those after a message wait that is read beside the turns."""
        message.has_waited = True
        line = self._line_of(message)
        line.unanswered[message.model] += 1
        line.reads += 1

    def end_read(self, message: Message, cost: float) -> None:
        """Note that a message was read, and what it cost."""
        line = self._line_of(message)
        line.reads -= 1
        self.answered(message, cost)
        self._make_ready(line)

    def answered(self, message: Message, cost: float) -> None:
        """Note that a message was answered, and what it cost."""
        line = self._line_of(message)
        line.spent += cost
        line.unanswered[message.model] -= 1
        if not line.unanswered[message.model]:
            del line.unanswered[message.model]

    def take(self) -> list[Message]:
        """The messages of the next turn, in order."""
        taken: list[Message] = []
        size = 0
        while self._ready and len(taken) < TURN_MESSAGES and size < TURN_BYTES:
            spent, order, line = heapq.heappop(self._ready)
            if line.reads:
                line.is_ready = False
                continue
            if spent < line.spent:
                heapq.heappush(self._ready, (line.spent, order, line))
                continue
            self._floor = spent
            message = line.waiting.popleft()
            self._waiting -= not line.waiting
            taken.append(message)
            size += message.size
            line.spent += _REQUEST_BYTES + message.size
            self._number -= 1
            self._bytes -= message.size
            line.is_ready = False
            self._make_ready(line)
        return taken

    def _make_ready(self, line: _Line) -> None:
        if not line.waiting or line.reads or line.is_ready:
            return
        line.is_ready = True
        self._order += 1
        heapq.heappush(self._ready, (line.spent, self._order, line))

    def _line_of(self, message: Message) -> _Line:
        """The line of its connection; one that had nothing to do has no claim for that time."""
        user = message.sender.user
        line = self._lines.get(user)
        if line is None:
            if len(self._lines) >= _MAX_LINES:
                self._lines = {name: each for name, each in self._lines.items() if each.unanswered}
            line = self._lines[user] = _Line(self._floor)
        elif not line.unanswered:
            line.spent = max(line.spent, self._floor)
        return line
