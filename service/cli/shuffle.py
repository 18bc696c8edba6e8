"""A seeded shuffle of a stream of batches, by blocks where it does not fit in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.codec import pack_array
from onlinesvm.data.pieces import Decoded
from onlinesvm.data.validation import sample_starts
from onlinesvm.kernel.contract import Kernel

__all__ = ["shuffled"]

# A sample's cost beside its own bytes: an object's head and its place in a list.
_OVERHEAD_BYTES = 48
_BATCH_BYTES = 2**22


def shuffled(
    batches: Iterable[BatchColumns],
    order: random.Random,
    kernel: Kernel,
    decode: Callable[[bytes], Decoded],
    *,
    batch_samples: int,
    max_bytes: int,
) -> Iterator[Decoded]:
    """The samples of `batches`, whose records are packed, in an order that `order` draws.

    They come in batches of at most `batch_samples`, which `decode` makes of a learn request's body.

    They are held as packed bytes; where these reach `max_bytes`, the samples so far are a block:
    it is shuffled and given out, and another begins. The order depends on the samples, the seed
    and `max_bytes` alone, never on how the samples were batched.
    """
    held: list[bytes] = []
    size = 0
    for batch in batches:
        body = kernel.encode(batch, labelled=True)
        starts = sample_starts(body, len(batch))
        for first, last in pairwise(starts):
            held.append(body[first:last])
            size += last - first + _OVERHEAD_BYTES
            if size >= max_bytes:
                yield from _mixed(held, order, decode, batch_samples)
                held, size = [], 0
    yield from _mixed(held, order, decode, batch_samples)


def _mixed(
    held: list[bytes],
    order: random.Random,
    decode: Callable[[bytes], Decoded],
    batch_samples: int,
) -> Iterator[Decoded]:
    order.shuffle(held)
    parts: list[bytes] = []
    size = 0
    for sample in held:
        parts.append(sample)
        size += len(sample)
        if len(parts) == batch_samples or size >= _BATCH_BYTES:
            yield decode(pack_array(parts))
            parts, size = [], 0
    if parts:
        yield decode(pack_array(parts))
