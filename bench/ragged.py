"""Ragged rows over ids, and how fast this machine reads memory at random."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ragged", "free_bytes", "random_reads_ns"]


@dataclass
class Ragged:
    """`batch` rows of about `length` ids from 1 to `weights`, all of value 1, and the weights.

    Uniform lengths are from a fifth of the mean to as much above it; skewed ones are log-normal,
    sigma 1, so that the longest of 16,384 is some 30 times the mean.
    """

    batch: int
    length: int
    weights: int
    skewed: bool
    dtype: str

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.batch + self.length)
        if self.skewed:
            drawn = random.lognormal(np.log(self.length) - 0.5, 1.0, self.batch)
            self.lengths = np.maximum(1, drawn.astype(np.int64))
        else:
            least = max(1, self.length // 5)
            self.lengths = random.integers(least, 2 * self.length - least + 1, self.batch)
        self.indptr = np.zeros(self.batch + 1, dtype=np.int64)
        np.cumsum(self.lengths, out=self.indptr[1:])
        count = int(self.indptr[-1])
        self.ids = random.integers(1, self.weights + 1, count, dtype=np.int32)
        self.values = np.ones(count, dtype=self.dtype)

    @property
    def count(self) -> int:
        return len(self.ids)

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    @property
    def cells(self) -> int:
        """Of the rows padded to the longest."""
        return self.batch * self.longest

    @cached_property
    def padded(self) -> NDArray[np.int64]:
        """Ids int64[batch, longest], PAD after a row: as torch has them."""
        ids = np.zeros((self.batch, self.longest), dtype=np.int64)
        ids[np.arange(self.longest) < self.lengths[:, None]] = self.ids
        return ids


def weight_vector(n: int, dtype: str) -> NDArray[Any]:
    """Weights of ids 0 … n, that of PAD 0."""
    vector = np.random.default_rng(n).standard_normal(n + 1, dtype=np.float32).astype(dtype)
    vector[0] = 0
    return vector


def free_bytes() -> int:
    """Memory that can be taken without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


_READS = """
#include <stddef.h>
#include <stdint.h>
double reads(const double *w, const int32_t *ids, size_t n)
{
    double a = 0, b = 0, c = 0, d = 0;
    size_t k;
    for (k = 0; k + 260 <= n; k += 4) {
        __builtin_prefetch(w + ids[k + 256]);
        __builtin_prefetch(w + ids[k + 257]);
        __builtin_prefetch(w + ids[k + 258]);
        __builtin_prefetch(w + ids[k + 259]);
        a += w[ids[k]], b += w[ids[k + 1]], c += w[ids[k + 2]], d += w[ids[k + 3]];
    }
    return a + b + c + d;
}
"""


def random_reads_ns(vector: NDArray[np.float64], ids: NDArray[np.int32], repeat: int) -> float:
    """Nanoseconds a read of float64 at random places: the fastest of numpy.take and, where there
    is a C compiler, of a loop that does nothing else, with four sums and prefetches far ahead.
    """
    runs = [lambda: vector.take(ids)]
    compiler = shutil.which("cc")
    if compiler:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "reads.c"
            source.write_text(_READS)
            made = Path(folder) / "reads.so"
            command = [compiler, "-O3", "-shared", "-fPIC", "-o", str(made), str(source)]
            subprocess.run(command, check=True, timeout=60)
            reads = ctypes.CDLL(str(made)).reads
        reads.restype = ctypes.c_double
        arguments = (
            ctypes.c_void_p(vector.ctypes.data), ctypes.c_void_p(ids.ctypes.data),
            ctypes.c_size_t(len(ids)),
        )  # fmt: skip
        runs.append(lambda: reads(*arguments))
    best = float("inf")
    for run in runs:
        for _ in range(repeat):
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
    return best / len(ids) * 1e9
