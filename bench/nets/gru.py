"""A recurrent net over padded token ids, in three ways to treat the padding. Needs torch.

ids: int64[batch, longest], each row filled up with PAD. lengths: int64[batch], the true ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

__all__ = ["PAD", "WAYS", "Classifier", "in_order_of_length", "padded", "restored"]

PAD = 0
# learned: padding is a token like others. masked: its embedding is zero (padding_idx), and a mask
# is multiplied in. packed: padding is left out of the recurrence.
WAYS = ("learned", "masked", "packed")
EMBEDDING = 32
HIDDEN = 64


def padded(rows: Sequence[Sequence[int]], extra: int = 0) -> tuple[Tensor, Tensor]:
    """ids, with `extra` columns of padding after the longest row, and lengths."""
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)
    ids = nn.functional.pad(ids, (0, extra), value=PAD)
    return ids, torch.tensor([len(row) for row in rows])


class Classifier(nn.Module):
    """Embedding → GRU → the scores of two classes from the last hidden state."""

    def __init__(self, vocabulary: int, way: str) -> None:
        super().__init__()
        self.way = way
        self.embedding = nn.Embedding(
            vocabulary, EMBEDDING, padding_idx=None if way == "learned" else PAD
        )
        self.gru = nn.GRU(EMBEDDING, HIDDEN, batch_first=True)
        self.scores = nn.Linear(HIDDEN, 2)

    def state(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The last hidden state of each row, float32[batch, HIDDEN]. lengths is on the CPU."""
        found = self.embedding(ids)
        if self.way == "masked":
            found = found * (ids != PAD).unsqueeze(-1)
        if self.way == "packed":
            found = pack_padded_sequence(found, lengths, batch_first=True, enforce_sorted=False)
        last: Tensor = self.gru(found)[1][0]
        return last

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        found: Tensor = self.scores(self.state(ids, lengths))
        return found

    def unpacked(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """As `state`, by pack → GRU → unpack → the state at the true length of each row.

        Rows are in descending order of length, as packing wants them.
        """
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True)
        return self._at(pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0], lengths)

    def gathered(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """As `state`, without packing: run over the padding, take the state at the true length.

        Right in one direction only: the state at a step knows nothing of later steps.
        """
        return self._at(self.gru(self.embedding(ids))[0], lengths)

    def _at(self, states: Tensor, lengths: Tensor) -> Tensor:
        rows = torch.arange(len(lengths), device=states.device)
        return states[rows, lengths.to(states.device) - 1]


def in_order_of_length(
    ids: Tensor, lengths: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows in descending order of length, their lengths and labels, and the order itself."""
    lengths, order = lengths.sort(descending=True, stable=True)
    return ids[order.to(ids.device)], lengths, labels[order.to(labels.device)], order


def restored(rows: Tensor, order: Tensor) -> Tensor:
    """`rows` in the order that they had before `in_order_of_length`."""
    back = torch.empty_like(rows)
    back[order.to(rows.device)] = rows
    return back
