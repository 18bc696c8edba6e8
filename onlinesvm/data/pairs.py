"""Pairs of items, better and worse: what a ranking is learned from.

On the wire a pair is ``[better, worse]`` or ``[better, worse, importance]``. Decoded, it is one
sample without a label, the difference of both: the features of the better item, then those of the
worse one with their values negated. A name that both have is summed by the lookup, as any name that
comes twice.

A model of task ``ranking`` takes ``(better, worse)`` as it takes ``(features, label)`` else. A
client does not know the model's task; there `Worse` marks the worse item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns, Features
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import (
    Decoder,
    Packer,
    Worse,
    alone_in,
    bodies,
    moved_by,
    refuse_unlabelled,
)
from onlinesvm.data.pieces import Decoded
from onlinesvm.errors import SampleError

__all__ = ["Worse", "one_pair", "pair_batches"]


def pair_batches(
    pairs: Iterable[Any], kernel: Decoder, limits: Limits, extractor: Any = None
) -> Iterator[Decoded]:
    """``(better, worse)`` or ``(better, worse, importance)`` in batches of bounded size.

    Raises SampleError (LimitError) for the first fault, TypeError for anything but a pair.
    """

    def pack(i: int, pair: Any) -> bytes:
        if not isinstance(pair, tuple | list) or not 2 <= len(pair) <= 3:
            raise TypeError(
                "expected (better, worse) or (better, worse, importance), got"
                f" {type(pair).__name__} at $[{i}]"
            )
        return packer.pair(pair[0], pair[1], pair[2] if len(pair) == 3 else 1.0, i)

    refuse_unlabelled(pairs)
    packer = Packer(extractor is None or extractor.reads_text)
    for start, body in bodies(pairs, pack, limits):
        try:
            yield kernel.decode(body, limits, labelled=True, extractor=extractor, pairs=True)
        except SampleError as error:
            raise type(error)(error.message, moved_by(error.path, start)) from None


def one_pair(
    better: Features,
    worse: Features | Worse,
    importance: float,
    kernel: Decoder,
    limits: Limits,
    extractor: Any = None,
) -> BatchColumns:
    """One pair to learn. Raises as `pair_batches` does."""
    packer = Packer(extractor is None or extractor.reads_text)
    try:
        body = pack_array([packer.pair(better, worse, importance)])
        return alone_in(kernel.decode(body, limits, labelled=True, extractor=extractor, pairs=True))
    except SampleError as error:
        raise type(error)(error.message, error.path[1:], alone=True) from None
