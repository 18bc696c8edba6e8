"""Many models by the clients: names, creation, files that come and go."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.errors import SnapshotError
from onlinesvm.service import AsyncClient, Client
from onlinesvm.service.client import transfer
from onlinesvm.service.errors import RequestRefused
from tests.daemons import DEADLINE_S, digest_of, on_a_thread

BATCH: list[Any] = [(["a", "b"], 1), (["c"], -1), ({"d": 2.0}, 1)]


def taught(**config: Any) -> OnlineSVM:
    model = OnlineSVM(**config)
    model.learn(BATCH)
    return model


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(RequestRefused) as caught:
        call()
    return caught.value.code


def test_a_client_of_a_model(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint, timeout_s=DEADLINE_S) as client:
        spam = client.model("spam")
        assert refused(lambda: spam.learn(BATCH)) == "NO_MODEL"
        assert client.create("spam", rule="sgd")["config"]["rule"] == "sgd"
        assert refused(lambda: client.create("spam")) == "EXISTS"
        assert client.create("spam", rule="sgd", if_exists="same")["position"] == 0
        spam.learn(BATCH)
        with spam.stream("p") as stream:
            for sample in BATCH:
                stream.learn(*sample)
        expected = taught(rule="sgd")
        expected.learn(BATCH)
        assert spam.snapshot()["digest"] == digest_of(expected)
        assert client.stats()["position"] == 0
        assert [row["name"] for row in client.models()] == ["default", "spam"]
        named = Client(endpoint, model="spam", timeout_s=DEADLINE_S)
        assert named.stats()["position"] == copy.copy(named).stats()["position"] == 6
        named.close()
        client.drop("spam")
        assert refused(spam.stats) == "NO_MODEL"
    assert spam.closed


def test_the_same_awaited(tmp_path: Path) -> None:
    async def talk(endpoint: str) -> None:
        async with AsyncClient(endpoint, timeout_s=DEADLINE_S) as client:
            await client.create("spam", rule="sgd")
            spam = client.model("spam")
            async with spam.stream() as stream:
                for sample in BATCH:
                    await stream.learn(*sample)
            assert (await spam.snapshot())["digest"] == digest_of(taught(rule="sgd"))
            saved = await spam.fetch(tmp_path / "spam.msgpack")
            assert saved["digest"] == digest_of(OnlineSVM.load(saved["path"]))
            await client.create("again", file=saved["path"])
            await client.create("copy", copy_of="again")
            assert (await client.model("copy").stats())["position"] == 3
            names = [row["name"] for row in await client.models()]
            assert names == ["again", "copy", "default", "spam"]
            await client.drop("again")

    with on_a_thread(tmp_path / "state") as endpoint:
        asyncio.run(talk(endpoint))


def test_a_file_goes_to_a_daemon_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PIECE_BYTES", 1000)
    model = taught(rule="arow")
    path = tmp_path / "m.msgpack"
    model.save(path)
    state = tmp_path / "state"
    for _ in range(2):
        with on_a_thread(state) as endpoint, Client(endpoint, timeout_s=DEADLINE_S) as client:
            if not (state / "models" / "spam").exists():
                assert client.create("spam", file=path)["position"] == 3
                assert not list((state / "uploads").iterdir())
            spam = client.model("spam")
            spam.learn(BATCH)
            model.learn(BATCH)
            fetched = spam.fetch(tmp_path / "back.msgpack")
            assert digest_of(OnlineSVM.load(fetched["path"])) == digest_of(model)


def test_a_file_that_is_no_snapshot_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(b"no snapshot")
    with on_a_thread(tmp_path / "state") as endpoint, Client(endpoint) as client:
        with pytest.raises(SnapshotError):
            client.create("spam", file=path)
        assert [row["name"] for row in client.models()] == ["default"]


def test_pieces_that_make_no_snapshot_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(b"no snapshot")
    monkeypatch.setattr(transfer, "verify", lambda path: None)
    state = tmp_path / "state"
    with on_a_thread(state) as endpoint, Client(endpoint, timeout_s=DEADLINE_S) as client:
        assert refused(lambda: client.create("spam", file=path)) == "BAD_REQUEST"
        assert not list((state / "uploads").iterdir())
        assert client.create("spam")["position"] == 0


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"offset": 5, "size": 9, "checksum": 0x2144DF1C}, "BAD_REQUEST"),
        ({"offset": 0, "size": 9, "checksum": 1}, "BAD_REQUEST"),
        ({"offset": 0, "size": 3, "checksum": 0x2144DF1C}, "TOO_LARGE"),
        ({"offset": 0, "size": 2**61, "checksum": 0x2144DF1C}, "TOO_LARGE"),
        ({"offset": 0, "size": 9, "checksum": 0x2144DF1C, "upload": bytes(16)}, "BAD_REQUEST"),
        ({"offset": 0, "size": 9, "checksum": 0x2144DF1C, "upload": b"x"}, "BAD_REQUEST"),
        ({"offset": -1, "size": 9, "checksum": 0x2144DF1C}, "BAD_REQUEST"),
    ],
)
def test_pieces_that_cannot_be(tmp_path: Path, keys: dict[str, Any], code: str) -> None:
    body = b"\xc4\x04" + bytes(4)  # zeros, whose CRC-32 is above
    with on_a_thread(tmp_path) as endpoint, Client(endpoint, timeout_s=DEADLINE_S) as client:
        assert refused(lambda: client.request("upload", body, **keys)) == code
        assert not [row for row in client.models() if row["name"] != "default"]


def test_uploads_are_few(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint, timeout_s=DEADLINE_S) as client:
        keys = {"offset": 0, "size": 9, "checksum": 0x2144DF1C}
        for _ in range(4):
            client.request("upload", b"\xc4\x04" + bytes(4), **keys)
        call = lambda: client.request("upload", b"\xc4\x04" + bytes(4), **keys)  # noqa: E731
        assert refused(call) == "BUSY"
