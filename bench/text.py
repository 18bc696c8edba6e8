"""Raw text: how often does each learner err, one pass, and how long does it take?

    python -m bench.text                    every contender on every set, a table, results as JSON
    python -m bench.text --sets sms_spam    one set
    python -m bench.text --vw PYTHON        a Python that has the module vowpalwabbit

Caveats first. One pass, every text predicted before it is learned, all at their defaults; the order
is that of bench.accuracy. `words` are the distinct words of a text as names, what the hedge had
before it read text. VW reads words, or words and pairs (--ngram 2) from a file; scikit-learn hashes
words and pairs, and learns 32 texts at a time. `us` are microseconds of processor time a text, from
texts in memory to margins; VW's process is not timed here.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import machine
from bench.accuracy import DATA
from onlinesvm import OnlineSVM

__all__ = ["CONTENDERS", "SETS", "Texts", "read"]

RESULTS = Path(__file__).resolve().parent / "results" / "text.json"
BATCH = 500

# Set → its file, the label of side +1, and True where its order counts.
SETS = {
    "sms_spam": ("sms_spam/sms.tsv.gz", "spam", False),
    "spamassassin": ("spamassassin/spamassassin.tsv.gz", "spam", True),
    "debian_langid, es": ("debian_langid/debian_langid.tsv.gz", "es", False),
    "debian_langid, sk": ("debian_langid/debian_langid.tsv.gz", "sk", False),
}

Texts = tuple[list[str], NDArray[np.int64]]
_WORD = re.compile(r"\w+")


def read(name: str) -> Texts:
    """The texts of a set and their labels, −1 or +1, in the order they are learned in."""
    path, positive, ordered = SETS[name]
    with gzip.open(DATA / path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    labels = np.array([1 if label == positive else -1 for label, _ in rows])
    texts = [text for _, text in rows]
    if ordered:
        return texts, labels
    order = np.random.default_rng(0).permutation(len(texts))
    return [texts[i] for i in order], labels[order]


def words(text: str) -> list[str]:
    """The distinct words of a text, small."""
    return list(dict.fromkeys(_WORD.findall(text.lower())))


def majority(texts: list[str], labels: NDArray[np.int64]) -> float:
    """The error of the more frequent label."""
    return float(min((labels > 0).mean(), (labels < 0).mean()))


def ours(texts: list[str], labels: NDArray[np.int64], features: Callable[[str], Any]) -> float:
    """The progressive error."""
    model = OnlineSVM()
    for start in range(0, len(texts), BATCH):
        part = slice(start, start + BATCH)
        model.learn(list(zip(map(features, texts[part]), labels[part].tolist(), strict=True)))
    error = model.progressive.error
    assert error is not None
    return error


def scikit_learn(texts: list[str], labels: NDArray[np.int64]) -> float:
    """HashingVectorizer and SGDClassifier."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    vectorizer, learner = HashingVectorizer(ngram_range=(1, 2)), SGDClassifier(random_state=0)
    wrong = 0
    for start in range(0, len(texts), 32):
        x, y = vectorizer.transform(texts[start : start + 32]), labels[start : start + 32]
        predicted = learner.predict(x) if start else -np.ones(len(y))
        wrong += int((predicted != y).sum())
        learner.partial_fit(x, y, classes=[-1, 1])
    return wrong / len(texts)


def vowpal_wabbit(
    texts: list[str], labels: NDArray[np.int64], python: str, options: tuple[str, ...]
) -> float:
    """VW's hinge loss, from a file of words."""
    with tempfile.TemporaryDirectory() as folder:
        given, predicted = Path(folder) / "in.vw", Path(folder) / "out"
        with given.open("w", encoding="utf-8") as file:
            for text, label in zip(texts, labels.tolist(), strict=True):
                file.write(f"{label} | {' '.join(_WORD.findall(text.lower()))}\n")
        command = [python, "-m", "vowpalwabbit", "-d", str(given), "-p", str(predicted)]
        command += ["--loss_function", "hinge", "--quiet", *options]
        subprocess.run(command, check=True, capture_output=True)
        return float(((np.loadtxt(predicted) > 0) != (labels > 0)).mean())


Contender = Callable[[list[str], NDArray[np.int64]], float]
CONTENDERS: dict[str, Contender] = {
    "majority": majority,
    "words": lambda texts, labels: ours(texts, labels, words),
    "text": lambda texts, labels: ours(texts, labels, str),
    "scikit-learn": scikit_learn,
}


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """The errors in percent, the ratio to words and to the best peer."""
    names = list(next(iter(found.values())))
    peers = [name for name in names if name not in ("majority", "words", "text")]
    lines = ["| | " + " | ".join(names) + " | text ÷ words | ÷ best peer |"]
    lines.append("|---" * (len(names) + 3) + "|")
    ratios = []
    for name, errors in found.items():
        text = errors["text"]["error"]
        ratios.append(text / errors["words"]["error"])
        best = min(errors[peer]["error"] for peer in peers)
        cells = [f"{100 * errors[n]['error']:.3f}" for n in names]
        lines.append(
            f"| {name} | " + " | ".join(cells) + f" | {ratios[-1]:.2f} | {text / best:.2f} |"
        )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return "\n".join([*lines, "", f"text ÷ words, geometric mean: {mean:.3f}"])


def main(arguments: list[str]) -> int:
    """Run all, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench.text")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--vw", metavar="PYTHON", help="a Python that has vowpalwabbit")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    contenders = dict(CONTENDERS)
    if given.vw:
        for name, options in (("VW", ()), ("VW --ngram 2", ("--ngram", "2"))):
            contenders[name] = functools.partial(vowpal_wabbit, python=given.vw, options=options)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in given.sets:
        texts, labels = read(name)
        found[name] = {}
        for contender, run in contenders.items():
            before = time.process_time()
            error = run(texts, labels)
            seconds = time.process_time() - before
            found[name][contender] = {"error": error}
            if not contender.startswith(("VW", "majority")):
                found[name][contender]["us"] = seconds / len(texts) * 1e6
            print(f"{name}: {contender} {100 * error:.3f} %", file=sys.stderr, flush=True)
    print(table(found))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y-%m-%d", time.gmtime())
    result = {"date": when, "machine": machine.description(), "sets": found}
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
