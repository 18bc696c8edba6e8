"""Mix in rounds: how many more mistakes than one learner of everything, and what does it cost?

    python -m bench.dask                              every set, then the cost
    python -m bench.dask --sets sms_spam --folds 1    one set, one fold
    python -m bench.dask --cost 400000                the cost alone, of so many samples

Caveats first. Held-out errors after 1, 3 and 5 rounds over 4 shards, over those of one learner
after as many passes. Sets are shuffled once (seed 0) and every fifth sample is held out, in turn,
over `--folds` folds; a9a has its own test set. Text is read as text; kdd99 is both attack or not
and its 23 classes, debian_langid its 14 languages. Where one learner makes no mistake there is no
ratio. With --ordered the sets that have an order keep it and the last fifth is held out: one
learner then follows the drift to its end, and a mix is of all times alike. Rounds run here, in one
process, by the functions that workers run; the bits are those of a cluster. The cost is wall time
of commands: `train` with 1 and 2 workers and `learn --passes` with one process, start and saving
included.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import machine
from bench.accuracy import DATA
from onlinesvm import OnlineSVM
from onlinesvm.data.pieces import Decoded
from onlinesvm.mixing.learner import Learner
from onlinesvm.mixing.mix import mixed
from onlinesvm.readers.chunks import Blocks
from onlinesvm.readers.reader import Reader
from onlinesvm.snapshot.format import Snapshot

SHARDS = 4
ROUNDS = (1, 3, 5)
WANTED = 1.02  # the geometric mean of ratios after 3 rounds
FOLDS = 5


class Set(NamedTuple):
    """A data set: its file, its test file if it has one, whether labels are above 0 or not, its
    task, and whether its order matters.
    """

    path: str
    test: str | None = None
    above_zero: bool = False
    task: str = "binary"
    ordered: bool = False


SETS = {
    "a9a": Set("a9a/a9a.train.svm.gz", "a9a/a9a.test.svm.gz"),
    "farmads": Set("farmads/farmads.svm.gz"),
    "flights13": Set("flights13/flights13.svm.gz", ordered=True),
    "kdd99": Set("kdd99/kdd99.svm.gz", above_zero=True, ordered=True),
    "kdd99 classes": Set("kdd99/kdd99.svm.gz", task="multiclass", ordered=True),
    "sms_spam": Set("sms_spam/sms.tsv.gz"),
    "spamassassin": Set("spamassassin/spamassassin.tsv.gz", ordered=True),
    "debian_langid": Set("debian_langid/debian_langid.tsv.gz", task="multiclass"),
}

Batches = list[Decoded]
Split = tuple[list[bytes], list[bytes]]


def lines_of(path: str, above_zero: bool) -> list[bytes]:
    """The lines of a set."""
    blocks = Blocks(DATA / path, max_line_bytes=2**24)
    lines = b"".join(block for block in blocks if isinstance(block, bytes)).splitlines(True)
    blocks.close()
    if not above_zero:
        return lines
    parts = (line.partition(b" ") for line in lines)
    return [(b"1 " if float(label) > 0 else b"-1 ") + rest for label, _, rest in parts]


def splits(of: Set, folds: int, in_order: bool) -> list[Split]:
    """Lines to learn and lines held out."""
    lines = lines_of(of.path, of.above_zero)
    if in_order:
        cut = len(lines) * 4 // 5
        return [(lines[:cut], lines[cut:])]
    random.Random(0).shuffle(lines)
    if of.test is not None:
        return [(lines, lines_of(of.test, of.above_zero))]
    return [
        ([line for i, line in enumerate(lines) if i % FOLDS != fold], lines[fold::FOLDS])
        for fold in range(folds)
    ]


def read(lines: Sequence[bytes], model: OnlineSVM, folder: Path) -> Batches:
    """The samples of lines."""
    path = folder / "lines"
    path.write_bytes(b"".join(lines))
    with Reader(path, extractor=model.extractor, batch_samples=4096) as reader:
        return list(reader)


def mistakes(model: OnlineSVM, batches: Batches) -> int:
    """How many samples the model predicts wrongly."""
    wrong = 0
    for batch in batches:
        names = [label.text for label in batch.label_table]
        truths = [names[i] for i in batch.label_ids]
        predicted = [str(label).encode() for label in model.predict_batch(batch).tolist()]
        wrong += sum(a != b for a, b in zip(truths, predicted, strict=True))
    return wrong


def one_round(base: Snapshot, shards: Sequence[Batches]) -> Snapshot:
    """The mix of the shards, as a cluster makes it."""
    outcomes = []
    for batches in shards:
        learner = Learner(base)
        for batch in batches:
            learner.learn(batch)
        outcomes.append(learner.outcome())
    while len(outcomes) > 1:
        pairs = [outcomes[i : i + 2] for i in range(0, len(outcomes), 2)]
        outcomes = [mixed(base, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return outcomes[0].model


def quality(name: str, folds: int, in_order: bool, parameters: dict[str, Any]) -> dict[str, Any]:
    """Mistakes of one learner and of the mix, over all folds, by rounds."""
    of = SETS[name]
    one, mix, samples = np.zeros(max(ROUNDS), int), np.zeros(max(ROUNDS), int), 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for train, test in splits(of, folds, in_order):
            model = OnlineSVM(task=of.task, **parameters)
            whole, held_out = read(train, model, folder), read(test, model, folder)
            cuts = [len(train) * k // SHARDS for k in range(SHARDS + 1)]
            shards = [read(train[cuts[k] : cuts[k + 1]], model, folder) for k in range(SHARDS)]
            if not model.is_multiclass:
                model.labels.learn([label for batch in whole for label in batch.label_table])
            base = model.snapshot()
            samples += len(test)
            for number in range(max(ROUNDS)):
                for batch in whole:
                    model.learn_batch(batch)
                one[number] += mistakes(model, held_out)
                base = one_round(base, shards)
                mix[number] += mistakes(OnlineSVM.from_snapshot(base), held_out)
    return {"set": name, "samples": samples, "one": one.tolist(), "mix": mix.tolist()}


def ratio(row: dict[str, Any], rounds: int) -> float | None:
    """Mistakes of the mix over those of one learner."""
    one, mix = row["one"][rounds - 1], row["mix"][rounds - 1]
    return mix / one if one and mix else None


def mean(rows: Sequence[dict[str, Any]], rounds: int) -> float:
    """The geometric mean of the ratios."""
    ratios = [found for row in rows if (found := ratio(row, rounds)) is not None]
    return math.exp(sum(map(math.log, ratios)) / max(len(ratios), 1))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown: errors of one learner, and ratios."""
    lines = [
        "| set | held out | one, 3 passes | mix, 3 rounds | 1 round | 3 rounds | 5 rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        errors = [row[of][2] / row["samples"] for of in ("one", "mix")]
        found = [ratio(row, rounds) for rounds in ROUNDS]
        shown = ["–" if one is None else f"{one:.3f}" for one in found]
        cells = [row["set"], f"{row['samples']:,}", *(f"{e:.5f}" for e in errors), *shown]
        lines.append(f"| {' | '.join(cells)} |")
    means = [f"{mean(rows, rounds):.3f}" for rounds in ROUNDS]
    lines.append(f"| geometric mean | | | | {' | '.join(means)} |")
    return "\n".join(lines)


# The cost.


def cost(samples: int) -> dict[str, float]:
    """Seconds of each command over the same samples, the median of three."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "samples.svm"
        lines = lines_of(SETS["flights13"].path, False)
        with file.open("wb") as out:
            for start in range(0, samples, len(lines)):
                out.writelines(lines[: samples - start])
        train = ["train", "--shards", str(SHARDS)]
        commands = {
            "learn, one process": ["learn", "--passes", "3"],
            "train, 1 worker": [*train, "--workers", "1"],
            "train, 2 workers": [*train, "--workers", "2"],
        }
        for _ in range(3):
            for name, words in commands.items():
                target = Path(made) / "model"
                target.unlink(missing_ok=True)
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "onlinesvm", *words, "--file", str(target), str(file)],
                    check=True,
                    capture_output=True,
                )
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    return {name: sorted(of)[1] for name, of in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sets", nargs="*", default=[*SETS], choices=[*SETS], metavar="SET")
    parser.add_argument("--folds", type=int, default=FOLDS, choices=range(1, FOLDS + 1))
    parser.add_argument("--ordered", action="store_true")
    parser.add_argument("--rule", default="hedge", choices=("hedge", "sgd"))
    parser.add_argument("--cost", type=int, metavar="SAMPLES")
    given = parser.parse_args()
    print(json.dumps(machine.description()))
    if given.cost is None:
        rows = []
        for name in given.sets:
            if not (DATA / SETS[name].path).exists():
                print(f"{name}: not there, skipped", file=sys.stderr)
                continue
            if given.ordered and not SETS[name].ordered:
                continue
            rows.append(quality(name, given.folds, given.ordered, {"rule": given.rule}))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        print(table(rows))
        print(f"wanted: a mean of at most {WANTED} after 3 rounds")
    found = cost(given.cost or 1_000_000)
    for name, seconds in found.items():
        print(f"{name}: {seconds:.1f} s, {seconds / found['learn, one process']:.2f}×")


if __name__ == "__main__":
    main()
