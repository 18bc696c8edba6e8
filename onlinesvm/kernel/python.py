"""The pure-Python kernel: the contract's names, from the rooms that hold them."""

from __future__ import annotations

from onlinesvm.data.codec import (
    decode_learn,
    decode_predict,
    encode_learn,
    encode_margins,
    encode_predict,
)
from onlinesvm.data.matrix import learn_matrix, score_matrix, screen_matrix
from onlinesvm.metrics.monitor import Judge
from onlinesvm.metrics.progressive import observe
from onlinesvm.model.lookup import Lookup
from onlinesvm.model.margins import score
from onlinesvm.model.rules import RULES
from onlinesvm.readers.parsing import parse_block

__all__ = [
    "NAME",
    "Judge",
    "RULES",
    "Lookup",
    "decode_learn",
    "decode_predict",
    "encode_learn",
    "encode_margins",
    "encode_predict",
    "learn_matrix",
    "observe",
    "parse_block",
    "score",
    "score_matrix",
    "screen_matrix",
]

NAME = "python"
