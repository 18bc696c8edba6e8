"""`predict --hold` and `label`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onlinesvm import Limits
from onlinesvm.service import Client
from tests.daemons import on_a_thread
from tests.shell import done, run

LINES = b'{"id": "v1", "features": ["a"]}\n{"id": "v 2", "features": ["b"]}\n'


def test_from_predictions_to_labels(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        with Client(endpoint) as client:
            client.learn([(["a"], "yes"), (["b"], "no")])
        to = ("--connect", endpoint)
        flags = ("--hold", "--ttl", "5m", "--default-label", "no")
        predicted = done("predict", *to, *flags, "--with-id", "-", stdin=LINES)
        assert predicted.out == "v1\tyes\nv 2\tno\n"
        path = tmp_path / "labels.txt"
        path.write_bytes(b"v1 yes\nv 2\tno\t2.5\n\nv3 no\n")
        outcome = json.loads(done("label", *to, path).out)
        assert outcome == {"learned": 2, "duplicate": 0, "expired": 0, "unknown": 1}
        outcome = json.loads(done("label", *to, "-", stdin=b"v1 yes\r\n").out)
        assert outcome["duplicate"] == 1
        assert json.loads(done("stats", *to).out)["position"] == 4


def test_labels_of_large_samples_are_sent_in_parts(tmp_path: Path) -> None:
    limits = Limits(max_message_bytes=8192)
    lines = [json.dumps({"id": f"k{i}", "features": ["x" * 3000, i]}) for i in range(7)]
    with on_a_thread(tmp_path / "state", limits=limits) as endpoint:
        to = ("--connect", endpoint)
        small = ("--max-message-bytes", 8192)
        sent = "\n".join(lines).encode()
        done("predict", *to, *small, "--hold", "-", stdin=sent)
        labels = b"".join(b"k%d 1\n" % i for i in range(7))
        assert json.loads(done("label", *to, "-", stdin=labels).out)["learned"] == 7


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--ttl", "5m"), "expected them with --hold alone"),
        (("--hold", "--default-label", "1.5"), "--default-label: expected a label"),
        (("--hold", "--file", "m.msgpack"), "a file holds no samples"),
    ],
)
def test_wrong_usage(flags: tuple[str, ...], text: str) -> None:
    failed = run("predict", *flags, "-", stdin=LINES)
    assert (failed.code, text in failed.err) == (2, True), failed.err


def test_a_sample_without_an_id_cannot_be_held(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        failed = run(
            "predict", "--connect", endpoint, "--hold", "-", stdin=LINES + b'{"features": ["c"]}\n'
        )
        assert failed.code == 1
        assert "expected an id for each sample, got none for sample 3" in failed.err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"v1\n", "expected a key, a label"),
        (b"v1 a b c\n", "expected a key, a label"),
        (b"v1 1.5\n", "expected a label as text, integer or boolean"),
        (b"v1 yes heavy\n", "expected an importance as a number"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, text: str) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        failed = run("label", "--connect", endpoint, "-", stdin=b"v1 1\n" + line)
        assert failed.code == 1
        assert "stdin, line 2: " in failed.err and text in failed.err


def test_a_bad_line_after_others_were_sent_hides_no_outcome(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        lines = b"v1 1\n" * 1000 + b"v2\n"
        failed = run("label", "--connect", endpoint, "-", stdin=lines)
        assert failed.code == 1
        assert "stdin, line 1001: expected a key, a label" in failed.err
        assert json.loads(failed.out)["unknown"] == 1000


def test_a_bad_line_before_any_was_sent_prints_no_outcome(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        failed = run("label", "--connect", endpoint, "-", stdin=b"v1 1\nv2\n")
        assert (failed.code, failed.out) == (1, "")
