"""Learn many classes untuned: how many mistakes, how fast, how much memory, beside the peers?

    python -m bench.classes                        every set once
    python -m bench.classes --sets kdd99           one set
    python -m bench.classes --peers "VW oaa hinge" AROW
    python -m bench.classes --shuffles 5           and five other orders of the sets without one
    python -m bench.classes --rates                rates and memory at 20, 100 and 700 labels

Caveats first. Every error is progressive: a sample is predicted, then learned, once; a label's
first sample is a mistake of everybody's. kdd99 is in its own order, the others are shuffled (seed
0). Text is its distinct lower-cased words. VW is its driver at its defaults but for the bits of its
table, and knows the number of labels beforehand; scikit-learn learns in batches of 32, each
predicted as a whole. Multi-class PA-I (C = 1) and AROW (r = 0.1) are our own, dense, on raw values
with a bias, as Jubatus has them. K hedges are our binary hedges, one against the rest each. A peer
that is not installed or does not fit a set, and a set that is not there, is named and skipped.

Rates are of one process: ours from the bytes of a request of names to learned and counted samples;
VW's driver from its text file, less its start-up. On a busy machine compare those of a second of
processor time; VW parses in a second thread, whose time counts there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import debian, machine
from bench.accuracy import DATA
from bench.harness import SCRATCH
from onlinesvm import LearnerConfig, Limits
from onlinesvm import kernel as kernels
from onlinesvm.data.batch import CSR
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.model.classes import ClassHead
from onlinesvm.model.head import Head
from onlinesvm.text.tokenize import tokens

RESULTS = Path(__file__).resolve().parent / "results"
BATCH = 1024
MOST_LABELS = 100  # of peers that take K times as long, or a dense table
SETS = ("debian_langid", "kdd99", "sections", "maintainers")
ORDERED = ("kdd99",)
RATES = (20, 100, 700)
SINGLE = 0.2  # seconds of VW below which nothing is measured

Mistakes = NDArray[np.bool_]


class Data(NamedTuple):
    """Rows over feature ids from 1, names by id, labels in order of first sight."""

    csr: CSR
    names: list[str]
    labels: NDArray[np.int32]

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def rows(self, order: NDArray[np.intp]) -> Data:
        """These rows, in this order."""
        indptr, indices, data = self.csr
        parts = [np.arange(indptr[i], indptr[i + 1]) for i in order.tolist()]
        places = np.concatenate(parts)
        lengths = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        seen: dict[int, int] = {}
        labels = [seen.setdefault(y, len(seen)) for y in self.labels[order].tolist()]
        return Data(
            CSR(lengths, indices[places], data[places]), self.names, np.array(labels, np.int32)
        )

    def shuffled(self, seed: int) -> Data:
        return self.rows(np.random.default_rng(seed).permutation(len(self.labels)))

    def frequent(self, labels: int) -> Data:
        """The rows of so many labels, the most frequent."""
        kept = [label for label, _ in Counter(self.labels.tolist()).most_common(labels)]
        return self.rows(np.flatnonzero(np.isin(self.labels, kept)))


def _stored(name: str) -> list[tuple[str, list[tuple[str, float]]]]:
    if name == "kdd99":
        found = []
        with gzip.open(DATA / "kdd99/kdd99.svm.gz", "rt") as file:
            for line in file:
                label, *pairs = line.split()
                split = (pair.split(":") for pair in pairs)
                found.append((label, [(i, float(x)) for i, x in split if float(x)]))
        return found
    if name == "debian_langid":
        with gzip.open(DATA / "debian_langid/debian_langid.tsv.gz", "rt", encoding="utf-8") as file:
            texts = [tuple(line.rstrip("\n").split("\t", 1)) for line in file]
    else:
        debian.download(SCRATCH / "debian")
        texts = list(debian.rows(SCRATCH / "debian", name))
    return [(row[0], [(token, 1.0) for token in tokens(row[1])]) for row in texts]


def absent(name: str) -> str | None:
    """The reason why a set is not there."""
    if name in ("sections", "maintainers"):
        return debian.absent()
    path = {"kdd99": "kdd99/kdd99.svm.gz", "debian_langid": "debian_langid/debian_langid.tsv.gz"}
    return None if (DATA / path[name]).exists() else f"not at {DATA / path[name]}"


def read(name: str) -> Data:
    """The set, in the order it is compared in."""
    ids: dict[str, int] = {}
    seen: dict[str, int] = {}
    indptr, indices, data, labels = [0], [], [], []
    for label, row in _stored(name):
        for feature, x in row:
            indices.append(ids.setdefault(feature, len(ids) + 1))
            data.append(x)
        indptr.append(len(indices))
        labels.append(seen.setdefault(label, len(seen)))
    csr = CSR(np.array(indptr), np.array(indices, np.int32), np.array(data))
    made = Data(csr, ["", *ids], np.array(labels, np.int32))
    return made if name in ORDERED else made.shuffled(0)


# Contenders: which samples each predicted wrongly.


def ours(data: Data) -> tuple[Mistakes, float]:
    """Our mistakes, and the calibration error over the later half."""
    learner = ClassHead(kernels.load(), True, 100_000, 128).rule
    n = len(data.labels)
    predicted, confident = [], []
    for start in range(0, n, BATCH):
        stop = min(n, start + BATCH)
        learned = learner.learn(
            data.csr.rows(start, stop), data.labels[start:stop], np.ones(stop - start)
        )
        predicted.append(learned.predicted)
        confident.append(learned.confidences)
    wrong = np.concatenate(predicted) != data.labels
    p, right = np.concatenate(confident)[n // 2 :], ~wrong[n // 2 :]
    at = np.minimum(14, (p * 15).astype(int))
    off = sum(abs(float(p[at == k].sum()) - float(right[at == k].sum())) for k in range(15))
    return wrong, off / len(p)


def _vw_text(data: Data, path: Path) -> None:
    indptr, indices, values = (column.tolist() for column in data.csr)
    with path.open("w", encoding="utf-8") as file:
        for i, label in enumerate(data.labels.tolist()):
            row = slice(indptr[i], indptr[i + 1])
            names = (
                f"{j}" if x == 1 else f"{j}:{x!r}"
                for j, x in zip(indices[row], values[row], strict=True)
            )
            file.write(f"{label + 1} | {' '.join(names)}\n")


def _vw_command(data: Data, path: Path, *flags: str) -> list[str]:
    width = max(2, data.classes) * len(data.names)
    bits = min(28, max(18, math.ceil(math.log2(width)) + 1))
    command = [sys.executable, "-m", "vowpalwabbit", "-d", str(path), "-b", str(bits), "--quiet"]
    return [*command, *(str(data.classes) if flag == "K" else flag for flag in flags)]


def vowpal_wabbit(*flags: str) -> Callable[[Data], Mistakes]:
    def learn(data: Data) -> Mistakes:
        with tempfile.TemporaryDirectory() as folder:
            text, reported = Path(folder) / "in.vw", Path(folder) / "out"
            _vw_text(data, text)
            command = _vw_command(data, text, *flags, "-p", str(reported))
            subprocess.run(command, check=True, capture_output=True)
            return np.asarray(np.loadtxt(reported).astype(int) - 1 != data.labels)

    return learn


def scikit_learn(name: str) -> Callable[[Data], Mistakes]:
    def learn(data: Data) -> Mistakes:
        from scipy import sparse
        from sklearn import linear_model, naive_bayes

        made: Any = {
            "SGD": lambda: linear_model.SGDClassifier(random_state=0),
            "PA": lambda: linear_model.SGDClassifier(
                random_state=0, loss="hinge", penalty=None, learning_rate="pa1", eta0=1.0
            ),
            "MNB": naive_bayes.MultinomialNB,
        }[name]()
        indptr, indices, values = data.csr
        shape = len(data.labels), len(data.names)
        matrix = sparse.csr_matrix((np.abs(values) if name == "MNB" else values, indices, indptr),
                                   shape=shape)  # fmt: skip
        parts, every = [], np.arange(data.classes)
        for start in range(0, len(data.labels), 32):
            x, y = matrix[start : start + 32], data.labels[start : start + 32]
            parts.append(learner_predict(made, x, start))
            made.partial_fit(x, y, classes=every)
        return np.asarray(np.concatenate(parts) != data.labels)

    return learn


def learner_predict(learner: Any, x: Any, start: int) -> NDArray[Any]:
    """Before the first batch nothing can be predicted."""
    return np.asarray(learner.predict(x)) if start else np.full(x.shape[0], -1)


def dense(kind: str) -> Callable[[Data], Mistakes]:
    """Multi-class PA-I or AROW: the truth against the strongest rival."""

    def learn(data: Data) -> Mistakes:
        d, k = len(data.names) + 1, data.classes
        weights, variances = np.zeros((d, k)), np.ones((d if kind == "AROW" else 1, k))
        indptr, indices, values = data.csr
        wrong, known = np.ones(len(data.labels), dtype=bool), 0
        for i, y in enumerate(data.labels.tolist()):
            row = slice(indptr[i], indptr[i + 1])
            ids, x = np.append(indices[row], d - 1), np.append(values[row], 1.0)
            scores = x @ weights[ids]
            wrong[i] = y >= known or int(scores[:known].argmax()) != y
            known = max(known, y + 1)
            if known < 2:
                continue
            scores[known:] = scores[y] = -np.inf
            rival = int(scores.argmax())
            loss = 1 - float(x @ (weights[ids, y] - weights[ids, rival]))
            if loss <= 0:
                continue
            if kind == "PA-I":
                step = min(1.0, loss / (2 * float(x @ x))) * x
                weights[ids, y] += step
                weights[ids, rival] -= step
            else:
                own, other = variances[ids, y], variances[ids, rival]
                beta = 1 / (float(x**2 @ (own + other)) + 0.1)
                weights[ids, y] += loss * beta * own * x
                weights[ids, rival] -= loss * beta * other * x
                variances[ids, y] -= beta * (own * x) ** 2
                variances[ids, rival] -= beta * (other * x) ** 2
        return wrong

    return learn


def hedges(data: Data) -> Mistakes:
    """As many binary hedges as labels, one against the rest each; one starts at its label's first
    sample, as it would.
    """
    n, best = len(data.labels), np.full(len(data.labels), -np.inf)
    predicted = np.full(n, -1)
    for label in range(data.classes):
        first = int(np.flatnonzero(data.labels == label)[0])
        rule = Head(kernels.load(), LearnerConfig()).rule
        signs = np.where(data.labels[first:] == label, 1.0, -1.0)
        margins = rule.learn(data.csr.rows(first, n), signs, np.ones(n - first))
        margins[0] = -np.inf  # not known yet
        better = margins > best[first:]
        best[first:][better], predicted[first:][better] = margins[better], label
    return np.asarray(predicted != data.labels)


class Peer(NamedTuple):
    need: str
    learn: Callable[[Data], Mistakes]
    most: int = MOST_LABELS


PEERS = {
    "VW oaa squared": Peer("vowpalwabbit", vowpal_wabbit("--oaa", "K"), 10**6),
    "VW oaa hinge": Peer(
        "vowpalwabbit", vowpal_wabbit("--oaa", "K", "--loss_function", "hinge"), 10**6
    ),
    "VW oaa logistic": Peer(
        "vowpalwabbit", vowpal_wabbit("--oaa", "K", "--loss_function", "logistic"), 10**6
    ),
    "VW ect": Peer("vowpalwabbit", vowpal_wabbit("--ect", "K")),
    "sklearn SGD": Peer("sklearn", scikit_learn("SGD")),
    "sklearn PA": Peer("sklearn", scikit_learn("PA")),
    "sklearn MNB": Peer("sklearn", scikit_learn("MNB")),
    "PA-I": Peer("numpy", dense("PA-I")),
    "AROW": Peer("numpy", dense("AROW")),
}
HEDGES = "K hedges"


def compared(data: Data, only: list[str]) -> dict[str, float]:
    """The error of each contender that is here and fits."""
    errors = {}
    for name, peer in {**PEERS, HEDGES: Peer("numpy", hedges)}.items():
        if name not in only or data.classes > peer.most:
            continue
        if machine.absent(peer.need):
            continue
        start = time.perf_counter()
        errors[name] = float(peer.learn(data).mean())
        print(f"  {name} {errors[name]:.5f} {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return errors


def judged(data: Data, only: list[str]) -> dict[str, Any]:
    """Our error and calibration error, the peers' errors, and our error over the best of them."""
    wrong, calibration = ours(data)
    errors = compared(data, only)
    mine = float(wrong.mean())
    peers = {name: error for name, error in errors.items() if name != HEDGES}
    best = min(peers, key=lambda name: peers[name], default=None)
    return {
        "error": mine,
        "calibration_error": calibration,
        "peers": errors,
        "best_peer": best,
        "over_best_peer": mine / peers[best] if best else None,
        "over_hedges": mine / errors[HEDGES] if HEDGES in errors else None,
    }


# Rates and memory, each in a process of its own.


def learn_names(data: Data) -> dict[str, float]:
    """Bytes of requests → learned and counted samples: seconds, and resident bytes a feature."""
    kernel, limits, packer = kernels.load(), Limits(), Packer()
    indptr, indices, values = (column.tolist() for column in data.csr)
    names, requests = data.names, []
    for start in range(0, len(data.labels), BATCH):
        parts = []
        for i in range(start, min(len(data.labels), start + BATCH)):
            row = slice(indptr[i], indptr[i + 1])
            pairs = zip(indices[row], values[row], strict=True)
            parts.append(packer.sample({names[j]: x for j, x in pairs}, 1))
        requests.append(pack_array(parts))
    head = ClassHead(kernel, True, 100_000, 128)
    lookup = kernel.Lookup(limits.max_features)
    before = machine.resident_bytes()
    start_s, start_cpu = time.perf_counter(), time.process_time()
    for k, body in enumerate(requests):
        batch = kernel.decode(body, limits, labelled=True)
        csr = lookup.ids(batch, grow=True)
        labels = data.labels[k * BATCH : (k + 1) * BATCH]
        head.learn(csr, labels, batch.importances, batch.importances)
    seconds, cpu = time.perf_counter() - start_s, time.process_time() - start_cpu
    grown = machine.resident_bytes() - before
    sizes = sum(len(name.encode()) for name in names)
    return {
        "samples_per_s": len(data.labels) / seconds,
        "samples_per_cpu_s": len(data.labels) / cpu,
        "bytes_a_feature": (grown - sizes) / (len(names) - 1),
        "error": float(head.progressive.error or 0.0),
    }


def vw_rate(data: Data) -> dict[str, float]:
    """VW's driver over its text, less its start-up."""
    with tempfile.TemporaryDirectory() as folder:
        text, empty = Path(folder) / "in.vw", Path(folder) / "none.vw"
        empty.touch()
        indptr, indices, _ = (column.tolist() for column in data.csr)
        with text.open("w", encoding="utf-8") as file:
            for i, label in enumerate(data.labels.tolist()):
                row = " ".join(data.names[j] for j in indices[indptr[i] : indptr[i + 1]])
                file.write(f"{label + 1} | {row}\n")

        def seconds(path: Path) -> NDArray[np.float64]:
            """Wall and processor seconds."""
            start, before = time.perf_counter(), os.times()
            flags = ("--oaa", "K", "--loss_function", "hinge")
            subprocess.run(_vw_command(data, path, *flags), check=True, capture_output=True)
            after = os.times()
            cpu = after.children_user + after.children_system
            cpu -= before.children_user + before.children_system
            return np.array([time.perf_counter() - start, cpu])

        startup = np.median([seconds(empty) for _ in range(3)], axis=0)
        wall, cpu = np.maximum(SINGLE, seconds(text) - startup)
        n = len(data.labels)
        return {"samples_per_s": n / wall, "samples_per_cpu_s": n / cpu}


def _child(contender: str, labels: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.classes", "--child", contender, str(labels)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def rates(rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for labels in RATES:
        mine = [_child("ours", labels) for _ in range(rounds)]
        figures = {name: statistics.median(run[name] for run in mine) for name in mine[0]}
        if not machine.absent("vowpalwabbit"):
            runs = [_child("VW", labels) for _ in range(rounds)]
            for name in runs[0]:
                peer = statistics.median(run[name] for run in runs)
                figures |= {f"vw_{name}": peer, f"{name}_over_vw": figures[name] / peer}
        found[str(labels)] = figures
        print(f"{labels} labels: {figures}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--peers", nargs="+", choices=[*PEERS, HEDGES], default=[*PEERS, HEDGES])
    parser.add_argument("--shuffles", type=int, default=0, metavar="N")
    parser.add_argument("--rates", action="store_true", help="rates and memory instead of errors")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=SCRATCH / "results")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        contender, labels = arguments.child
        data = read("maintainers").frequent(int(labels))
        print(json.dumps({"ours": learn_names, "VW": vw_rate}[contender](data)))
        return
    outcome: dict[str, Any] = {
        "machine": machine.description(), "versions": machine.versions(), "sets": {},
    }  # fmt: skip
    if arguments.rates:
        outcome["rates"] = rates(arguments.rounds)
    for name in () if arguments.rates else arguments.sets:
        reason = absent(name)
        if reason:
            print(f"skipped set {name}: {reason}", file=sys.stderr)
            continue
        try:
            data = read(name)
        except RuntimeError as error:
            print(f"skipped set {name}: {error}", file=sys.stderr)
            continue
        print(f"{name}: {len(data.labels)} rows, {data.classes} labels", file=sys.stderr)
        outcome["sets"][name] = found = judged(data, arguments.peers)
        if name not in ORDERED:
            orders = range(1, arguments.shuffles + 1)
            found["shuffled"] = [judged(data.shuffled(seed), arguments.peers) for seed in orders]
    ratios = [r for f in outcome["sets"].values() if (r := f["over_best_peer"]) is not None]
    if ratios:
        outcome["geometric_mean"] = math.exp(statistics.fmean(map(math.log, ratios)))
        outcome["worst"] = max(ratios)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "classes.json").write_text(json.dumps(outcome, indent=1) + "\n")
    print(json.dumps({k: v for k, v in outcome.items() if k != "versions"}, indent=1))


if __name__ == "__main__":
    main()
