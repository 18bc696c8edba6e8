"""Formats on the command line: found out, named, refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.daemons import HOUSE
from tests.shell import COMMAND, DEADLINE_S, assert_failed, done, run, write


def features(text: bytes, *flags: str) -> list[list[str]]:
    """The names of the features of each line."""
    out = done("features", *flags, stdin=text).out
    return [[name for name, _ in json.loads(line)["features"]] for line in out.splitlines()]


def test_the_format_found_out_is_named_on_stderr() -> None:
    ended = subprocess.run(
        [*COMMAND, "features"], input=b"+1\t1:0.5\t7:1\n", capture_output=True, cwd=HOUSE,
        timeout=DEADLINE_S,
    )  # fmt: skip
    assert json.loads(ended.stdout)["features"] == [["1", 0.5], ["7", 1.0]]
    note = "onlinesvm: stdin: read as svmlight (label id:value …)\n"
    assert ended.stderr.decode() == note


def test_a_bare_word_is_text_to_predict_and_no_sample_to_learn(tmp_path: Path) -> None:
    model = tmp_path / "m"
    done("learn", "--file", model, "--positive", "spam", stdin=b"spam\tfree\nham\tfee\n")
    assert done("predict", "--file", model, "-", stdin=b"free\n").out == "spam\n"
    assert_failed(run("predict", "--file", model, "-", stdin=b"7\n"), "expected a line of a known")
    assert_failed(run("learn", "--file", model, stdin=b"free\n"), "the formats are json", "text (")


def test_tables_and_keys(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", b"id,y,a,b\n7,1,.5,\n8,0,,2\n")
    assert_failed(run("learn", "--file", tmp_path / "m", table), "--label-column NAME reads it")
    learned = done("learn", "--file", tmp_path / "m", "--label-column", "y", table)
    assert json.loads(learned.out)["samples"] == 2
    assert features(table.read_bytes(), "--label-column", "y") == [["a"], ["b"]]
    line = b'{"y": NaN, "x": ["a"], "more": 1}\n'
    assert features(line, "--label-key", "y", "--features-key", "x") == [["a"]]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--format", "csv"), "label_column: expected one with the format csv, got none"),
        (
            ("--format", "vw", "--label-column", "y"),
            "label_column: expected the format csv with it, got 'vw'",
        ),
    ],
)
def test_flags_that_do_not_go_together(tmp_path: Path, flags: tuple[str, ...], says: str) -> None:
    assert_failed(run("learn", "--file", tmp_path / "m", *flags, stdin=b""), says, code=2)
