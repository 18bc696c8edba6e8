"""A real disk that is full: learning is refused, predictions go on, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import digest_of, eventually, serve, thread

from onlinesvm import OnlineSVM
from onlinesvm.errors import RequestRefused
from onlinesvm.service import Client


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def batch(i: int, n: int = 20) -> list[Any]:
    return [([f"f{j % 50}", f"g{i % 7}"], 1 if (i + j) % 3 else -1) for j in range(n)]


@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
def test_a_disk_that_fills_up_and_is_cleared(disk: Path, fsync: str) -> None:
    model = OnlineSVM()
    number = 0

    def learn(client: Client) -> bool:
        nonlocal number
        try:
            client.learn(batch(number))
        except RequestRefused as error:
            assert error.code == "NOT_DURABLE"
            return False
        model.learn(batch(number))
        number += 1
        return True

    with serve(disk / "state", fsync=fsync) as daemon, daemon.client() as client:
        for _ in range(3):
            learn(client)
        for _ in range(2):
            ballast = disk / "ballast"
            fill(ballast)
            eventually(lambda: not learn(client), "the disk full")
            for _ in range(3):
                assert not learn(client)
            stats = client.stats()
            assert "No space left on device" in stats["journal_error"]
            assert stats["position"] == model.position
            features = [["f1"], ["g2", "f3"], []]
            assert client.predict(features).tobytes() == model.predict(features).tobytes()
            with pytest.raises(RequestRefused, match=r"the snapshot failed: .*No space left"):
                client.snapshot()
            assert "No space left" in client.stats()["snapshot_error"]
            ballast.unlink()
            assert learn(client)
            assert client.stats()["journal_error"] is None
        daemon.kill()
    with serve(disk / "state") as daemon, daemon.client() as client:
        assert client.stats()["position"] == model.position
        assert client.snapshot()["digest"] == digest_of(model)
        assert daemon.stop() == 0


def test_a_stream_waits_for_a_disk(disk: Path) -> None:
    samples = [([f"f{i % 50}", f"g{i % 7}"], 1 if i % 3 else -1) for i in range(4000)]
    with (
        serve(disk / "state") as daemon,
        daemon.client() as client,
        daemon.client() as bystander,
    ):
        ballast = disk / "ballast"

        def clear() -> None:
            eventually(lambda: bystander.stats()["journal_error"], "a refusal")
            ballast.unlink()

        with client.stream("p") as stream:
            for features, label in samples[:2000]:
                stream.learn(features, label)
            stream.flush()
            fill(ballast)
            with thread(clear):
                for features, label in samples[2000:]:
                    stream.learn(features, label)
                stream.flush()
        assert stream.applied == 4000
        model = OnlineSVM()
        model.learn(samples)
        assert client.snapshot()["digest"] == digest_of(model)


def fill(ballast: Path) -> None:
    """Leave no room on the disk of `ballast`."""
    with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
