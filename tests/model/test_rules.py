"""The rules: each against a dumb oracle of its paper's formula, and the laws that hold for all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.config import RULES
from onlinesvm.errors import SnapshotError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.rules import hedge
from onlinesvm.model.rules.mixture import MARGIN_CUT
from tests.strategies import WIDE, configurations, samples

Row = tuple[dict[int, float], int, float]
WIDTH = 6


def newborn(kernel: Kernel, rule: str, **parameters: Any) -> OnlineSVM:
    return OnlineSVM(kernel=kernel.NAME, rule=rule, **{"limits": WIDE, **parameters})


def digest(model: OnlineSVM) -> str:
    return model.snapshot().digest()


def stream(seed: int, n: int, *, valued: bool = True) -> list[Row]:
    """Samples of a linear problem with some noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=WIDTH)
    rows = []
    for _ in range(n):
        names = rng.choice(WIDTH, size=rng.integers(1, WIDTH), replace=False).tolist()
        values = rng.normal(size=len(names)) * 2 if valued else np.ones(len(names))
        margin = float(truth[names] @ values) + 0.3 * rng.normal()
        row = dict(zip(names, values.tolist(), strict=True))
        rows.append((row, 1 if margin > 0 else -1, float(rng.choice([1.0, 0.5, 2.0]))))
    return rows


def dense(row: dict[int, float]) -> np.ndarray[Any, Any]:
    """The row as a vector, the bias's 1 last."""
    x = np.zeros(WIDTH + 1)
    x[list(row)] = list(row.values())
    x[-1] = 1
    return x


# Each yields the margin of a sample, then takes its label and importance; and it ends as its
# weights. As the papers have it, with dense vectors and whole matrices.


class PassiveAggressive:
    def __init__(self, c: float, squared: bool) -> None:
        self.w, self.c, self.squared = np.zeros(WIDTH + 1), c, squared

    def learn(self, x: Any, y: float, h: float) -> None:
        loss, q = max(0.0, 1 - y * self.w @ x), x @ x
        tau = loss / (q + 1 / (2 * self.c * h)) if self.squared else min(self.c * h, loss / q)
        self.w = self.w + tau * y * x


class DenseArow:
    def __init__(self, r: float) -> None:
        self.w, self.cov, self.r = np.zeros(WIDTH + 1), np.eye(WIDTH + 1), r

    def learn(self, x: Any, y: float, h: float) -> None:
        if y * self.w @ x < 1:
            beta = 1 / (x @ self.cov @ x + self.r / h)
            self.w = self.w + (1 - y * self.w @ x) * beta * y * self.cov @ x
            # The diagonal of S − beta·S x xᵀ S.
            self.cov = np.diag(np.diag(self.cov - beta * np.outer(self.cov @ x, self.cov @ x)))


class DenseAdagrad:
    def __init__(self, eta0: float) -> None:
        self.w, self.gradients, self.eta0 = np.zeros(WIDTH + 1), [np.zeros(WIDTH + 1)], eta0

    def learn(self, x: Any, y: float, h: float) -> None:
        if y * self.w @ x < 1:
            g = -h * y * x
            self.gradients.append(g)
            root = np.sqrt(np.square(self.gradients).sum(axis=0))
            self.w = self.w - self.eta0 * np.divide(g, root, out=np.zeros_like(g), where=root > 0)


class DenseNag:
    """Ross et al., algorithm 2, its step divided into many small ones."""

    def __init__(self, eta0: float, parts: int = 4000) -> None:
        self.w, self.g2, self.s = (np.zeros(WIDTH + 1) for _ in range(3))
        self.norms = self.total = 0.0
        self.eta0, self.parts = eta0, parts

    def learn(self, x: Any, y: float, h: float) -> None:
        larger = np.abs(x) > self.s
        self.w[larger] *= self.s[larger] / np.abs(x[larger])
        self.s = np.maximum(self.s, np.abs(x))
        present = x != 0
        self.norms += h * np.sum(np.square(x[present] / self.s[present]))
        self.total += h
        own = self.w @ x
        clipped = min(1.0, max(-1.0, own))
        if y * clipped >= 1:
            return
        self.g2 += h * x * x
        direction = np.zeros_like(x)
        direction[present] = x[present] / (self.s[present] * np.sqrt(self.g2[present]))
        direction *= math.sqrt(self.total / self.norms)
        moved = 0.0
        for _ in range(self.parts):
            if y * clipped + moved * (direction @ x) < 1:
                moved += self.eta0 * h / self.parts
        self.w = self.w + moved * y * direction


class DenseAverage:
    def __init__(self, eta0: float) -> None:
        self.last, self.all, self.eta0 = np.zeros(WIDTH + 1), [], eta0

    @property
    def w(self) -> Any:
        return np.mean(self.all, axis=0) if self.all else self.last

    def learn(self, x: Any, y: float, h: float) -> None:
        if y * self.last @ x < 1:
            self.last = self.last + self.eta0 * h * y * x
        self.all.append(self.last)


ORACLES: dict[str, tuple[str, dict[str, Any], Callable[[], Any], float]] = {
    "pa1": ("pa1", {"C": 0.3}, lambda: PassiveAggressive(0.3, False), 1e-9),
    "pa1 uncapped": ("pa1", {"C": 1e50}, lambda: PassiveAggressive(1e50, False), 1e-9),
    "pa2": ("pa2", {"C": 0.3}, lambda: PassiveAggressive(0.3, True), 1e-9),
    "arow": ("arow", {"r": 0.5}, lambda: DenseArow(0.5), 1e-9),
    "adagrad": ("adagrad", {"eta0": 0.2}, lambda: DenseAdagrad(0.2), 1e-9),
    "nag": ("nag", {"eta0": 0.5}, lambda: DenseNag(0.5), 2e-2),
    "average": ("sgd", {"eta0": 0.2, "average": True}, lambda: DenseAverage(0.2), 1e-9),
}


@pytest.mark.parametrize("name", ORACLES)
def test_equals_an_oracle_of_the_paper(kernel: Kernel, name: str) -> None:
    rule, parameters, made, tolerance = ORACLES[name]
    for seed in range(3):
        oracle, model = made(), newborn(kernel, rule, **parameters)
        for row, y, h in stream(seed, 150):
            x = dense(row)
            expected = float(oracle.w @ x)
            assert math.isclose(
                model.learn_one(row, y, h), expected, rel_tol=tolerance, abs_tol=tolerance
            )
            oracle.learn(x, y, h)
        for j in range(WIDTH):
            weight = model.weights[j]
            assert math.isclose(weight, oracle.w[j], rel_tol=tolerance, abs_tol=tolerance)
        assert math.isclose(model.bias, oracle.w[-1], rel_tol=tolerance, abs_tol=tolerance)


def test_adagrad_with_forgetting_discounts_earlier_gradients(kernel: Kernel) -> None:
    model = newborn(kernel, "adagrad", eta0=0.1, forgetting=0.25, bias=False)
    model.learn([({"a": 2.0}, 1), ({"a": 1.0}, -1)])
    assert model.weights["a"] == 0.1 * (2 / math.sqrt(4)) + -0.1 * (1 / math.sqrt(0.25 * 4 + 1))


# One step of each, on paper: x = (3, 4) and the bias, q = 26.


def test_one_step_of_each_rule(kernel: Kernel) -> None:
    def after(rule: str, h: float = 1.0, **parameters: Any) -> list[float]:
        model = newborn(kernel, rule, **parameters)
        assert model.learn_one({"a": 3, "b": 4}, 1, h) == 0.0
        return [model.weights["a"], model.weights["b"], model.bias]

    close = pytest.approx
    assert after("pa1") == close([3 / 26, 4 / 26, 1 / 26])  # 1/26 is below C
    assert after("pa1", C=0.01) == close([0.03, 0.04, 0.01])
    assert after("pa1", 2.0, C=0.01) == close([0.06, 0.08, 0.02])
    assert after("pa2") == close([3 / 26.5, 4 / 26.5, 1 / 26.5])
    assert after("arow") == close([3 / 27, 4 / 27, 1 / 27])
    assert after("arow", 0.5) == close([3 / 28, 4 / 28, 1 / 28])  # r/h = 2
    assert after("adagrad") == close([0.1, 0.1, 0.1])
    # norms 3, T/N = 1/3; G = 9, 16, 1; the reach of a step of 1 is 3/√3, more than enough.
    assert after("nag", 1e3) == close([1 / 9, 1 / 12, 1 / 3])


# Laws of every rule.


@pytest.mark.parametrize("rule", RULES)
def test_it_learns(kernel: Kernel, rule: str) -> None:
    model = newborn(kernel, rule)
    model.learn(stream(5, 400))
    margins = model.decision_function([row for row, _, _ in stream(5, 800)[400:]])
    labels = np.array([y for _, y, _ in stream(5, 800)[400:]])
    assert ((margins > 0) == (labels > 0)).mean() > 0.8


@given(rows=st.lists(samples(), max_size=12), config=configurations())
def test_margins_are_those_of_the_model_as_it_stood(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    for row in rows:
        assert model.decision_function_one(row[0]) == model.learn_one(*row)


@given(rows=st.lists(samples(), max_size=12), config=configurations())
def test_a_margin_is_the_sum_of_weights_times_values(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    model.learn(rows)
    features = {"a": 2.5, "unheard of": 1.0, "b": -1.0, 5: 0.3}
    margin = 0.0
    for name, value in features.items():
        margin += model.weights.get(name, 0.0) * value  # type: ignore[call-overload]
    assert model.decision_function_one(features) == margin + model.bias


@given(rows=st.lists(samples(), max_size=12), config=configurations())
def test_predicting_changes_nothing(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    model.learn(rows)
    before = digest(model)
    model.decision_function([row[0] for row in rows] + [["unheard of"], {"a": 1e50}])
    assert digest(model) == before


@given(rows=st.lists(samples(), max_size=12), config=configurations())
def test_importance_zero_is_as_if_never_sent(
    kernel: Kernel, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    given = {"kernel": kernel.NAME, "labels": (-1, 1), "limits": WIDE, **config}
    model, other = (OnlineSVM(**given) for _ in range(2))
    model.learn(rows)
    for row in rows:
        other.learn_one(["never", "a"], -1, 0.0)
        other.learn_one(*row)
    other.position = model.position
    assert digest(other) == digest(model)


@given(seed=st.integers(0, 2**32), power=st.sampled_from([-100, -1, 3, 160]))
def test_the_hedge_does_not_see_the_unit_of_importance(
    kernel: Kernel, seed: int, power: int
) -> None:
    # A power of two, so that all that is equal is so bit for bit.
    rows = [(row, y, 1.0) for row, y, _ in stream(seed, 60)]
    plain, scaled = newborn(kernel, "hedge"), newborn(kernel, "hedge")
    margins = plain.learn(rows)
    assert scaled.learn([(row, y, 2.0**power) for row, y, _ in rows]).tolist() == margins.tolist()
    assert dict(scaled.weights) == dict(plain.weights)


@given(seed=st.integers(0, 2**32), power=st.lists(st.integers(-80, 80), min_size=6, max_size=6))
def test_the_hedge_does_not_see_the_unit_of_a_feature(
    kernel: Kernel, seed: int, power: list[int]
) -> None:
    rows = stream(seed, 60)
    scaled = [({j: x * 2.0 ** power[j] for j, x in row.items()}, y, h) for row, y, h in rows]
    plain, other = newborn(kernel, "hedge"), newborn(kernel, "hedge")
    # x·2ᵏ over s·2ᵏ: exact, but for the halving of k under the root, which is exact too.
    assert other.learn(scaled).tolist() == plain.learn(rows).tolist()


@pytest.mark.parametrize("rule", RULES)
def test_no_legal_magnitude_breaks_a_rule(kernel: Kernel, rule: str) -> None:
    largest = {"pa1": {"C": 1e50}, "pa2": {"C": 1e50}, "arow": {"r": 1e-50}}.get(rule, {})
    for parameters in ({}, largest, {"bias": False}):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            model = newborn(kernel, rule, **parameters)
            rows = []
            for _ in range(200):
                names = rng.choice(20, size=rng.integers(0, 8)).tolist()
                size = 10 ** rng.choice([-50.0, 50.0, 0.0, rng.uniform(-50, 50)], size=len(names))
                values = np.clip(size, 1e-50, 1e50) * rng.choice([-1, 1], size=len(names))
                h = float(np.clip(10 ** rng.choice([-50.0, 0.0, 50.0]), 1e-50, 1e50))
                label = int(rng.choice([-1, 1]))
                rows.append((dict(zip(names, values.tolist(), strict=True)), label, h))
            margins = model.learn(rows)
            assert np.isfinite(margins).all()
            assert all(map(math.isfinite, model.weights.values()))
            assert math.isfinite(model.bias)
            assert np.isfinite(model.snapshot().totals).all()
            assert all(map(math.isfinite, model.snapshot().scalars.values()))
            assert all(np.isfinite(array).all() for array in model.snapshot().arrays.values())


def error(model: OnlineSVM, rows: list[Row]) -> float:
    margins = model.learn(rows)
    return float(np.mean([(m > 0) != (y > 0) for m, (_, y, _) in zip(margins, rows, strict=True)]))


WILD: dict[str, Callable[[int, Row], Row]] = {
    "one huge value": lambda i, row: ({**row[0], 0: 1e50}, *row[1:]) if i == 100 else row,
    "a huge value first": lambda i, row: ({**row[0], 0: 1e50}, *row[1:]) if i == 0 else row,
    "a sample of huge values": lambda i, row: (
        (dict.fromkeys(row[0], -1e50), *row[1:]) if i == 100 else row
    ),
    "all values tiny": lambda i, row: ({j: x * 1e-6 for j, x in row[0].items()}, *row[1:]),
    "all values large": lambda i, row: ({j: x * 1e6 for j, x in row[0].items()}, *row[1:]),
    "tiny from now on": lambda i, row: (
        {j: x * (1e-6 if i >= 300 else 1) for j, x in row[0].items()},
        *row[1:],
    ),
    "large from now on": lambda i, row: (
        {j: x * (1e6 if i >= 300 else 1) for j, x in row[0].items()},
        *row[1:],
    ),
    "one huge importance": lambda i, row: (*row[:2], 1e50) if i == 100 else row,
    "a huge importance first": lambda i, row: (*row[:2], 1e50) if i == 0 else row,
    "all importances tiny": lambda i, row: (*row[:2], 1e-50),
}


@pytest.mark.parametrize("wild", WILD)
def test_the_hedge_survives_wild_streams(kernel: Kernel, wild: str) -> None:
    rows = [(row, y, 1.0) for row, y, _ in stream(7, 1200)]
    plain, model = newborn(kernel, "hedge"), newborn(kernel, "hedge")
    plain.learn(rows[:600])
    model.learn([WILD[wild](i, row) for i, row in enumerate(rows[:600])])
    tail = [WILD[wild](i, row) for i, row in enumerate(rows[600:], 600)]
    assert error(model, tail) < error(plain, rows[600:]) + 0.05


# The hedge's parts.


class DenseHedge:
    """The experts as their papers have them, each with its own dense vector and whole matrix; the
    diagonals alone are kept.
    """

    def __init__(self) -> None:
        self.w = np.zeros((len(hedge.EXPERTS), WIDTH + 1))
        self.cov = [np.eye(WIDTH + 1) for _ in range(3)]
        self.gradients: list[list[Any]] = [[] for _ in hedge.ETAS]
        self.values: list[list[float]] = [[] for _ in range(WIDTH)]

    def learn(self, row: dict[int, float], y: float) -> None:
        for j, x in row.items():
            self.values[j].append(x)
        x = dense(row)
        for j in row:
            x[j] /= math.sqrt(np.mean(np.square(self.values[j])))
        x /= np.linalg.norm(x)
        for k, (c, phi) in enumerate(hedge.SCW):
            self.scw(k, x, y, c, phi)
        arow = DenseArow(hedge.AROW_R)
        arow.w, arow.cov = self.w[2], self.cov[2]
        arow.learn(x, y, 1.0)
        self.w[2], self.cov[2] = arow.w, arow.cov
        for k, eta in enumerate(hedge.ETAS):
            self.adapt(k, x, y, eta)

    def scw(self, k: int, x: Any, y: float, c: float, phi: float) -> None:
        # Wang, Zhao and Hoi (2012): the loss is max(0, phi·√v − m), proposition 1 solves for it.
        m, cov = y * self.w[k] @ x, self.cov[k]
        v = x @ cov @ x
        if not phi * math.sqrt(v) - m > 0:
            return
        psi, zeta = 1 + phi**2 / 2, 1 + phi**2
        alpha = (-m * psi + math.sqrt(m**2 * phi**4 / 4 + v * phi**2 * zeta)) / (v * zeta)
        alpha = min(c, max(0.0, alpha))
        u = (-alpha * v * phi + math.sqrt(alpha**2 * v**2 * phi**2 + 4 * v)) ** 2 / 4
        beta = alpha * phi / (math.sqrt(u) + v * alpha * phi)
        self.w[k] = self.w[k] + alpha * y * cov @ x
        self.cov[k] = np.diag(np.diag(cov - beta * np.outer(cov @ x, cov @ x)))
        if alpha < c:  # the constraint is met: what SCW-I asks for where C does not bind
            whole = cov - beta * np.outer(cov @ x, cov @ x)
            assert y * self.w[k] @ x == pytest.approx(phi * math.sqrt(x @ whole @ x))

    def adapt(self, k: int, x: Any, y: float, eta: float) -> None:
        w = self.w[3 + k]
        loss = 1 - y * min(1.0, max(-1.0, w @ x))
        if loss <= 0:
            return
        self.gradients[k].append(loss * x)
        root = np.sqrt(np.square(self.gradients[k]).sum(axis=0))
        step = np.divide(eta * x, root, out=np.zeros_like(x), where=root > 0)
        # The implicit step: by the loss as it is after it, found by halving where it lies.
        low, high = 0.0, loss
        for _ in range(100):
            after = (low + high) / 2
            if after > loss - after * (step @ x):
                high = after
            else:
                low = after
        self.w[3 + k] = w + y * after * step


def test_the_experts_equal_oracles_of_their_papers(kernel: Kernel) -> None:
    oracle, model = DenseHedge(), newborn(kernel, "hedge")
    rows = [(row, y) for row, y, _ in stream(13, 400)]
    model.learn(rows)
    for row, y in rows:
        oracle.learn(row, y)
    taken, ids = model.snapshot(), [model.lookup[j] for j in range(WIDTH)]
    for r, name in enumerate(hedge.EXPERTS):
        reported = [taken.arrays[f"{name}_weights"][id - 1] for id in ids]
        reported.append(taken.scalars[f"bias_{name}_weights"])
        # The oracle is float64; a model's state is float32, rounded at each of 400 updates.
        assert reported == pytest.approx(oracle.w[r].tolist(), rel=2e-5, abs=2e-5)
        if r < 3:
            variances = [taken.arrays[f"{name}_variances"][id - 1] for id in ids]
            variances.append(taken.scalars[f"bias_{name}_variances"])
            assert variances == pytest.approx(np.diag(oracle.cov[r]).tolist(), rel=2e-5)


def test_a_step_of_zero_gives_a_negative_zero_the_same_sign_on_both_kernels() -> None:
    model = OnlineSVM(rule="hedge", kernel="python")
    model.learn_one(["a"], 1)
    taken = model.snapshot()
    # The slow adaptive expert has no loss here, the other two have.
    taken.scalars["bias_adaptive_slow_weights"] = 10.0
    taken.scalars["bias_adaptive_fast_weights"] = taken.scalars["bias_adaptive_fastest_weights"] = (
        0.0
    )
    for name in hedge.EXPERTS[3:]:
        taken.arrays[f"{name}_weights"] = np.array([-0.0], np.float32)
    after = []
    for name in ("python", "native"):
        model = OnlineSVM.from_snapshot(taken, kernel=name)
        model.learn_one(["a"], 1)
        after.append(model.snapshot())
    assert not np.signbit(after[0].arrays["adaptive_slow_weights"][0])
    assert after[0].arrays["adaptive_slow_weights"][0] == 0.0
    assert after[0].arrays["adaptive_fast_weights"][0] > 0.0
    assert after[0].digest() == after[1].digest()


def test_margins_that_were_long_zero_leave_a_whole_model(kernel: Kernel) -> None:
    # Without a bias, samples of features never seen before have margins of 0: after three quarters
    # of a million in a row the experts' mean magnitudes are as small as a float can be.
    model = newborn(kernel, "hedge", bias=False)
    rows = stream(17, 100)
    model.learn(rows)
    taken = model.snapshot()
    taken.scalars.update({f"mixture_sizes_{r}": 2.465e-321 for r in range(7)})
    model = OnlineSVM.from_snapshot(taken, kernel=kernel.NAME)
    margins = model.learn(rows)
    assert np.isfinite(margins).all()
    after = model.snapshot()
    assert all(map(math.isfinite, after.scalars.values()))
    assert digest(OnlineSVM.from_snapshot(after, kernel=kernel.NAME)) == after.digest()
    # No one of them mutes the stack for those that come after.
    sizes = [after.scalars[f"mixture_sizes_{r}"] for r in range(7)]
    assert sizes[6] < 1e4


def test_a_mean_norm_that_would_overflow_is_no_state(kernel: Kernel) -> None:
    model = newborn(kernel, "hedge")
    model.learn(stream(17, 20))
    taken = model.snapshot()
    taken.scalars["mixture_norms"] = 1e-310
    with pytest.raises(SnapshotError, match="mixture_norms: expected 0 or a number from 1e-110"):
        OnlineSVM.from_snapshot(taken, kernel=kernel.NAME)


def test_experts_are_in_stats(kernel: Kernel) -> None:
    model = newborn(kernel, "hedge")
    assert model.experts is not None
    assert set(model.experts) == {*hedge.EXPERTS, "stack"}
    assert model.experts["arow"] == {
        "weight": pytest.approx(1 / 7), "error": None, "loss": None, "recent_error": None,
        "recent_loss": None,
    }  # fmt: skip
    model.learn(stream(3, 300))
    reported = model.experts
    assert sum(figures["weight"] or 0 for figures in reported.values()) == pytest.approx(1)
    for figures in reported.values():
        assert 0 < (figures["error"] or 0) < 0.5
        assert 0 < (figures["loss"] or 0) < 2
        assert figures["recent_error"] == pytest.approx(figures["error"], rel=0.1)
    assert newborn(kernel, "sgd").experts is None


def test_scales_are_running_means_of_squares(kernel: Kernel) -> None:
    rows = stream(11, 300)
    model = newborn(kernel, "hedge")
    model.learn(rows)
    arrays = model.snapshot().arrays
    for name, id in model.lookup.items():
        values = np.array([row[int(name)] for row, _, _ in rows if int(name) in row])
        assert arrays["mean_squares"][id - 1] == pytest.approx(np.mean(values**2))
        assert arrays["seen"][id - 1] == len(values)


def test_the_stack_is_an_arow_with_full_covariance() -> None:
    # Its covariance, dense, recomputed from scratch.
    from onlinesvm.model.rules.mixture import STACK_RETURN, STACK_VARIANCE, Mixture

    rng = np.random.default_rng(0)
    mixture = Mixture(3)
    w, cov = np.full(3, 1 / 3), np.eye(3) * STACK_VARIANCE
    count, sizes = 0.0, np.zeros(3)
    for _ in range(200):
        y = float(rng.choice([-1, 1]))
        margins = (y * rng.uniform(0, 1, 3) + rng.normal(size=3)).tolist()
        scaled = np.array(margins)
        scaled = np.divide(scaled * count, sizes, out=scaled.copy(), where=sizes > 0)
        z = np.clip(scaled, -MARGIN_CUT, MARGIN_CUT)
        sizes = 0.999 * sizes + np.abs(margins)
        count = 0.999 * count + 1
        loss = 1 - y * w @ z
        if loss > 0:
            beta = 1 / (z @ cov @ z + 1)
            w = w + loss * beta * y * cov @ z
            cov = cov - beta * np.outer(cov @ z, cov @ z)
            cov = cov * (1 - STACK_RETURN) + np.eye(3) * STACK_RETURN * STACK_VARIANCE
        mixture.learn(margins, [1.0], y, 1.0)
        assert np.allclose([mixture.dump()[f"mixture_stack_{r}"] for r in range(3)], w)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_trust_goes_to_who_is_right(seed: int) -> None:
    from onlinesvm.model.rules.mixture import Mixture

    rng = np.random.default_rng(seed)
    mixture = Mixture(4)
    for _ in range(300):
        y = float(rng.choice([-1, 1]))
        margins = rng.choice([-1.0, 1.0], size=4)
        margins[2] = y
        mixture.learn(margins.tolist(), [1.0], y, 1.0)
    assume(mixture.weights[4] < 0.9)
    assert mixture.weights[2] > 0.3
    assert mixture.coefficients[2] == max(mixture.coefficients)
