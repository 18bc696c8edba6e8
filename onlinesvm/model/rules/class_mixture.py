"""The second level of the hedge over many classes.

It is that of `onlinesvm.model.rules.mixture`, of signed margins on samples of norm 1::

    m_r = s_ry − max_{j≠y} s_rj      expert r is wrong where this is not above 0
    d_r = s_ry − s_rj                what the stack learns from, j the stack's own best rival

All margins are over the running mean of |m_r|.
"""

from __future__ import annotations

from onlinesvm.model.rules.constants import MIXTURE_LOSS_DISCOUNT as LOSS_DISCOUNT
from onlinesvm.model.rules.constants import MIXTURE_MOST_MARGIN as MOST_MARGIN
from onlinesvm.model.rules.constants import MIXTURE_MOST_SCALED as MOST_SCALED
from onlinesvm.model.rules.constants import MIXTURE_SCALE_DISCOUNT as SCALE_DISCOUNT
from onlinesvm.model.rules.mixture import Mixture

__all__ = ["ClassMixture"]


class ClassMixture(Mixture):
    """Weights of experts that score labels; `coefficients` multiply their scores."""

    def stack(self) -> list[float]:
        """The factor of each expert's scores in the stack."""
        factors = []
        for r in range(self.n):
            size = self._sizes[r]
            factors.append(self._stack[r] * self._count / size if size > 0.0 else self._stack[r])
        return factors

    def learn_classes(
        self, own: list[float], against: list[float], stack_wrong: bool, h: float
    ) -> list[bool]:
        """Learn one sample from the experts' m (`own`) and d (`against`); who was wrong, the stack
        last.
        """
        n, count = self.n, self._count
        self._count = self._counts[0] = count * SCALE_DISCOUNT + 1.0
        self._norms[0] = self._norms[0] * SCALE_DISCOUNT + 1.0
        scaled, wrong, stacked = [], [], 0.0
        for r in range(n):
            size = self._sizes[r]
            z = against[r] * count / size if size > 0.0 else against[r]
            z = min(MOST_SCALED, max(-MOST_SCALED, z))
            scaled.append(z)
            margin = min(MOST_MARGIN, max(-MOST_MARGIN, own[r]))
            self._sizes[r] = size * SCALE_DISCOUNT + abs(margin)
            stacked += self._stack[r] * z
            wrong.append(not own[r] > 0.0)
        self._sizes[n] = self._sizes[n] * SCALE_DISCOUNT + abs(stacked)
        wrong.append(stack_wrong)
        for j in range(n + 1):
            self._losses[j] = self._losses[j] * LOSS_DISCOUNT + (h if wrong[j] else 0.0)
        disagree = 0 < wrong.count(True) <= n
        moved = self._learn_stack(scaled, 1.0, h)
        if disagree:
            self._weigh()
        if disagree or moved:
            self._combine()
        return wrong
