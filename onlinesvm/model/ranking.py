"""The head of a ranking: one score an item, learned from pairs.

A pair [better, worse] is a sample of the difference of both items, of sign +1 and without a bias:
the margin is score(better) − score(worse), its hinge loss max(0, 1 − margin). Only pairs that the
rule finds too close, or in the wrong order, move its weights (Herbrich, Graepel and Obermayer 2000,
"Large margin rank boundaries for ordinal regression"). A mistake is a pair whose margin is not
above 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.data.batch import CSR
from onlinesvm.data.pairs import differences
from onlinesvm.errors import ConfigError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.metrics.progressive import Progressive
from onlinesvm.model.head import Head

__all__ = ["RULES", "RankingHead"]

RULES = ("hedge", "sgd")


class RankingHead:
    """A rule over the differences of pairs, and its metrics."""

    def __init__(self, kernel: Kernel, config: LearnerConfig) -> None:
        if config.rule not in RULES:
            raise ConfigError(
                f"rule: expected one of {', '.join(RULES)} for task ranking, got {config.rule!r}"
            )
        for name in ("threshold", "class_weight"):
            if getattr(config, name):
                raise ConfigError(
                    f"{name}: expected none, as task ranking has no classes,"
                    f" got {getattr(config, name)!r}"
                )
        self.head = Head(kernel, replace(config, bias=False))

    def learn(self, csr: CSR, weights: ArrayLike, importances: ArrayLike) -> NDArray[np.float64]:
        """Learn pairs, rows 2k and 2k + 1 of `csr`, by `weights`, observe them by `importances`.

        Both are [n], one a pair. Returns the margins before, float64[n].
        """
        pairs = differences(csr)
        signs = np.ones(len(pairs.indptr) - 1)
        return self.head.learn(pairs, signs, weights, importances)

    def score(self, csr: CSR) -> NDArray[np.float64]:
        """One score an item, float64[n]; the better the larger."""
        return self.head.rule.score(csr)

    @property
    def progressive(self) -> Progressive:
        """The progressive error of pairs and their hinge loss so far."""
        return self.head.progressive
