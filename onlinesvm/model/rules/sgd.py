"""Stochastic gradient descent on the hinge loss: plain, shrinking, or averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.model.rules.layout import SAMPLES, WEIGHT, Layout, Span
from onlinesvm.model.rules.rule import Arrays, Rule, Scalars

__all__ = ["AveragedSgd", "Sgd"]

MANTISSA = Span(0.5, 1.0)
EXPONENT = Span(-(2**52), 0, whole=True)  # half of what floats hold: there is room to go on
OFFSET = Span(-1e220, 1e220)  # of a weight's steps, times when each was made


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

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._eta0 = config.number("eta0")
        self._alpha = config.number("alpha")
        self._inverse = config.schedule == "invscaling"
        self.bias = 0.0
        self._t = 0
        self._weights: dict[int, float] = {}
        self._product = (1.0, 0)
        self._products: dict[int, tuple[float, int]] = {}

    @classmethod
    def variant(cls, config: LearnerConfig) -> type[Rule]:
        return AveragedSgd if config.average else Sgd

    @classmethod
    def layout(cls, config: LearnerConfig) -> Layout:
        columns, scalars = {"weights": WEIGHT}, {"bias": WEIGHT, "t": SAMPLES}
        if not config.alpha:
            return Layout(columns, scalars)
        columns.update(mantissas=MANTISSA, exponents=EXPONENT)
        scalars.update(product_mantissa=MANTISSA, product_exponent=EXPONENT)
        return Layout(columns, scalars, _check_products)

    def _margin(self, ids: list[int], values: list[float]) -> float:
        margin = 0.0
        weight = self.weight if self._alpha else self._weights.get
        for i, x in zip(ids, values, strict=True):
            margin += (weight(i) or 0.0) * x
        return margin + self.bias

    def update(
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
        weight = self._weights.get(id, 0.0)
        if not self._alpha:
            return weight
        mantissa, exponent = self._product
        mantissa_then, exponent_then = self._products.get(id, (1.0, 0))
        return math.ldexp(weight * (mantissa / mantissa_then), exponent - exponent_then)

    def dump(self, n: int) -> tuple[Arrays, Scalars]:
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

    def take(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
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

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._offsets: dict[int, float] = {}
        self._last_bias = 0.0
        self._bias_offset = 0.0

    @classmethod
    def layout(cls, config: LearnerConfig) -> Layout:
        return Layout(
            {"weights": WEIGHT, "offsets": OFFSET},
            {"bias": WEIGHT, "t": SAMPLES, "last_bias": WEIGHT, "bias_offset": OFFSET},
            _check_mean,
        )

    def _margin(self, ids: list[int], values: list[float]) -> float:
        return Rule._margin(self, ids, values)

    def update(
        self, ids: list[int], values: list[float], y: float, h: float, margin: float
    ) -> None:
        last_margin = 0.0
        for i, x in zip(ids, values, strict=True):
            last_margin += self._weights.get(i, 0.0) * x
        last_margin += self._last_bias
        before = float(self._t)
        self._t += 1
        eta = self._eta0 / math.sqrt(self._t) if self._inverse else self._eta0
        if y * last_margin < 1.0:
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
        arrays, scalars = super().dump(n)
        offsets = [self._offsets.get(i, 0.0) for i in range(1, n + 1)]
        arrays["offsets"] = np.array(offsets, dtype=np.float64)
        scalars.update(last_bias=self._last_bias, bias_offset=self._bias_offset)
        return arrays, scalars

    def take(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        super().take(arrays, scalars)
        self._offsets = dict(enumerate(arrays["offsets"].tolist(), 1))
        self._last_bias = float(scalars["last_bias"])
        self._bias_offset = float(scalars["bias_offset"])


def _check_products(arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
    """A running product is of factors in (0, 1]: it starts at 1 and never rises, so none of a
    weight's is below the present one.
    """
    least, found = scalars["product_exponent"], int(arrays["exponents"].min(initial=0))
    if found < least:
        raise ValueError(
            f"exponents: expected numbers from the product's own, {least}, to 0, got {found}"
        )


def _check_mean(arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
    t, n = scalars["t"], len(arrays["weights"])
    if t < (1 if n else 0):
        raise ValueError(f"t: expected a count of samples that brought {n} features, got {t}")
    mean = scalars["last_bias"] - scalars["bias_offset"] / float(t) if t else 0.0
    if scalars["bias"] != mean:
        raise ValueError(f"bias: expected the mean, {mean!r}, got {scalars['bias']!r}")
