"""The demo: its lines, and the whole of it on a few of them."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.service.cli.demo import lines_of, show
from onlinesvm.service.errors import ServiceError
from tests.shell import done

WORDS = st.text("abcdefgh_", min_size=1, max_size=6).map("x".__add__)


# lines_of.


@st.composite
def sources(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    """Lines of a Python file, and what they are."""
    lines: list[str] = []
    expected: list[tuple[str, str]] = []
    for number in range(draw(st.integers(1, 6))):
        text = " ".join(draw(st.lists(WORDS, min_size=1, max_size=4)))
        kind = draw(st.sampled_from(["comment", "code", "string", "docstring", "long", "nothing"]))
        if kind == "comment":
            lines += [draw(st.sampled_from(["# ", "#! ", "    #: ", "##"])) + text]
            expected += [(text, "prose")]
        elif kind == "code":
            lines += [f"y = {number}  # {text}"]
            expected += [(f"y = {number}  # {text}", "code")]
        elif kind == "string":
            lines += ['y = """', f"    {text}", '"""', "z = 'one line'"]
            expected += [("z = 'one line'", "code")]
        elif kind == "docstring":
            quotes = draw(st.sampled_from(['"""', "'''", '"']))
            lines += [
                "def f():",
                f"    {draw(st.sampled_from(['', 'r', 'U']))}{quotes}{text}{quotes}",
            ]
            expected += [("def f():", "code"), (text, "prose")]
        elif kind == "long":
            lines += ["class C:", f'    """{text}', "", f"    {text} # so", '    """']
            expected += [("class C:", "code"), (text, "prose"), (f"{text} # so", "prose")]
        else:
            lines += draw(st.sampled_from([[""], ["\f"], ["#"], ["# ----"], ["(", ")"]]))
    return lines, expected


@given(sources(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_lines_are_prose_or_code(source: tuple[list[str], list[tuple[str, str]]], end: str) -> None:
    lines, expected = source
    assert list(lines_of(end.join(lines))) == expected


def test_what_python_takes_for_no_end_of_a_line() -> None:
    """str.splitlines would number the lines after them otherwise than Python."""
    source = '\fx = "\x1c \u2028 \x85"\n\f\ndef f():\n    """Some words."""\n    return x\n'
    assert list(lines_of(source)) == [
        ('x = "\x1c \u2028 \x85"', "code"), ("def f():", "code"), ("Some words.", "prose"),
        ("return x", "code"),
    ]  # fmt: skip


@pytest.mark.parametrize("source", ["x = ", "  x\ny", "\0", "x = '"])
def test_source_that_is_not_python(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        list(lines_of(source))


def test_old_escapes_in_a_file_are_no_warnings_of_ours() -> None:
    assert list(lines_of(r'x = "\d"')) == [(r'x = "\d"', "code")]


# The whole.


def shown(lines: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """The output of a small demo."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with contextlib.redirect_stdout(io.StringIO()) as out:
        show(lines, rows=(50, 100, 300), mixed_lines=400)
    return out.getvalue()


def test_the_whole_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = "x = f(y)  # as typed in"
    text = shown(["callers must hold the lock", asked], monkeypatch, tmp_path)
    assert re.search(
        r"  onlinesvm \S+ leader at tcp://127\.0\.0\.1:\d+: state /.*\n"
        r"  kernel \w+, model hedge, position 0, 0 features\n  ready\n",
        text,
    )
    rows = re.findall(r"^ +([\d,]+) +[\d,]+ +([\d,]+) +([\d.]+)%   +([\d.]+)% █*$", text, re.M)
    assert [int(row[0]) for row in rows] == [50, 100, 300]
    features = [int(row[1].replace(",", "")) for row in rows]
    assert features == sorted(features) and features[0] > 0
    assert rows[0][2] == rows[0][3]  # of the first row, the error so far is that of its samples
    assert 0 < float(rows[-1][2]) < 50
    assert re.search(
        r"A snapshot of 300 samples, [\d,]+ bytes:\n.*\n  digest [0-9a-f]{16}…\n", text
    )
    assert "The learner learns the opposite of the last line, 20 times" in text
    assert "the reader reloaded: position 320\n" in text
    assert text.count("The reader's margins are the same, bit for bit.\n") == 2
    assert re.search(r"^  \+ (prose|code), - (prose|code)$", text, re.M)
    assert re.search(r"\[[+-][\d.]+\]", text)  # no terminal: strong tokens have numbers
    text = re.sub(r"\[[+-][\de.-]+\]", "", text)
    before, after = re.findall(rf"^ +([+-][\d.]+)  (prose|code ) +{re.escape(asked)}$", text, re.M)
    assert before[1] != after[1]
    assert (float(before[0]) > 0) != (float(after[0]) > 0)
    assert "callers must hold the lock\n" in text
    assert text.endswith("\nStopped with SIGTERM: exit codes 0, 0.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_daemon_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONLINESVM_KERNEL", "abacus")
    with pytest.raises(ServiceError, match=r"the daemon did not start: onlinesvm: .*abacus"):
        shown([], monkeypatch, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_is_a_command() -> None:
    assert "[LINE ...]" in done("demo", "--help").out
