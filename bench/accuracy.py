"""Learn untuned: how many mistakes, by every rule and by the peers, each at its defaults?

    python -m bench.accuracy                     every set once, one table
    python -m bench.accuracy --shuffles 10       and the sets without an order, shuffled ten times
    python -m bench.accuracy --sets sms_spam     one set

Caveats first. Every error is progressive: a sample is predicted, then learned, once. flights13,
kdd99 and spamassassin are in their own order; the others are shuffled once (seed 0). Text is its
distinct lower-cased tokens; debian_langid is Spanish against the rest. VW is its driver with
--loss_function hinge, its progressive predictions read back; SGDClassifier learns in batches of 32,
each predicted as a whole; river's PAClassifier and LogisticRegression as they come. A peer that is
not installed, a set that is not there, is named and skipped. The calibration error is that of the
hedge's probabilities over the later half, 15 bins. The hedge's constants were chosen on these sets
among others: see onlinesvm.model.rules.hedge.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import machine
from onlinesvm import Limits, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.text.tokenize import tokens

DATA = Path(os.environ.get("ONLINESVM_DATA", Path(__file__).resolve().parents[2] / "shared/data"))
RESULTS = Path(__file__).resolve().parent / "results" / "accuracy"
BATCH = 1024
CURVE_POINTS = 200

Errors = NDArray[np.bool_]


class Set(NamedTuple):
    """A data set: its path, the label that counts as +1, and whether its order matters."""

    path: str
    positive: str | None  # of text; of svmlight a label above 0
    ordered: bool


SETS = {
    "a9a": Set("a9a/a9a.train.svm.gz", None, False),
    "farmads": Set("farmads/farmads.svm.gz", None, False),
    "flights13": Set("flights13/flights13.svm.gz", None, True),
    "kdd99": Set("kdd99/kdd99.svm.gz", None, True),
    "sms_spam": Set("sms_spam/sms.tsv.gz", "spam", False),
    "spamassassin": Set("spamassassin/spamassassin.tsv.gz", "spam", True),
    "debian_langid": Set("debian_langid/debian_langid.tsv.gz", "es", False),
}

# The six columns of the data's own index, and what else is compared.
RULES: dict[str, dict[str, Any]] = {
    "hedge": {},
    "sgd": {"rule": "sgd"},
    "sgd averaged": {"rule": "sgd", "average": True},
    "pa1": {"rule": "pa1"},
    "pa2": {"rule": "pa2"},
    "arow": {"rule": "arow"},
    "adagrad": {"rule": "adagrad"},
    "nag": {"rule": "nag"},
}
INDEX = ("majority", "sgd", "pa1", "arow", "VW", "scikit-learn")

Row = dict[int, float]


class Data(NamedTuple):
    """Samples over numbered features."""

    rows: list[Row]
    labels: NDArray[np.int64]
    width: int

    def shuffled(self, seed: int) -> Data:
        """The same in another order."""
        order = np.random.default_rng(seed).permutation(len(self.rows))
        return Data([self.rows[i] for i in order], self.labels[order], self.width)


def read(name: str) -> Data:
    """The set, in the order it is compared in."""
    chosen = SETS[name]
    rows: list[Row] = []
    labels: list[int] = []
    ids: dict[str, int] = {}
    with gzip.open(DATA / chosen.path, "rt", encoding="utf-8") as file:
        for line in file:
            if chosen.positive is None:
                label, *pairs = line.split("#")[0].split()
                split = (pair.split(":") for pair in pairs)
                rows.append({int(i): float(x) for i, x in split if float(x) != 0})
                labels.append(1 if float(label) > 0 else -1)
            else:
                label, text = line.rstrip("\n").split("\t", 1)
                rows.append({ids.setdefault(t, len(ids) + 1): 1.0 for t in tokens(text)})
                labels.append(1 if label == chosen.positive else -1)
    width = 1 + max((max(row, default=0) for row in rows), default=0)
    data = Data(rows, np.array(labels), width)
    return data if chosen.ordered else data.shuffled(0)


# Contenders: which samples each predicted wrongly, and the seconds it took.


def bodies(data: Data) -> list[bytes]:
    """Learn requests of the samples."""
    packer = Packer()
    parts = [
        packer.sample(row, int(y)) for row, y in zip(data.rows, data.labels.tolist(), strict=True)
    ]
    return [pack_array(parts[i : i + BATCH]) for i in range(0, len(parts), BATCH)]


def ours(data: Data, parameters: dict[str, Any]) -> tuple[NDArray[np.float64], float]:
    """The margins before learning, and the seconds from the requests' bytes to them."""
    model, limits = OnlineSVM(**parameters), Limits()
    requests = bodies(data)
    start = time.perf_counter()
    margins = [
        model.learn_batch(model.kernel.decode(body, limits, labelled=True)) for body in requests
    ]
    return np.concatenate(margins), time.perf_counter() - start


def wrong(predictions: NDArray[Any], data: Data) -> Errors:
    return np.asarray((predictions > 0) != (data.labels > 0))


def vowpal_wabbit(data: Data) -> Errors:
    with tempfile.TemporaryDirectory() as folder:
        text, reported = Path(folder) / "in.vw", Path(folder) / "out"
        with text.open("w") as file:
            for row, y in zip(data.rows, data.labels.tolist(), strict=True):
                names = (f"{i}" if x == 1 else f"{i}:{x!r}" for i, x in row.items())
                file.write(f"{y} | {' '.join(names)}\n")
        command = [sys.executable, "-m", "vowpalwabbit", "-d", str(text), "-p", str(reported)]
        command += ["--loss_function", "hinge", "--quiet"]
        subprocess.run(command, check=True, capture_output=True)
        return wrong(np.loadtxt(reported), data)


def scikit_learn(data: Data) -> Errors:
    from scipy import sparse
    from sklearn.linear_model import SGDClassifier

    indptr = np.concatenate([[0], np.cumsum([len(row) for row in data.rows])])
    indices = np.array([i for row in data.rows for i in row], dtype=np.int32)
    values = np.array([x for row in data.rows for x in row.values()])
    matrix = sparse.csr_matrix((values, indices, indptr), shape=(len(data.rows), data.width))
    learner, parts = SGDClassifier(random_state=0), []
    for start in range(0, len(data.rows), 32):
        x, y = matrix[start : start + 32], data.labels[start : start + 32]
        parts.append(learner.predict(x) if start else -np.ones(len(y)))
        learner.partial_fit(x, y, classes=[-1, 1])
    return wrong(np.concatenate(parts), data)


def river(made: Callable[[Any], Any]) -> Callable[[Data], Errors]:
    def learn(data: Data) -> Errors:
        from river import linear_model

        learner = made(linear_model)
        predictions = []
        for row, y in zip(data.rows, (data.labels > 0).tolist(), strict=True):
            predictions.append(1 if learner.predict_one(row) else -1)
            learner.learn_one(row, y)
        return wrong(np.array(predictions), data)

    return learn


PEERS: dict[str, tuple[str, Callable[[Data], Errors]]] = {
    "VW": ("vowpalwabbit", vowpal_wabbit),
    "scikit-learn": ("sklearn", scikit_learn),
    "river PA": ("river", river(lambda models: models.PAClassifier())),
    "river logistic": ("river", river(lambda models: models.LogisticRegression())),
}


def calibration_error(margins: NDArray[np.float64], data: Data) -> tuple[float, list[Any]]:
    """Over the later half, 15 bins; and the bins: weight, mean probability, share of +1."""
    metrics = kernels.load().Metrics(0.0)
    y = data.labels.astype(np.float64)
    p = metrics.observe(margins, y, np.ones(len(y)))[len(y) // 2 :]
    truth = y[len(y) // 2 :] > 0
    at = np.minimum(14, (p * 15).astype(int))
    rows = [(at == k) for k in range(15)]
    bins = [(int(r.sum()), float(p[r].mean()), float(truth[r].mean())) for r in rows if r.any()]
    return sum(n * abs(q - t) for n, q, t in bins) / len(p), bins


def compared(data: Data, peers: list[str]) -> Iterator[tuple[str, Errors, float]]:
    """Each contender, its mistakes and its seconds."""
    yield "majority", wrong(np.full(len(data.rows), np.sign(data.labels.sum() or -1)), data), 0.0
    for name, parameters in RULES.items():
        margins, seconds = ours(data, parameters)
        yield name, wrong(margins, data), seconds
    for name in peers:
        start = time.perf_counter()
        mistakes = PEERS[name][1](data)
        yield name, mistakes, time.perf_counter() - start


def curve(mistakes: Errors) -> list[float]:
    """The error so far at CURVE_POINTS places."""
    at = np.unique(np.linspace(1, len(mistakes), CURVE_POINTS).astype(int))
    return [round(float(e), 6) for e in (np.cumsum(mistakes)[at - 1] / at)]


def geometric_mean(ratios: list[float]) -> float:
    return math.exp(float(np.mean(np.log(ratios))))


def table(errors: dict[str, dict[str, float]], columns: list[str]) -> str:
    """Errors in percent, the best of each row in bold, the hedge over the best peer."""
    lines = ["| | " + " | ".join(columns) + " | hedge ÷ best peer |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for name, row in errors.items():
        best = min(row[c] for c in columns)
        cells = [
            f"**{100 * row[c]:.3f}**" if row[c] == best else f"{100 * row[c]:.3f}" for c in columns
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {over_best(row):.3f} |")
    return "\n".join(lines)


def over_best(row: dict[str, float]) -> float:
    """The hedge over the best of the index's columns."""
    return row["hedge"] / min(row[c] for c in INDEX if c in row)


def summary(errors: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The goal's requirements."""
    ratios = {name: over_best(row) for name, row in errors.items()}
    first = next(iter(errors.values()))
    single = {
        c: geometric_mean([row[c] / row["hedge"] for row in errors.values()])
        for c in first
        if c not in ("hedge", "majority")
    }
    return {
        "hedge_over_best_peer": geometric_mean(list(ratios.values())),
        "worst": max(ratios.values()),
        "single_over_hedge": single,
    }


def interval(values: list[float]) -> tuple[float, float]:
    """Mean, and half of its 95 % confidence interval (Student's t)."""
    from scipy import stats

    n = len(values)
    t = float(stats.t.ppf(0.975, n - 1)) if n > 1 else math.nan
    return float(np.mean(values)), t * float(np.std(values, ddof=1)) / math.sqrt(n)


def plot(name: str, curves: dict[str, list[float]], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for contender, values in curves.items():
        if contender == "majority":
            continue
        share = np.linspace(0, 100, len(values))
        thick = 2.5 if contender == "hedge" else 1
        axes.plot(share, values, label=contender, linewidth=thick)
    axes.set(xlabel="% of the stream", ylabel="progressive error", yscale="log", title=name)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(folder / f"accuracy-{name}.png", dpi=80)
    pyplot.close(figure)


def plot_reliability(bins: dict[str, list[Any]], folder: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.5, 4.5))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.5)
    for name, rows in bins.items():
        axes.plot([q for _, q, _ in rows], [t for _, _, t in rows], marker=".", label=name)
    axes.set(xlabel="probability reported", ylabel="share of +1", title="reliability, later half")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(folder / "accuracy-reliability.png", dpi=80)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--shuffles", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    skipped = [f"set {s}: not at {DATA / SETS[s].path}" for s in arguments.sets if not there(s)]
    peers = [name for name, (module, _) in PEERS.items() if machine.available(module)]
    skipped += [f"{name}: {PEERS[name][0]} is not installed" for name in PEERS if name not in peers]
    for line in skipped:
        print(f"skipped {line}", file=sys.stderr)
    columns = ["majority", *RULES, *peers]
    outcome: dict[str, Any] = {
        "machine": machine.description(), "versions": machine.versions(), "skipped": skipped,
        "errors": {}, "seconds": {}, "calibration_error": {}, "curves": {},
    }  # fmt: skip
    reliability = {}
    sets = [name for name in arguments.sets if there(name)]
    for name in sets:
        data = read(name)
        errors, seconds, curves = {}, {}, {}
        for contender, mistakes, took in compared(data, peers):
            errors[contender] = float(mistakes.mean())
            seconds[contender], curves[contender] = took, curve(mistakes)
            print(f"{name} {contender} {errors[contender]:.5f} {took:.1f} s", file=sys.stderr)
        ece, reliability[name] = calibration_error(ours(data, {})[0], data)
        outcome["calibration_error"][name] = ece
        outcome["errors"][name], outcome["seconds"][name] = errors, seconds
        outcome["curves"][name] = curves
        plot(name, curves, arguments.out)
    if sets:
        plot_reliability(reliability, arguments.out)
        outcome["summary"] = summary(outcome["errors"])
        print(table(outcome["errors"], columns))
        print(json.dumps({**outcome["summary"], "ece": outcome["calibration_error"]}, indent=1))
    if arguments.shuffles:
        outcome["shuffled"] = shuffled(sets, arguments.shuffles, peers)
        print(shuffled_table(outcome["shuffled"]))
    (arguments.out / "accuracy.json").write_text(json.dumps(outcome) + "\n")


def there(name: str) -> bool:
    return (DATA / SETS[name].path).exists()


def shuffled(sets: list[str], n: int, peers: list[str]) -> dict[str, Any]:
    """Mean error and its interval over n shuffles, and that of the hedge over the best peer."""
    outcome: dict[str, Any] = {}
    fast = [name for name in peers if not re.match("river", name)]
    for name in sets:
        if SETS[name].ordered:
            continue
        data = read(name)
        runs: dict[str, list[float]] = {}
        for seed in range(1, n + 1):
            for contender, mistakes, _ in compared(data.shuffled(seed), fast):
                runs.setdefault(contender, []).append(float(mistakes.mean()))
        rows = [dict(zip(runs, values, strict=True)) for values in zip(*runs.values(), strict=True)]
        outcome[name] = {
            "errors": {contender: interval(values) for contender, values in runs.items()},
            "hedge_over_best_peer": interval([over_best(row) for row in rows]),
        }
        print(f"{name}: shuffled {n} times", file=sys.stderr)
    return outcome


def shuffled_table(outcome: dict[str, Any]) -> str:
    if not outcome:
        return "no set without an order"
    columns = list(next(iter(outcome.values()))["errors"])
    lines = ["| | " + " | ".join(columns) + " | hedge ÷ best peer |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for name, reported in outcome.items():
        cells = [f"{100 * m:.2f} ± {100 * h:.2f}" for m, h in reported["errors"].values()]
        mean, half = reported["hedge_over_best_peer"]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {mean:.3f} ± {half:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
