"""The commands around a damaged state folder and a producer's file, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service.storage.entry import ENTRY
from onlinesvm.service.storage.segment import HEADER_BYTES, segment_name
from tests.daemons import DEADLINE_S, HOUSE, digest_of, refused_start, serve
from tests.logs import Batch, bench, digest_after, newest_snapshot, segments_of


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "onlinesvm.service", *map(str, arguments)],
        cwd=HOUSE,
        input=stdin,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    out, errors = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, out, errors)


def batches(n: int) -> list[Batch]:
    return [[([f"f{i}", "all"], 1 if i % 2 else -1)] for i in range(n)]


def damaged(folder: Path, record: int) -> Path:
    """A folder of 9 learn requests, one of which is damaged; the segment."""
    with bench(folder) as found:
        first = segments_of(folder)[-1][1].stat().st_size
        found.learn(*batches(9))
    path = segments_of(folder)[-1][1]
    raw = bytearray(path.read_bytes())
    raw[first + (len(raw) - first) // 9 * record + ENTRY.size + 2] ^= 1
    path.write_bytes(raw)
    return path


def test_damage_is_refused_and_recovered_from(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    path = damaged(folder, 5)
    code, errors = refused_start(state=folder)
    assert code == 1
    *_, last = errors.splitlines()
    assert last.startswith(f"onlinesvm: {path}: byte ")
    assert "expected checksum" in last
    assert "whole entries follow at byte" in last
    assert last.endswith(f"onlinesvm recover --state {folder}")
    done = run("recover", "--state", folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    lost = (report["lost_entries"], report["unreadable_entries"], report["lost_samples"])
    assert (report["snapshots"][0]["position"], *lost) == (5, 4, 1, 3)
    assert report["set_aside"] == [f"{path}.damaged"]
    digest = report["snapshots"][0]["digest"]
    assert digest == digest_after(batches(5))
    with serve(folder) as daemon, daemon.client() as client:
        assert client.snapshot()["digest"] == digest
        client.learn(batches(9)[5])
        assert client.snapshot()["digest"] == digest_after(batches(6))
    again = json.loads(run("recover", "--state", folder).stdout)
    assert (again["lost_entries"], again["damage"]) == (0, None)


def test_recovering_twice_keeps_what_was_set_aside_first(tmp_path: Path) -> None:
    path = damaged(tmp_path, 5)
    first = json.loads(run("recover", "--state", tmp_path).stdout)["set_aside"]
    kept = Path(first[0]).read_bytes()
    raw = bytearray(path.read_bytes())
    raw[-10] ^= 1
    path.write_bytes(raw + raw[HEADER_BYTES : HEADER_BYTES + ENTRY.size])
    newest_snapshot(tmp_path).unlink()
    path.with_name(segment_name(99)).touch()
    second = json.loads(run("recover", "--state", tmp_path).stdout)
    assert second["set_aside"][0] == f"{path}.damaged-2"
    assert Path(first[0]).read_bytes() == kept


def test_folders_that_cannot_be_recovered(tmp_path: Path) -> None:
    done = run("recover", "--state", tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("none: no such folder\n")
    (tmp_path / "empty").mkdir()
    done = run("recover", "--state", tmp_path / "empty")
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected a snapshot or a log, got none whole" in done.stderr
    with serve(tmp_path / "state"):
        done = run("recover", "--state", tmp_path / "state")
        assert done.returncode == 1
        assert "another daemon holds it" in done.stderr


# A producer's file.


def text_of(n: int) -> bytes:
    return b"".join(b"%d\tword%d all\n" % (1 if i % 2 else -1, i % 13) for i in range(n))


def learned(n: int) -> OnlineSVM:
    model = OnlineSVM(text="off")
    model.learn([([f"word{i % 13}", "all"], 1 if i % 2 else -1) for i in range(n)])
    return model


def test_a_file_is_resumed_under_a_producers_name(tmp_path: Path) -> None:
    with serve(tmp_path, text="off") as daemon, daemon.client() as client:

        def learn(stdin: bytes, *flags: str) -> Any:
            done = run(
                "learn", "--connect", daemon.endpoint, "--producer", "p", *flags, "-", stdin=stdin
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        for before, n in ((0, 700), (700, 700), (700, 3000), (3000, 3001)):
            outcome = learn(text_of(n))
            assert (outcome["known"], outcome["samples"]) == (before, n - before)
            assert outcome["position"] == n
        assert client.snapshot()["digest"] == digest_of(learned(3001))
        done = run("learn", "--connect", daemon.endpoint, "--producer", "p", "-", stdin=text_of(10))
        assert done.returncode == 1
        assert "expected the 3001 samples that producer p has learned" in done.stderr
        assert client.stats()["position"] == 3001


def test_a_refused_sample_ends_a_producers_run_there(tmp_path: Path) -> None:
    lines = text_of(500).splitlines(keepends=True)
    lines[321] = b"1\t" + b" ".join(b"x%d" % i for i in range(30)) + b"\n"
    with (
        serve(tmp_path, text="off", max_features_per_sample=20) as daemon,
        daemon.client() as client,
    ):
        for _ in range(2):
            done = run(
                "learn", "--connect", daemon.endpoint, "--producer", "p", "-",
                stdin=b"".join(lines),
            )  # fmt: skip
            assert done.returncode == 1
            assert "(sample 321 of the stream); 321 samples applied" in done.stderr
        assert client.stats()["position"] == 321
        lines[321] = text_of(322).splitlines(keepends=True)[321]
        done = run(
            "learn", "--connect", daemon.endpoint, "--producer", "p", "-", stdin=b"".join(lines)
        )
        assert done.returncode == 0, done.stderr
        assert client.snapshot()["digest"] == digest_of(learned(500))


def test_a_producer_needs_a_daemon(tmp_path: Path) -> None:
    done = run("learn", "--file", tmp_path / "m.msgpack", "--producer", "p", "-")
    assert done.returncode == 2
    assert "--producer needs a daemon" in done.stderr


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("fsync", "sometimes", "invalid choice"),
        ("max-producers", "0", "max_producers: expected an integer from 1 to 500000, got 0"),
    ],
)
def test_flags_out_of_range(tmp_path: Path, flag: str, value: str, message: str) -> None:
    done = run("serve", "--state", tmp_path, f"--{flag}", value)
    assert done.returncode == 2
    assert message in done.stderr


def test_damage_that_the_snapshot_holds_does_not_matter(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        for n in range(3):
            found.learn(*batches(9)[3 * n : 3 * n + 3])
            if n < 2:
                found.snapshot()
    first = segments_of(tmp_path)[0][1]
    first.write_bytes(bytes(first.stat().st_size))
    done = run("recover", "--state", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["lost_entries"], report["damage"]) == (0, None)
    with serve(tmp_path) as daemon, daemon.client() as client:
        assert client.stats()["position"] == 9


@pytest.mark.parametrize("command", ["serve", "recover"])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_segment_that_is_no_file(tmp_path: Path, command: str, kind: str) -> None:
    with bench(tmp_path) as found:
        found.learn(*batches(3))
    ((_, path),) = segments_of(tmp_path)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)  # opening it would wait for ever
    else:
        path.mkdir()
    flags = ["--bind", "tcp://127.0.0.1:*"] if command == "serve" else []
    done = run(command, "--state", tmp_path, *flags)
    assert done.returncode == 1
    assert done.stderr == f"onlinesvm: {path}: expected a regular file, got a {kind}\n"
