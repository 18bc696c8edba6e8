"""The hedge: six hinge learners on one lookup, and a mixture that follows the best of them.

No single rule is right everywhere: confidence-weighted rules win on stationary text, fast steps
under drift. One lookup costs more than six updates, so all of them learn, each by its own margin,
and `onlinesvm.model.rules.mixture` weighs them.

**Scale.** Experts see x̂_i = x_i/s_i, with s_i² the running mean of the feature's squared values
over the samples that have it; the bias is a feature of value 1. Learning then divides the sample by
its norm n = ‖[x̂, 1]‖, so that a signed margin of 1 asks the same of a long text and a short one.
All that the experts know thus is free of the scale of any feature: normalization as in Ross,
Mineiro and Langford (2013), with the mean square in place of the maximum, which one outlier would
spoil for good.

**Experts**, of the margin m of the unit sample x = x̂/n, v = Σ S_i·x_i²::

    0  SCW-I, C = 1,  phi = 1       Wang, Zhao and Hoi (2012), "Exact soft confidence-weighted
    1  SCW-I, C = 10, phi = 0.3     learning", proposition 1
    2  AROW, r = 0.1                as onlinesvm.model.rules.arow
    3  adaptive, eta = 0.25         squared hinge loss, l = 1 − y·m with m cut to [−1, 1]; rates
    4  adaptive, eta = 4            of Duchi et al. (2011), the step implicit as in Kulis and
    5  adaptive, eta = 64           Bartlett (2010), so that no eta overshoots:
                                        G_i += h·l²·x_i²
                                        w_i += eta·h·l·y·(x_i/√G_i) / (1 + eta·h·Σ x_i²/√G_i)

**State** of the experts is float32: arithmetic is in float64 and rounded where it is stored; the
rates 1/√G are float32. Margins are summed in float64.

**The model** is linear at any instant: with the mixture's coefficients c_r a feature's weight is
v_i = (Σ_r c_r·w_ri)/s_i, experts in order, the margin Σ v_i·x_i + Σ_r c_r·b_r.

**Importance** h counts relative to the stream's own: it is divided by the running geometric mean of
all importances (a constant one, however large or small, is as if it were 1), and cut to the range
1e−12 … 1e3. In SCW it multiplies C, in AROW it divides r.

**Constants** are mostly round numbers, chosen on six public sets and some seventy streams made of
these and others: turned around midway, imbalanced, rescaled, shuffled, words, n-grams. What each is
worth, `python -m bench.constants` measures (bench/results/accuracy/constants.md). Halved or
doubled, each moves the mean error over seven sets by 0.8 percent at most, but for the first phi
doubled (+1.3). Without any one expert it is worse: by 0.7 percent without the first SCW, by 2.2
without the fast adaptive one and by 2.8 without the fastest. Choosing among all these with a set
left out gains nothing on it, and costs 4.3 percent at worst.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.metrics.constants import RECENT_DISCOUNT as JUDGED_DISCOUNT
from onlinesvm.metrics.fpmath import exp2, log2
from onlinesvm.model.rules.constants import (
    EXPERTS,
    HEDGE_C,
    HEDGE_C_WIDE,
    HEDGE_ETA_FAST,
    HEDGE_ETA_FASTEST,
    HEDGE_ETA_SLOW,
    HEDGE_PHI,
    HEDGE_PHI_WIDE,
)
from onlinesvm.model.rules.constants import HEDGE_AROW_R as AROW_R
from onlinesvm.model.rules.constants import HEDGE_IMPORTANCE_MEMORY as IMPORTANCE_MEMORY
from onlinesvm.model.rules.constants import HEDGE_LEAST_IMPORTANCE as LEAST_IMPORTANCE
from onlinesvm.model.rules.constants import HEDGE_LEAST_SQUARE as LEAST_SQUARE
from onlinesvm.model.rules.constants import HEDGE_LEAST_VARIANCE as LEAST_VARIANCE
from onlinesvm.model.rules.constants import HEDGE_MOST_AGE as MOST_AGE
from onlinesvm.model.rules.constants import HEDGE_MOST_IMPORTANCE as MOST_IMPORTANCE
from onlinesvm.model.rules.constants import HEDGE_RUN as RUN
from onlinesvm.model.rules.layout import SAMPLES, Layout, Span
from onlinesvm.model.rules.mixture import Mixture
from onlinesvm.model.rules.mixture import check_state as check_mixture
from onlinesvm.model.rules.mixture import spans as mixture_spans
from onlinesvm.model.rules.rule import Arrays, Rule, Scalars
from onlinesvm.model.rules.scale import counted

__all__ = ["EXPERTS", "Hedge", "experts"]

N = len(EXPERTS)
SCW = ((HEDGE_C, HEDGE_PHI), (HEDGE_C_WIDE, HEDGE_PHI_WIDE))
ETAS = (HEDGE_ETA_SLOW, HEDGE_ETA_FAST, HEDGE_ETA_FASTEST)

# The columns of a dump: one array each, by id from 1.
WEIGHTS = tuple(f"{name}_weights" for name in EXPERTS)
VARIANCES = tuple(f"{name}_variances" for name in EXPERTS[:3])
SQUARES = tuple(f"{name}_squares" for name in EXPERTS[3:])
SINGLES = (*WEIGHTS, *VARIANCES, *SQUARES)  # float32; the bias has these alone, its scale is 1
NUMBERS = (*SINGLES, "mean_squares")
COUNTS = ("ages", "runs", "seen")
JUDGED = ("errors", "losses", "recent_errors", "recent_losses")


def _single(x: float) -> float:
    """`x` rounded to float32."""
    return float(np.float32(x))


def _scw(signed: float, v: float, c: float, phi: float) -> tuple[float, float]:
    """Alpha and beta of SCW-I for a signed margin of variance `v`; both 0 where it is content.

    Wang, Zhao and Hoi (2012), proposition 1: alpha at most `c`, u = (√(α²v²φ² + 4v) − αvφ)²/4.
    """
    phi2 = phi * phi
    if not (signed <= 0.0 or phi2 * v > signed * signed):
        return 0.0, 0.0
    psi, zeta = 1.0 + phi2 / 2.0, 1.0 + phi2
    root = math.sqrt(signed * signed * phi2 * phi2 / 4.0 + v * phi2 * zeta)
    alpha = (-signed * psi + root) / (v * zeta) if v > 0.0 else 0.0
    if not alpha > 0.0:
        return 0.0, 0.0
    alpha = min(alpha, c)
    root_u = (math.sqrt(alpha * alpha * v * v * phi2 + 4.0 * v) - alpha * v * phi) / 2.0
    return alpha, alpha * phi / (root_u + v * alpha * phi)


class _Feature:
    """The state of a feature: the experts' weights w, variances S and squares G; its
    scale, s², of how many values (`age`), how many were out of proportion in a row (`run`); how
    often it was `seen`.
    """

    __slots__ = ("age", "run", "s2", "seen", "squares", "variances", "weights")

    def __init__(self) -> None:
        self.weights = [0.0] * N
        self.variances = [1.0, 1.0, 1.0]
        self.squares = [LEAST_SQUARE] * len(ETAS)
        self.s2 = 0.0
        self.age = 0
        self.run = 0
        self.seen = 0

    def take(self, x: float) -> None:
        """Count a value, not 0, into the scale."""
        self.seen += 1
        self.s2, self.age, self.run = counted(self.s2, self.age, self.run, x)

    def numbers(self) -> tuple[float, ...]:
        """The floats, in the order of NUMBERS."""
        return (*self.weights, *self.variances, *self.squares, self.s2)

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> _Feature:
        """The feature of a dump's row: NUMBERS, then COUNTS."""
        feature = cls()
        feature.weights = list(row[:N])
        feature.variances = list(row[N : N + 3])
        feature.squares = list(row[N + 3 : N + 6])
        feature.s2, feature.age, feature.run, feature.seen = row[N + 6 :]
        return feature

    def over_scale(self, x: float) -> float:
        """x/s; 0 for a feature that has no scale yet, as its weights are."""
        return x / math.sqrt(self.s2) if self.s2 > 0.0 else 0.0


class Hedge(Rule):
    """The rule `hedge`; see the module's docstring."""

    BY_ID = ("_features",)

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._features: dict[int, _Feature] = {}
        self._bias = _Feature()
        self._bias.s2 = 1.0
        self._mixture = Mixture(N)
        self._log_importance = 0.0
        self._samples = 0
        # Of each expert and the stack: mistakes and hinge losses, over all and recent.
        self._judged = [[0.0] * (N + 1) for _ in range(4)]
        self._judged_weights = [0.0, 0.0]

    @classmethod
    def layout(cls, config: LearnerConfig) -> Layout:
        # Samples that are divided by their size may have smaller values than those that are sent.
        least = 1e-101 if config.normalize == "none" else 1e-220
        return Layout(*_spans(), partial(_check_related, least=least))

    # The model as it stands.

    @property
    def bias(self) -> float:  # type: ignore[override]
        """Σ c_r·b_r; 0.0 for a learner without a bias."""
        return self._of(self._bias)

    def _of(self, feature: _Feature) -> float:
        coefficients = self._mixture.coefficients
        weight = coefficients[0] * feature.weights[0]
        for r in range(1, N):
            weight += coefficients[r] * feature.weights[r]
        return weight

    def weight(self, id: int) -> float:
        feature = self._features.get(id)
        if feature is None or not feature.s2 > 0.0:
            return 0.0
        return self._of(feature) / math.sqrt(feature.s2)

    def feature(self, id: int) -> tuple[float, int | None]:
        known = self._features.get(id)
        return self.weight(id), 0 if known is None else known.seen

    # Learning.

    def update(
        self, ids: list[int], values: list[float], y: float, h: float, margin: float
    ) -> None:
        row = []
        for i, x in zip(ids, values, strict=True):
            feature = self._features.setdefault(i, _Feature())
            if x != 0.0:
                row.append((feature, x))
        self._learn(row, y, h)

    def _learn(self, given: list[tuple[_Feature, float]], y: float, importance: float) -> None:
        h = self._relative(importance)
        standing = [0.0] * N  # the experts' margins as the model stands
        own = [0.0] * N  # and with the scale that counts this sample
        norm2 = 1.0 if self._has_bias else 0.0
        variances = list(self._bias.variances) if self._has_bias else [0.0, 0.0, 0.0]
        row: list[tuple[_Feature, float]] = []
        for feature, x in given:
            before = feature.over_scale(x)
            feature.take(x)
            after = feature.over_scale(x)
            square = after * after
            norm2 += square
            for r in range(N):
                standing[r] += feature.weights[r] * before
                own[r] += feature.weights[r] * after
            for k in range(3):
                variances[k] += feature.variances[k] * square
            row.append((feature, after))
        if self._has_bias:
            row.append((self._bias, 1.0))
        if not norm2 > 0.0:
            return  # nothing in it, and no bias: there is nothing to be learned
        inverse = 1.0 / math.sqrt(norm2)
        for r in range(N):
            standing[r] = (standing[r] + self._bias.weights[r]) * inverse
            own[r] = (own[r] + self._bias.weights[r]) * inverse
        wrong, stacked = self._mixture.learn(standing, math.sqrt(norm2), y, h)
        self._judge([*standing, stacked], wrong, y, importance)

        inverse2 = inverse * inverse
        steps, shrinks = [0.0] * 3, [0.0] * 3
        moves = False
        for k, (c, phi) in enumerate(SCW):
            alpha, beta = _scw(y * own[k], variances[k] * inverse2, c * h, phi)
            steps[k] = alpha * y * inverse
            shrinks[k] = beta * inverse2
            moves = moves or alpha != 0.0
        loss = 1.0 - y * own[2]
        if loss > 0.0:
            beta = 1.0 / (variances[2] * inverse2 + AROW_R / h)
            steps[2] = loss * beta * y * inverse
            shrinks[2] = beta * inverse2
            moves = True
        self._adapt(row, own, y, h, inverse)
        if not moves:
            return
        for feature, x in row:
            square = x * x
            for k in range(3):
                s = feature.variances[k]
                feature.weights[k] = _single(feature.weights[k] + steps[k] * s * x)
                shrunk = _single(s - shrinks[k] * s * s * square)
                feature.variances[k] = max(LEAST_VARIANCE, shrunk)

    def _adapt(
        self,
        row: list[tuple[_Feature, float]],
        own: list[float],
        y: float,
        h: float,
        inverse: float,
    ) -> None:
        """The step of the adaptive experts. If any has a loss, those without make steps of 0, which
        can turn a weight of −0.0 into 0.0.
        """
        inverse2 = inverse * inverse
        losses = [max(0.0, 1.0 - y * min(1.0, max(-1.0, margin))) for margin in own[3:]]
        if not any(losses):
            return
        for k, (eta, loss) in enumerate(zip(ETAS, losses, strict=True)):
            gradient2 = loss * loss * (h * inverse2)
            reach = 0.0
            rates = []
            for feature, x in row:
                square = _single(feature.squares[k] + gradient2 * (x * x))
                feature.squares[k] = square
                rates.append(_single(1.0 / _single(math.sqrt(square))))
                reach += (x * x) * rates[-1]
            rate = eta * h
            step = rate * loss / (1.0 + rate * (reach * inverse2)) * (y * inverse)
            for (feature, x), r in zip(row, rates, strict=True):
                feature.weights[3 + k] = _single(feature.weights[3 + k] + step * x * r)

    def _relative(self, importance: float) -> float:
        """The importance relative to the geometric mean of all so far, this one included."""
        self._samples += 1
        if importance == 1.0 and self._log_importance == 0.0:
            return 1.0
        rate = 1.0 / min(float(self._samples), IMPORTANCE_MEMORY)
        self._log_importance += (log2(importance) - self._log_importance) * rate
        h = importance / exp2(self._log_importance)
        return min(MOST_IMPORTANCE, max(LEAST_IMPORTANCE, h))

    # Reports on the experts.

    def _judge(self, margins: list[float], wrong: list[bool], y: float, h: float) -> None:
        """Count each expert's mistake and hinge loss, of its margin on the unit sample."""
        errors, losses, recent_errors, recent_losses = self._judged
        self._judged_weights[0] += h
        self._judged_weights[1] = self._judged_weights[1] * JUDGED_DISCOUNT + h
        for j in range(N + 1):
            mistake = h if wrong[j] else 0.0
            errors[j] += mistake
            recent_errors[j] = recent_errors[j] * JUDGED_DISCOUNT + mistake
            signed = y * margins[j]
            loss = h * (1.0 - signed) if signed < 1.0 else 0.0
            losses[j] += loss
            recent_losses[j] = recent_losses[j] * JUDGED_DISCOUNT + loss

    # Files.

    def dump(self, n: int) -> tuple[Arrays, Scalars]:
        fresh = _Feature()
        features = [self._features.get(i, fresh) for i in range(1, n + 1)]
        numbers = np.array([f.numbers() for f in features], dtype=np.float64)
        counts = np.array([(f.age, f.run, f.seen) for f in features], dtype=np.int64)
        arrays: Arrays = {}
        for k, name in enumerate(NUMBERS):
            column = numbers.reshape(n, len(NUMBERS))[:, k]
            arrays[name] = column.astype(np.float32 if name in SINGLES else np.float64)
        for k, name in enumerate(COUNTS):
            arrays[name] = np.ascontiguousarray(counts.reshape(n, len(COUNTS))[:, k])
        scalars: Scalars = {"samples": self._samples, "log_importance": self._log_importance}
        for name, number in zip(SINGLES, self._bias.numbers(), strict=False):
            scalars[f"bias_{name}"] = number
        scalars.update(self._mixture.dump())
        scalars["judged_weight"], scalars["judged_recent_weight"] = self._judged_weights
        for name, figures in zip(JUDGED, self._judged, strict=True):
            scalars.update({f"judged_{name}_{j}": figure for j, figure in enumerate(figures)})
        return arrays, scalars

    def take(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        columns = [arrays[name].tolist() for name in (*NUMBERS, *COUNTS)]
        self._features = {
            i: _Feature.of(row) for i, row in enumerate(zip(*columns, strict=True), 1)
        }
        self._samples = int(scalars["samples"])
        self._log_importance = float(scalars["log_importance"])
        bias = [_single(scalars[f"bias_{name}"]) for name in SINGLES]
        self._bias = _Feature.of((*bias, 1.0, 0, 0, 0))
        self._mixture.restore(scalars)
        names = ("judged_weight", "judged_recent_weight")
        self._judged_weights = [float(scalars[name]) for name in names]
        self._judged = [
            [float(scalars[f"judged_{name}_{j}"]) for j in range(N + 1)] for name in JUDGED
        ]


def _spans() -> tuple[dict[str, Span], dict[str, Span]]:
    """The spans of the columns and scalars, in the order of a dump."""
    figure = Span(0.0, 1e300)
    columns = dict.fromkeys(WEIGHTS, Span(-1e25, 1e25, single=True))
    columns.update(dict.fromkeys(VARIANCES, Span(LEAST_VARIANCE, 1.0, single=True)))
    columns.update(dict.fromkeys(SQUARES, Span(LEAST_SQUARE, 1e38, single=True)))
    numbers = {"samples": SAMPLES, "log_importance": Span(-400.0, 400.0)}
    numbers.update({f"bias_{name}": span for name, span in columns.items()})
    columns["mean_squares"] = Span(0.0, 1e101)
    for name, most in (("ages", MOST_AGE), ("runs", RUN - 1), ("seen", 2**40 - 1)):
        columns[name] = Span(0, most, whole=True)
    numbers.update(mixture_spans(N))
    numbers.update(judged_weight=figure, judged_recent_weight=figure)
    numbers.update({f"judged_{name}_{j}": figure for name in JUDGED for j in range(N + 1)})
    return columns, numbers


def _check_related(
    arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any], *, least: float
) -> None:
    """`least`: the smallest mean square that a feature can have."""
    check_mixture(scalars, N)
    unseen = arrays["seen"] == 0
    # A feature that had no value but 0 is new.
    new = dict(zip((*NUMBERS, *COUNTS), (*_Feature().numbers(), 0, 0, 0), strict=True))
    for name, number in new.items():
        found = arrays[name][unseen]
        if not bool((found == number).all()):
            other = found[found != number][0]
            raise ValueError(f"{name}: expected {number:g} where none was seen, got {other:g}")
    least_age = int(arrays["ages"][~unseen].min(initial=1))
    if least_age < 1:
        raise ValueError(f"ages: expected numbers from 1 where some were seen, got {least_age}")
    found = arrays["mean_squares"][~unseen]
    if not bool((found >= least).all()):
        raise ValueError(f"mean_squares: expected numbers from {least:g}, got {found.min():g}")


def experts(
    scalars: Mapping[str, Any], names: tuple[str, ...] = EXPERTS
) -> dict[str, dict[str, float | None]]:
    """The trust in each expert, and in the stack over them, and their errors, by a view's scalars.

    `weight` is its share of the trust; `error` and `loss` (the hinge loss of its margin on the
    sample scaled to norm 1) are means over all and over the recent past, None before the first.
    """
    report: dict[str, dict[str, float | None]] = {}
    for j, name in enumerate((*names, "stack")):
        figures: dict[str, float | None] = {"weight": float(scalars[f"mixture_weights_{j}"])}
        for figure, total, weight in (
            ("error", "errors", "judged_weight"),
            ("loss", "losses", "judged_weight"),
            ("recent_error", "recent_errors", "judged_recent_weight"),
            ("recent_loss", "recent_losses", "judged_recent_weight"),
        ):
            over = scalars[weight]
            figures[figure] = scalars[f"judged_{total}_{j}"] / over if over > 0 else None
        report[name] = figures
    return report
