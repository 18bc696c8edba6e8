"""Raw text: how often does each learner err, one pass, and how long does it take?

    python -m bench.text                    every contender on every set, a table, results as JSON
    python -m bench.text --sets sms_spam    one set
    python -m bench.text --peers river      one peer

Caveats first. One pass, every text predicted before it is learned, all at their defaults; the order
is that of bench.accuracy. `words` are the distinct words of a text as names, what the hedge had
before it read text. The peers are those of bench.text_peers; fastText, which does not learn on a
stream, is judged on the second half, beside `text, 2nd half`. A peer that is not installed is named
and skipped. `us` are microseconds of processor time a text, from texts in memory to margins; VW's
process is not timed here.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine
from bench.accuracy import DATA
from bench.text_peers import PEERS, Texts, word_tokens
from onlinesvm import OnlineSVM

__all__ = ["SETS", "read"]

RESULTS = Path(__file__).resolve().parent / "results" / "text.json"
BATCH = 500

# Set → its file, the label of side +1, or None for all of its labels, and True where its order
# counts.
SETS: dict[str, tuple[str, str | None, bool]] = {
    "sms_spam": ("sms_spam/sms.tsv.gz", "spam", False),
    "spamassassin": ("spamassassin/spamassassin.tsv.gz", "spam", True),
    "debian_langid, es": ("debian_langid/debian_langid.tsv.gz", "es", False),
    "debian_langid, sk": ("debian_langid/debian_langid.tsv.gz", "sk", False),
    "debian_langid, all 14": ("debian_langid/debian_langid.tsv.gz", None, False),
}
OURS: dict[str, Callable[[str], Any]] = {
    "words": lambda text: list(dict.fromkeys(word_tokens(text))),
    "text": str,
}
HALF = "text, 2nd half"
NOT_PEERS = ("majority", *OURS, HALF, *(name for name, peer in PEERS.items() if peer.is_halved))


def read(name: str) -> Texts:
    """The texts of a set in the order they are learned in; side +1 is label 1."""
    path, positive, ordered = SETS[name]
    with gzip.open(DATA / path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    order = range(len(rows)) if ordered else np.random.default_rng(0).permutation(len(rows))
    rows = [rows[i] for i in order]
    seen: dict[str, int] = {}
    if positive is None:
        labels = [seen.setdefault(label, len(seen)) for label, _ in rows]
    else:
        labels = [int(label == positive) for label, _ in rows]
    return Texts([text for _, text in rows], np.array(labels), len(seen) or 2)


def ours(data: Texts, features: Callable[[str], Any]) -> list[float]:
    """The progressive error, and that of the second half."""
    model = OnlineSVM(task="binary" if data.classes == 2 else "multiclass")
    mistakes = [0.0]
    half = len(data.texts) // 2
    for start, stop in ((0, half), (half, len(data.texts))):
        for first in range(start, stop, BATCH):
            part = slice(first, min(stop, first + BATCH))
            rows = zip(map(features, data.texts[part]), data.labels[part].tolist(), strict=True)
            model.learn(list(rows))
        error = model.progressive.error
        assert error is not None
        mistakes.append(error * stop)
    return [mistakes[2] / len(data.texts), (mistakes[2] - mistakes[1]) / (len(data.texts) - half)]


def judged(name: str, peers: list[str]) -> dict[str, dict[str, float]]:
    """The errors of all contenders on a set."""
    data = read(name)
    most = float(np.bincount(data.labels).max()) / len(data.texts)
    found = {"majority": {"error": 1.0 - most}}

    def timed(contender: str, run: Callable[[], Any]) -> Any:
        before = time.process_time()
        result = run()
        us = (time.process_time() - before) / len(data.texts) * 1e6
        found[contender] = {"error": 0.0}
        if not contender.startswith("VW"):
            found[contender]["us"] = us
        return result

    for contender, features in OURS.items():
        errors = timed(contender, lambda features=features: ours(data, features))
        found[contender]["error"] = errors[0]
        print(f"{name}: {contender} {100 * errors[0]:.3f} %", file=sys.stderr, flush=True)
    found[HALF] = {"error": errors[1]}
    for contender in peers:
        peer = PEERS[contender]
        reason = machine.absent(peer.need)
        if reason:
            print(f"skipped {contender}: {reason}", file=sys.stderr)
            continue
        found[contender]["error"] = error = float(
            timed(contender, lambda peer=peer: peer.learn(data)).mean()
        )
        print(f"{name}: {contender} {100 * error:.3f} %", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """The errors in percent, the ratio to words and to the best peer."""
    names = list(next(iter(found.values())))
    peers = [name for name in names if name not in NOT_PEERS]
    lines = ["| | " + " | ".join(names) + " | text ÷ words | ÷ best peer |"]
    lines.append("|---" * (len(names) + 3) + "|")
    ratios = []
    for name, errors in found.items():
        text = errors["text"]["error"]
        ratios.append(text / errors["words"]["error"])
        best = min((errors[peer]["error"] for peer in peers), default=math.nan)
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
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    found = {name: judged(name, given.peers) for name in given.sets}
    print(table(found))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y-%m-%d", time.gmtime())
    result = {
        "date": when, "machine": machine.description(), "versions": machine.versions(),
        "sets": found,
    }  # fmt: skip
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
