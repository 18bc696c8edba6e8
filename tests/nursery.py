"""Daemons that start at once: forked from a process that has everything imported already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.daemons import DEADLINE_S, HOUSE, flags_of

# Reads [flags, log] to start a daemon and answers with its process's number; reads that number and
# answers with how it ended, once it has.
_CODE = """
import json, os, sys
from onlinesvm.service.cli import main as cli
for line in sys.stdin:
    asked = json.loads(line)
    if isinstance(asked, int):
        answer = os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1])
    else:
        flags, log = asked
        answer = os.fork()
        if not answer:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), 2)
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            sys.argv = ["onlinesvm", "serve", *flags]
            try:
                code = cli.main()
            except SystemExit as end:
                code = end.code
            sys.stderr.flush()
            os._exit(code or 0)
    print(answer, flush=True)
"""


class Nursery:
    """The process that the daemons of a kernel are forked from."""

    def __init__(self, kernel: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _CODE],
            cwd=HOUSE,
            env={**os.environ, "ONLINESVM_KERNEL": kernel},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, asked: object) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def serve(self, log: Path, **options: Any) -> Forked:
        """A daemon that writes its log to the end of `log`."""
        return Forked(self, self._ask([flags_of(options), str(log)]))

    def wait(self, pid: int) -> int:
        """How the daemon ended, once it has."""
        return self._ask(pid)

    def close(self) -> None:
        self._process.communicate(timeout=DEADLINE_S)


class Forked:
    """A daemon of a nursery. Its end is asked for once, by `kill` or `stop`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self._is_ended = False

    def is_running(self) -> bool:
        """True if it has not ended by itself."""
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"

    def _end(self, number: int) -> int:
        if self._is_ended:
            return 0
        self._is_ended = True
        os.kill(self.pid, number)
        return self._nursery.wait(self.pid)

    def kill(self) -> int:
        return self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        return self._end(signal.SIGTERM)
