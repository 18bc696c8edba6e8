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

Where features lie in several views, each view has experts, a count of its samples and a mean norm
of its own. The experts of a view that comes later start with the mean of the others' losses and the
same share of the stack. Where a sample has nothing of a view its experts have no vote, and lose as
the stack does.
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


def spans(n: int, views: int = 0) -> dict[str, Span]:
    """Where each scalar of a dump of n experts can lie; of so many views, if the state has any."""
    of = {
        "count": Span(0.0, 1e3 + 1.0), "norms": Span(0.0, 1e200), "weights": Span(0.0, 1.0 + 1e-9),
        "losses": Span(0.0, 1e100), "sizes": Span(0.0, 1e200), "covariance": Span(-0.2, 0.2),
    }  # fmt: skip
    # Coefficients are over the mean norm, which may be tiny: a sample of values far below their
    # features' scales has the norm 1e-100 or so.
    of["coefficients"] = Span(-1e120, 1e120)
    free = Span(-1e60, 1e60)
    found = {
        f"mixture_{name}" if size is None else f"mixture_{name}_{k}": of.get(name, free)
        for name, size in parts(n)
        for k in range(size or 1)
    }
    found.update({f"mixture_counts_{k}": of["count"] for k in range(views)})
    found.update({f"mixture_norms_{k}": of["norms"] for k in range(1, views)})
    return found


LEAST_NORMS = 1e-110


def check_state(scalars: Mapping[str, Any], n: int, views: int = 0) -> None:
    """Raise ValueError unless `scalars`, within their spans, can be of a dump of n experts: the
    covariance one but for rounding, the norms' sum none that 1 can overflow over.
    """
    for name in ("mixture_norms", *(f"mixture_norms_{k}" for k in range(1, views))):
        if 0.0 < scalars[name] < LEAST_NORMS:
            raise ValueError(
                f"{name}: expected 0 or a number from {LEAST_NORMS:g}, got {scalars[name]}"
            )
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

    The experts are those of one view, `size` of them, or of several, view after view. The margins
    that it learns from are those of the sample scaled to norm 1 in each view; `norms` keeps the
    mean norms, so that the coefficients for unscaled samples give margins of mean magnitude about
    1.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._begin(size)

    def _begin(self, n: int) -> None:
        """Have n experts, and nothing learned."""
        self.n = n
        self.coefficients = [1.0 / n] * n
        self.weights = [1.0 / (n + 1)] * (n + 1)  # the last is the stack's
        self._losses = [0.0] * (n + 1)
        self._sizes = [0.0] * (n + 1)
        self._count = 0.0
        views = n // self.size
        self._counts = [0.0] * views
        self._norms = [0.0] * views
        self._stack = [1.0 / n] * n
        self._covariance = [STACK_VARIANCE if i % (n + 1) == 0 else 0.0 for i in range(n * n)]

    def grow(self) -> None:
        """Add the experts of a further view."""
        old, n = self.n, self.n + self.size
        if not self._count > 0.0:
            self._begin(n)
            return
        mean = 0.0
        for loss in self._losses[:old]:
            mean += loss
        mean /= old
        share = old / n
        new = self.size
        self._losses = [*self._losses[:old], *[mean] * new, self._losses[old]]
        self._sizes = [*self._sizes[:old], *[0.0] * new, self._sizes[old]]
        self.weights = [0.0] * (n + 1)
        self.coefficients = [0.0] * n
        self._stack = [*(part * share for part in self._stack), *[1.0 / n] * new]
        before = self._covariance
        self._covariance = [STACK_VARIANCE if i % (n + 1) == 0 else 0.0 for i in range(n * n)]
        for i in range(old):
            self._covariance[i * n : i * n + old] = before[i * old : (i + 1) * old]
        self._counts.append(0.0)
        self._norms.append(0.0)
        self.n = n
        self._weigh()
        self._combine()

    def arrange(self, views: list[int]) -> None:
        """Put the views into another order: `views` has the place of each until now."""
        n, size = self.n, self.size
        experts = [view * size + r for view in views for r in range(size)]
        for values in (self._losses, self._sizes, self.weights):
            values[:n] = [values[r] for r in experts]
        for values in (self.coefficients, self._stack):
            values[:] = [values[r] for r in experts]
        self._covariance[:] = [self._covariance[i * n + j] for i in experts for j in experts]
        for values in (self._counts, self._norms):
            values[:] = [values[view] for view in views]

    def mix(self, other: Mixture, share: float) -> None:
        """Take the mean with another one of the same experts, whose weight is `share` of 1: of the
        losses, the stack and all that margins are measured by. Trust and coefficients follow from
        them, as when a sample is learned.
        """
        self._count += share * (other._count - self._count)
        pairs = zip(
            (self._losses, self._sizes, self._counts, self._norms, self._stack, self._covariance),
            (other._losses, other._sizes, other._counts, other._norms, other._stack,
             other._covariance),
            strict=True,
        )  # fmt: skip
        for mine, others in pairs:
            mine[:] = [a + share * (b - a) for a, b in zip(mine, others, strict=True)]
        self._weigh()
        self._combine()

    def learn(
        self, margins: list[float], norms: list[float], y: float, h: float
    ) -> tuple[list[bool], float]:
        """Learn one sample from the experts' margins on it, scaled to norm 1 in each view.

        norms: its norms before, by view; 0 where the sample has nothing of the view. Returns who
        was wrong, the stack last, and the stack's margin.
        """
        n, before = self.n, list(self._counts)
        self._count = self._count * SCALE_DISCOUNT + 1.0
        for view, norm in enumerate(norms):
            if not norm > 0.0:
                continue
            self._counts[view] = before[view] * SCALE_DISCOUNT + 1.0
            if before[view] > 0.0:
                norm = min(norm, MOST_NORM * (self._norms[view] / before[view]))
            self._norms[view] = self._norms[view] * SCALE_DISCOUNT + norm
        scaled, wrong = [0.0] * n, [False] * (n + 1)
        votes = [norms[r // self.size] > 0.0 for r in range(n)]
        stacked = 0.0
        for r in range(n):
            if not votes[r]:
                continue
            margin = min(MOST_MARGIN, max(-MOST_MARGIN, margins[r]))
            size = self._sizes[r]
            # May be infinite before it is cut.
            z = margin * before[r // self.size] / size if size > 0.0 else margin
            z = min(MOST_SCALED, max(-MOST_SCALED, z))
            scaled[r] = z
            self._sizes[r] = size * SCALE_DISCOUNT + abs(margin)
            stacked += self._stack[r] * z
            wrong[r] = (margin > 0.0) != (y > 0.0)
        self._sizes[n] = self._sizes[n] * SCALE_DISCOUNT + abs(stacked)
        wrong[n] = (stacked > 0.0) != (y > 0.0)
        for r in range(n):
            if not votes[r]:
                wrong[r] = wrong[n]
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
        stack = self.weights[self.n] * _blown(self._sizes[self.n], self._count)
        for r in range(self.n):
            count, norms = self._counts[r // self.size], self._norms[r // self.size]
            back = count / norms if norms > 0.0 else 1.0
            weight = (self.weights[r] + stack * self._stack[r]) * _blown(self._sizes[r], count)
            self.coefficients[r] = weight * back

    def dump(self, *, views: bool = False) -> Scalars:
        """The state, by names that tell its parts; with the counts and norms of all views."""
        scalars: Scalars = {"mixture_count": self._count, "mixture_norms": self._norms[0]}
        for name, values in self._parts().items():
            for k, value in enumerate(values):
                scalars[f"mixture_{name}_{k}"] = value
        if views:
            scalars.update({f"mixture_counts_{k}": c for k, c in enumerate(self._counts)})
            scalars.update({f"mixture_norms_{k}": x for k, x in enumerate(self._norms) if k})
        return scalars

    def restore(self, scalars: Mapping[str, Any], views: int = 0) -> None:
        """Take the state of a dump; KeyError where a part is missing."""
        self._begin(self.size * (views or 1))
        self._count = float(scalars["mixture_count"])
        self._norms[0] = float(scalars["mixture_norms"])
        self._counts[0] = self._count
        for name, values in self._parts().items():
            values[:] = [float(scalars[f"mixture_{name}_{k}"]) for k in range(len(values))]
        for k in range(views):
            self._counts[k] = float(scalars[f"mixture_counts_{k}"])
            if k:
                self._norms[k] = float(scalars[f"mixture_norms_{k}"])

    def _parts(self) -> dict[str, list[float]]:
        return {
            "coefficients": self.coefficients, "weights": self.weights, "losses": self._losses,
            "sizes": self._sizes, "stack": self._stack, "covariance": self._covariance,
        }  # fmt: skip


def _blown(size: float, count: float) -> float:
    """The factor that brings margins of a total magnitude `size` in `count` samples to a mean
    magnitude of 1.
    """
    if not size > 0.0:
        return 1.0
    return count / max(size, LEAST_SIZE * count)
