"""`models`, `create`, `drop`, and `--model` of the other commands."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from onlinesvm import OnlineSVM
from tests.daemons import digest_of, on_a_thread
from tests.shell import DEADLINE_S, done, run, started


def test_a_model_from_creation_to_its_end(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        made = json.loads(
            done("create", "--connect", endpoint, "--rule", "sgd", "--eta0", 0.5, "spam").out
        )
        assert (made["model"], made["config"]["eta0"]) == ("spam", 0.5)
        again = run("create", "--connect", endpoint, "spam")
        assert again.code == 1 and "EXISTS" in again.err
        lines = b"1\tfree prize\n-1\thello you\n"
        flags = ("--connect", endpoint, "--model", "spam")
        learned = json.loads(done("learn", *flags, "--format", "text", "-", stdin=lines).out)
        assert learned["position"] == 2
        rows = [json.loads(line) for line in done("models", "--connect", endpoint).out.splitlines()]
        assert [(row["name"], row["position"]) for row in rows] == [("default", 0), ("spam", 2)]
        assert json.loads(done("stats", *flags).out)["position"] == 2
        path = tmp_path / "spam.msgpack"
        saved = json.loads(done("snapshot", *flags, "--output", path).out)
        assert saved["digest"] == digest_of(OnlineSVM.load(path))
        done("create", "--connect", endpoint, "--from", path, "again")
        done("create", "--connect", endpoint, "--copy-of", "spam", "trial")
        shown = json.loads(done("inspect", "--json", "--model", "spam", tmp_path / "state").out)
        assert shown["position"] == 2
        done("drop", "--connect", endpoint, "spam")
        names = [
            json.loads(line)["name"]
            for line in done("models", "--connect", endpoint).out.splitlines()
        ]
        assert names == ["again", "default", "trial"]
        gone = run("stats", *flags)
        assert gone.code == 1 and "NO_MODEL" in gone.err


@pytest.mark.parametrize("answer", ["n\n", "\n", "y\n"])
def test_a_terminal_is_asked_before_a_model_is_dropped(tmp_path: Path, answer: str) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        done("create", "--connect", endpoint, "spam")
        here, there = pty.openpty()
        with started(
            "drop", "--connect", endpoint, "spam", stdin=there, stderr=subprocess.PIPE
        ) as process:
            os.write(here, answer.encode())
            assert process.wait(DEADLINE_S) == (answer[0] != "y")
            assert process.stderr is not None
            err = process.stderr.read().decode()
        os.close(here)
        os.close(there)
        assert err.startswith("onlinesvm: drop model spam with everything that it has learned? ")
        assert ("model spam stays: expected y to drop it" in err) == (answer[0] != "y")
        gone = run("stats", "--connect", endpoint, "--model", "spam").code
        assert gone == (answer[0] == "y")


def test_one_origin_is_meant() -> None:
    for flags in (("--from", "f", "--copy-of", "m"), ("--copy-of", "m", "--rule", "sgd")):
        failed = run("create", *flags, "spam")
        assert failed.code == 2
        assert "one origin is meant" in failed.err
