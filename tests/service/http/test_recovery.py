"""A daemon that dies, starts again, or never comes; roles by token."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemons import eventually, serve
from tests.keyring import Keyring
from tests.service.http.doors import DoorProcess, problem

TOKENS = {role: f"{role}-token-0123456789" for role in ("read", "learn", "admin")}


def test_the_daemon_is_killed_and_comes_back(tmp_path: Path) -> None:
    body = {"features": ["free"], "label": "spam"}
    with serve(tmp_path) as daemon:
        endpoint = daemon.endpoint
        with DoorProcess(endpoint) as door:
            assert door.post("default/learn", body).status_code == 200
            daemon.kill()
            assert door.post("default/learn", body).status_code in (502, 503)
            for path in ("/readyz", "/metrics", "/v1/models", "/v1/models/default"):
                answer = door.http.get(path)
                problem(answer, 503, "UNREACHABLE")
                assert int(answer.headers["retry-after"]) >= 1
            answer = door.post("default/learn", body)
            problem(answer, 503, "UNREACHABLE")
            lines = door.http.post(
                "/v1/models/default/learn", content=b'{"features": ["a"], "label": "spam"}\n',
                headers={"Content-Type": "application/x-ndjson"},
            )  # fmt: skip
            problem(lines, 503, "UNREACHABLE")
            assert door.http.get("/healthz").status_code == 200
            with serve(tmp_path, bind=endpoint):
                eventually(
                    lambda: door.http.get("/readyz").status_code == 200, "a door that is ready"
                )
                assert door.http.get("/v1/models/default").json()["position"] == 1
                assert door.post("default/learn", body).status_code == 200


def test_a_door_opens_before_its_daemon(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon:
        endpoint = daemon.endpoint
        daemon.stop()
    with DoorProcess(endpoint) as door:
        problem(door.http.get("/readyz"), 503, "UNREACHABLE")
        with serve(tmp_path, bind=endpoint):
            eventually(lambda: door.http.get("/readyz").status_code == 200, "a door that is ready")


def test_roles_by_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# of the web server\n" + "".join(f"{r} {t}\n" for r, t in TOKENS.items()))
    file.chmod(0o600)
    body = {"features": ["free"], "label": "spam"}
    asked = [
        ("read", "GET", "/v1/models", None),
        ("read", "GET", "/v1/models/default", None),
        ("read", "GET", "/v1/models/default/labels", None),
        ("read", "GET", "/metrics", None),
        ("read", "POST", "/v1/models/default/predict", {"features": ["free"]}),
        ("read", "POST", "/v1/models/default/explain", {"features": ["free"]}),
        ("learn", "POST", "/v1/models/default/learn", body),
        ("learn", "POST", "/v1/models/default/predict", {"features": ["free"], "hold": "k"}),
        ("learn", "POST", "/v1/models/default/label", {"key": "k", "label": "spam"}),
        ("admin", "PUT", "/v1/models/other", {}),
        ("admin", "DELETE", "/v1/models/other", None),
    ]
    ranks = list(TOKENS)
    with (
        serve(tmp_path / "state") as daemon,
        DoorProcess(daemon.endpoint, "--tokens", file) as door,
    ):
        for needed, method, path, given in asked:
            for authorization in (
                None,
                "Bearer wrong-token-0123456789",
                "Basic cmVhZDo=",
                "Bearer",
            ):
                headers = {} if authorization is None else {"Authorization": authorization}
                answer = door.http.request(method, path, json=given, headers=headers)
                problem(answer, 401, "UNAUTHORIZED")
                assert answer.headers["www-authenticate"].startswith("Bearer")
            for role, token in TOKENS.items():
                headers = {"Authorization": f"Bearer {token}", "Host": "models.example"}
                answer = door.http.request(method, path, json=given, headers=headers)
                if ranks.index(role) < ranks.index(needed):
                    problem(answer, 403, "FORBIDDEN")
                    assert "insufficient_scope" in answer.headers["www-authenticate"]
                else:
                    assert answer.status_code < 300, (role, path, answer.text)
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert door.http.get(path).status_code == 200


def test_a_door_that_holds_a_key_of_the_daemon(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "keyring")
    keyring.permit("web", "learn")
    given = keyring.of("web")
    flags = ["--key", given["key"], "--server-key", given["server_key"]]
    with serve(tmp_path / "state", **keyring.served) as daemon:
        with DoorProcess(daemon.endpoint, *flags) as door:
            body = {"features": ["free"], "label": "spam"}
            assert door.post("default/learn", body).status_code == 200
            problem(door.http.put("/v1/models/other", json={}), 403, "FORBIDDEN")
        with DoorProcess(daemon.endpoint) as door:
            problem(door.http.get("/readyz"), 503, "UNREACHABLE")


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("read 0123456789abcdef\n", 0o644, "its owner alone reads"),
        ("read short\n", 0o600, "line 1: expected a role"),
        ("\nboss 0123456789abcdef\n", 0o600, "line 2: expected a role"),
        ("read 0123456789abcdéf\n", 0o600, "line 1: expected a role"),
        ("read 0123456789abcdef\nadmin 0123456789abcdef\n", 0o600, "line 2: expected each token"),
        ("# nothing\n", 0o600, "got none"),
        ("#" * (2**20 + 1), 0o600, "at most 1048576 bytes"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    from onlinesvm.errors import ConfigError
    from onlinesvm.service.http.tokens import Tokens

    file = tmp_path / "tokens"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=said):
        Tokens.of(file)


def test_a_wait_is_for_the_start_and_requests_get_503_at_once(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon, DoorProcess(daemon.endpoint, "--wait", "1000s") as door:
        assert door.http.get("/readyz").status_code == 200
        daemon.kill()
        problem(door.http.get("/readyz"), 503, "UNREACHABLE")
