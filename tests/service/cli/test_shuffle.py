"""The seeded shuffle of batches, on both kernels."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits, kernel
from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.service.cli.shuffle import shuffled
from tests.columns import labels_of

KERNELS = pytest.mark.parametrize("name", ["native", "python"])
Row = tuple[float, float, list[bytes]]
ROWS = [(1.0 if i % 3 else -1.0, i / 2, [b"n%d" % i, b"x"]) for i in range(60)]


def bodies(rows: list[Row], n: int) -> Iterator[tuple[bytes, int]]:
    """The rows in bodies of `n` samples."""
    packer = Packer()
    for start in range(0, len(rows), n):
        parts = [packer.sample(names, y, h) for y, h, names in rows[start : start + n]]
        yield pack_array(parts), len(parts)


def mixed(n: int, name: str, *, seed: int = 1, max_bytes: int = 2**20) -> list[Row]:
    """ROWS, in batches of `n`, after a shuffle."""
    rows: list[Row] = []
    for batch in shuffled(
        bodies(ROWS, n),
        random.Random(seed),
        lambda body: kernel.load(name).decode(body, Limits(), labelled=True),
        batch_samples=7,
        max_bytes=max_bytes,
    ):
        assert 1 <= len(batch) <= 7
        starts = [int(start) for start in batch.indptr]
        for i in range(len(batch)):
            names = list(batch.names[starts[i] : starts[i + 1]])
            rows.append((float(labels_of(batch)[i] or 0), float(batch.importances[i]), names))
    return rows


@KERNELS
@given(st.integers(1, 70), st.integers(0, 3), st.sampled_from([1, 500, 2000, 2**20]))
def test_every_sample_comes_once_however_it_was_batched(
    name: str, n: int, seed: int, max_bytes: int
) -> None:
    rows = mixed(n, name, seed=seed, max_bytes=max_bytes)
    assert sorted(rows) == sorted(ROWS)
    assert rows == mixed(60, "native", seed=seed, max_bytes=max_bytes)


@KERNELS
def test_blocks_keep_their_order(name: str) -> None:
    """Memory for a single sample shuffles nothing; memory for some mixes neighbours."""
    assert mixed(10, name, max_bytes=1) == ROWS
    rows = mixed(10, name, max_bytes=800)
    assert rows != ROWS
    moved = [abs(ROWS.index(row) - i) for i, row in enumerate(rows)]
    assert max(moved) < 20
    assert max(abs(ROWS.index(row) - i) for i, row in enumerate(mixed(10, name))) > 30


def test_no_samples_are_no_batch() -> None:
    def decode(body: bytes) -> BatchColumns:
        raise AssertionError("there is nothing to decode")

    assert list(shuffled([], random.Random(1), decode, batch_samples=7, max_bytes=1)) == []
