"""Published claims and their outcome here: the figure that decides each, and whether it holds."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Claim", "outcome"]


@dataclass(frozen=True)
class Claim:
    """A published claim, and the figure of a contender that decides it.

    published: its number as published; "stated" where it has none, "recipe" where a published
    recipe takes it for granted, "–" where the question is ours. The figure is divided by the figure
    `over` (`figure` if left out) of `peer` (`contender` if left out); without both it stands alone.
    The claim holds if the result is from `at_least` to `at_most`.
    unit: printed after the result.
    """

    text: str
    published: str
    contender: str
    figure: str
    peer: str | None = None
    over: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""


def outcome(claim: Claim, measured: dict[str, list[dict[str, float]]]) -> dict[str, Any] | None:
    """`claim` as a dictionary, with `here`, the measured result, and `holds`.

    measured: contender → its figures, round by round; the median counts. None if a figure is
    missing, because its contender was skipped or failed.
    """

    def median(contender: str, figure: str) -> float | None:
        values = [run[figure] for run in measured.get(contender, ()) if figure in run]
        return statistics.median(values) if values else None

    here = median(claim.contender, claim.figure)
    if here is not None and (claim.peer or claim.over):
        divisor = median(claim.peer or claim.contender, claim.over or claim.figure)
        here = here / divisor if divisor else None
    if here is None:
        return None
    holds = (claim.at_least is None or here >= claim.at_least) and (
        claim.at_most is None or here <= claim.at_most
    )
    return {**asdict(claim), "here": here, "holds": holds}
