"""Which labels are worth asking for: selective sampling.

Cesa-Bianchi, Gentile and Zaniboni (2006), "Worst-case analysis of selective sampling for linear
classification", section 3: the label of a sample of margin m is asked for with probability
b/(b + |m|). A model that knows little can be sure for no reason, so up to 100 samples every label
is worth asking for. Theirs draws at random; here a hash of the sample and the model's position
decides, so that asking changes nothing, and an answer can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.errors import ConfigError
from onlinesvm.kernel.contract import Rows
from onlinesvm.model.model import Model

__all__ = ["ASKS_ALL", "B", "distances_of", "worth_asking"]

B = 0.2
ASKS_ALL = 100  # samples
_SCALE = 2.0**-64


def worth_asking(
    distances: ArrayLike, samples: Iterable[bytes], position: int, b: float = B
) -> NDArray[np.bool_]:
    """The labels that are worth asking for, [n].

    distances: of the margins from the threshold, or of many classes of the best two scores, [n].
    samples: each as the wire has it, packed. position: of the model.
    """
    distances = np.abs(np.asarray(distances, dtype=np.float64))
    if position < ASKS_ALL:
        return np.ones(len(distances), dtype=np.bool_)
    salt = position.to_bytes(8, "little")
    drawn = [
        int.from_bytes(blake2b(sample, digest_size=8, salt=salt).digest(), "little") * _SCALE
        for sample in samples
    ]
    worth: NDArray[np.bool_] = np.array(drawn, dtype=np.float64) < b / (b + distances)
    return worth


def distances_of(
    model: Model, rows: Rows, margins: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """How far samples are from another label, as `worth_asking` takes it, [n]; changes nothing.

    margins: those of a binary model, where they are known. Raises ConfigError for a ranking, which
    has no labels to ask for.
    """
    if model.is_ranking:
        raise ConfigError("task: expected a model with labels, got a ranking one")
    if model.is_multiclass:
        _, scores = model.top_batch(rows, 2)
        if scores.shape[1] < 2:
            return np.zeros(len(rows))
        return np.asarray(scores[:, 0] - scores[:, 1], dtype=np.float64)
    margins = model.score_batch(rows) if margins is None else margins
    return np.abs(margins - model.config.threshold)
