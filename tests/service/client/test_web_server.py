"""The FastAPI example of docs/threads.md, as printed, on a real daemon and uvicorn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import Client
from tests.daemons import DEADLINE_S, HOUSE, eventually, serve

fastapi = pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")


def example() -> str:
    """The chapter's Python block."""
    text = (HOUSE / "docs" / "threads.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return str(code)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """A daemon whose margin of ``{"a": v}`` is v / 10."""
    with serve(tmp_path / "state", rule="sgd", bias=False) as daemon:
        with daemon.client() as client:
            client.learn([(["a"], 1)])
        yield daemon.endpoint


def answers(url: str, count: int) -> list[bool]:
    """True if each of `count` requests from 8 threads gets its own prediction."""

    def is_right(i: int) -> bool:
        reply = web.post(f"{url}/predict", json={"a": float(i)})
        return bool(reply.status_code == 200 and reply.json() == 0.1 * i)

    with httpx.Client(timeout=DEADLINE_S) as web, ThreadPoolExecutor(8) as threads:
        return list(threads.map(is_right, range(count)))


def test_the_example_of_the_chapter(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(example(), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | {"ONLINESVM": endpoint, "PYTHONPATH": str(HOUSE)},
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    assert process.stderr is not None
    stderr = process.stderr
    reader = threading.Thread(target=lambda: lines.extend(stderr), daemon=True)
    reader.start()
    try:
        found = eventually(lambda: re.search(r"running on (http://\S+)", "".join(lines)), "uvicorn")
        url = found[1]
        assert answers(url, 400) == [True] * 400
        learned = httpx.post(f"{url}/learn?label=1", json={"b": 1.0}, timeout=DEADLINE_S)
        assert (learned.status_code, learned.json()) == (200, 0.0)
        asked = httpx.post(f"{url}/predict", json={"b": 1.0}, timeout=DEADLINE_S)
        assert asked.json() == 0.1
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        reader.join(DEADLINE_S)
        stderr.close()
    assert "Traceback" not in "".join(lines), lines


def test_a_client_at_module_level_on_the_threads_of_the_server(endpoint: str) -> None:
    client = Client(endpoint, timeout_s=DEADLINE_S)
    app = fastapi.FastAPI()

    @app.post("/predict")  # type: ignore[untyped-decorator]
    def predict(features: dict[str, float]) -> float:
        return float(client.predict([features])[0])

    server: Any = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    runner = threading.Thread(target=server.run, daemon=True)
    runner.start()
    try:
        eventually(lambda: server.started, "uvicorn")
        port = server.servers[0].sockets[0].getsockname()[1]
        assert answers(f"http://127.0.0.1:{port}", 400) == [True] * 400
    finally:
        server.should_exit = True
        runner.join(DEADLINE_S)
        client.close()
    assert not runner.is_alive()
