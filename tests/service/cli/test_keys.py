"""`keys`, and `--key` and `--server-key` of the other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.daemons import serve
from tests.keyring import Keyring
from tests.shell import done, run


def test_a_user_from_the_first_key_to_the_last_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = {name: json.loads(done("keys", "new", name).out) for name in ("daemon", "alice")}
    assert made["alice"]["secret_file"] == "keys/alice.secret"
    assert Path("keys/alice.secret").read_text().count(made["alice"]["public"]) == 1
    allowed = run(
        "keys", "allow", "keys/alice.public", "--role", "learn", "--models", "d*",
        "--producers", "a-",
    )  # fmt: skip
    assert allowed.code == 0 and "SIGHUP" in allowed.err
    row = {
        "name": "alice", "public": made["alice"]["public"], "role": "learn", "models": "d*",
        "producers": "a-",
    }  # fmt: skip
    assert json.loads(allowed.out) == row
    assert [json.loads(line) for line in done("keys", "list").out.splitlines()] == [row]
    paths = {"key": tmp_path / "keys/daemon.secret", "allow": tmp_path / "permits"}
    with serve(tmp_path / "state", **paths) as daemon:
        flags = ["--connect", daemon.endpoint, "--key", "keys/alice.secret", "--server-key"]
        for server_key in ("keys/daemon.public", made["daemon"]["public"]):
            assert "leader at" in done("ping", *flags, server_key).out
        flags.append("keys/daemon.public")
        learned = done("learn", *flags, "--producer", "a-1", "-", stdin=b"spam\tfree prize\n")
        assert json.loads(learned.out)["samples"] == 1
        assert done("predict", *flags, "--format", "text", "-", stdin=b"free\n").out == "spam\n"
        refused = run("snapshot", *flags)
        assert (refused.code, refused.out) == (1, "")
        assert "FORBIDDEN: snapshot: expected the role admin or more, got learn" in refused.err
        stranger = run("ping", "--connect", daemon.endpoint)
        assert stranger.code == 1
        assert "expects a key, got none: give key and server_key" in stranger.err
        assert "onlinesvm serve" not in stranger.err  # it does run
    done("keys", "revoke", "alice")
    assert done("keys", "list").out == ""


def test_refused_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ring = Keyring(tmp_path / "ring")
    ring.make("alice")
    alice = str(ring.pairs / "alice")
    for arguments, code, says in (
        (["keys"], 2, "ACTION"),
        (["keys", "forge"], 2, "'forge'"),
        (["keys", "new"], 2, "NAME"),
        (["keys", "new", "../x"], 1, "expected a name of 1 to 64"),
        (["keys", "new", "alice", "--folder", ring.pairs], 1, "alice.secret: File exists; remove"),
        (["keys", "allow", f"{alice}.public"], 2, "--role"),
        (["keys", "allow", f"{alice}.public", "--role", "king"], 2, "--role: invalid choice"),
        (["keys", "allow", f"{alice}.secret", "--role", "read"], 1, "stays with its owner"),
        (["keys", "allow", "none.public", "--role", "read"], 1, "none.public: No such file"),
        (
            ["keys", "allow", f"{alice}.public", "--role", "read", "--models", "x" * 65],
            1,
            "models: expected up to 64",
        ),
        (["keys", "revoke", "bob", "--folder", ring.permits], 1, "expected a permit of bob"),
        (["keys", "list", "--folder", "none"], 1, "none: No such file"),
    ):
        failed = run(*arguments)
        assert (failed.code, failed.out) == (code, ""), (arguments, failed)
        assert says in failed.err, (arguments, failed.err)


def test_a_list_says_which_permits_are_damaged(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "ring")
    ring.permit("alice", "read")
    (ring.permits / "bob.toml").write_text("role = 5")
    listed = run("keys", "list", "--folder", ring.permits)
    assert listed.code == 1
    assert json.loads(listed.out)["name"] == "alice"
    assert "bob.toml" in listed.err
