"""`explain`: shaded text for a human, JSON for a program."""

from __future__ import annotations

import json
import os
import pty
import re
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import Client, OnlineSVM
from onlinesvm.service.cli.shading import Shading
from tests.daemons import on_a_thread
from tests.model.test_text import MESSAGES
from tests.shell import DEADLINE_S, done, started

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[OnlineSVM, Path]:
    model, path = OnlineSVM(), tmp_path_factory.mktemp("model") / "m"
    for _ in range(5):
        model.learn(MESSAGES)
    model.save(path)
    return model, path


def shown(model: OnlineSVM, features: Any, *, colours: bool) -> str:
    return Shading("ham", "spam", colours).shown(model.explain(features))


def test_colours_shade_what_a_token_adds(model: tuple[OnlineSVM, Path]) -> None:
    text = shown(model[0], "a FREE prize\nmy dear", colours=True)
    assert "\x1b[48;5;75m\x1b[38;5;16mprize\x1b[0m" in text  # the most for spam
    assert re.search(r"\x1b\[48;5;(224|217|210|203)m\x1b\[38;5;16mdear", text)
    plain = COLOURS.sub("", text)
    assert re.match(r"spam  -[0-9.]+\n  -[0-9.]+  a FREE prize\\nmy dear\n  bias ", plain)
    assert plain.endswith("\n\n")


def test_without_colours_the_strong_tokens_have_numbers(model: tuple[OnlineSVM, Path]) -> None:
    text = shown(model[0], {"text": "a free prize", "from": "shop", "n": 3}, colours=False)
    assert "\x1b" not in text
    assert re.search(r"^  text  -[0-9.]+  a.* prize\[-[0-9.]+\]$", text, re.MULTILINE)
    assert re.search(r"^  from  [+-][0-9.e-]+$", text, re.MULTILINE)


@pytest.mark.parametrize("place", ["file", "daemon"])
def test_records_of_files_are_explained_by_field(
    model: tuple[OnlineSVM, Path], tmp_path: Path, place: str
) -> None:
    asked: list[Any] = ["my dear FREE prize", {"text": "see a prize", "from": "shop", "n": 3}]
    text = b"".join(json.dumps({"features": one}).encode() + b"\n" for one in asked)
    learned = OnlineSVM()
    learned.learn(MESSAGES)
    learned.save(tmp_path / "m")
    with on_a_thread(tmp_path / "state") as endpoint, Client(endpoint) as client:
        client.learn(MESSAGES)
        target = ("--file", tmp_path / "m") if place == "file" else ("--connect", endpoint)
        rows = [json.loads(line) for line in done("explain", *target, stdin=text).out.splitlines()]
        shaded = done("explain", "--output", "text", *target, stdin=text).out
    for row, one in zip(rows, asked, strict=True):
        explained = learned.explain(one)
        assert row["margin"] == explained.margin
        assert [field["field"] for field in row["fields"]] == [f.field for f in explained.fields]
        joined = ["".join(part["text"] for part in field["text"]) for field in row["fields"]]
        assert "".join(joined) == (one if isinstance(one, str) else one["text"])
    assert "  text  " in shaded
    assert "prize[-" in shaded


def test_features_are_named_where_there_is_no_text(model: tuple[OnlineSVM, Path]) -> None:
    text = shown(model[0], ["free", "prize", "unheard of"], colours=False)
    assert re.search(r"^  (prize|free) -[0-9.]+, (prize|free) -[0-9.]+$", text, re.MULTILINE)
    assert "0 more" not in shown(model[0], [], colours=False)
    names = [part.name for part in model[0].explain("free prize").contributions]
    assert re.search(r", \d+ more\n", shown(model[0], names, colours=False))


def test_a_text_cannot_command_the_terminal(model: tuple[OnlineSVM, Path]) -> None:
    for colours in (False, True):
        text = shown(
            model[0], {"\x1b[2J": "free\x1b]0;x\x07 \x9b2J\r \u202eprize"}, colours=colours
        )
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", COLOURS.sub("", text))


def test_a_program_gets_json_and_all_parts(model: tuple[OnlineSVM, Path]) -> None:
    asked = b'{"features":["free","dear"]}\n'
    out = done("explain", "--file", model[1], stdin=asked).out
    (row,) = [json.loads(line) for line in out.splitlines()]
    explained = model[0].explain(["free", "dear"])
    assert row["margin"] == explained.margin
    assert row["fields"] == [
        {"field": "", "contribution": explained.fields[0].contribution,
         "whole": explained.fields[0].whole, "text": []}
    ]  # fmt: skip
    text = done("explain", "--file", model[1], "--output", "text", stdin=asked).out
    assert text.startswith("+ ham, - spam\nspam  -")


@pytest.mark.parametrize("setting", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_shows_colours_unless_it_is_not_to(
    model: tuple[OnlineSVM, Path], tmp_path: Path, setting: dict[str, str]
) -> None:
    (tmp_path / "asked").write_text('{"features":["free","prize"]}\n')
    here, there = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "", **setting}
    with started(
        "explain", "--file", model[1], tmp_path / "asked", stdout=there, env=environment
    ) as process:
        os.close(there)
        assert process.wait(DEADLINE_S) == 0
        out = os.read(here, 65_536).decode()
    os.close(here)
    assert ("\x1b[48;5;" in out) == (not setting)
    assert "spam  -" in COLOURS.sub("", out)
