"""The sets: rows over feature ids, and the label or labels of each."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.accuracy import DATA
from bench.classes import debian
from bench.harness import SCRATCH
from onlinesvm.data.batch import CSR
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.text.tokenize import tokens

__all__ = ["ORDERED", "SETS", "TAGS", "Data", "Tagged", "absent", "read", "read_tags"]

SETS = ("debian_langid", "kdd99", "sections", "maintainers")  # of one label a row
TAGS = "debtags"
ORDERED = ("kdd99",)
_FILES = {"kdd99": "kdd99/kdd99.svm.gz", "debian_langid": "debian_langid/debian_langid.tsv.gz"}


class Data(NamedTuple):
    """Rows over feature ids from 1, names by id, labels in order of first sight."""

    csr: CSR
    names: list[str]
    labels: NDArray[np.int32]

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def rows(self, order: NDArray[np.intp]) -> Data:
        """These rows, in this order."""
        labels = _numbered(self.labels[order].tolist(), {})
        return Data(_taken(self.csr, order), self.names, np.array(labels, np.int32))

    def shuffled(self, seed: int) -> Data:
        return self.rows(np.random.default_rng(seed).permutation(len(self.labels)))

    def frequent(self, labels: int) -> Data:
        """The rows of so many labels, the most frequent."""
        kept = [label for label, _ in Counter(self.labels.tolist()).most_common(labels)]
        return self.rows(np.flatnonzero(np.isin(self.labels, kept)))

    @property
    def crc(self) -> int:
        """Tells rows, labels and their order from others."""
        return _crc([*self.csr, self.labels])


class Tagged(NamedTuple):
    """Rows as in `Data`, and the labels of each, in order of first sight."""

    csr: CSR
    names: list[str]
    labels: LabelSets

    @property
    def classes(self) -> int:
        return int(self.labels.ids.max()) + 1

    def shuffled(self, seed: int) -> Tagged:
        order = np.random.default_rng(seed).permutation(len(self.labels))
        seen: dict[int, int] = {}
        lists = self.labels.lists()
        labels = [_numbered(lists[i], seen) for i in order.tolist()]
        return Tagged(_taken(self.csr, order), self.names, LabelSets.of(labels))

    @property
    def crc(self) -> int:
        """Tells rows, labels and their order from others."""
        return _crc([*self.csr, self.labels.starts, self.labels.ids])


def _taken(csr: CSR, order: NDArray[np.intp]) -> CSR:
    indptr, indices, data = csr
    parts = [np.arange(indptr[i], indptr[i + 1]) for i in order.tolist()]
    places = np.concatenate(parts)
    lengths = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return CSR(lengths, indices[places], data[places])


def _numbered(labels: Iterable[Any], seen: dict[Any, int]) -> list[int]:
    return [seen.setdefault(label, len(seen)) for label in labels]


def _crc(arrays: list[NDArray[np.generic]]) -> int:
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return found


def absent(name: str) -> str | None:
    """The reason why a set is not here."""
    if name in _FILES:
        path = DATA / _FILES[name]
        return None if path.exists() else f"not at {path}"
    return debian.absent()


def read(name: str) -> Data:
    """A set of one label a row, in the order it is compared in. Raises RuntimeError where it cannot
    be downloaded.
    """
    rows = _stored(name)
    csr, names = _columns([row for _, row in rows])
    labels = _numbered([label for label, _ in rows], {})
    made = Data(csr, names, np.array(labels, np.int32))
    return made if name in ORDERED else made.shuffled(0)


def read_tags() -> Tagged:
    """The descriptions of packages that have tags. Raises RuntimeError as `read` does."""
    debian.download(SCRATCH / "debian")
    found = [package for package in debian.packages(SCRATCH / "debian") if package.tags]
    csr, names = _columns(_words(package.text) for package in found)
    seen: dict[str, int] = {}
    labels = [_numbered(dict.fromkeys(package.tags), seen) for package in found]
    return Tagged(csr, names, LabelSets.of(labels)).shuffled(0)


Row = list[tuple[str, float]]


def _words(text: str) -> Row:
    return [(token, 1.0) for token in tokens(text)]


def _columns(rows: Iterable[Row]) -> tuple[CSR, list[str]]:
    """Rows over ids, and the names by id."""
    ids: dict[str, int] = {}
    indptr, indices, data = [0], [], []
    for row in rows:
        for feature, x in row:
            indices.append(ids.setdefault(feature, len(ids) + 1))
            data.append(x)
        indptr.append(len(indices))
    return CSR(np.array(indptr), np.array(indices, np.int32), np.array(data)), ["", *ids]


def _stored(name: str) -> list[tuple[str, Row]]:
    if name == "kdd99":
        found = []
        with gzip.open(DATA / _FILES[name], "rt") as file:
            for line in file:
                label, *pairs = line.split()
                split = (pair.split(":") for pair in pairs)
                found.append((label, [(i, float(x)) for i, x in split if float(x)]))
        return found
    if name in _FILES:
        with gzip.open(DATA / _FILES[name], "rt", encoding="utf-8") as file:
            texts = [tuple(line.rstrip("\n").split("\t", 1)) for line in file]
    else:
        debian.download(SCRATCH / "debian")
        texts = list(debian.rows(SCRATCH / "debian", name))
    return [(row[0], _words(row[1])) for row in texts]
