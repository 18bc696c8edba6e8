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

**Views.** A feature lies in one of VIEWS views (`onlinesvm.text`; names, matrices and numbers in
view 0) from its first sight on. Each view has a norm, a bias and experts of its own; it comes to be
with the first sample that has a feature of it, and its bias is part of every margin from then on.
One mixture weighs the experts of all views. Features that a text has count by their inverse
document frequency: n of the N learned samples that had a text's feature of the view had this one,
all before the sample::

    x̂_i = (x_i/s_i)·(1 + ln((1 + N)/(1 + n)))

and so does v_i, which thus moves a little with every text, as N grows.

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
from collections.abc import Mapping, Sequence
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
from onlinesvm.model.rules.constants import HEDGE_IDF_RATE as IDF_RATE
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
from onlinesvm.text.constants import OF_TEXT, VIEWS

__all__ = ["EXPERTS", "Hedge", "bias_name", "experts"]

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
    often it was `seen`; its `tag`, the view and OF_TEXT.
    """

    __slots__ = ("age", "run", "s2", "seen", "squares", "tag", "variances", "weights")

    def __init__(self, tag: int = 0) -> None:
        self.tag = tag
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
        """The feature of a dump's row: NUMBERS, then COUNTS, then the tag."""
        feature = cls(row[-1])
        feature.weights = list(row[:N])
        feature.variances = list(row[N : N + 3])
        feature.squares = list(row[N + 3 : N + 6])
        feature.s2, feature.age, feature.run, feature.seen = row[N + 6 : -1]
        return feature

    def over_scale(self, x: float) -> float:
        """x/s; 0 for a feature that has no scale yet, as its weights are."""
        return x / math.sqrt(self.s2) if self.s2 > 0.0 else 0.0


class _Walked:
    """The sums over a sample's features of one view.

    standing, own: the experts' margins, as the model stands and with the scales that count the
    sample; not over the norm yet. row: the features, and their values over the scales.
    """

    __slots__ = ("norm2", "own", "row", "standing", "variances")

    def __init__(self, bias: _Feature | None) -> None:
        self.standing = [0.0] * N
        self.own = [0.0] * N
        self.norm2 = 0.0 if bias is None else 1.0
        self.variances = [0.0, 0.0, 0.0] if bias is None else list(bias.variances)
        self.row: list[tuple[_Feature, float]] = []

    def add(self, feature: _Feature, x: float, idf: float) -> None:
        """Count a value, not 0, into the scale and the sums."""
        before = feature.over_scale(x) * idf
        feature.take(x)
        after = feature.over_scale(x) * idf
        square = after * after
        self.norm2 += square
        for r in range(N):
            self.standing[r] += feature.weights[r] * before
            self.own[r] += feature.weights[r] * after
        for k in range(3):
            self.variances[k] += feature.variances[k] * square
        self.row.append((feature, after))


class Hedge(Rule):
    """The rule `hedge`; see the module's docstring."""

    BY_ID = ("_features",)

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._features: dict[int, _Feature] = {}
        self._plain = True  # all tags are 0
        self._slots = {0: 0}  # of the views that have come to be, in that order
        self._with = [0] * VIEWS  # samples that had a text's feature of the view
        self._biases = [_bias_feature()]  # by slot
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
        related = partial(_check_related, least=least)
        in_views = [Layout(*_spans(views), related) for views in range(VIEWS + 1)]
        return Layout(*_spans(), related, partial(_variant, in_views))

    # The model as it stands.

    @property
    def bias(self) -> float:  # type: ignore[override]
        """Σ c_r·b_r; 0.0 for a learner without a bias."""
        total = self._of(self._biases[0], 0)
        for slot in range(1, len(self._biases)):
            total += self._of(self._biases[slot], slot)
        return total

    def _of(self, feature: _Feature, slot: int) -> float:
        coefficients = self._mixture.coefficients
        weight = coefficients[slot * N] * feature.weights[0]
        for r in range(1, N):
            weight += coefficients[slot * N + r] * feature.weights[r]
        return weight

    def weight(self, id: int) -> float:
        feature = self._features.get(id)
        if feature is None or not feature.s2 > 0.0:
            return 0.0
        slot = self._slots[feature.tag % OF_TEXT]
        return self._of(feature, slot) / math.sqrt(feature.s2) * self._idf(feature)

    def _idf(self, feature: _Feature) -> float:
        if feature.tag < OF_TEXT:
            return 1.0
        of_all = log2(1.0 + self._with[feature.tag % OF_TEXT])
        return 1.0 + (of_all - log2(1.0 + feature.seen)) * IDF_RATE

    def feature(self, id: int) -> tuple[float, int | None]:
        known = self._features.get(id)
        return self.weight(id), 0 if known is None else known.seen

    # Learning.

    def enter(self, first: int, tags: bytes) -> None:
        for id, tag in enumerate(tags, first):
            if tag:
                self._features[id] = _Feature(tag)
                self._plain = False

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
        walked: list[_Walked] = []
        for view in range(VIEWS):
            slot = self._slots.get(view)
            bias = _bias_feature() if slot is None else self._biases[slot]
            walked.append(_Walked(bias if self._has_bias else None))
        for feature, x in given:
            walked[feature.tag % OF_TEXT].add(feature, x, self._idf(feature))
        for view, sums in enumerate(walked):
            if any(feature.tag >= OF_TEXT for feature, _ in sums.row):
                self._with[view] += 1
            if sums.row and view not in self._slots:
                self._open(view)
        if not any(sums.norm2 > 0.0 for sums in walked):
            return  # nothing in it, and no bias: there is nothing to be learned
        views = {view: walked[view] for view in self._slots}  # in the order of the slots
        standing, norms = [], []
        for sums, bias in zip(views.values(), self._biases, strict=True):
            if self._has_bias:
                sums.row.append((bias, 1.0))
            norms.append(math.sqrt(sums.norm2))
            inverse = 1.0 / norms[-1] if norms[-1] > 0.0 else 0.0
            for r in range(N):
                sums.standing[r] = (sums.standing[r] + bias.weights[r]) * inverse
                sums.own[r] = (sums.own[r] + bias.weights[r]) * inverse
            standing += sums.standing
        wrong, stacked = self._mixture.learn(standing, norms, y, h)
        self._judge([*standing, stacked], wrong, y, importance)
        for sums, norm in zip(views.values(), norms, strict=True):
            if norm > 0.0:
                self._move(sums, y, h, 1.0 / norm)

    def _open(self, view: int) -> None:
        """Give a view a bias and experts of its own."""
        self._slots[view] = len(self._slots)
        self._biases.append(_bias_feature())
        for figures in self._judged:
            figures[-1:] = [*[0.0] * N, figures[-1]]
        self._mixture.grow()

    def _move(self, sums: _Walked, y: float, h: float, inverse: float) -> None:
        """The step of a view's experts, each by its own margin."""
        own, variances, row = sums.own, sums.variances, sums.row
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
        for j in range(len(margins)):
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
        if not self._plain:
            arrays["views"] = np.array([f.tag for f in features], dtype=np.uint8)
            scalars["views"] = len(self._slots)
            for view in range(VIEWS):
                scalars[f"view_{view}_samples"] = self._with[view]
                if view:
                    scalars[f"view_{view}_slot"] = self._slots.get(view, -1)
        for slot, bias in enumerate(self._biases):
            for name, number in zip(SINGLES, bias.numbers(), strict=False):
                scalars[bias_name(slot, name)] = number
        scalars.update(self._mixture.dump(views=not self._plain))
        scalars["judged_weight"], scalars["judged_recent_weight"] = self._judged_weights
        for name, figures in zip(JUDGED, self._judged, strict=True):
            scalars.update({f"judged_{name}_{j}": figure for j, figure in enumerate(figures)})
        return arrays, scalars

    def take(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        columns = [arrays[name].tolist() for name in (*NUMBERS, *COUNTS)]
        self._plain = "views" not in scalars
        tags = [0] * len(columns[0]) if self._plain else arrays["views"].tolist()
        self._features = {
            i: _Feature.of(row) for i, row in enumerate(zip(*columns, tags, strict=True), 1)
        }
        self._samples = int(scalars["samples"])
        self._log_importance = float(scalars["log_importance"])
        views = 0 if self._plain else int(scalars["views"])
        self._slots, self._with = {0: 0}, [0] * VIEWS
        if views:
            slots = {int(scalars[f"view_{view}_slot"]): view for view in range(1, VIEWS)}
            self._slots.update({slots[slot]: slot for slot in range(1, views)})
            self._with = [int(scalars[f"view_{view}_samples"]) for view in range(VIEWS)]
        self._biases = []
        for slot in range(views or 1):
            bias = [_single(scalars[bias_name(slot, name)]) for name in SINGLES]
            self._biases.append(_Feature.of((*bias, 1.0, 0, 0, 0, 0)))
        self._mixture.restore(scalars, views)
        names = ("judged_weight", "judged_recent_weight")
        self._judged_weights = [float(scalars[name]) for name in names]
        judges = range(N * len(self._slots) + 1)
        self._judged = [[float(scalars[f"judged_{name}_{j}"]) for j in judges] for name in JUDGED]


def _bias_feature() -> _Feature:
    bias = _Feature()
    bias.s2 = 1.0
    return bias


def bias_name(slot: int, name: str) -> str:
    return f"bias_{slot}_{name}" if slot else f"bias_{name}"


def _variant(layouts: list[Layout], scalars: Mapping[str, Any]) -> Layout | None:
    """The layout of a state of several views, or of texts; None for a plain one."""
    if "views" not in scalars:
        return None
    views = scalars["views"]
    if isinstance(views, bool) or not isinstance(views, int) or not 1 <= views <= VIEWS:
        raise ValueError(f"views: expected an integer from 1 to {VIEWS}, got {str(views)[:60]!r}")
    return layouts[views]


def _spans(views: int = 0) -> tuple[dict[str, Span], dict[str, Span]]:
    """The spans of the columns and scalars, in the order of a dump; `views`: 0 for a plain one."""
    n = N * (views or 1)
    figure = Span(0.0, 1e300)
    columns = dict.fromkeys(WEIGHTS, Span(-1e25, 1e25, single=True))
    columns.update(dict.fromkeys(VARIANCES, Span(LEAST_VARIANCE, 1.0, single=True)))
    columns.update(dict.fromkeys(SQUARES, Span(LEAST_SQUARE, 1e38, single=True)))
    biases = {
        bias_name(slot, name): span for slot in range(views or 1) for name, span in columns.items()
    }
    numbers = {"samples": SAMPLES}
    if views:
        numbers["views"] = Span(views, views, whole=True)
        for view in range(1, VIEWS):
            numbers[f"view_{view}_slot"] = Span(-1, views - 1, whole=True)
        for view in range(VIEWS):
            numbers[f"view_{view}_samples"] = SAMPLES
    numbers["log_importance"] = Span(-400.0, 400.0)
    numbers.update(biases)
    columns["mean_squares"] = Span(0.0, 1e101)
    for name, most in (("ages", MOST_AGE), ("runs", RUN - 1), ("seen", 2**37 - 1)):
        columns[name] = Span(0, most, whole=True)
    if views:
        columns["views"] = Span(0, OF_TEXT + VIEWS - 1, byte=True)
    numbers.update(mixture_spans(n, views))
    numbers.update(judged_weight=figure, judged_recent_weight=figure)
    numbers.update({f"judged_{name}_{j}": figure for name in JUDGED for j in range(n + 1)})
    return columns, numbers


def _check_views(arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
    """Raise ValueError unless each view that was seen has a slot, and each slot one view."""
    slots = {0: 0, **{view: scalars[f"view_{view}_slot"] for view in range(1, VIEWS)}}
    given = sorted(slot for slot in slots.values() if slot >= 0)
    if given != list(range(scalars["views"])):
        raise ValueError(f"views: expected {scalars['views']} different slots, got {given}")
    for view, slot in slots.items():
        seen = arrays["seen"][arrays["views"] % OF_TEXT == view]
        if slot < 0 and seen.any():
            raise ValueError(f"views: expected no feature of view {view} seen, got {seen.max()}")
        samples = scalars[f"view_{view}_samples"]
        most = int(arrays["seen"][arrays["views"] == OF_TEXT + view].max(initial=0))
        if most > samples:
            raise ValueError(f"seen: expected at most {samples} texts of view {view}, got {most}")


def _check_related(
    arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any], *, least: float
) -> None:
    """`least`: the smallest mean square that a feature can have."""
    views = scalars.get("views", 0)
    check_mixture(scalars, N * (views or 1), views)
    if views:
        _check_views(arrays, scalars)
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


VIEW_NAMES = ("words", "ngrams", "characters", "numbers")  # how the experts of views are reported


def _names(scalars: Mapping[str, Any]) -> list[str]:
    """The experts of all views in the order of their slots, then the stack."""
    names = list(EXPERTS)
    for slot in range(1, scalars.get("views", 1)):
        view = next(v for v in range(1, VIEWS) if scalars[f"view_{v}_slot"] == slot)
        names += [f"{VIEW_NAMES[view]}.{name}" for name in EXPERTS]
    return [*names, "stack"]


def experts(
    scalars: Mapping[str, Any], names: Sequence[str] | None = None
) -> dict[str, dict[str, float | None]]:
    """The trust in each expert, and in the stack over them, and their errors, by a view's scalars.

    `weight` is its share of the trust; `error` and `loss` (the hinge loss of its margin on the
    sample scaled to norm 1) are means over all and over the recent past, None before the first.
    """
    report: dict[str, dict[str, float | None]] = {}
    for j, name in enumerate(_names(scalars) if names is None else names):
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
