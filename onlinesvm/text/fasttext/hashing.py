"""fastText's hash, and the hashes of character n-grams and word n-grams.

Bojanowski, Grave, Joulin, Mikolov: Enriching word vectors with subword information (2017); the
details are those of fastText 0.9.2, `dictionary.cc`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["gram_hashes", "hash_of", "word_gram_hashes"]

_OFFSET = 2166136261
_PRIME = 16777619
_WORD_PRIME = 116049371
_MASK = 2**32 - 1
# fastText hashes signed chars: a byte of 128 or more is sign-extended to 32 bits. This departs from
# FNV-1a for everything but ASCII.
_EXTENDED = [byte | 0xFFFFFF00 if byte & 0x80 else byte for byte in range(256)]


def hash_of(raw: bytes) -> int:
    """FNV-1a in 32 bits over the bytes as signed chars.

    >>> hash_of("é".encode()) == 0x3CFA68C1
    True
    """
    h = _OFFSET
    for byte in raw:
        h = (h ^ _EXTENDED[byte]) * _PRIME & _MASK
    return h


def gram_hashes(word: bytes, least: int, most: int) -> Iterator[int]:
    """The hashes of the n-grams of ``<word>``, n from `least` to `most` code points.

    By start, then by length. A single first or last code point is no n-gram. Where the word is not
    UTF-8, continuation bytes belong to the byte before them.
    """
    bounded = b"<" + word + b">"
    starts = [i for i, byte in enumerate(bounded) if byte & 0xC0 != 0x80]
    count = len(starts)
    starts.append(len(bounded))
    for first in range(count):
        h = _OFFSET
        for last in range(first, min(first + most, count)):
            for byte in bounded[starts[last] : starts[last + 1]]:
                h = (h ^ _EXTENDED[byte]) * _PRIME & _MASK
            length = last - first + 1
            alone = length == 1 and (first == 0 or last == count - 1)
            if length >= least and not alone:
                yield h


def word_gram_hashes(words: Sequence[bytes], most: int) -> Iterator[int]:
    """The 64-bit hashes of 2 to `most` neighbouring words: h·116049371 + next, mod 2^64.

    The words' hashes are taken as signed 32-bit integers.
    """
    hashes = [h - 2**32 if h >= 2**31 else h for h in map(hash_of, words)]
    for i, h in enumerate(hashes):
        for following in hashes[i + 1 : i + most]:
            h = (h * _WORD_PRIME + following) % 2**64
            yield h
