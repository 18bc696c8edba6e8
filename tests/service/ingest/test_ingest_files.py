"""`onlinesvm ingest file:PATH`: each line is learned once, whatever is killed."""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service.client.client import Client
from tests.daemons import digest_of, eventually, on_a_thread, serve
from tests.service.ingest.ingesters import Ingest, ingest, sample_lines
from tests.shell import assert_failed, done, run

N = 500


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    with on_a_thread(tmp_path / "state") as endpoint:
        yield endpoint


def learned(samples: Sequence[Any]) -> str:
    model = OnlineSVM()
    model.learn(samples)
    return digest_of(model)


def digest_at(endpoint: str) -> str:
    with Client(endpoint) as client:
        digest: str = client.snapshot()["digest"]
        return digest


def write(path: Path, lines: Sequence[bytes]) -> None:
    with path.open("ab") as file:
        file.writelines(line + b"\n" for line in lines)


def test_a_file_is_learned_once_however_often_it_is_given(endpoint: str, tmp_path: Path) -> None:
    lines, samples = sample_lines(0, N)
    path = tmp_path / "log.jsonl"
    for start, end in itertools.pairwise((0, 1, 200, N)):
        write(path, lines[start:end])
        for expected in (end - start, 0):
            outcome = json.loads(done("ingest", "--connect", endpoint, f"file:{path}").out)
            assert outcome["samples"] == expected
            assert outcome["producer"].endswith("/log.jsonl")
    assert digest_at(endpoint) == learned(samples)


def test_a_line_that_is_no_sample_stops_it_with_its_place(endpoint: str, tmp_path: Path) -> None:
    lines, samples = sample_lines(0, 6)
    path = tmp_path / "log"
    write(path, [*lines[:2], b"{", *lines[2:4], b'{"label": 9, "features": []}', *lines[4:]])
    first = sum(map(len, lines[:2])) + 2 + len(b"{\n")
    second = first + sum(map(len, lines[2:4])) + 2 + len(b'{"label": 9, "features": []}\n')
    arguments = ("ingest", "--connect", endpoint, f"file:{path}")
    for _ in range(2):  # the samples before it are learned, and none after it
        failed = run(*arguments)
        assert failed.code == 1 and f"{path}, the line that ends at byte {first}: " in failed.err
        assert digest_at(endpoint) == learned(samples[:2])
    skipping = json.loads(done(*arguments, "--skip-bad").out)
    assert (skipping["samples"], skipping["skipped"]) == (4, 2)
    assert digest_at(endpoint) == learned(samples)
    assert json.loads(done(*arguments).out)["samples"] == 0
    write(path, [b'{"label": 9, "features": []}'])
    failed = run(*arguments)
    assert f"byte {second + sum(map(len, lines[4:])) + 2 + 29}: expected one of the" in failed.err
    assert "got 9" in failed.err
    # Bad lines at the end are passed over once.
    assert json.loads(done(*arguments, "--skip-bad").out)["skipped"] == 1
    assert json.loads(done(*arguments, "--skip-bad").out)["skipped"] == 0


def test_many_bad_lines_are_skipped_wherever_they_are_found(endpoint: str, tmp_path: Path) -> None:
    lines, samples = sample_lines(0, N)
    chance, path, kept = random.Random(3), tmp_path / "log", []
    bad = (b"{", b"", b'{"label": 9, "features": []}', b'{"label": 0, "features": {"a": 1e99}}')
    skipped = 0
    for line, sample in zip(lines, samples, strict=True):
        kind = chance.randrange(20)
        write(path, [bad[kind] if kind < 4 else line])
        skipped += kind in (0, 2, 3)
        kept += [sample] * (kind >= 4)
    outcome = json.loads(done("ingest", "--connect", endpoint, "--skip-bad", f"file:{path}").out)
    assert (outcome["samples"], outcome["skipped"]) == (len(kept), skipped)
    assert digest_at(endpoint) == learned(kept)


def test_records_with_text(endpoint: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    rows = [{"subject": f"free prize {i}", "len": i % 9, "spam": i % 2 == 0} for i in range(50)]
    write(path, [json.dumps(row).encode() for row in rows])
    done("ingest", "--connect", endpoint, "--label-field", "spam", f"file:{path}")
    samples = [({key: row[key] for key in ("subject", "len")}, row["spam"]) for row in rows]
    assert digest_at(endpoint) == learned(samples)


def test_a_signal_ends_it_once_all_is_acknowledged(tmp_path: Path) -> None:
    lines, samples = sample_lines(0, 20_000)
    path = tmp_path / "log"
    write(path, lines)
    with serve(tmp_path / "state") as daemon:
        with (
            ingest(f"file:{path}", daemon.endpoint, "--follow") as running,
            daemon.client() as client,
        ):
            eventually(lambda: client.stats()["position"], "a first sample")
            outcome = running.stop()
        with daemon.client() as client:
            position = client.stats()["position"]
            assert outcome["samples"] == position
            assert client.snapshot()["digest"] == learned(samples[:position])
            (lag,) = client.stats()["ingest"]
            left = sum(len(line) + 1 for line in lines[position:])
            assert lag["lag_bytes"] == left


def test_its_lag_is_shown_while_it_runs(tmp_path: Path) -> None:
    lines, _ = sample_lines(0, N)
    path = tmp_path / "log"
    write(path, lines)
    with (
        serve(tmp_path / "state") as daemon,
        ingest(f"file:{path}", daemon.endpoint, "--follow"),
        daemon.client() as client,
    ):

        def is_level() -> bool:
            found = client.stats()["ingest"]
            return bool(found) and found[0]["lag_bytes"] == 0 and found[0]["samples"] == N

        eventually(is_level, "no lag")
        eventually(lambda: client.stats()["ingest"][0]["age_s"] < 1.5, "a report a second")


def test_a_second_ingester_takes_over_and_the_first_stops(tmp_path: Path) -> None:
    lines, samples = sample_lines(0, 3 * N)
    path = tmp_path / "log"
    write(path, lines[:N])
    with serve(tmp_path / "state") as daemon, daemon.client() as client:
        with ingest(f"file:{path}", daemon.endpoint, "--follow") as first:
            eventually(lambda: client.stats()["position"] == N, "all samples")
            with ingest(f"file:{path}", daemon.endpoint, "--follow") as second:
                second.await_line("learning")
                write(path, lines[N : 2 * N])
                assert "another client uses this name" in first.fault() or (
                    "another connection has asked to resume" in first.said
                )
                write(path, lines[2 * N :])
                eventually(lambda: client.stats()["position"] == 3 * N, "all samples")
                assert second.stop()["samples"] >= N
        assert client.snapshot()["digest"] == learned(samples)


def test_a_model_that_is_dropped_stops_it(tmp_path: Path) -> None:
    lines, _ = sample_lines(0, 2 * N)
    path = tmp_path / "log"
    write(path, lines[:N])
    with serve(tmp_path / "state") as daemon, daemon.client() as client:
        client.create("m")
        model = Client(daemon.endpoint, model="m")
        with ingest(
            f"file:{path}", daemon.endpoint, "--follow", "--model", "m", "--skip-bad"
        ) as running:
            eventually(lambda: model.stats()["position"] == N, "all samples")
            client.drop("m")
            write(path, lines[N:])
            assert "NO_MODEL" in running.fault()
        client.create("m")  # anew: all is learned
        with ingest(f"file:{path}", daemon.endpoint, "--model", "m") as again:
            assert again.outcome()["samples"] == 2 * N
        model.close()


@pytest.mark.long
def test_kills_of_ingester_and_daemon_while_the_file_is_rotated(tmp_path: Path) -> None:
    chance = random.Random(int(os.environ.get("CHAOS_SEED", "1")))
    lines, samples = sample_lines(0, 40_000)
    path, at = tmp_path / "log", 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    flags = ("--follow", "--rotate-after", "50ms")
    daemon = serve(tmp_path / "state", bind=bind)
    running = Ingest(f"file:{path}", bind, *flags)
    rotations = 0
    try:
        for _ in range(30):
            more = min(len(lines), at + chance.randrange(1, 2000))
            write(path, lines[at:more])
            at = more
            what = chance.choice(["ingester", "daemon", "both", "rotate", "wait"])
            if what in ("ingester", "both"):
                running.kill()
            if what in ("daemon", "both"):
                daemon.__exit__(None)  # kills it
                daemon = serve(tmp_path / "state", bind=bind)
            if what in ("ingester", "both"):
                running = Ingest(f"file:{path}", bind, *flags)
            if what == "rotate" and rotations < 8 and path.exists():
                rotations += 1
                # Before a first cursor an ingester begins with the file, not with those before it.
                with daemon.client() as client:
                    eventually(lambda: client.stats()["position"], "a first sample")
                for number in range(rotations, 1, -1):
                    Path(f"{path}.{number - 1}").rename(f"{path}.{number}")
                path.rename(f"{path}.1")
        write(path, lines[at:])
        with daemon.client() as client:
            eventually(lambda: client.stats()["position"] == len(samples), "all samples")
            assert client.snapshot()["digest"] == learned(samples)
        assert running.stop()["cursor"]
    finally:
        if running.process.poll() is None:
            running.kill()
        daemon.__exit__(None)


def test_a_daemon_that_is_away_is_waited_for(tmp_path: Path) -> None:
    lines, samples = sample_lines(0, 2 * N)
    path = tmp_path / "log"
    write(path, lines[:N])
    daemon = serve(tmp_path / "state")
    bind = daemon.endpoint
    with ingest(f"file:{path}", bind, "--follow", "--timeout-s", "1s") as running:
        with daemon.client() as client:
            eventually(lambda: client.stats()["position"] == N, "all samples")
        daemon.__exit__(None)  # kills it
        write(path, lines[N:])
        running.await_line("waiting for the daemon")
        with serve(tmp_path / "state", bind=bind) as again, again.client() as client:
            running.await_line("the daemon is back")
            eventually(lambda: client.stats()["position"] == 2 * N, "all samples")
            assert running.stop()["samples"] == 2 * N
            assert client.snapshot()["digest"] == learned(samples)


def test_a_signal_ends_it_while_the_daemon_is_away(tmp_path: Path) -> None:
    lines, _ = sample_lines(0, N)
    path = tmp_path / "log"
    write(path, lines[:1])
    with serve(tmp_path / "state") as daemon:
        running = Ingest(f"file:{path}", daemon.endpoint, "--follow", "--timeout-s", "1s")
        with daemon.client() as client:
            eventually(lambda: client.stats()["position"] == 1, "a sample")
        daemon.kill()
        write(path, lines[1:])
        running.await_line("waiting for the daemon")
        running.process.terminate()
        assert "1 sample of this run were learned" in running.fault().replace("was", "were")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("kafka://x/y",), "source: expected file:PATH or redis://HOST/STREAM, got 'kafka://x/y'"),
        (("x.jsonl",), "got 'x.jsonl'; did you mean file:x.jsonl?"),
        (("file:",), "source: expected file:PATH, got no path"),
        (("--format", "fields", "file:a"), "a file has lines of JSON"),
        (("--field", "f", "file:a"), "a file has lines of JSON"),
        (("redis://h",), "source: expected redis://HOST[:PORT]/STREAM, got 'redis://h'"),
        (("redis://u:secret@h/",), "got 'redis://h/'"),
        (("redis://h/s?db=x",), "expected db as an integer from 0, got 'x'"),
        (("redis://h/s?no=1",), "expected options of redis-py after ?"),
        (("--format", "fields", "redis://h/s"), "label_field: expected one with the format fields"),
    ],
)
def test_wrong_usage(arguments: tuple[object, ...], text: str) -> None:
    assert_failed(run("ingest", *arguments), text, code=2)


@pytest.mark.parametrize("package", ["redis", "hiredis"])
def test_packages_that_are_not_there(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    outcome = run("ingest", "redis://h/s")
    assert_failed(outcome, "source: expected the packages of onlinesvm[redis], got none", code=2)


def test_a_file_that_is_not_there(endpoint: str, tmp_path: Path) -> None:
    failed = run("ingest", "--connect", endpoint, f"file:{tmp_path / 'none'}")
    assert failed.code == 1 and "No such file" in failed.err


def test_a_cursor_of_another_source(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"")
    with Client(endpoint) as client, client.stream("p") as stream:
        stream.mark("1-0 1")
    failed = run("ingest", "--connect", endpoint, "--producer", "p", f"file:{tmp_path / 'log'}")
    assert failed.code == 1 and "expected the cursor of a file, got b'1-0 1'" in failed.err


def test_names_of_producers_fit(endpoint: str, tmp_path: Path) -> None:
    path = tmp_path / ("é" * 60)
    path.write_bytes(b"")
    outcome = json.loads(done("ingest", "--connect", endpoint, f"file:{path}").out)
    assert len(outcome["producer"].encode()) <= 64
