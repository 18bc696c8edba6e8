"""Word vectors as features of texts: the mean of the unit vectors of a text's tokens.

A model names its fastText file by the digest of it, SHA-256 in hex. A file is known to the process
once `know` has read it; else it is looked for in ONLINESVM_VECTORS_PATH: files, and folders of
``.bin`` files, with the system's separator between.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onlinesvm.errors import VectorFileError, VectorsMissing
from onlinesvm.text.characters import characters, encoded
from onlinesvm.text.fasttext.vectors import Vectors
from onlinesvm.text.words import tokens

__all__ = ["VECTORS_PATH", "Embedding", "digest_of", "embedding", "is_digest", "know", "named"]

VECTORS_PATH = "ONLINESVM_VECTORS_PATH"
_KEPT_WORDS = 2**14  # unit vectors, of each file
_known: dict[str, Path] = {}  # by digest
_digests: dict[tuple[str, int, int], str] = {}  # by path, size and time of change
_open: dict[str, Embedding] = {}


def is_digest(given: object) -> bool:
    """True for a SHA-256 in hex."""
    return isinstance(given, str) and re.fullmatch("[0-9a-f]{64}", given) is not None


def digest_of(path: str | os.PathLike[str]) -> str:
    """The digest of a file, read whole once. Raises OSError."""
    with open(path, "rb") as file:
        state = os.fstat(file.fileno())
        key = os.path.realpath(path), state.st_size, state.st_mtime_ns
        if key not in _digests:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def know(path: str | os.PathLike[str]) -> str:
    """Make a fastText file known to this process; its digest.

    Raises OSError if it cannot be read, VectorFileError if its format is another.
    """
    digest = digest_of(path)
    if digest not in _open:
        _open[digest] = Embedding(Vectors(path))
    _known[digest] = Path(path)
    return digest


def named(given: str | os.PathLike[str] | None) -> str | None:
    """The digest that a digest or a file's name stands for. Raises as `know` does."""
    return given if given is None or (isinstance(given, str) and is_digest(given)) else know(given)


def embedding(digest: str) -> Embedding:
    """The vectors of the file with this digest.

    Raises VectorsMissing, which names it, where no such file is known.
    """
    found = _open.get(digest)
    if found is None:
        for path in _candidates():
            if digest_of(path) == digest:
                know(path)
                return _open[digest]
        raise VectorsMissing(
            f"vectors: expected the fastText file of SHA-256 {digest}, which the model was created"
            f" with, got none; {VECTORS_PATH} names files and folders to look in"
        )
    return found


def _candidates() -> Iterator[Path]:
    for part in filter(None, os.environ.get(VECTORS_PATH, "").split(os.pathsep)):
        path = Path(part)
        yield from sorted(path.glob("*.bin")) if path.is_dir() else [path] * path.is_file()


class Embedding:
    """Makes numbers of texts; safe for threads."""

    def __init__(self, vectors: Vectors) -> None:
        self.dim = vectors.dim
        self._vectors = vectors
        self._unit = lru_cache(_KEPT_WORDS)(self._made)

    def of_text(self, raw: bytes, most: int) -> NDArray[np.float64]:
        """The mean of the unit vectors of the tokens of UTF-8 text, cut at `most` bytes, float64
        [dim]; of tokens without a vector nothing counts.
        """
        total, count = np.zeros(self.dim), 0
        for token in tokens(characters(raw, most)):
            unit = self._unit(encoded(token.text))
            if unit is not None:
                total += unit
                count += 1
        return total / max(count, 1)

    def _made(self, word: bytes) -> NDArray[np.float64] | None:
        try:
            vector = self._vectors[word].astype(np.float64)
        except VectorFileError:  # its rows are not finite
            return None
        # accumulate: one after the other, the same bits in every NumPy.
        norm = float(np.sqrt(np.add.accumulate(vector * vector)[-1])) if self.dim else 0.0
        return vector / norm if norm > 0.0 else None
