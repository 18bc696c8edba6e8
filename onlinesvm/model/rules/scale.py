"""The scale of a feature: the root of the running mean of its squared values.

The first values may be outliers: a mean of fewer than YOUNG values is dropped where a value is far
below it. A later value counts for at most 10 times the scale. RUN values in a row out of all
proportion mean that the unit has changed: the scale starts anew.
"""

from __future__ import annotations

from onlinesvm.model.rules.constants import HEDGE_MOST_AGE as MOST_AGE
from onlinesvm.model.rules.constants import HEDGE_OUTLIER_ABOVE as OUTLIER_ABOVE
from onlinesvm.model.rules.constants import HEDGE_OUTLIER_BELOW as OUTLIER_BELOW
from onlinesvm.model.rules.constants import HEDGE_PROPORTION as PROPORTION
from onlinesvm.model.rules.constants import HEDGE_RUN as RUN
from onlinesvm.model.rules.constants import HEDGE_YOUNG as YOUNG

__all__ = ["counted"]


def counted(s2: float, age: int, run: int, x: float) -> tuple[float, int, int]:
    """The mean square, of how many values, and the run, once `x`, not 0, is counted too."""
    x2 = x * x
    if age == 0 or (age < YOUNG and x2 < OUTLIER_BELOW * s2):
        return x2, 1, 0
    run = run + 1 if x2 > PROPORTION * s2 or x2 * PROPORTION < s2 else 0
    if run == RUN:
        return x2, 1, 0
    if age >= YOUNG:
        x2 = min(x2, OUTLIER_ABOVE * s2)
    age = min(age + 1, MOST_AGE)
    return s2 + (x2 - s2) / age, age, run
