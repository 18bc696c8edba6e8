"""The command ``onlinesvm http``: what it refuses before it answers."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.shell import run


@pytest.mark.parametrize(
    "listen", ["8577", ":8577", "localhost:", "localhost:x", "localhost:70000"]
)
def test_an_address_that_is_none(listen: str) -> None:
    done = run("http", "--listen", listen)
    assert done.code == 2
    assert f"--listen: expected HOST:PORT, got '{listen}'" in done.err


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8577", "door.example:8577"])
def test_other_machines_are_let_in_by_tokens_alone(listen: str) -> None:
    done = run("http", "--listen", listen)
    assert done.code == 2
    assert "lets other machines in: give --tokens FILE" in done.err


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("http", "--listen", listen)
    assert done.code == 1
    assert "Address already in use" in done.err
    assert listen in done.err


def test_tokens_that_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("read 0123456789abcdef\n")
    file.chmod(0o644)
    done = run("http", "--tokens", file)
    assert done.code == 2
    assert "its owner alone reads" in done.err
    done = run("http", "--tokens", tmp_path / "none")
    assert done.code == 1
    assert "No such file" in done.err


def test_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("onlinesvm.service.http")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    done = run("http")
    assert done.code == 2
    assert "http needs its extra: pip install 'onlinesvm[http]'" in done.err
