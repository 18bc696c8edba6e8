"""Vectors of words and sentences, unknown words included."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onlinesvm.errors import ConfigError, VectorFileError, format_text
from onlinesvm.text.fasttext.hashing import gram_hashes, word_gram_hashes
from onlinesvm.text.fasttext.model_file import SUPERVISED, open_model

__all__ = ["Vectors"]

_END = b"</s>"
_LABEL = b"__label__"
_KEPT = (None, "float32", "float16")


class Vectors:
    """The vectors in a fastText ``.bin`` file, dense or quantized, mapped into memory.

    accumulate: None computes a known word's vector, the mean of its own row and its n-grams', each
    time, from the mapped file. ``"float32"`` computes all of them when the file is opened and keeps
    them as one matrix, words · dim · 4 bytes; ``"float16"`` takes half of that and rounds to 11
    bits. Both take about 100 µs a word of 300 numbers once, and 3 µs a lookup from then on.

    A text is UTF-8; bytes are taken as they are. Safe for threads, as nothing changes after it is
    opened. Raises OSError if the file cannot be opened, VectorFileError if it is damaged or of
    another kind, ConfigError for another `accumulate`.
    """

    def __init__(self, path: str | os.PathLike[str], *, accumulate: str | None = None) -> None:
        if accumulate not in _KEPT:
            raise ConfigError(
                f"accumulate: expected None, 'float32' or 'float16', got {accumulate!r}"
            )
        self._file = open_model(path)
        self._kept: NDArray[np.floating] | None = None
        if accumulate is not None:
            kept = np.empty((len(self), self.dim), accumulate)
            for word, row in self._file.ids.items():
                with np.errstate(over="ignore"):  # checked on the next line
                    kept[row] = self._mean(self.rows(word), word)
                if not np.isfinite(kept[row]).all():
                    raise VectorFileError(
                        "expected numbers of magnitude up to 65504 for float16, got larger ones in"
                        f" the vector of {format_text(word)}"
                    )
            self._kept = kept

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self._file.arguments.dim

    @property
    def labels(self) -> list[str]:
        """The labels of a supervised model, in the order of the file."""
        return [_text(label) for label in self._file.labels]

    def __len__(self) -> int:
        """Known words."""
        return len(self._file.ids)

    def __contains__(self, word: object) -> bool:
        """True for a known word."""
        return isinstance(word, str | bytes) and _raw(word) in self._file.ids

    def __iter__(self) -> Iterator[str]:
        """The known words, in the order of the file."""
        return map(_text, self._file.ids)

    def __getitem__(self, word: str | bytes) -> NDArray[np.float32]:
        """The vector of `word`, float32[dim].

        An unknown word's is the mean of its n-grams' rows; zeros if it has none, as in fastText.
        Raises VectorFileError if the file holds numbers there that are not finite, TypeError for
        anything but text or bytes.
        """
        return self._vector(_raw(word))

    def rows(self, word: str | bytes) -> list[int]:
        """The rows of the input matrix whose mean is the word's vector: its own, its n-grams'."""
        raw = _raw(word)
        own = self._file.ids.get(raw)
        found = [] if own is None else [own]
        if raw != _END:
            arguments = self._file.arguments
            grams = gram_hashes(raw, arguments.least_gram, arguments.most_gram)
            self._add_buckets(grams, found)
        return found

    def sentence(self, text: str | bytes) -> NDArray[np.float32]:
        """The vector of a sentence, float32[dim]; words stand between white space.

        Of a supervised model, the mean of all rows: words, their n-grams, neighbouring words, and
        the end ``</s>``; labels in the text are left out. Of any other model, the mean of the unit
        vectors of the words. Zeros if there are none. Raises as looking up a word does.
        """
        raw = _raw(text)
        if self._file.arguments.model == SUPERVISED:
            return self._mean(self._line_rows(raw.replace(b"\0", b" ").split()), raw)
        total = np.zeros(self.dim)
        count = 0
        for word in raw.split():
            vector = self._vector(word).astype(np.float64)
            norm = float(np.sqrt(np.add.accumulate(vector * vector)[-1]))
            if norm > 0:
                total += vector / norm
                count += 1
        return (total / max(count, 1)).astype(np.float32)

    def _vector(self, word: bytes) -> NDArray[np.float32]:
        if self._kept is not None and (row := self._file.ids.get(word)) is not None:
            vector: NDArray[np.float32] = self._kept[row].astype(np.float32)
            return vector
        return self._mean(self.rows(word), word)

    def _mean(self, rows: list[int], of: bytes) -> NDArray[np.float32]:
        if not rows:
            return np.zeros(self.dim, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            # accumulate: row after row, as fastText sums; sum(0) may sum in another order.
            total = np.add.accumulate(self._file.input.rows(rows), axis=0)[-1]
            mean: NDArray[np.float32] = total * np.float32(1 / len(rows))
        if not np.isfinite(mean).all():
            raise VectorFileError(
                f"expected finite numbers in the rows of {format_text(of)}, got infinite ones or"
                " nan"
            )
        return mean

    def _line_rows(self, words: list[bytes]) -> list[int]:
        """The rows of a line of a supervised model."""
        found: list[int] = []
        learned = []
        for word in words:
            if word == _END:
                break
            unknown = word not in self._file.ids
            if word in self._file.labels or (unknown and word.startswith(_LABEL)):
                continue
            learned.append(word)
            found += self.rows(word)
        learned.append(_END)
        found += self.rows(_END)
        self._add_buckets(word_gram_hashes(learned, self._file.arguments.word_grams), found)
        return found

    def _add_buckets(self, hashes: Iterator[int], found: list[int]) -> None:
        """Add the rows of the buckets of `hashes` to `found`; a pruned bucket has none."""
        buckets, words, pruned = self._file.arguments.buckets, self._file.words, self._file.pruned
        if pruned is None:
            found += [words + h % buckets for h in hashes]
            return
        for h in hashes:
            row = pruned.get(h % buckets)
            if row is not None:
                found.append(words + row)


def _raw(word: object) -> bytes:
    if isinstance(word, bytes):
        return word
    if not isinstance(word, str):
        raise TypeError(f"expected text or bytes, got {type(word).__name__}")
    # surrogateescape: a word that is not UTF-8 is found again as `__iter__` shows it.
    return word.encode("utf-8", "surrogateescape")


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")
