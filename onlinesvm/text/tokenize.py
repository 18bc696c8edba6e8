"""Text to features: the distinct lower-cased words."""

from __future__ import annotations

import re

__all__ = ["tokens"]

_words = re.compile(r"\w+").findall


def tokens(text: str) -> list[str]:
    r"""The distinct lower-cased ``\w+`` tokens of `text`, in order of first sight.

    Lower-cased first, then cut into words, so that the tokens of the tokens are the tokens again.

    >>> tokens("Free prize: FREE entry!")
    ['free', 'prize', 'entry']
    """
    return list(dict.fromkeys(_words(text.lower())))
