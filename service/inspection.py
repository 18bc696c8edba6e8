"""The body of a reply to inspect: diagrams of a model, and its strongest features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from onlinesvm.data.label import Written, packable
from onlinesvm.model.strongest import Pairs, Strongest
from onlinesvm.service.protocol import label_shown, shown_name, wire_name

__all__ = ["decode_inspection", "encode_inspection"]


def encode_inspection(
    reliability: list[list[float]] | None,
    confusion: tuple[Sequence[Written | None], list[list[float]]] | None,
    found: Strongest | None,
) -> bytes:
    """What was found of a model as the body of a reply."""
    shown = strongest = None
    if confusion is not None:
        names, weights = confusion
        shown = {"labels": [packable(name) for name in names], "weights": weights}
    if found is not None:
        strongest = {
            "up": _wire_pairs(found.up), "down": _wire_pairs(found.down), "matches": found.matches
        }  # fmt: skip
    packed: bytes = msgpack.packb(
        {"calibration": reliability, "confusion": shown, "strongest": strongest}
    )
    return packed


def _wire_pairs(pairs: Pairs) -> list[list[Any]]:
    return [[wire_name(name), weight] for name, weight in pairs]


def decode_inspection(body: bytes) -> dict[str, Any]:
    """What was found of a model in the body of a reply: `calibration`, `confusion`, `strongest`."""
    found: dict[str, Any] = msgpack.unpackb(body)
    if found["confusion"] is not None:
        names = found["confusion"]["labels"]
        found["confusion"]["labels"] = [label_shown(name) for name in names]
    if found["strongest"] is not None:
        for side in ("up", "down"):
            pairs = found["strongest"][side]
            found["strongest"][side] = [(shown_name(name), weight) for name, weight in pairs]
    return found
