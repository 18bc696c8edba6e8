"""The pure-Python kernel: the contract's names, from the rooms that hold them."""

from __future__ import annotations

from onlinesvm.body import (
    decode_learn,
    decode_predict,
    encode_learn,
    encode_margins,
    encode_predict,
)
from onlinesvm.judge import Judge
from onlinesvm.lookup import Lookup
from onlinesvm.margins import score
from onlinesvm.matrix import learn_matrix, score_matrix, screen_matrix
from onlinesvm.parsing import parse_block
from onlinesvm.progressive import observe
from onlinesvm.rules import RULES

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
