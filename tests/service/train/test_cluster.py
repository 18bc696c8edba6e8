"""Training on a Dask cluster of processes: equal to itself whatever is lost on the way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import Client, OnlineSVM
from onlinesvm.service.errors import ClusterError
from onlinesvm.version import __version__
from tests.daemons import DaemonProcess
from tests.service.train.dask_cluster import HOUSE, DaskCluster

pytestmark = [pytest.mark.dask, pytest.mark.timeout(300)]

SHARDS, ROUNDS = 5, 3


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes some tenths of a second a shard."""
    return make_samples(tmp_path_factory.mktemp("samples") / "samples.svm", 40_000)


def make_samples(path: Path, n: int) -> Path:
    with path.open("w") as file:
        for i in range(n):
            names = sorted({i * 7919 % 1000, i * 104_729 % 977, i * i % 463, i % 3})
            label = 1 if (names[0] + names[-1]) % 7 < 3 else -1
            file.write(f"{label} {' '.join(f'{name + 1}:{1 + i % 3}' for name in names)}\n")
    return path


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path) as made:
        yield made


class Trained:
    """A training in this process: `digest` is that of its outcome."""

    def __init__(
        self, cluster: DaskCluster, samples: Path, folder: Path, on_first: Any = None
    ) -> None:
        from onlinesvm.service.train.checkpoint import Checkpoint, Done, plan_of
        from onlinesvm.service.train.cluster import Cluster
        from onlinesvm.service.train.shards import cut
        from onlinesvm.service.train.tasks import Reading
        from onlinesvm.service.train.trainer import train

        shards = cut([str(samples)], shards=SHARDS, shard_bytes=1)
        model = OnlineSVM()
        model.learn([(["1"], 1), (["2"], -1)])
        checkpoint = Checkpoint(f"{folder}/m.checkpoint", plan_of(shards, Reading()))
        self.rounds: list[int] = []
        self.waits: list[str] = []
        met: set[int] = set()

        def on_shard(number: int, figures: Any) -> None:
            if number not in met:
                met.add(number)
                if on_first is not None:
                    on_first(number)

        with Cluster(cluster.address, wait_s=100.0, on_wait=self.waits.append) as connected:
            self.workers = connected.connect()
            done = train(
                connected, Done(model.snapshot(), []), shards, Reading(), ROUNDS, checkpoint,
                on_shard=on_shard, on_round=lambda round: self.rounds.append(round.number),
            )  # fmt: skip
        assert checkpoint.load().rounds == ROUNDS - 1
        self.errors = done.errors
        self.digest = done.model.digest()
        assert done.model.position == 2 + ROUNDS * 40_000


@pytest.fixture(scope="module")
def undisturbed(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """By one worker."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with DaskCluster(folder) as cluster:
        cluster.start_worker()
        return Trained(cluster, samples, folder)


def test_more_workers_give_the_same_bits(
    cluster: DaskCluster, samples: Path, undisturbed: Trained, tmp_path: Path
) -> None:
    for _ in range(2):
        cluster.start_worker()
    cluster.wait(2)
    trained = Trained(cluster, samples, tmp_path)
    assert (undisturbed.workers, trained.workers) == (1, 2)
    assert trained.digest == undisturbed.digest
    assert trained.errors == undisturbed.errors
    assert trained.rounds == [1, 2, 3]
    assert trained.errors[-1] < 0.4  # type: ignore[operator]


def test_a_worker_killed_in_every_round_changes_no_bit(
    cluster: DaskCluster, samples: Path, undisturbed: Trained, tmp_path: Path
) -> None:
    for _ in range(2):
        cluster.start_worker()
    cluster.wait(2)
    killed = []

    def kill(number: int) -> None:
        killed.append(number)
        cluster.kill(cluster.workers[0])
        cluster.start_worker()

    trained = Trained(cluster, samples, tmp_path, kill)
    assert killed == [1, 2, 3]
    assert trained.digest == undisturbed.digest


def test_all_workers_killed_at_once_change_no_bit(
    cluster: DaskCluster, samples: Path, undisturbed: Trained, tmp_path: Path
) -> None:
    """The model that was handed out is lost with them: the client hands it out again."""
    cluster.start_worker()

    def kill(number: int) -> None:
        if number == 2:
            for worker in list(cluster.workers):
                cluster.kill(worker)
            cluster.start_worker()

    assert Trained(cluster, samples, tmp_path, kill).digest == undisturbed.digest


def test_a_scheduler_started_again_changes_no_bit(
    cluster: DaskCluster, samples: Path, undisturbed: Trained, tmp_path: Path
) -> None:
    cluster.start_worker()

    def restart(number: int) -> None:
        if number == 2:
            assert cluster.scheduler is not None
            cluster.kill(cluster.scheduler)
            for worker in list(cluster.workers):  # they end without a scheduler
                cluster.kill(worker)
            cluster.start_scheduler()
            cluster.start_worker()

    trained = Trained(cluster, samples, tmp_path, restart)
    assert trained.digest == undisturbed.digest
    assert trained.waits


def test_workers_of_another_version_or_without_the_package_are_refused_by_name(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    from onlinesvm.service.train.cluster import Cluster

    for folder, text, got in (
        ("other", "__version__ = '0.0.9'\n", r"0\.0\.9"),
        ("without", "raise ModuleNotFoundError(\"No module named 'onlinesvm'\")\n", "none .No mod"),
    ):
        package = tmp_path / folder / "onlinesvm"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("" if folder == "other" else text)
        (package / "version.py").write_text(text)
        cluster.start_worker()
        worker = cluster.start_worker(path=os.fspath(package.parent))
        cluster.wait(2)
        expected = rf"worker tcp://127\.0\.0\.1:\d+: expected onlinesvm {__version__}, got {got}"
        with Cluster(cluster.address) as made, pytest.raises(ClusterError, match=expected):
            made.connect()
        for one in (worker, *list(cluster.workers)):
            cluster.kill(one)


def test_no_scheduler_is_an_error(cluster: DaskCluster) -> None:
    from onlinesvm.service.train.cluster import Cluster

    assert cluster.scheduler is not None
    cluster.kill(cluster.scheduler)
    waits: list[str] = []
    with (
        Cluster(cluster.address, wait_s=1.0, on_wait=waits.append) as made,
        pytest.raises(ClusterError, match="expected a Dask scheduler with a worker within 1 s"),
    ):
        made.connect()
    assert len(waits) == 1


# The command, on a cluster of this machine.


def command(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "onlinesvm", "train", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.fspath(HOUSE)},
    )


def outcome(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    out, notes = process.communicate(timeout=200)
    assert process.returncode == 0, notes
    found: dict[str, Any] = json.loads(out)
    return found, notes


def test_the_command_ends_with_a_model_that_a_daemon_takes(samples: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.msgpack"
    given = ("--shards", 3, "--rounds", 2, "--file", file, samples)
    found, notes = outcome(command("--workers", 2, *given))
    assert found["rounds"] == 2
    assert found["shards"] == 3
    assert found["samples"] == found["position"] == 80_000
    assert re.search(r"round 2 of 2: error 0\.\d{4}, by shard( 0\.\d{4}){3}\n", notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.msgpack"]
    model = OnlineSVM.load(file)
    assert model.snapshot().digest() == found["digest"]
    with DaemonProcess(state=tmp_path / "state") as daemon, Client(daemon.endpoint) as client:
        client.create("trained", file=os.fspath(file))
        assert client.models()[-1]["position"] == 80_000

    again, _ = outcome(command("--workers", 1, *given[:-2], tmp_path / "n", samples))
    assert again["digest"] == found["digest"]


def test_an_interrupt_leaves_the_checkpoint_and_resume_goes_on(
    samples: Path, tmp_path: Path
) -> None:
    given = ("--workers", 1, "--shards", 3, "--rounds", 3, "--file", tmp_path / "m", samples)
    whole, _ = outcome(command(*given[:-2], tmp_path / "whole", samples))
    process = command(*given)
    assert process.stderr is not None
    for line in process.stderr:
        if "round 1 of 3" in line:
            process.send_signal(signal.SIGINT)
            break
    notes = process.communicate(timeout=100)[1]
    assert process.returncode == 130, notes
    assert f"{tmp_path}/m.checkpoint has the rounds before; --resume goes on" in notes
    assert not (tmp_path / "m").exists()
    refused = command(*given)
    assert "--resume continues it" in refused.communicate(timeout=100)[1]
    assert refused.returncode == 2
    found, notes = outcome(command("--resume", *given))
    assert "done before" in notes
    assert found["digest"] == whole["digest"]
    assert found["errors"] == whole["errors"]
    assert not (tmp_path / "m.checkpoint").exists()
