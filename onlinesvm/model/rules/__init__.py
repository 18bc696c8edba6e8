"""Update rules: how one sample moves the weights. The Python kernel's, and the readable reference.

Each rule's formula and source stand above its code. All of them keep numbers a feature, by id, and
a few scalars, and see samples as CSR rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onlinesvm.config import LearnerConfig
from onlinesvm.model.rules.adagrad import Adagrad
from onlinesvm.model.rules.arow import Arow
from onlinesvm.model.rules.hedge import Hedge
from onlinesvm.model.rules.nag import Nag
from onlinesvm.model.rules.passive_aggressive import PassiveAggressive1, PassiveAggressive2
from onlinesvm.model.rules.sgd import Sgd, sgd

__all__ = [
    "RULES", "Adagrad", "Arow", "Hedge", "Nag", "PassiveAggressive1", "PassiveAggressive2", "Sgd",
]  # fmt: skip

# Name → what makes the rule for a configuration.
RULES: dict[str, Callable[[LearnerConfig], Any]] = {
    "hedge": Hedge,
    "sgd": sgd,
    "pa1": PassiveAggressive1,
    "pa2": PassiveAggressive2,
    "arow": Arow,
    "adagrad": Adagrad,
    "nag": Nag,
}
