"""The FastAPI service of the cookbook, as printed, and one on threads, on a real daemon."""

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
    """The service of the page."""
    text = (HOUSE / "docs" / "cookbook" / "web-service.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# app\.py\n.*?)```", text, re.DOTALL)
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


def test_the_service_of_the_cookbook(tmp_path: Path) -> None:
    """Eight threads correct and ask at once; while the daemon is away the service answers 503."""
    (tmp_path / "app.py").write_text(example(), encoding="utf-8")
    state = tmp_path / "state"
    with serve(state) as daemon:
        endpoint = daemon.endpoint
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"],
            cwd=tmp_path,
            env=os.environ | {"ONLINESVM_CONNECT": endpoint, "PYTHONPATH": str(HOUSE)},
            stderr=subprocess.PIPE,
            text=True,
        )
        lines: list[str] = []
        assert process.stderr is not None
        stderr = process.stderr
        reader = threading.Thread(target=lambda: lines.extend(stderr), daemon=True)
        reader.start()
        try:
            found = eventually(
                lambda: re.search(r"running on (http://\S+)", "".join(lines)), "uvicorn"
            )
            with httpx.Client(base_url=found[1], timeout=DEADLINE_S) as web:

                def correct(i: int) -> int:
                    said = ("free prize", "spam") if i % 2 else ("minutes of the meeting", "ham")
                    reply = web.post("/correct", json={"text": said[0], "label": said[1]})
                    assert isinstance(reply.json()["margin"], float)
                    return int(reply.status_code)

                with ThreadPoolExecutor(8) as threads:
                    assert set(threads.map(correct, range(100))) == {200}
                asked = web.post("/predict", json={"text": "a free prize"}).json()
                assert asked["label"] == "spam" and asked["probability"] > 0.5
                daemon.kill()
                away = web.post("/predict", json={"text": "a free prize"})
                assert away.status_code == 503
                with serve(state, bind=endpoint):
                    again = eventually(
                        lambda: web.post("/predict", json={"text": "a free prize"}).json(), "it"
                    )
                    assert again == asked
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
        return float(client.decision_function([features])[0])

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
