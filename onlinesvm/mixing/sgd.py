"""Mixing of the rule `sgd`, by the formulas of the folder.

weights    mean by counts; the bias by samples
t          sum of increments: the rate of ``invscaling`` goes on as one learner's would
alpha      of two weights as they stand, w_i·(P/P_i); every learned sample shrinks all weights,
           so that one that no shard saw is a mean by samples. The product starts anew at 1
average    of w and of the mean w̄ alike; the offsets are those that give w̄ at the mixed t:
           u_i = t·(w_i − w̄_i)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.mixing.means import Columns, Shares, mean, summed
from onlinesvm.mixing.outcome import Outcome
from onlinesvm.snapshot.format import Snapshot

__all__ = ["mixed_sgd"]

Arrays = dict[str, NDArray[Any]]
Scalars = dict[str, float | int]


def mixed_sgd(
    base: Snapshot, first: Outcome, second: Outcome, columns: Columns
) -> tuple[Arrays, Scalars]:
    """The arrays and scalars of the mix of two outcomes."""
    scalars = [base.scalars, first.model.scalars, second.model.scalars]
    t = int(summed(*(of["t"] for of in scalars)))
    samples = first.samples, second.samples
    if base.config.alpha:
        return _mixed_shrinking(scalars, samples, t, columns)
    weights = columns.mean("weights", 0.0)
    if not base.config.average:
        bias = mean(scalars[1]["bias"], scalars[2]["bias"], *samples)
        return {"weights": weights}, {"bias": bias, "t": t}
    means = [
        weights - offsets / max(1.0, float(of["t"]))
        for weights, offsets, of in zip(
            columns.all("weights", 0.0), columns.all("offsets", 0.0), scalars, strict=True
        )
    ]
    averaged = columns.shares.mean(*means[1:])
    last = mean(scalars[1]["last_bias"], scalars[2]["last_bias"], *samples)
    bias_offset = t * (last - mean(scalars[1]["bias"], scalars[2]["bias"], *samples))
    return {"weights": weights, "offsets": t * (weights - averaged)}, {
        "bias": last - bias_offset / float(t) if t else 0.0,
        "t": t,
        "last_bias": last,
        "bias_offset": bias_offset,
    }


def _mixed_shrinking(
    scalars: list[Scalars], samples: tuple[int, int], t: int, columns: Columns
) -> tuple[Arrays, Scalars]:
    """The mix of models whose weights shrink."""
    standing = [
        np.ldexp(weights * (of["product_mantissa"] / mantissas), of["product_exponent"] - exponents)
        for weights, mantissas, exponents, of in zip(
            columns.all("weights", 0.0),
            columns.all("mantissas", 1.0),
            columns.all("exponents", 0),
            scalars,
            strict=True,
        )
    ]
    unseen = (columns.shares.first == 0) & (columns.shares.second == 0)
    shares = Shares(
        np.where(unseen, samples[0], columns.shares.first),
        np.where(unseen, samples[1], columns.shares.second),
    )
    n = columns.join.n
    arrays: Arrays = {
        "weights": shares.mean(*standing[1:]),
        "mantissas": np.ones(n),
        "exponents": np.zeros(n, dtype=np.int64),
    }
    return arrays, {
        "bias": mean(scalars[1]["bias"], scalars[2]["bias"], *samples),
        "t": t,
        "product_mantissa": 1.0,
        "product_exponent": 0,
    }
