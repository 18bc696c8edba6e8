"""Explanations by field: the parts of a margin in the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onlinesvm.data.codec import parts_of
from onlinesvm.model.explanation import Explanation
from onlinesvm.model.lookup import name_bytes
from onlinesvm.model.model import Model
from onlinesvm.text.attribution import attributed
from onlinesvm.text.constants import TEXT_BYTES

__all__ = ["by_field", "with_fields"]


def with_fields(model: Model, explained: Sequence[Explanation], body: bytes) -> list[Explanation]:
    """`explained` with the parts by field. body: the samples that `model` explained, packed."""
    return by_field(model, explained, parts_of(body))


def by_field(
    model: Model, explained: Sequence[Explanation], records: Sequence[bytes]
) -> list[Explanation]:
    """`explained` with the parts by field. records: packed, of the samples explained."""
    options = model.config.text_options()
    found = []
    for one, record in zip(explained, records, strict=True):
        parts = {name_bytes(part.name): part.contribution for part in one.contributions}
        fields = attributed(record, parts, options, model.limits, TEXT_BYTES)
        found.append(replace(one, fields=fields))
    return found
