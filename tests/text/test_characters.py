"""The table of characters: what Unicode says, whatever Python runs it."""

from __future__ import annotations

import sys
import unicodedata
from itertools import pairwise

import pytest

from onlinesvm.text import make_unicode_table, unicode_table
from onlinesvm.text.characters import boundary, characters
from onlinesvm.text.constants import TEXT_ALONE, TEXT_CODE_POINTS, TEXT_SPACE

VERSION = tuple(map(int, unicode_table.UNICODE.split(".")))
PYTHON = tuple(map(int, unicodedata.unidata_version.split(".")))


def of_the_table() -> list[tuple[int, int]]:
    """(class, lower case) of every code point."""
    found: list[tuple[int, int]] = []
    starts = [*unicode_table.RUNS[::2], TEXT_CODE_POINTS]
    for (start, end), kind in zip(pairwise(starts), unicode_table.RUNS[1::2], strict=True):
        class_of, shift = unicode_table.KINDS[2 * kind : 2 * kind + 2]
        found += [(class_of, code + shift) for code in range(start, end)]
    return found


TABLE = of_the_table()


def test_the_table_is_whole() -> None:
    assert len(TABLE) == TEXT_CODE_POINTS
    assert len(unicode_table.KINDS) // 2 <= 256  # the kernel keeps a kind in a byte
    assert all(TEXT_SPACE <= class_of <= TEXT_ALONE for class_of, _ in TABLE)


def test_the_table_agrees_with_the_python_that_runs() -> None:
    # Characters that only one of the two versions has, or has changed: a handful a version.
    changed = [
        code
        for code in range(TEXT_CODE_POINTS)
        if unicodedata.category(chr(code)) != "Cn"
        if TABLE[code] != (make_unicode_table.class_of(chr(code)),
                           make_unicode_table.lower_of(chr(code)))
    ]  # fmt: skip
    if PYTHON == VERSION:
        assert changed == []
    elif PYTHON < VERSION:
        assert len(changed) < 20
    assert not any(code < 0x250 for code in changed)  # Latin never changes


@pytest.mark.skipif(PYTHON != VERSION, reason=f"Python {sys.version_info[:2]} has {PYTHON}")
def test_the_table_is_what_the_script_makes() -> None:
    with open(unicode_table.__file__, encoding="utf-8") as file:
        assert file.read() == make_unicode_table.source()


def test_lower_case_is_one_for_one_and_at_most_twice_as_long() -> None:
    # The kernel takes 2 bytes for one of the text's.
    for code, (_, lower) in enumerate(TABLE):
        if not 0xD800 <= code < 0xE000:
            assert len(chr(lower).encode()) <= 2 * len(chr(code).encode())
            assert TABLE[lower][1] == lower  # of lower case, itself
            assert (code < 0x80) == (lower < 0x80) or code in (
                0x130,
                0x212A,
            )  # İ and the Kelvin sign


@pytest.mark.parametrize("text", ["", "abc", "é日🎉", "\udcff\udcc3a", "日\udce6\udc97"])
def test_a_prefix_ends_between_characters(text: str) -> None:
    raw = text.encode("utf-8", "surrogateescape")
    ends = [len(text[:i].encode("utf-8", "surrogateescape")) for i in range(len(text) + 1)]
    for most in range(len(raw) + 2):
        assert boundary(raw, most) == max(end for end in ends if end <= most)
        assert characters(raw, most).cut == (most < len(raw))
