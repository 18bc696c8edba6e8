"""The samples that all contenders learn: the classic stream, numbered features, the real sets.

The classic stream is seeded: 250,000 possible features, 25 distinct ones a sample, popularity
log-uniform (the k-th most popular is drawn in proportion to 1/k), names of 10 to 24 bytes, 17 on
average, labels by a hidden linear model with noise. Chunks are seeded one by one, so that a longer
stream begins with a shorter one.

A stream of n samples becomes files in one folder, each made when it is first asked for (delete
build/bench after a change here):

    .bodies, .offsets.npy    learn requests of 1,024 samples each, one after the other
    .vw                      label | name name ...
    .ids.vw, .svm            the same samples with numbers for names
    .X.npz, .y.npy           the same as a CSR matrix of float64
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLASSIC", "REAL", "Bodies", "Stream", "bodies", "csr", "ids_vw", "numbered", "numbered_name",
    "present", "svmlight", "texts", "vw",
]  # fmt: skip

CLASSIC = "classic"
SEED = 20_240_229
FEATURES = 250_000
A_SAMPLE = 25
BODY_SAMPLES = 1024
_CHUNK = 8 * BODY_SAMPLES
NOISE = 2.0

# Set → its file, svmlight in which a label above 0 is +1, and how many samples it has.
REAL = {
    "a9a": ("a9a/a9a.train.svm.gz", 32_560),
    "farmads": ("farmads/farmads.svm.gz", 4_143),
    "flights13": ("flights13/flights13.svm.gz", 327_346),
    "kdd99": ("kdd99/kdd99.svm.gz", 164_674),
}

# Set → its file, label-tab-text, and how many lines it has.
TEXT = {"sms_spam": ("sms_spam/sms.tsv.gz", 5_574)}


class Stream(NamedTuple):
    """`samples` samples of the stream `name`, as files in `folder`."""

    name: str
    samples: int
    folder: Path

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}-{self.samples}{suffix}"


def _real_path(name: str) -> Path:
    given = os.environ.get("ONLINESVM_DATA")
    root = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    return root / (REAL | TEXT)[name][0]


def present(name: str) -> bool:
    """True if the stream can be had here; the real sets are not part of the project."""
    return name == CLASSIC or _real_path(name).is_file()


# The classic stream.


@cache
def _vocabulary() -> list[bytes]:
    """The names, by column."""
    random = np.random.default_rng(SEED)
    letters = random.integers(ord("a"), ord("z") + 1, (FEATURES + 1000, 24), dtype=np.uint8)
    lengths = random.integers(10, 25, len(letters))
    names = dict.fromkeys(
        row[:length].tobytes() for row, length in zip(letters, lengths, strict=True)
    )
    return list(names)[:FEATURES]


def _chunks(samples: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Labels, −1 or +1, and columns, [m, 25], of the classic stream in pieces."""
    random = np.random.default_rng(SEED + 1)
    weights = random.standard_normal(FEATURES)
    column_of_rank = random.permutation(FEATURES)
    for k, start in enumerate(range(0, samples, _CHUNK)):
        random = np.random.default_rng((SEED, k))
        ranks = _log_uniform(random, (_CHUNK, A_SAMPLE))
        while True:
            ranks.sort(axis=1)
            again = np.zeros(ranks.shape, dtype=bool)
            again[:, 1:] = ranks[:, 1:] == ranks[:, :-1]
            if not again.any():
                break
            ranks[again] = _log_uniform(random, int(again.sum()))
        columns = column_of_rank[random.permuted(ranks, axis=1)]
        hidden = weights[columns].sum(axis=1) + NOISE * random.standard_normal(_CHUNK)
        labels = np.where(hidden > 0, 1, -1)
        yield labels[: samples - start], columns[: samples - start]


def _log_uniform(random: np.random.Generator, shape: Any) -> NDArray[np.int64]:
    ranks = np.exp(random.random(shape) * np.log(FEATURES)).astype(np.int64)
    clipped: NDArray[np.int64] = np.clip(ranks, 1, FEATURES) - 1
    return clipped


# The real sets.


@cache
def _real(name: str) -> list[tuple[int, list[bytes], list[float]]]:
    """Labels, names and values of a real set, in the order of its file."""
    samples = []
    with gzip.open(_real_path(name), "rb") as lines:
        for line in lines:
            label, *pairs = line.split(b"#")[0].split()
            split = [pair.partition(b":") for pair in pairs]
            names = [part[0] for part in split]
            values = [float(part[2]) for part in split]
            samples.append((1 if float(label) > 0 else -1, names, values))
    if len(samples) != REAL[name][1]:
        raise ValueError(f"{name}: expected {REAL[name][1]} samples, got {len(samples)}")
    return samples


def texts(name: str) -> list[tuple[str, list[str]]]:
    """Labels and lower-cased words of a text set, repeats included, in the order of its file."""
    with gzip.open(_real_path(name), "rt", encoding="utf-8") as lines:
        parts = [line.rstrip("\n").partition("\t") for line in lines]
    if len(parts) != TEXT[name][1]:
        raise ValueError(f"{name}: expected {TEXT[name][1]} texts, got {len(parts)}")
    return [(label, re.findall(r"\w+", text.lower())) for label, _, text in parts]


# Files.


def _made(stream: Stream, suffix: str, write: Callable[[Any, Stream], None]) -> Path:
    """The file of `stream` with `suffix`, written first if it is not there."""
    path = stream.path(suffix)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < 4 * 2**30:
            raise OSError(f"{path.parent}: expected 4 GiB of free disk")
        unfinished = path.with_name(path.name + ".tmp")
        with open(unfinished, "wb") as file:
            write(file, stream)
        os.replace(unfinished, path)
    return path


class Bodies:
    """The learn requests of a stream, read one by one; `counts` holds the samples of each."""

    def __init__(self, path: Path, samples: int) -> None:
        self._path = path
        self._offsets = np.load(path.with_suffix(".offsets.npy"))
        full, rest = divmod(samples, BODY_SAMPLES)
        self.counts = [BODY_SAMPLES] * full + [rest] * (rest > 0)
        self.samples = samples

    def __len__(self) -> int:
        return len(self.counts)

    def __iter__(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            for size in np.diff(self._offsets).tolist():
                yield file.read(size)


def bodies(stream: Stream) -> Bodies:
    """`stream` as learn requests."""
    path = _made(stream, ".bodies", _write_bodies)
    return Bodies(path, stream.samples)


def _write_bodies(file: Any, stream: Stream) -> None:
    offsets = [0]
    parts: list[bytes] = []

    def flush() -> None:
        body = msgpack.Packer().pack_array_header(len(parts)) + b"".join(parts)
        file.write(body)
        offsets.append(offsets[-1] + len(body))
        parts.clear()

    for part in _packed(stream):
        parts.append(part)
        if len(parts) == BODY_SAMPLES:
            flush()
    if parts:
        flush()
    np.save(stream.path(".offsets.npy"), np.array(offsets))


def _packed(stream: Stream) -> Iterator[bytes]:
    """The samples of `stream`, each packed."""
    if stream.name == CLASSIC:
        names = [_packed_name(name) for name in _vocabulary()]
        heads = {y: msgpack.packb(y) + b"\xdc" + A_SAMPLE.to_bytes(2, "big") for y in (-1, 1)}
        for labels, columns in _chunks(stream.samples):
            for y, row in zip(labels.tolist(), columns.tolist(), strict=True):
                yield b"\x92" + heads[y] + b"".join([names[j] for j in row])
        return
    for y, words, values in _real(stream.name)[: stream.samples]:
        texts = [word.decode() for word in words]
        plain = values.count(1.0) == len(values)
        yield msgpack.packb((y, texts if plain else dict(zip(texts, values, strict=True))))


def _packed_name(name: bytes) -> bytes:
    packed: bytes = msgpack.packb(name.decode())
    return packed


def vw(stream: Stream) -> Path:
    """`stream` as VW text, names as they are."""
    return _made(stream, ".vw", _write_vw)


def _write_vw(file: Any, stream: Stream) -> None:
    if stream.name == CLASSIC:
        names = _vocabulary()
        heads = {-1: b"-1 | ", 1: b"1 | "}
        for labels, columns in _chunks(stream.samples):
            file.writelines(
                heads[y] + b" ".join([names[j] for j in row]) + b"\n"
                for y, row in zip(labels.tolist(), columns.tolist(), strict=True)
            )
        return
    for y, words, values in _real(stream.name)[: stream.samples]:
        pairs = (
            word if value == 1 else word + f":{value!r}".encode()
            for word, value in zip(words, values, strict=True)
        )
        file.write(b"%d | " % y + b" ".join(pairs) + b"\n")


def _numbered_rows(stream: Stream) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Labels and rows of ascending feature numbers, from 1, of the classic stream in pieces."""
    if stream.name != CLASSIC:
        raise ValueError(f"expected {CLASSIC}, got {stream.name}")
    for labels, columns in _chunks(stream.samples):
        yield labels.tolist(), (np.sort(columns, axis=1) + 1).tolist()


def ids_vw(stream: Stream) -> Path:
    """The classic stream as VW text with numbers for names."""
    return _made(stream, ".ids.vw", _write_ids_vw)


def _write_ids_vw(file: Any, stream: Stream) -> None:
    words = [b"%d" % j for j in range(FEATURES + 1)]
    for labels, rows in _numbered_rows(stream):
        file.writelines(
            b"%d | " % y + b" ".join([words[j] for j in row]) + b"\n"
            for y, row in zip(labels, rows, strict=True)
        )


def svmlight(stream: Stream) -> Path:
    """The classic stream as svmlight text."""
    return _made(stream, ".svm", _write_svmlight)


def _write_svmlight(file: Any, stream: Stream) -> None:
    words = [b"%d:1" % j for j in range(FEATURES + 1)]
    for labels, rows in _numbered_rows(stream):
        file.writelines(
            b"%+d " % y + b" ".join([words[j] for j in row]) + b"\n"
            for y, row in zip(labels, rows, strict=True)
        )


def csr(stream: Stream) -> tuple[Any, NDArray[np.float64]]:
    """The classic stream as a matrix, CSR of float64 [n, 250,000], and labels, float64[n]."""
    from scipy import sparse

    path = _made(stream, ".X.npz", _write_csr)
    return sparse.load_npz(path), np.load(stream.path(".y.npy"))


def _write_csr(file: Any, stream: Stream) -> None:
    from scipy import sparse

    pieces = [(labels, np.sort(columns, axis=1)) for labels, columns in _chunks(stream.samples)]
    indices = np.concatenate([columns.ravel() for _, columns in pieces]).astype(np.int32)
    indptr = np.arange(0, len(indices) + 1, A_SAMPLE, dtype=np.int32)
    shape = (stream.samples, FEATURES)
    matrix = sparse.csr_matrix((np.ones(len(indices)), indices, indptr), shape=shape)
    sparse.save_npz(file, matrix, compressed=False)
    np.save(stream.path(".y.npy"), np.concatenate([labels for labels, _ in pieces]) * 1.0)


# Numbered features: as many distinct names of 17 bytes as are wanted.

_PREFIX = b"feature-"
_DIGITS = 9


def numbered_name(number: int) -> bytes:
    """The name of feature `number`: 17 bytes."""
    return _PREFIX + b"%09d" % number


def numbered(numbers: NDArray[np.int64]) -> Iterator[bytes]:
    """Learn requests over the features `numbers`, [n, 25], 1,024 samples each at most."""
    width = 1 + len(_PREFIX) + _DIGITS
    for start in range(0, len(numbers), BODY_SAMPLES):
        piece = numbers[start : start + BODY_SAMPLES]
        m = len(piece)
        names = np.empty((m, A_SAMPLE, width), dtype=np.uint8)
        names[:, :, 0] = 0xA0 + width - 1
        names[:, :, 1 : 1 + len(_PREFIX)] = np.frombuffer(_PREFIX, dtype=np.uint8)
        rest = piece.copy()
        for place in range(width - 1, width - 1 - _DIGITS, -1):
            rest, digit = np.divmod(rest, 10)
            names[:, :, place] = ord("0") + digit
        head = np.empty((m, 5), dtype=np.uint8)
        head[:] = (0x92, 0x01, 0xDC, 0, A_SAMPLE)
        head[1::2, 1] = 0xFF  # every other label is −1
        packed = np.concatenate((head, names.reshape(m, -1)), axis=1)
        yield msgpack.Packer().pack_array_header(m) + packed.tobytes()
