"""The pure-Python kernel: the contract's names, from the files that define them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import Batch
from onlinesvm.data.codec import Decoding, decode, encode
from onlinesvm.data.matrix import decode_columns
from onlinesvm.data.sweep import check_rows
from onlinesvm.metrics.monitor import Metrics
from onlinesvm.model.lookup import Lookup
from onlinesvm.model.margins import score_fixed, vector_of
from onlinesvm.model.rules import RULES, Rule
from onlinesvm.model.rules.multiclass import Multiclass
from onlinesvm.model.rules.multilabel import Multilabel
from onlinesvm.readers.parsing import parse_block
from onlinesvm.text.records import Extractor

__all__ = [
    "Decoding",
    "Extractor",
    "NAME",
    "RULES",
    "Lookup",
    "Metrics",
    "Multiclass",
    "Multilabel",
    "decode",
    "decode_columns",
    "encode",
    "learn",
    "parse_block",
    "score",
    "score_fixed",
]

NAME = "python"


def learn(
    lookup: Lookup,
    rule: Rule,
    metrics: Metrics,
    rows: Batch,
    signs: Any,
    weights: Any,
    first: int = 0,
    stop: int | None = None,
) -> NDArray[np.float64]:
    """Learn the rows `first` … `stop` − 1, None for all: enter new names, update the rule, observe
    the margins.

    signs: −1.0 or +1.0, [n]. weights: the importances that the rule learns by, [n]; None for those
    of the rows, by which the metrics observe. Memory is reserved before anything changes.

    Returns the margins before each update, float64[stop − first]. Raises
    MemoryError, ValueError for rows that cannot be walked and for other numbers of signs or
    weights; nothing has changed then.
    """
    n = len(rows)
    stop = check_rows(first, stop, n)
    signs = vector_of("signs", signs, n)
    if weights is not None:
        weights = vector_of("weights", weights, n)
    rule.reserve(lookup.reserve((rows,)))
    csr = lookup.ids(rows, grow=True, first=first, stop=stop)
    rule.enter(*lookup.entered())
    learned = slice(first, stop)
    importances = vector_of("importances", rows.importances, n)
    weights = importances if weights is None else weights
    margins = rule.learn(csr, signs[learned], weights[learned])
    metrics.observe(margins, signs[learned], importances[learned])
    return margins


def score(lookup: Lookup, rule: Rule, rows: Batch) -> NDArray[np.float64]:
    """The margins of `rows`, float64[n]; changes nothing."""
    return rule.score(lookup.ids(rows))
