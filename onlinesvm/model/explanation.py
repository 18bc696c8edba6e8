"""What makes up the margin of one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Contribution", "Explanation"]


class Contribution(NamedTuple):
    """A feature's part in a margin: ``weight·value`` is its `contribution`.

    value: as it was scored, after `normalize`. seen: how many samples that were learned had the
    feature; None where the rule does not count. known: whether the model has the feature at all.
    """

    name: str
    value: float
    weight: float
    contribution: float
    seen: int | None
    known: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A margin and its parts, in the order of the sample; added left to right from 0.0, the bias
    last, they give the margin exactly.
    """

    margin: float
    bias: float
    contributions: list[Contribution]
