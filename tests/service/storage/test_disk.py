"""A real disk that is full: learning is refused, predictions go on, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service import Client
from onlinesvm.service.errors import RequestRefused
from tests.daemons import digest_of, eventually, serve, thread
from tests.logs import segments_of


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB, or as many as the parameter says."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={getattr(request, 'param', 512)}k"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
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
            assert "No space left on device" in stats["log_error"]
            assert stats["position"] == model.position
            features = [["f1"], ["g2", "f3"], []]
            assert (
                client.decision_function(features).tobytes()
                == model.decision_function(features).tobytes()
            )
            with pytest.raises(RequestRefused, match=r"the snapshot failed: .*No space left"):
                client.snapshot()
            assert "No space left" in client.stats()["snapshot_error"]
            ballast.unlink()
            eventually(lambda: learn(client), "learning to go on")
            assert client.stats()["log_error"] is None
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
            eventually(lambda: bystander.stats()["log_error"], "a refusal")
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


@pytest.mark.parametrize("disk", [8 * 1024], indirect=True)
@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
def test_a_disk_that_the_log_itself_fills(disk: Path, fsync: str) -> None:
    """With some times what fits, of a model that stays small."""
    samples = [([f"f{i % 50}", f"{'pad' * 400}{i % 7}"], 1 if i % 3 else -1) for i in range(20_000)]
    state = disk / "state"
    with serve(state, fsync=fsync, rule="sgd") as daemon, daemon.client() as client:
        with client.stream("p") as stream:
            for features, label in samples:
                stream.learn(features, label)
        assert client.stats()["position"] == 20_000
        daemon.kill()
        assert "was read back whole" in daemon.log
    with serve(state) as daemon, daemon.client() as client:
        model = OnlineSVM(rule="sgd")
        model.learn(samples)
        assert client.snapshot()["digest"] == digest_of(model)


@pytest.mark.parametrize("disk", [256], indirect=True)
def test_requests_without_samples_do_not_fill_a_disk(disk: Path) -> None:
    """Four times its size of them: room is made, and no sequence is lost."""
    state, body = disk / "state", b"\x90"
    size = sequence = refusals = 0
    with serve(state, rule="sgd") as daemon, daemon.client() as client:
        while size < 4 * 256 * 1024:
            header = {"producer": "p", "sequence": sequence + 1}
            try:
                client.request("learn", body, **header)
            except RequestRefused as error:
                assert error.code == "NOT_DURABLE"
                refusals += 1
                assert refusals < 3_000, daemon.log
                continue
            sequence += 1
            size += 120
        assert client.stats()["position"] == 0
        daemon.kill()
    with serve(state) as daemon, daemon.client() as client:
        assert client.request("resume", producer="p")[0]["sequence"] == sequence


def test_what_cannot_be_read_back_makes_nothing_superfluous(disk: Path) -> None:
    """The older snapshot and its log stay, and are what a start takes."""
    state = disk / "state"
    model = OnlineSVM(rule="sgd")
    with serve(state, rule="sgd") as daemon, daemon.client() as client:
        for i in range(3):
            client.learn(batch(i))
            model.learn(batch(i))
            newest = Path(client.snapshot()["path"])
        eventually(lambda: len(segments_of(state)) == 1, "the log before the older one removed")
        newest.write_bytes(newest.read_bytes()[:-1])
        before = {path.name for path in state.rglob("*0*")}
        ballast = disk / "ballast"
        fill(ballast)
        for _ in range(3):
            with pytest.raises(RequestRefused, match="NOT_DURABLE"):
                client.learn([([f"new{i}" for i in range(500)], 1)])
        eventually(lambda: "no room can be made" in daemon.log, "a look at the newest snapshot")
        assert before <= {path.name for path in state.rglob("*0*")}
        ballast.unlink()
        daemon.kill()
    with serve(state) as daemon, daemon.client() as client:
        assert client.snapshot()["digest"] == digest_of(model)


def fill(ballast: Path) -> None:
    """Leave no room on the disk of `ballast`."""
    with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
