"""A seeded shuffle of a stream of samples, by blocks where it does not fit in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from onlinesvm.data.codec import pack_array
from onlinesvm.data.pieces import Decoded
from onlinesvm.data.validation import sample_starts

__all__ = ["shuffled"]

# A sample's cost beside its own bytes: an object's head and its place in a list.
_OVERHEAD_BYTES = 48
_BATCH_BYTES = 2**22


def shuffled(
    bodies: Iterable[tuple[bytes, int]],
    order: random.Random,
    decode: Callable[[bytes], Decoded],
    *,
    batch_samples: int,
    max_bytes: int,
) -> Iterator[Decoded]:
    """The samples, or pairs, of `bodies` in an order that `order` draws.

    bodies: of learn requests, and how many samples each has. These come in batches of at most
    `batch_samples`, which `decode` makes of such a body.

    They are held as packed bytes; where these reach `max_bytes`, the samples so far are a block:
    it is shuffled and given out, and another begins. The order depends on the samples, the seed
    and `max_bytes` alone, never on how the samples were batched.
    """
    held: list[bytes] = []
    size = 0
    for body, count in bodies:
        for first, last in pairwise(sample_starts(body, count)):
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
