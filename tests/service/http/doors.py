"""``onlinesvm http`` in a process of its own, and checks of its answers, for the tests."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
from typing import Any

import httpx

from tests.daemons import DEADLINE_S, HOUSE, eventually

__all__ = ["DoorProcess", "check_schema", "problem"]


class DoorProcess:
    """A door to the daemon at `endpoint`, answering when this returns.

    Fails on a traceback or a warning among what it wrote to stderr.
    """

    def __init__(self, endpoint: str, *flags: object, token: str | None = None) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-W", "error", "-m", "onlinesvm.service", "http", "--connect",
                endpoint, "--listen", "127.0.0.1:0", *map(str, flags),
            ],
            cwd=HOUSE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        eventually(
            lambda: "ready" in self.log or self.process.poll() is not None, "a door that answers"
        )
        started = re.search(r"http://127\.0\.0\.1:(\d+) ", self.log)
        assert started, self.log
        self.port = int(started[1])
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE_S, headers=headers,
            trust_env=False,
        )  # fmt: skip

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        """Its stderr so far."""
        return "".join(self._lines)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """The answer to a POST for a path below the models."""
        return self.http.post(f"/v1/models/{path}", json=body, **options)

    def raw(self, sent: bytes) -> bytes:
        """All that comes back for bytes, up to the end of the connection."""
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) as peer:
            answer = b""
            with contextlib.suppress(ConnectionError):
                peer.sendall(sent)
            with contextlib.suppress(ConnectionError):
                while piece := peer.recv(65_536):
                    answer += piece
            return answer

    def memory_bytes(self) -> int:
        """Its resident memory."""
        with open(f"/proc/{self.process.pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * 4096

    def __enter__(self) -> DoorProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.http.close()
        self.process.terminate()
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(DEADLINE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        if kind is None:
            assert code == 0, (code, self.log)
            for sign in ("Traceback", "Warning", "Exception ignored"):
                assert sign not in self.log, self.log


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document in an answer of that status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert (document["status"], document["code"]) == (status, code), document
    assert document["detail"] and document["title"]
    return document


_TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "number": (int, float), "integer": int,
}  # fmt: skip
_NOTES = {"description", "default"}


def check_schema(value: Any, schema: dict[str, Any], at: str = "$") -> None:
    """Fail unless `value` is of a JSON schema, of the keywords that the door's document uses."""
    for keyword, given in schema.items():
        if keyword == "type":
            names = [given] if isinstance(given, str) else given
            fits = [isinstance(value, _TYPES[name]) for name in names]
            is_bool = isinstance(value, bool) and "boolean" not in names
            assert any(fits) and not is_bool, f"{at}: {value!r} is none of {names}"
        elif keyword == "required":
            assert set(given) <= set(value), f"{at}: {given} in {value}"
        elif keyword == "properties":
            for name in value.keys() & given.keys():
                check_schema(value[name], given[name], f"{at}.{name}")
        elif keyword == "items":
            for i, one in enumerate(value):
                check_schema(one, given, f"{at}[{i}]")
        elif keyword == "enum":
            assert value in given, f"{at}: {value!r} is none of {given}"
        elif keyword == "minimum":
            assert value >= given, f"{at}: {value!r} < {given}"
        elif keyword == "oneOf":
            assert sum(_fits(value, one) for one in given) == 1, f"{at}: {value!r}"
        elif keyword == "anyOf":
            assert any(_fits(value, one) for one in given), f"{at}: {value!r}"
        else:
            assert keyword in _NOTES, f"{at}: unknown keyword {keyword}"


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    try:
        check_schema(value, schema)
    except AssertionError:
        return False
    return True
