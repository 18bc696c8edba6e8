"""The service manager that started the daemon, by systemd's notify protocol (sd_notify(3)).

A manager that is not there, or does not listen, changes nothing. The protocol is a datagram of
``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names; a library for it would be longer
than it is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from onlinesvm.service.protocol import Request
from onlinesvm.service.server.answer import Answer
from onlinesvm.service.server.plan import Planned
from onlinesvm.service.server.service import Answering
from onlinesvm.service.server.slices import Slices

__all__ = ["Supervised", "Supervisor"]

# A start or a stop that takes longer asks for as much time again, while it goes on.
_EXTENSION_S = 30.0
_STOPPING_EVERY_S = 10.0
_MORE_TIME = f"EXTEND_TIMEOUT_USEC={_EXTENSION_S * 1e6:.0f}"
_EVERY_S = 1.0


class Supervisor:
    """Reports to the manager that the environment names, if any.

    watchdog_s: how long the manager waits for `alive`; None where it does not.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_s = _watchdog_of(environment)
        self._every_s = min(_EVERY_S, (self.watchdog_s or 2 * _EVERY_S) / 2)
        self._due = 0.0

    def loading(self) -> None:
        """Ask for more time to start: the daemon is at work."""
        self._at_times(_MORE_TIME)

    def ready(self, status: str) -> None:
        """Say that the daemon serves."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Say that the loop turns; at most once a second is sent."""
        if self.watchdog_s is not None:
            self._at_times("WATCHDOG=1")

    @contextlib.contextmanager
    def stopping(self) -> Iterator[None]:
        """Say that the daemon leaves its state on disk, and ends; ask for more time meanwhile."""
        self._send("STOPPING=1", _MORE_TIME)
        if not self._address:
            yield
            return
        is_done = threading.Event()

        def ask() -> None:
            while not is_done.wait(_STOPPING_EVERY_S):
                self._send(_MORE_TIME)

        thread = threading.Thread(target=ask, name="onlinesvm-supervisor", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread can be had: stop all the same
            thread.start()
        try:
            yield
        finally:
            is_done.set()
            if thread.ident is not None:
                thread.join()

    def _at_times(self, line: str) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._every_s
            self._send(line)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.setblocking(False)
            to.sendto("\n".join(lines).encode(), self._address)


class Supervised:
    """A service of which each tick is reported."""

    def __init__(self, service: Answering, report: Callable[[], None]) -> None:
        self._service = service
        self._report = report

    def read(self, request: Request) -> Slices[Answer]:
        """As the service has it."""
        return self._service.read(request)

    def plan(self, requests: Sequence[Request]) -> Slices[Sequence[Planned]]:
        """As the service has it."""
        return self._service.plan(requests)

    def handle(self, request: Request, plan: Planned) -> Slices[Answer]:
        """As the service has it."""
        return self._service.handle(request, plan)

    def waited(self) -> Slices[None]:
        """As the service has it."""
        return self._service.waited()

    def tick(self, now: float) -> float:
        """Report, and have the service do what is due."""
        self._report()
        return self._service.tick(now)


def _watchdog_of(environment: Mapping[str, str]) -> float | None:
    """The seconds within which the manager expects a sign of life of this process."""
    wanted = environment.get("WATCHDOG_USEC", "")
    me = str(os.getpid())
    if not wanted.isdecimal() or environment.get("WATCHDOG_PID", me) != me:
        return None
    return int(wanted) / 1e6
