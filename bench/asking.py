"""Ask for few labels: how many mistakes beside labels that are asked for at random?

    python -m bench.asking                     every text set, a table, results as JSON
    python -m bench.asking --sets sms_spam     one set

Caveats first. The hedge at its defaults, on the sets and in the orders of `bench.accuracy`; the
first 10,000 samples of a set. Every sample is predicted, and learned only where its label is asked
for. The error is that of all predictions. Random asks for the first label and then for the same
share of labels, over five seeds; `all` learns every label.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine
from bench.accuracy import DATA, SETS, Data, read
from onlinesvm import OnlineSVM
from onlinesvm.data.objects import Packer
from onlinesvm.model.asking import worth_asking

__all__ = ["SETS_OF_TEXT", "asking", "outcome"]

RESULTS = Path(__file__).resolve().parent / "results" / "asking.json"
SETS_OF_TEXT = ("sms_spam", "farmads", "spamassassin", "debian_langid")
TARGET = 0.85
MOST = 10_000
SEEDS = 5

Row = dict[int, float]
# Whether the label of a sample is asked for, by the model and its margin.
Ask = Callable[[OnlineSVM, Row, float], bool]


def asking(data: Data, ask: Ask) -> tuple[float, float]:
    """The share of mistakes, and the share of labels that were asked for."""
    model, wrong, asked = OnlineSVM(), 0, 0
    for row, label in zip(data.rows, data.labels.tolist(), strict=True):
        margin = model.decision_function_one(row)
        assert isinstance(margin, float)
        wrong += (margin > 0) != (label > 0)
        if ask(model, row, margin):
            model.learn_one(row, label)
            asked += 1
    return wrong / len(data.rows), asked / len(data.rows)


def worth() -> Ask:
    """Asks for labels that are worth it, by the default b."""
    pack = Packer().features
    return lambda model, row, margin: bool(
        worth_asking([margin], [pack(row, (0,))], model.position)[0]
    )


def at_random(share: float, seed: int) -> Ask:
    """Asks for the first label, and then for a share of them."""
    chance = np.random.default_rng(seed)
    return lambda model, row, margin: model.position == 0 or chance.random() < share


def outcome(name: str) -> dict[str, Any]:
    """The errors on a set."""
    data = read(name)
    data = data._replace(rows=data.rows[:MOST], labels=data.labels[:MOST])
    error, share = asking(data, worth())
    random = statistics.mean(asking(data, at_random(share, seed))[0] for seed in range(SEEDS))
    every, _ = asking(data, lambda model, row, margin: True)
    return {
        "samples": len(data.rows), "share": share, "error": error, "random": random, "all": every,
        "ratio": error / random,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS_OF_TEXT, default=SETS_OF_TEXT)
    chosen = parser.parse_args().sets
    rows = {}
    print("| set | samples | labels asked for | error | at random | ratio | error of all |")
    print("|---|---|---|---|---|---|---|")
    for name in chosen:
        if not (DATA / SETS[name].path).exists():
            print(f"{name}: skipped, no such file in {DATA}", file=sys.stderr)
            continue
        row = rows[name] = outcome(name)
        print(
            f"| {name} | {row['samples']:,} | {100 * row['share']:.1f} % |"
            f" {100 * row['error']:.2f} % | {100 * row['random']:.2f} % | {row['ratio']:.2f} |"
            f" {100 * row['all']:.2f} % |",
            flush=True,
        )
    if not rows:
        return 1
    mean = math.exp(statistics.mean(math.log(row["ratio"]) for row in rows.values()))
    verdict = "met" if mean <= TARGET else "**missed**"
    print(f"\ngeometric mean of the ratios {mean:.2f}, wanted at most {TARGET}: {verdict}")
    if len(rows) == len(SETS_OF_TEXT):
        report = {"machine": machine.description(), "sets": rows, "mean": mean}
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
