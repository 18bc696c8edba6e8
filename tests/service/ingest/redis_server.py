"""A redis-server of the tests: on a port of its own, killed and started again at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.daemons import DEADLINE_S, eventually

__all__ = ["RedisServer"]


class RedisServer:
    """Its data is in `folder`. fsync: "always": a write is on disk before it is answered."""

    def __init__(self, folder: Path, *, fsync: str = "no") -> None:
        self.folder, self.fsync = folder, fsync
        folder.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> Any:
        import redis

        return redis.Redis(port=self.port, protocol=2)

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None
        self.process = subprocess.Popen(
            [
                program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                "--appendonly", "yes", "--appendfsync", self.fsync, "--save", "",
                "--logfile", os.fspath(self.folder / "redis.log"),
            ]
        )  # fmt: skip
        import redis

        def is_up() -> bool:
            with contextlib.suppress(redis.RedisError), self.client() as client:
                return bool(client.ping())
            assert self.process is not None and self.process.poll() is None
            return False

        eventually(is_up, "a redis that answers")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
