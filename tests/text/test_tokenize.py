"""Text to features."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.text.tokenize import tokens


def tokens_by_letter(text: str) -> list[str]:
    """The oracle: one character at a time."""
    seen: list[str] = []
    word = ""
    for letter in text.lower() + " ":
        if letter.isalnum() or letter == "_":
            word += letter
        elif word:
            if word not in seen:
                seen.append(word)
            word = ""
    return seen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t.,;!", []),
        ("Free prize: FREE entry!", ["free", "prize", "entry"]),
        ("snake_case 2nd don't", ["snake_case", "2nd", "don", "t"]),
        ("Größe ČESKY", ["größe", "česky"]),
        ("naïve\ufffdtext", ["naïve", "text"]),
    ],
)
def test_examples(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(st.text())
def test_one_letter_at_a_time_finds_the_same(text: str) -> None:
    assert tokens(text) == tokens_by_letter(text)


@given(st.text())
def test_tokens_are_distinct_words(text: str) -> None:
    found = tokens(text)
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"\w+", token) for token in found)


@given(st.text())
def test_tokens_of_tokens_are_the_tokens(text: str) -> None:
    assert tokens(" ".join(tokens(text))) == tokens(text)
