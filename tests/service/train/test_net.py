"""Training over links that break: a worker in a network namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.train.dask_cluster import HOUSE, DaskCluster
from tests.service.train.test_cluster import make_samples

pytestmark = [pytest.mark.net, pytest.mark.dask, pytest.mark.timeout(500)]

DOWN_S = 40.0  # longer than the 30 seconds after which Dask takes a connection for dead


class Link:
    """Two network namespaces and a cable between them, one end of which can be pulled."""

    NEAR, FAR = "10.213.77.1", "10.213.77.2"

    def __init__(self) -> None:
        name = f"osvm{os.getpid()}"
        self.near, self.far = f"{name}n", f"{name}f"
        self._ends = f"{name}a"[-15:], f"{name}b"[-15:]

    def make(self) -> None:
        """Raises OSError where this machine does not let us."""
        for space in (self.near, self.far):
            self._run("netns", "add", space)
        near_end, far_end = self._ends
        self._run("link", "add", near_end, "type", "veth", "peer", "name", far_end)
        for space, end, address in (
            (self.near, near_end, self.NEAR), (self.far, far_end, self.FAR),
        ):  # fmt: skip
            self._run("link", "set", end, "netns", space)
            self._run("-n", space, "addr", "add", f"{address}/24", "dev", end)
            self._run("-n", space, "link", "set", end, "up")
            self._run("-n", space, "link", "set", "lo", "up")

    def set(self, state: str) -> None:
        self._run("-n", self.far, "link", "set", self._ends[1], state)

    def remove(self) -> None:
        for space in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def _run(self, *words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def link() -> Iterator[Link]:
    if shutil.which("ip") is None:
        pytest.skip("needs ip (iproute2)")
    made = Link()
    try:
        try:
            made.make()
        except OSError as error:
            pytest.skip(f"needs the right to make network namespaces: {error}")
        yield made
    finally:
        made.remove()


def inside(space: str) -> list[str]:
    return ["ip", "netns", "exec", space]


def test_a_link_that_is_down_for_40_seconds_changes_no_bit(link: Link, tmp_path: Path) -> None:
    samples = make_samples(tmp_path / "samples.svm", 40_000)

    def start(address: str, file: str) -> subprocess.Popen[str]:
        words = ["--scheduler", address, "--shards", "4", "--rounds", "3", "--wait", "3m"]
        return subprocess.Popen(
            [*inside(link.near), sys.executable, "-m", "onlinesvm", "train", *words, "--file",
             f"{tmp_path}/{file}", str(samples)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.fspath(HOUSE)},
        )  # fmt: skip

    def digest(process: subprocess.Popen[str]) -> str:
        out, notes = process.communicate(timeout=300)
        assert process.returncode == 0, notes
        found: str = json.loads(out)["digest"]
        return found

    with DaskCluster(tmp_path, host=link.NEAR, within=inside(link.near)) as cluster:
        cluster.start_worker()
        cluster.start_worker(within=inside(link.far), nanny=True)
        cluster.wait(2)
        process = start(cluster.address, "disturbed")
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "round 1 of 3" in line:
                break
        assert any("2 workers" in line for line in said), said
        link.set("down")
        assert process.poll() is None
        time.sleep(DOWN_S)  # the fault itself
        link.set("up")
        disturbed = digest(process)
        assert digest(start(cluster.address, "calm")) == disturbed
