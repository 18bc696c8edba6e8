"""A dumb oracle of the learner of many classes: dense float64, the formulas as they are written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

ETAS = np.array([0.25, 4.0, 64.0])


class DenseClasses:
    """One-vs-rest experts over `d` features of values whose scale is 1, and `k` labels.

    tags: of each feature its view, and 4 more where texts have it.
    """

    def __init__(self, d: int, k: int, tags: list[int] | None = None) -> None:
        self.tags = tags or [0] * d
        self.seen, self.texts = [0] * d, [0] * 4
        self.w = np.zeros((4, d + 1, k))
        self.S, self.G = np.ones(d + 1), np.full((3, d + 1), 1e-30)
        self.known = np.zeros(k, dtype=bool)
        # The mixture.
        self.c, self.stack, self.P = np.full(4, 0.25), np.full(4, 0.25), 0.1 * np.eye(4)
        self.L, self.size, self.count = np.zeros(5), np.zeros(5), 0.0
        self.q = np.full(5, 0.2)

    def scores(self, row: dict[int, float]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The unit sample, the bias last, and s[r, k]."""
        x = np.zeros(len(self.S))
        views: dict[int, list[int]] = {}
        for i, value in row.items():
            tag = self.tags[i]
            rare = 1 + math.log((1 + self.texts[tag % 4]) / (1 + self.seen[i])) if tag > 3 else 1.0
            x[i] = value * rare
            views.setdefault(tag % 4, []).append(i)
        parts = list(views.values()) or [[]]
        norms2 = [1 + x[ids] @ x[ids] for ids in parts]
        for ids, norm2 in zip(parts, norms2, strict=True):
            x[ids] /= math.sqrt(norm2 * len(parts))
        x[-1] = math.sqrt(sum(1 / norm2 for norm2 in norms2) / len(parts))
        return x, -1.0 + np.einsum("rik,i->rk", self.w, x)

    def take(self, row: dict[int, float]) -> None:
        """Count a sample into its features and views."""
        for i in row:
            self.seen[i] += 1
        for view in {self.tags[i] - 4 for i in row if self.tags[i] > 3}:
            self.texts[view] += 1

    def learn(self, row: dict[int, float], y: int, h: float = 1.0) -> tuple[float, int]:
        """The margin and the predicted label before the sample is learned."""
        x, s = self.scores(row)
        self.take(row)
        u = np.where(self.known, self.c @ s, -np.inf)
        birth = -self.c.sum()
        others = np.where(np.arange(len(u)) == y, -np.inf, u)
        margin = (u[y] if self.known[y] else birth) - (
            others.max() if np.isfinite(others).any() else birth
        )
        best = int(u.argmax()) if self.known.any() else -1
        fresh = not self.known[y]
        self.known[y] = True
        if self.known.sum() < 2:
            return float(margin), best
        if not fresh:
            self._mix(s, y, h)
        u = np.where(self.known, self.c @ s, -np.inf)
        u[y] = -np.inf
        u[~(s > -1).any(axis=0)] = -np.inf
        rivals = [int(k) for k in np.argsort(-u, kind="stable")[:4] if np.isfinite(u[k])]
        most = np.array([1024.0, 2.0, 2.0, 2.0])
        losses = {y: np.minimum(most, np.maximum(0, 1 - s[:, y]))}
        losses |= {k: np.minimum(most, np.maximum(0, 1 + s[:, k])) for k in rivals}
        g = np.max(list(losses.values()), axis=0)
        if not g.any():
            return float(margin), best
        beta = 1 / (self.S @ x**2 + 0.1 / h)
        self.G += h * g[1:, None] ** 2 * x**2
        rho = (x**2 / np.sqrt(self.G)).sum(axis=1)
        for k, loss in losses.items():
            sign = 1 if k == y else -1
            self.w[0, :, k] += sign * beta * loss[0] * self.S * x
            rate = ETAS * h
            step = rate * loss[1:] / (1 + rate * rho)
            self.w[1:, :, k] += sign * step[:, None] * x / np.sqrt(self.G)
        if g[0] > 0:
            self.S = np.maximum(1e-30, self.S - beta * (self.S * x) ** 2)
        return float(margin), best

    def _mix(self, s: NDArray[Any], y: int, h: float) -> None:
        others = self.known.copy()
        others[y] = False
        own = s[:, y] - s[:, others].max(axis=1)
        a = np.where(self.size[:4] > 0, self.stack * self.count / self._sizes(), self.stack)
        st = a @ s
        rival = int(np.where(others, st, -np.inf).argmax())
        d = s[:, y] - s[:, rival]
        z = np.clip(np.where(self.size[:4] > 0, d * self.count / self._sizes(), d), -1e3, 1e3)
        self.count = self.count * 0.999 + 1
        stacked = float(self.stack @ z)
        self.size = self.size * 0.999 + np.abs([*np.clip(own, -10, 10), stacked])
        wrong = np.array([*(own <= 0), st[y] <= st[rival]])
        self.L = self.L * 0.9997 + h * wrong
        z = np.clip(z, -3, 3)
        loss = 1 - float(self.stack @ z)
        if loss > 0:
            spread = self.P @ z
            beta = 1 / (z @ spread + 1 / h)
            self.stack = self.stack + loss * beta * spread
            self.P = (self.P - beta * np.outer(spread, spread)) * 0.999 + 1e-4 * np.eye(4)
        if wrong.any() and not wrong.all():
            rate = 2 / (1 + math.sqrt(0.1 * self.L.min()))
            q = np.exp(-rate * (self.L - self.L.min()))
            self.q = q / q.sum()
        blow = np.where(
            self.size > 0, self.count / np.maximum(self.size, 1e-6 * self.count + 1e-300), 1.0
        )
        if loss > 0 or (wrong.any() and not wrong.all()):
            self.c = (self.q[:4] + self.q[4] * blow[4] * self.stack) * blow[:4]

    def _sizes(self) -> NDArray[Any]:
        return np.where(self.size[:4] > 0, self.size[:4], 1.0)
