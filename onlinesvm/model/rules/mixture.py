"""The hedge's second level: how much each expert has to say.

Two ways of combining the experts' margins compete. The first is exponential weights on each one's
mistakes (Littlestone and Warmuth 1994, "The weighted majority algorithm"; the rate is
self-confident, as in Auer, Cesa-Bianchi and Gentile 2002, section 4, so that it needs no horizon)::

    L_j = 0.9997·L_j + h·[candidate j was wrong]
    q_j ∝ exp(−B·(L_j − min L)),  B = 2/(1 + √(0.1·min L))

The second, one more candidate j, is a stack: a small AROW with full covariance (Crammer, Kulesza
and Dredze 2009, figure 1) over the experts' margins, each divided by its running mean magnitude
(0.999 a sample) and cut at ±3. It can give an expert more than all the weight, or less than none.
Its covariance is drawn back towards its start by 0.001 a step, so that it goes on learning.

The outcome stays linear in the experts' margins: coefficients c_r, so that a feature's weight is
Σ c_r·w_ri.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from onlinesvm.metrics.fpmath import exp
from onlinesvm.model.rules.constants import MIXTURE_LEAST_SIZE as LEAST_SIZE
from onlinesvm.model.rules.constants import MIXTURE_LOSS_DISCOUNT as LOSS_DISCOUNT
from onlinesvm.model.rules.constants import MIXTURE_MARGIN_CUT as MARGIN_CUT
from onlinesvm.model.rules.constants import MIXTURE_MOST_MARGIN as MOST_MARGIN
from onlinesvm.model.rules.constants import MIXTURE_MOST_NORM as MOST_NORM
from onlinesvm.model.rules.constants import MIXTURE_MOST_SCALED as MOST_SCALED
from onlinesvm.model.rules.constants import MIXTURE_RATE as RATE
from onlinesvm.model.rules.constants import MIXTURE_RATE_DECAY as RATE_DECAY
from onlinesvm.model.rules.constants import MIXTURE_SCALE_DISCOUNT as SCALE_DISCOUNT
from onlinesvm.model.rules.constants import MIXTURE_STACK_RETURN as STACK_RETURN
from onlinesvm.model.rules.constants import MIXTURE_STACK_VARIANCE as STACK_VARIANCE
from onlinesvm.model.rules.layout import Span
from onlinesvm.model.rules.rule import Scalars

__all__ = ["Mixture", "check_state", "parts", "spans"]


def parts(n: int) -> list[tuple[str, int | None]]:
    """The parts of the state of a mixture of n experts, and their lengths, None for a number."""
    return [
        ("count", None), ("norms", None), ("coefficients", n), ("weights", n + 1),
        ("losses", n + 1), ("sizes", n + 1), ("stack", n), ("covariance", n * n),
    ]  # fmt: skip


def spans(n: int) -> dict[str, Span]:
    """Where each scalar of a dump of n experts can lie."""
    of = {
        "count": Span(0.0, 1e3 + 1.0), "norms": Span(0.0, 1e200), "weights": Span(0.0, 1.0 + 1e-9),
        "losses": Span(0.0, 1e100), "sizes": Span(0.0, 1e200), "covariance": Span(-0.2, 0.2),
    }  # fmt: skip
    # Coefficients are over the mean norm, which may be tiny: a sample of values far below their
    # features' scales has the norm 1e-100 or so.
    of["coefficients"] = Span(-1e120, 1e120)
    free = Span(-1e60, 1e60)
    return {
        f"mixture_{name}" if size is None else f"mixture_{name}_{k}": of.get(name, free)
        for name, size in parts(n)
        for k in range(size or 1)
    }


LEAST_NORMS = 1e-110


def check_state(scalars: Mapping[str, Any], n: int) -> None:
    """Raise ValueError unless `scalars`, within their spans, can be of a dump of n experts: the
    covariance one but for rounding, the norms' sum none that 1 can overflow over.
    """
    norms = scalars["mixture_norms"]
    if 0.0 < norms < LEAST_NORMS:
        raise ValueError(f"mixture_norms: expected 0 or a number from {LEAST_NORMS:g}, got {norms}")
    numbers = [scalars[f"mixture_covariance_{k}"] for k in range(n * n)]
    covariance = np.array(numbers, dtype=np.float64).reshape(n, n)
    skewed = float(np.abs(covariance - covariance.T).max())
    least = float(np.linalg.eigvalsh(covariance).min())
    if skewed > 1e-6 or least < -1e-6:
        raise ValueError(
            "mixture_covariance: expected a covariance, got one of asymmetry"
            f" {skewed:g} and least eigenvalue {least:g}"
        )


class Mixture:
    """Weights of `n` experts; `coefficients` are what their margins are multiplied by.

    The margins that it learns from are those of the sample scaled to norm 1; `norms` keeps the mean
    norm, so that the coefficients for unscaled samples give margins of mean magnitude about 1.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.coefficients = [1.0 / n] * n
        self.weights = [1.0 / (n + 1)] * (n + 1)  # the last is the stack's
        self._losses = [0.0] * (n + 1)
        self._sizes = [0.0] * (n + 1)
        self._count = 0.0
        self._norms = 0.0
        self._stack = [1.0 / n] * n
        self._covariance = [STACK_VARIANCE if i % (n + 1) == 0 else 0.0 for i in range(n * n)]

    def learn(
        self, margins: list[float], norm: float, y: float, h: float
    ) -> tuple[list[bool], float]:
        """Learn one sample from the experts' margins on it, scaled to norm 1.

        norm: its norm before. Returns who was wrong, the stack last, and the stack's margin.
        """
        n = self.n
        count = self._count
        self._count = count * SCALE_DISCOUNT + 1.0
        if count > 0.0:
            norm = min(norm, MOST_NORM * (self._norms / count))
        self._norms = self._norms * SCALE_DISCOUNT + norm
        scaled, wrong = [], []
        stacked = 0.0
        for r in range(n):
            margin = min(MOST_MARGIN, max(-MOST_MARGIN, margins[r]))
            size = self._sizes[r]
            # May be infinite before it is cut.
            z = margin * count / size if size > 0.0 else margin
            z = min(MOST_SCALED, max(-MOST_SCALED, z))
            scaled.append(z)
            self._sizes[r] = size * SCALE_DISCOUNT + abs(margin)
            stacked += self._stack[r] * z
            wrong.append((margin > 0.0) != (y > 0.0))
        self._sizes[n] = self._sizes[n] * SCALE_DISCOUNT + abs(stacked)
        wrong.append((stacked > 0.0) != (y > 0.0))
        for j in range(n + 1):
            self._losses[j] = self._losses[j] * LOSS_DISCOUNT + (h if wrong[j] else 0.0)
        # While all agree the losses differ as before, but for their discount, and nothing moves.
        disagree = 0 < wrong.count(True) <= n
        moved = self._learn_stack(scaled, y, h)
        if disagree:
            self._weigh()
        if disagree or moved:
            self._combine()
        return wrong, stacked

    def _learn_stack(self, scaled: list[float], y: float, h: float) -> bool:
        """One step of the AROW over the experts; whether it moved."""
        n, covariance = self.n, self._covariance
        z = [min(MARGIN_CUT, max(-MARGIN_CUT, value)) for value in scaled]
        margin = 0.0
        for r in range(n):
            margin += self._stack[r] * z[r]
        loss = 1.0 - y * margin
        if not loss > 0.0:
            return False
        spread, v = [], 0.0
        for i in range(n):
            s = 0.0
            for j in range(n):
                s += covariance[i * n + j] * z[j]
            spread.append(s)
            v += s * z[i]
        beta = 1.0 / (v + 1.0 / h)
        step = loss * beta * y
        for i in range(n):
            self._stack[i] += step * spread[i]
            shrink = beta * spread[i]
            for j in range(n):
                k = i * n + j
                covariance[k] = (covariance[k] - shrink * spread[j]) * (1.0 - STACK_RETURN)
            covariance[i * n + i] += STACK_RETURN * STACK_VARIANCE
        return True

    def _weigh(self) -> None:
        least = min(self._losses)
        rate = RATE / (1.0 + math.sqrt(RATE_DECAY * least))
        total = 0.0
        for j, loss in enumerate(self._losses):
            self.weights[j] = exp(-rate * (loss - least))
            total += self.weights[j]
        for j in range(self.n + 1):
            self.weights[j] /= total

    def _combine(self) -> None:
        n, count = self.n, self._count
        back = count / self._norms if self._norms > 0.0 else 1.0
        stack = self.weights[n] * self._blown(n)
        for r in range(n):
            weight = (self.weights[r] + stack * self._stack[r]) * self._blown(r)
            self.coefficients[r] = weight * back

    def _blown(self, j: int) -> float:
        """The factor that brings candidate j's margins to a mean magnitude of 1."""
        size = self._sizes[j]
        if not size > 0.0:
            return 1.0
        return self._count / max(size, LEAST_SIZE * self._count)

    def dump(self) -> Scalars:
        """The state, by names that tell its parts."""
        scalars: Scalars = {"mixture_count": self._count, "mixture_norms": self._norms}
        for name, values in self._parts().items():
            for k, value in enumerate(values):
                scalars[f"mixture_{name}_{k}"] = value
        return scalars

    def restore(self, scalars: Mapping[str, Any]) -> None:
        """Take the state of a dump; KeyError where a part is missing."""
        self._count = float(scalars["mixture_count"])
        self._norms = float(scalars["mixture_norms"])
        for name, values in self._parts().items():
            values[:] = [float(scalars[f"mixture_{name}_{k}"]) for k in range(len(values))]

    def _parts(self) -> dict[str, list[float]]:
        return {
            "coefficients": self.coefficients, "weights": self.weights, "losses": self._losses,
            "sizes": self._sizes, "stack": self._stack, "covariance": self._covariance,
        }  # fmt: skip
