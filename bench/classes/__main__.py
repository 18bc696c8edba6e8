from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from bench import classes, machine
from bench.classes import page
from bench.classes.errors import Kept, judged, judged_tags, means
from bench.classes.peers import HEDGES, PEERS
from bench.classes.rates import child, rates
from bench.classes.sets import ORDERED, SETS, TAGS, absent, read, read_tags
from bench.classes.tags import TAG_PEERS
from bench.harness import SCRATCH


def measured(name: str, seeds: range, peers: list[str], kept: Kept) -> dict[str, Any]:
    """A set in its first order, and in one of each seed: the figures of each, and the means."""
    data = read_tags() if name == TAGS else read(name)
    rows, labels = len(data.labels), data.classes
    print(f"{name}: {rows} rows, {labels} labels", file=sys.stderr, flush=True)
    judge: Any = judged_tags if name == TAGS else judged
    orders = [judge(data, peers, kept, is_first=True)]
    if name not in ORDERED:
        orders += [judge(data.shuffled(k), peers, kept, is_first=False) for k in seeds]
    return {"rows": rows, "labels": labels, "orders": orders, "mean": means(orders)}


def summary(sets: dict[str, Any]) -> dict[str, float]:
    """The targets of all sets of one label a row together."""
    found = [sets[name]["mean"] for name in SETS if name in sets]
    of: dict[str, list[float]] = {
        figure: [mean[figure] for mean in found if figure in mean]
        for figure in ("over_best_peer", "over_hedges", "calibration_error")
    }
    return {
        **{
            f"{figure}_{word}": value
            for figure, values in of.items()
            if values
            for word, value in (("worst", max(values)), ("mean", _geometric_mean(values)))
        }
    }


def _geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(classes.__doc__ or "").splitlines()[0])
    every = [*dict.fromkeys([*PEERS, HEDGES, *TAG_PEERS])]
    parser.add_argument("--sets", nargs="+", choices=[*SETS, TAGS], default=[*SETS, TAGS])
    parser.add_argument("--peers", nargs="+", choices=every, default=every)
    parser.add_argument("--shuffles", type=int, default=0, metavar="N")
    parser.add_argument("--rates", action="store_true", help="rates and memory instead of errors")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="print the tables of --out")
    parser.add_argument("--out", type=Path, default=SCRATCH / "results")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], int(arguments.child[1]))
        return
    path = arguments.out / "classes.json"
    outcome: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"sets": {}}
    if arguments.page:
        print(page.table(outcome))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        outcome.update(machine=machine.description(), versions=machine.versions())
        outcome["summary"] = summary(outcome["sets"])
        path.write_text(json.dumps(outcome, indent=1) + "\n")

    if arguments.rates:
        outcome["rates"] = rates(arguments.rounds)
        write()
        return
    kept = Kept(SCRATCH / "classes")
    seeds = range(1, arguments.shuffles + 1)
    for name in arguments.sets:
        reason = absent(name)
        try:
            if reason is None:
                outcome["sets"][name] = measured(name, seeds, arguments.peers, kept)
                write()
        except RuntimeError as error:
            reason = str(error)
        if reason is not None:
            print(f"skipped set {name}: {reason}", file=sys.stderr)
    print(json.dumps(outcome.get("summary", {}), indent=1))


if __name__ == "__main__":
    main()
