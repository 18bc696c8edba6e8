"""The columns of batches, as tests compare them."""

from __future__ import annotations

from onlinesvm.data.batch import BatchColumns

__all__ = ["labels_of"]


def labels_of(batch: BatchColumns) -> list[bytes | None]:
    """The text of each sample's label, None without one."""
    table = [label.text for label in batch.label_table]
    return [table[i] if i >= 0 else None for i in batch.label_ids]
