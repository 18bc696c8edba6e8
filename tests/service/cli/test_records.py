"""Texts and fields in files: the same model by `--file`, with `--shuffle`, and by a daemon."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from onlinesvm import Client, LearnerConfig, Limits, OnlineSVM
from onlinesvm.text.constants import TEXT_BYTES
from tests.daemons import digest_of, on_a_thread
from tests.service.cli.samples import FILES, RECORDS
from tests.shell import assert_failed, done, run, write

TITANIC = b"""survived,pclass,sex,age,fare,name
0,3,male,22,7.25,"Braund, Mr. Owen Harris"
1,1,female,38,71.2833,"Cumings, Mrs. John Bradley"
1,3,female,26,7.925,"Heikkinen, Miss. Laina"
0,3,male,,8.4583, Moran
0,1,male,54,0,"McCarthy, Mr. Timothy J"
"""
ROWS = [
    ({"pclass": 3, "sex": "male", "age": 22, "fare": 7.25, "name": "Braund, Mr. Owen Harris"}, 0),
    (
        {
            "pclass": 1, "sex": "female", "age": 38, "fare": 71.2833,
            "name": "Cumings, Mrs. John Bradley",
        },
        1,
    ),
    ({"pclass": 3, "sex": "female", "age": 26, "fare": 7.925, "name": "Heikkinen, Miss. Laina"}, 1),
    ({"pclass": 3, "sex": "male", "fare": 8.4583, "name": "Moran"}, 0),
    ({"pclass": 1, "sex": "male", "age": 54, "fare": 0, "name": "McCarthy, Mr. Timothy J"}, 0),
]  # fmt: skip
ALL = {**FILES, **RECORDS}
TABLE = ("--label-column", "survived")
CONFIGS = {
    "default": LearnerConfig(),
    "words": LearnerConfig(text="words"),
    "prefixes": LearnerConfig(numbers="prefixes"),
    "declared": LearnerConfig(fields={"pclass": "category", "name": "text"}),  # type: ignore[arg-type]
    "off": LearnerConfig(rule="pa1"),
}


@pytest.fixture
def text_file(tmp_path: Path) -> Iterator[Path]:
    yield write(tmp_path / "t.csv", TITANIC)


def test_a_table_makes_a_model_whose_numbers_have_prefixes(text_file: Path, tmp_path: Path) -> None:
    model = tmp_path / "m"
    learned = json.loads(done("learn", "--file", model, *TABLE, text_file).out)
    assert learned["samples"] == 5 and learned["labels"] == [0, 1]
    expected = OnlineSVM(numbers="prefixes")
    expected.learn(ROWS)  # type: ignore[arg-type]
    loaded = OnlineSVM.load(model)
    assert digest_of(loaded) == digest_of(expected)
    assert loaded.config.numbers == "prefixes"
    ask = "--file", model, *TABLE, text_file
    margins = [float(line) for line in done("predict", "--output", "margin", *ask).out.split()]
    assert margins == expected.decision_function([row for row, _ in ROWS]).tolist()
    assert json.loads(done("evaluate", "--json", *ask).out)["samples"] == 5
    explained = [json.loads(line) for line in done("explain", *ask).out.splitlines()]
    assert [one["margin"] for one in explained] == margins
    names = {part["name"] for part in explained[0]["features"]}
    assert {"sex=male", "age@0:16", "name^braund", "name^mr .", "name^~ owe"} <= names


def test_numbers_of_a_table_are_raw_where_that_is_asked_for(
    text_file: Path, tmp_path: Path
) -> None:
    done("learn", "--file", tmp_path / "m", *TABLE, "--numbers", "raw", text_file)
    assert OnlineSVM.load(tmp_path / "m").config.numbers == "raw"


def configured(config: LearnerConfig) -> list[str]:
    """The flags of a configuration."""
    flags = ["--rule", config.rule, "--numbers", config.numbers, "--text", str(config.text)]
    if config.fields:
        flags += ["--fields", ",".join(f"{name}={kind}" for name, kind in config.fields)]
    return flags


@pytest.mark.parametrize("how", CONFIGS)
@pytest.mark.parametrize("format", [*ALL, "csv"])
def test_file_and_daemon_make_the_same_model(format: str, how: str, tmp_path: Path) -> None:
    config = CONFIGS[how]
    text = TITANIC if format == "csv" else ALL[format][0]
    if format == "json" and how == "off":
        text = b"".join(line + b"\n" for line in text.splitlines() if b'"features":"' not in line)
    flags = ["--format", format, *(TABLE if format == "csv" else ())]
    file, model = write(tmp_path / "file", text), tmp_path / "m"
    learned = json.loads(done("learn", "--file", model, *configured(config), *flags, file).out)
    given = {name: value for name, value in config.as_dict().items() if name != "rule"}
    with (
        on_a_thread(tmp_path / "state", rule=config.rule, **given) as endpoint,
        Client(endpoint) as client,
    ):
        by_daemon = json.loads(done("learn", "--connect", endpoint, *flags, file).out)
        ask = "predict", "--output", "margin", *flags, file
        margins = done(*ask, "--file", model).out
        assert margins == done(*ask, "--connect", endpoint).out
        explain = "explain", *flags, file
        assert done(*explain, "--file", model).out == done(*explain, "--connect", endpoint).out
        saved = OnlineSVM.load(client.snapshot()["path"])
    assert digest_of(saved) == digest_of(OnlineSVM.load(model))
    assert {**learned, "seconds": 0} == {**by_daemon, "seconds": 0}
    assert len(margins.splitlines()) == learned["samples"] > 1


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_shuffle_learns_the_same_texts_in_another_order(format: str, tmp_path: Path) -> None:
    text, samples = ALL[format]
    file = write(tmp_path / "file", text)
    done("learn", "--file", tmp_path / "m", "--shuffle", 3, file)
    digests = []
    for order in itertools.permutations(samples):
        model = OnlineSVM()
        model.learn(order)
        digests.append(digest_of(model))
    assert digest_of(OnlineSVM.load(tmp_path / "m")) in digests


def test_long_texts_are_cut(tmp_path: Path) -> None:
    text = b"long word " * (TEXT_BYTES // 10 + 100)
    file = write(tmp_path / "file", b"1\t" + text + b"\n0\tshort\n")
    done("learn", "--file", tmp_path / "m", file)
    model = OnlineSVM()
    model.learn([(text.decode(), 1), ("short", 0)])
    assert digest_of(OnlineSVM.load(tmp_path / "m")) == digest_of(model)


@pytest.mark.parametrize(
    ("flags", "text", "says"),
    [
        (
            ("--format", "json"),
            b'{"label":1,"features":{"a":{}}}\n',
            "line 1: expected a number, text, true, false, null or an array of names, got an"
            ' object at $["features"]["a"]',
        ),
        (
            ("--format", "json", "--fields", "t=date"),
            b'{"label":1,"features":{"t":"soon"}}\n',
            "line 1: expected a date as 2026-11-28 or 2026-11-28T09:30:15+01:00 (the field is"
            ' declared as a date), got text "soon" at $["features"]["t"]',
        ),
        (
            ("--label-column", "y", "--fields", "t=date"),
            b"y,t\n1,2026-11-28\n0,soon\n",
            'got text "soon" in the column "t"',
        ),
        (
            ("--label-column", "y", "--max-value", "5"),
            b"y,t,u\n1,4,a\n0,9,b\n",
            'got "9" in the column "t"',
        ),
        (
            ("--rule", "sgd", "--format", "json"),
            b'{"label":1,"features":"free prize"}\n',
            'got text "free prize"',
        ),
    ],
)
def test_faults_name_the_line_and_the_place(
    tmp_path: Path, flags: tuple[str, ...], text: bytes, says: str
) -> None:
    file = write(tmp_path / "file", text)
    assert_failed(run("learn", "--file", tmp_path / "m", *flags, file), says)
    limits = Limits(max_value=5.0)
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    config = {"rule": given.get("--rule", "hedge")}
    fields = dict([given["--fields"].split("=")]) if "--fields" in given else {}
    with on_a_thread(tmp_path / "state", limits=limits, fields=fields, **config) as endpoint:
        kept = [
            flag
            for name, value in given.items()
            if name in ("--format", "--label-column", "--max-value")
            for flag in (name, value)
        ]
        assert_failed(run("learn", "--connect", endpoint, *kept, file), says)
