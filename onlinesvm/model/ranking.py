"""A ranking: one score an item, learned from pairs.

A pair [better, worse] is learned as one sample, the difference of both items, of sign +1 and
without a bias: its margin is score(better) − score(worse), its hinge loss max(0, 1 − margin). Only
pairs that the rule finds too close, or in the wrong order, move its weights (Herbrich, Graepel and
Obermayer 2000, "Large margin rank boundaries for ordinal regression"). A mistake is a pair whose
margin is not above 0. Another margin than 1 would scale the scores and nothing else: sgd with a
margin of c and eta0 learns c times the scores of sgd with a margin of 1 and eta0/c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.label import AnyLabel
from onlinesvm.errors import SnapshotError
from onlinesvm.metrics import monitor
from onlinesvm.model.head import Head
from onlinesvm.model.labels import Labelled, Labels, RefusedLabel, shown

__all__ = ["NoLabels", "report"]


class NoLabels(Labels):
    """The labels of a ranking: none. Each pair is of side +1."""

    def copy(self) -> NoLabels:
        """These: they have no state."""
        return self

    def know(self, table: Sequence[AnyLabel]) -> bool:
        """True for samples without labels, which are pairs."""
        return not table

    def learn(self, table: Sequence[AnyLabel]) -> None:
        """Raise RefusedLabel for the first label."""
        for place, label in enumerate(table):
            raise RefusedLabel(
                "expected a pair (better, worse), as the model is a ranking one, got a sample with"
                f" the label {shown(label.written)}",
                place,
            )

    def truths_of(self, rows: Labelled) -> NDArray[np.float64]:
        """+1 for each pair, float64[n]."""
        return np.ones(len(rows.label_ids))

    def names(self) -> tuple[()]:  # type: ignore[override]
        """None at all."""
        return ()

    def restore(self, stored: object) -> None:
        """Take the state of a dump. Raises SnapshotError for one with labels."""
        if stored != []:
            raise SnapshotError(f"labels: expected none of task ranking, got {stored!r:.80}")


def report(head: Head) -> dict[str, Any]:
    """`pair_error` and `recent_pair_error`, the share of pairs that came in the wrong order or with
    equal scores, before they were learned; `drifts` and `samples_since_drift`.
    """
    figures = monitor.report(head.metrics.dump())
    progressive = head.progressive
    return {
        "pair_error": progressive.error,
        "recent_pair_error": progressive.recent_error,
        "drifts": figures["drifts"],
        "samples_since_drift": figures["samples_since_drift"],
    }
