"""Makes unicode_table.py: the class and the lower case of every character.

    python -m onlinesvm.text.make_unicode_table > onlinesvm/text/unicode_table.py

The table is made from the Unicode version of the Python that runs this, and committed: extraction
must not change when Python does. A table of another Unicode version is another TEXT_VERSION.
"""

from __future__ import annotations

import sys
import unicodedata

from onlinesvm.text.constants import (
    TEXT_ALONE,
    TEXT_CODE_POINTS,
    TEXT_DIGIT,
    TEXT_IGNORED,
    TEXT_LETTER,
    TEXT_LOWER,
    TEXT_MARK,
    TEXT_OTHER,
    TEXT_SPACE,
    TEXT_SYMBOL,
    TEXT_UNDERSCORE,
    TEXT_UPPER,
)

__all__ = ["class_of", "lower_of", "runs", "source"]

# Letters of scripts without spaces, by the first word of their names.
_ALONE = (
    "CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "HALFWIDTH KATAKANA", "THAI ", "LAO ",
    "KHMER ", "MYANMAR ", "HENTAIGANA ",
)  # fmt: skip


def class_of(character: str) -> int:
    """The class of one character."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if character.isspace():
        return TEXT_SPACE
    if category == "Cf" or "VARIATION SELECTOR" in name:
        return TEXT_IGNORED
    if character == "_":
        return TEXT_UNDERSCORE
    if category[0] == "M":
        return TEXT_MARK
    if character.isdigit():
        return TEXT_DIGIT
    if name.startswith(_ALONE) and category in ("Lo", "Lm", "Nl"):
        return TEXT_ALONE
    if character.isalpha():
        if character.isupper():
            return TEXT_UPPER
        return TEXT_LOWER if character.islower() else TEXT_LETTER
    return TEXT_OTHER if character.isalnum() else TEXT_SYMBOL


def lower_of(character: str) -> int:
    """The code point of its lower case, one for one and the same wherever it stands.

    So İ is i, and the final ς is σ, as in the middle of a word.
    """
    lower = character.lower()
    return 0x3C3 if lower == "ς" else ord(lower[0])


def runs() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(class, lower case less the character) of each kind, and (first code point, kind) of each
    run.
    """
    kinds: dict[tuple[int, int], int] = {}
    found: list[tuple[int, int]] = []
    for code in range(TEXT_CODE_POINTS):
        character = chr(code)
        kind = class_of(character), lower_of(character) - code
        number = kinds.setdefault(kind, len(kinds))
        if not found or found[-1][1] != number:
            found.append((code, number))
    return list(kinds), found


def _lines(name: str, pairs: list[tuple[int, int]], form: str) -> list[str]:
    lines, line = [f"{name} = ("], "   "
    for first, second in pairs:
        part = f" {first:{form}}, {second},"
        if len(line) + len(part) > 99:
            lines.append(line)
            line = "   "
        line += part
    return [*lines, line, ")"]


def source() -> str:
    """The text of the module."""
    kinds, found = runs()
    return "\n".join([
        '"""Unicode\'s characters: made by make_unicode_table.py, not by hand."""',
        "",
        "# fmt: off",
        f'UNICODE = "{unicodedata.unidata_version}"',
        "",
        "# Of each kind: its class, and its lower case less the character.",
        *_lines("KINDS", kinds, "d"),
        "",
        "# Of each run of characters of one kind: the first, and the kind.",
        *_lines("RUNS", found, "#x"),
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(source())
