"""A daemon with keys: strangers, wrong keys, roles, and keys that are revoked meanwhile."""

from __future__ import annotations

import asyncio
import pickle
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import AsyncClient, Client
from onlinesvm.errors import ConfigError
from onlinesvm.service.errors import ClientRefused, KeyFileError, RequestRefused
from tests.daemons import DaemonProcess, eventually, follow, serve
from tests.keyring import Keyring

SAMPLES = [(["free", "prize"], "spam"), (["minutes"], "ham")]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    ring = Keyring(tmp_path_factory.mktemp("ring"))
    for role in ("read", "learn", "admin"):
        ring.permit(role, role)
    ring.make("eve")
    return ring


@pytest.fixture(scope="module")
def daemon(ring: Keyring, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with serve(tmp_path_factory.mktemp("state"), **ring.served) as daemon:
        with daemon.client(**ring.of("admin")) as client:
            client.learn(SAMPLES)
            client.create("spam")
        yield daemon


def code_of(error: pytest.ExceptionInfo[RequestRefused]) -> str:
    return error.value.code


def test_a_client_with_a_key(daemon: DaemonProcess, ring: Keyring) -> None:
    with daemon.client(**ring.of("admin")) as client:
        assert client.ping()["mode"] == "leader"
        again = pickle.loads(pickle.dumps(client))
        with again:
            assert list(again.predict([["free"]])) == ["spam"]
    pair = ring.pair("daemon")
    with daemon.client(key=str(ring.of("admin")["key"]), server_key=pair.public) as client:
        assert client.ping()["mode"] == "leader"


def test_an_async_client_with_a_key(daemon: DaemonProcess, ring: Keyring) -> None:
    async def ask(**keys: Any) -> Any:
        async with AsyncClient(daemon.endpoint, timeout_s=20, **keys) as client:
            return await client.ping()

    assert asyncio.run(ask(**ring.of("admin")))["mode"] == "leader"
    with pytest.raises(ClientRefused, match="does not permit the key"):
        asyncio.run(ask(**ring.of("eve")))
    with pytest.raises(ClientRefused, match="expects a key, got none"):
        asyncio.run(ask())


def test_the_environment_names_keys(
    daemon: DaemonProcess, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ring.of("admin")
    monkeypatch.setenv("ONLINESVM_KEY", str(keys["key"]))
    with pytest.raises(ConfigError, match="server_key: expected key and server_key together"):
        daemon.client()
    monkeypatch.setenv("ONLINESVM_SERVER_KEY", str(keys["server_key"]))
    with daemon.client() as client:
        assert client.ping()["mode"] == "leader"
    with daemon.client(key=ring.of("read")["key"]) as client:  # an argument goes before
        with pytest.raises(RequestRefused) as refused:
            client.learn(SAMPLES)
        assert code_of(refused) == "FORBIDDEN"


@pytest.mark.parametrize("user", ["eve", ""])
def test_a_stranger_is_refused_at_once(daemon: DaemonProcess, ring: Keyring, user: str) -> None:
    says = "does not permit the key" if user else "expects a key, got none: give key and server_key"
    with daemon.client(**ring.of(user) if user else {}) as client:
        for _ in range(2):
            with pytest.raises(ClientRefused, match=says):
                client.ping()
    secret = ring.pair("eve").secret
    assert secret not in daemon.log


def test_a_daemon_with_another_key_is_refused(daemon: DaemonProcess, ring: Keyring) -> None:
    keys = {**ring.of("admin"), "server_key": ring.pair("eve").public}
    with (
        daemon.client(**keys) as client,
        pytest.raises(ClientRefused, match=re.escape(f"the server_key {keys['server_key']}")),
    ):
        client.ping()


def test_a_daemon_without_keys_is_refused(ring: Keyring, tmp_path: Path) -> None:
    with serve(tmp_path) as open_daemon, open_daemon.client(**ring.of("admin")) as client:
        with pytest.raises(ClientRefused, match="has no keys: expected none, got some"):
            client.ping()
        with open_daemon.client() as other:
            assert other.ping()["mode"] == "leader"


def test_keys_that_will_not_do(daemon: DaemonProcess, ring: Keyring, tmp_path: Path) -> None:
    keys = ring.of("admin")
    with pytest.raises(ConfigError, match="key: expected key and server_key together"):
        daemon.client(server_key=keys["server_key"])
    with pytest.raises(FileNotFoundError):
        daemon.client(**{**keys, "key": tmp_path / "none"})
    with pytest.raises(KeyFileError, match="expected a secret key"):
        daemon.client(**{**keys, "key": keys["server_key"]})
    with pytest.raises(KeyFileError, match="it stays with its owner"):
        daemon.client(**{**keys, "server_key": ring.pairs / "daemon.secret"})


def operations(client: Client) -> dict[str, Any]:
    """What each role may ask for, and what it needs."""
    return {
        "read": [client.ping, client.stats, client.models, lambda: client.predict([["free"]]),
                 lambda: client.explain([["free"]])],
        "learn": [lambda: client.learn(SAMPLES),
                  lambda: client.request("resume", producer="p")],
        "admin": [client.snapshot, client.reload, lambda: client.create("x", if_exists="same"),
                  lambda: client.create("x", if_exists="same"), lambda: client.drop("x")],
    }  # fmt: skip


@pytest.mark.parametrize("role", ["read", "learn", "admin"])
def test_a_role_may_do_what_those_before_it_may(
    daemon: DaemonProcess, ring: Keyring, role: str
) -> None:
    with daemon.client(**ring.of(role)) as client:
        is_allowed = True
        for needed, asked in operations(client).items():
            for ask in asked:
                if is_allowed:
                    ask()
                    continue
                with pytest.raises(RequestRefused) as refused:
                    ask()
                assert code_of(refused) == "FORBIDDEN"
                assert needed in refused.value.message
            is_allowed = is_allowed and needed != role


def test_a_glob_hides_the_other_models(ring: Keyring, tmp_path: Path) -> None:
    ring.permit("guest", models="g*")
    with serve(tmp_path, **ring.served) as daemon, daemon.client(**ring.of("admin")) as admin:
        for name in ("g1", "g2", "h", "secret"):
            admin.create(name)
        with daemon.client(**ring.of("guest")) as guest:
            assert [row["name"] for row in guest.models()] == ["g1", "g2"]
            page = guest.request("models", limit=1)[0]
            assert (page["count"], page["next"]) == (2, "g1")
            for refused_at in (guest.stats, guest.model("secret").stats):
                with pytest.raises(RequestRefused) as refused:
                    refused_at()
                assert code_of(refused) == "FORBIDDEN"
            with pytest.raises(RequestRefused) as unknown:
                guest.model("g3").stats()
            assert (code_of(unknown), unknown.value.message) == (
                "NO_MODEL", "expected a model, got g3",
            )  # fmt: skip


def reload(daemon: DaemonProcess, ring: Keyring, by: str) -> None:
    """Have the daemon read its permits again."""
    count = daemon.log.count("keys are permitted")
    if by == "SIGHUP":
        daemon.signal(signal.SIGHUP)
        eventually(lambda: daemon.log.count("keys are permitted") > count, "the reload")
    else:
        with daemon.client(**ring.of("admin")) as client:
            assert client.reload() == {"keys": 3, "key_errors": []}


@pytest.mark.parametrize("by", ["SIGHUP", "reload"])
def test_a_key_is_revoked_under_a_stream(tmp_path: Path, by: str) -> None:
    """What was acknowledged is learned, nothing after it; the client cannot come back."""
    ring = Keyring(tmp_path / "ring")
    for name in ("admin", "other", "third", "leaver"):
        ring.permit(name)
    with serve(tmp_path / "state", **ring.served) as daemon:
        with (
            daemon.client(**ring.of("leaver")) as leaver,
            pytest.raises(RequestRefused) as refused,
            leaver.stream("p") as stream,
        ):
            for _ in range(100):
                stream.learn(["a"], 1)
            stream.flush()
            ring.revoke("leaver")
            reload(daemon, ring, by)
            stream.learn(["a"], 1)
        assert (code_of(refused), refused.value.applied) == ("FORBIDDEN", 100)
        assert "revoked" in refused.value.message
        with daemon.client(**ring.of("other")) as other:
            assert other.stats()["position"] == 100
        with (
            daemon.client(**ring.of("leaver")) as back,
            pytest.raises(ClientRefused, match="does not permit"),
        ):
            back.ping()
        ring.permit("leaver")  # a key may be permitted again
        daemon.signal(signal.SIGHUP)
        eventually(lambda: "4 keys are permitted" in daemon.log, "the reload")
        with daemon.client(**ring.of("leaver")) as back:
            assert back.stats()["position"] == 100


def test_a_producer_is_its_users_after_a_restart(ring: Keyring, tmp_path: Path) -> None:
    for keys in ("learn", "admin"):
        with serve(tmp_path / "state", **ring.served) as daemon:
            with daemon.client(**ring.of("learn")) as client, client.stream("p") as stream:
                stream.learn(["a"], 1)
            with daemon.client(**ring.of("admin")) as other:
                with pytest.raises(RequestRefused) as refused:
                    other.stream("p")
                assert code_of(refused) == "FORBIDDEN"
                if keys == "learn":
                    other.snapshot()
            daemon.kill()


def test_a_stream_waits_for_its_quota_and_others_do_not(ring: Keyring, tmp_path: Path) -> None:
    with (
        serve(tmp_path, max_user_bytes_per_s="20KB", **ring.served) as daemon,
        daemon.client(**ring.of("learn")) as client,
        daemon.client(**ring.of("read")) as other,
    ):
        body = client._calls.learn([(["word" + "x" * 500], 1)] * 50).body  # 25 kB
        client.learn_packed(body)
        with pytest.raises(RequestRefused) as refused:
            client.learn_packed(body)
        assert code_of(refused) == "BUSY"
        assert refused.value.retry_after_s is not None
        assert 0.0 < refused.value.retry_after_s < 1.0
        assert other.stats()["position"] == 50
        with client.stream("p") as stream:
            for _ in range(40):
                stream.learn(["x" * 500], 1)
        assert other.stats()["position"] == 90


def test_a_reader_has_keys_too(ring: Keyring, tmp_path: Path) -> None:
    with serve(tmp_path / "state", **ring.served) as leader:
        with leader.client(**ring.of("admin")) as client:
            client.learn(SAMPLES)
            client.snapshot()
        with follow(tmp_path / "state", **ring.served) as reader:
            with reader.client(**ring.of("admin")) as client:
                assert client.reload()["keys"] >= 3
                eventually(lambda: client.stats()["position"] == 2, "the snapshot")
            with reader.client(**ring.of("read")) as client:
                assert list(client.predict([["free"]])) == ["spam"]
                with pytest.raises(RequestRefused) as refused:
                    client.reload()
                assert code_of(refused) == "FORBIDDEN"
