"""Stochastic gradient descent on the hinge loss: plain, shrinking, or averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.data.batch import CSR
from onlinesvm.model.rules.base import Arrays, Rule, Scalars
from onlinesvm.model.rules.state import SAMPLES, WEIGHT, Span, check_parts

__all__ = ["AveragedSgd", "Sgd", "check_averaged", "check_state", "sgd"]

MANTISSA = Span(0.5, 1.0)
EXPONENT = Span(-(2**52), 0, whole=True)  # half of what floats hold: there is room to go on
OFFSET = Span(-1e220, 1e220)  # of a weight's steps, times when each was made


def sgd(config: LearnerConfig) -> Sgd:
    """The rule `sgd`, averaged or not."""
    return AveragedSgd(config) if config.average else Sgd(config)


class Sgd(Rule):
    """Stochastic gradient descent on the hinge loss.

    For a sample (x, y) of importance h, with m = Σ w_i·x_i + b and y·m < 1::

        w_i += ((eta·h)·y)·x_i        b += (eta·h)·y

    which is one subgradient step on h·max(0, 1 − y·m) (Zhang 2004, "Solving large scale linear
    prediction problems using stochastic gradient descent algorithms", section 3). eta is eta0, or
    eta0/√t under ``invscaling``, t counting learned samples from 1.

    With `alpha`, each learned sample first scales all weights, not the bias, by 1 − eta·alpha
    (L2 regularisation; Bottou 2012, "Stochastic Gradient Descent Tricks", section 5.1). Scaling
    every weight would cost O(model), so the running product P of the factors is kept instead, as a
    mantissa in [½, 1) and an integer exponent (it never underflows), and with each weight the
    product P_i at its last change. The weight then is ``w_i·(P/P_i)``, computed alike whether it
    is read or about to be updated.
    """

    BY_ID = ("_weights", "_products")

    def __init__(self, config: LearnerConfig) -> None:
        self._eta0 = config.number("eta0")
        self._alpha = config.number("alpha")
        self._inverse = config.schedule == "invscaling"
        self._has_bias = config.bias
        self.bias = 0.0
        self._t = 0
        self._weights: dict[int, float] = {}
        self._product = (1.0, 0)
        self._products: dict[int, tuple[float, int]] = {}

    def learn(
        self, csr: CSR, labels: Iterable[float], importances: Iterable[float]
    ) -> NDArray[np.float64]:
        """Score, then learn, row by row; the margins before each update, float64[n].

        A row of importance 0 is scored only.
        """
        indptr, indices, data = (column.tolist() for column in csr)
        margins = []
        for start, end, y, h in zip(indptr, indptr[1:], labels, importances, strict=False):
            ids, values = indices[start:end], data[start:end]
            margin = self._margin(ids, values)
            margins.append(margin)
            if h > 0:
                self._update(ids, values, y, h, margin)
        return np.array(margins, dtype=np.float64)

    def score(self, csr: CSR) -> NDArray[np.float64]:
        """The margins of the rows, float64[n]; changes nothing."""
        indptr, indices, data = (column.tolist() for column in csr)
        return np.array(
            [self._margin(indices[start:end], data[start:end]) for start, end in pairwise(indptr)],
            dtype=np.float64,
        )

    def _margin(self, ids: list[int], values: list[float]) -> float:
        margin = 0.0
        weight = self.weight if self._alpha else self._weights.get
        for i, x in zip(ids, values, strict=True):
            margin += (weight(i) or 0.0) * x
        return margin + self.bias

    def _update(
        self, ids: list[int], values: list[float], y: float, h: float, margin: float
    ) -> None:
        self._t += 1
        eta = self._eta0 / math.sqrt(self._t) if self._inverse else self._eta0
        if self._alpha:
            mantissa, exponent = self._product
            mantissa, shift = math.frexp(mantissa * (1.0 - eta * self._alpha))
            self._product = (mantissa, exponent + shift)
        if y * margin < 1.0:
            step = (eta * h) * y
            for i, x in zip(ids, values, strict=True):
                self._weights[i] = self.weight(i) + step * x
                if self._alpha:
                    self._products[i] = self._product
            if self._has_bias:
                self.bias += step

    def weight(self, id: int) -> float:
        """The weight of a feature; 0.0 for PAD."""
        weight = self._weights.get(id, 0.0)
        if not self._alpha:
            return weight
        mantissa, exponent = self._product
        mantissa_then, exponent_then = self._products.get(id, (1.0, 0))
        return math.ldexp(weight * (mantissa / mantissa_then), exponent - exponent_then)

    def seen(self, id: int) -> int | None:
        """None: this rule does not count how many samples had a feature."""
        return None

    def weights(self, n: int) -> NDArray[np.float64]:
        """The weights of ids 1 … n, float64[n]."""
        return np.array([self.weight(i) for i in range(1, n + 1)], dtype=np.float64)

    def dump(self, n: int) -> tuple[Arrays, Scalars]:
        """The state of ids 1 … n, in arrays by id from 1, and the scalars."""
        ids = range(1, n + 1)
        scalars: Scalars = {"bias": self.bias, "t": self._t}
        arrays: Arrays = {
            "weights": np.array([self._weights.get(i, 0.0) for i in ids], dtype=np.float64)
        }
        if self._alpha:
            products = [self._products.get(i, (1.0, 0)) for i in ids]
            scalars["product_mantissa"], scalars["product_exponent"] = self._product
            arrays["mantissas"] = np.array([m for m, _ in products], dtype=np.float64)
            arrays["exponents"] = np.array([e for _, e in products], dtype=np.int64)
        return arrays, scalars

    def restore(
        self, arrays: Mapping[str, NDArray[np.generic]], scalars: Mapping[str, Any]
    ) -> None:
        """Take the state of a dump. Raises ValueError where a part is missing or cannot be one;
        nothing has changed then.
        """
        check_state(arrays, scalars, shrinks=self._alpha != 0.0)
        self._take(arrays, scalars)

    def _take(self, arrays: Mapping[str, NDArray[np.generic]], scalars: Mapping[str, Any]) -> None:
        """Take a state that was checked."""
        self.bias, self._t = float(scalars["bias"]), scalars["t"]
        self._weights = dict(enumerate(arrays["weights"].tolist(), 1))
        if self._alpha:
            self._product = (float(scalars["product_mantissa"]), scalars["product_exponent"])
            pairs = zip(arrays["mantissas"].tolist(), arrays["exponents"].tolist(), strict=True)
            self._products = dict(enumerate(pairs, 1))


class AveragedSgd(Sgd):
    """`Sgd` that predicts by the mean of all its weight vectors so far.

    Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging", equation
    (2): the mean w̄ of w after each of t samples. Each sample's step δ, made at time k, is in t − k
    + 1 of them, so with u_i = Σ (k − 1)·δ_i the mean is ``w_i − u_i/t``, and an update touches only
    its own features (Xu 2011, "Towards optimal one pass large scale learning with averaged
    stochastic gradient descent", section 3.3). Updates go by w itself.
    """

    BY_ID = ("_weights", "_offsets")

    def __init__(self, config: LearnerConfig) -> None:
        super().__init__(config)
        self._offsets: dict[int, float] = {}
        self._last_bias = 0.0
        self._bias_offset = 0.0

    def _margin(self, ids: list[int], values: list[float]) -> float:
        margin = 0.0
        for i, x in zip(ids, values, strict=True):
            margin += self.weight(i) * x
        return margin + self.bias

    def _update(
        self, ids: list[int], values: list[float], y: float, h: float, margin: float
    ) -> None:
        own = 0.0
        for i, x in zip(ids, values, strict=True):
            own += self._weights.get(i, 0.0) * x
        own += self._last_bias
        before = float(self._t)
        self._t += 1
        eta = self._eta0 / math.sqrt(self._t) if self._inverse else self._eta0
        if y * own < 1.0:
            step = (eta * h) * y
            for i, x in zip(ids, values, strict=True):
                self._weights[i] = self._weights.get(i, 0.0) + step * x
                self._offsets[i] = self._offsets.get(i, 0.0) + before * (step * x)
            if self._has_bias:
                self._last_bias += step
                self._bias_offset += before * step
        self.bias = self._last_bias - self._bias_offset / float(self._t)

    def weight(self, id: int) -> float:
        """The mean weight of a feature; 0.0 for PAD."""
        weight = self._weights.get(id)
        if weight is None:
            return 0.0
        return weight - self._offsets.get(id, 0.0) / float(self._t)

    def dump(self, n: int) -> tuple[Arrays, Scalars]:
        """The state of ids 1 … n, in arrays by id from 1, and the scalars."""
        arrays, scalars = super().dump(n)
        offsets = [self._offsets.get(i, 0.0) for i in range(1, n + 1)]
        arrays["offsets"] = np.array(offsets, dtype=np.float64)
        scalars.update(last_bias=self._last_bias, bias_offset=self._bias_offset)
        return arrays, scalars

    def restore(
        self, arrays: Mapping[str, NDArray[np.generic]], scalars: Mapping[str, Any]
    ) -> None:
        """Take the state of a dump. Raises ValueError where a part is missing or cannot be one;
        nothing has changed then.
        """
        check_averaged(arrays, scalars)
        self._take(arrays, scalars)
        self._offsets = dict(enumerate(arrays["offsets"].tolist(), 1))
        self._last_bias = float(scalars["last_bias"])
        self._bias_offset = float(scalars["bias_offset"])


def check_state(
    arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any], *, shrinks: bool
) -> None:
    """Raise ValueError unless these are parts that a dump of `Sgd` can have.

    shrinks: whether there is an alpha. A running product is of factors in (0, 1]: it starts at 1
    and never rises, so that none of a weight's is below the one that stands.
    """
    columns, numbers = {"weights": WEIGHT}, {"bias": WEIGHT, "t": SAMPLES}
    if shrinks:
        columns.update(mantissas=MANTISSA, exponents=EXPONENT)
        numbers.update(product_mantissa=MANTISSA, product_exponent=EXPONENT)
    check_parts(arrays, scalars, columns, numbers)
    if shrinks:
        least = scalars["product_exponent"]
        if int(arrays["exponents"].min(initial=0)) < least:
            raise ValueError(
                f"exponents: expected those from the product's own, {least}, to 0, got others"
            )


def check_averaged(arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
    """Raise ValueError unless these are parts that a dump of `AveragedSgd` can have."""
    n = check_parts(
        arrays,
        scalars,
        {"weights": WEIGHT, "offsets": OFFSET},
        {"bias": WEIGHT, "t": SAMPLES, "last_bias": WEIGHT, "bias_offset": OFFSET},
    )
    t = scalars["t"]
    if t < (1 if n else 0):
        raise ValueError(f"t: expected a count of samples that brought {n} features, got {t}")
    mean = scalars["last_bias"] - scalars["bias_offset"] / float(t) if t else 0.0
    if scalars["bias"] != mean:
        raise ValueError(f"bias: expected the mean, {mean!r}, got {scalars['bias']!r}")
