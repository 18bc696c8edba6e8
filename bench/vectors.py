"""Word vectors as features of texts: how much do they help, and what do they cost?

    python -m bench.vectors --fasttext PYTHON    a Python that has the module fasttext

Caveats first. The vectors are trained on half of a set's texts, without labels; the other half is
then learned in one pass, every text predicted before it is learned. Small vectors of little text
(skipgram, 50 numbers, 5 epochs) show what can be had at home, not what large ones bring. `us` are
microseconds of processor time a text, from texts in memory to margins.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machine
from bench.text import SETS, read
from onlinesvm import OnlineSVM

__all__ = ["main"]

RESULTS = Path(__file__).resolve().parent / "results" / "vectors.json"
BATCH = 500
_TRAIN = """
import fasttext, sys
model = fasttext.train_unsupervised(sys.argv[1], dim=50, epoch=5, thread=1, bucket=50000, verbose=0)
model.save_model(sys.argv[2])
"""


def trained(texts: list[str], folder: Path, python: str) -> Path:
    """A fastText file trained on `texts`, small."""
    corpus, file = folder / "corpus.txt", folder / "vectors.bin"
    corpus.write_text("\n".join(" ".join(text.lower().split()) for text in texts), "utf-8")
    subprocess.run([python, "-c", _TRAIN, str(corpus), str(file)], check=True)
    return file


def ours(texts: list[str], labels: list[int], **config: Any) -> dict[str, float]:
    """The progressive error, and the microseconds a text."""
    model = OnlineSVM(**config)
    before = time.process_time()
    for start in range(0, len(texts), BATCH):
        part = slice(start, start + BATCH)
        model.learn(zip(texts[part], labels[part], strict=True))
    seconds = time.process_time() - before
    assert model.progressive.error is not None
    return {"error": model.progressive.error, "us": seconds / len(texts) * 1e6}


def main(arguments: list[str]) -> int:
    """Run all, print a line each, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench.vectors")
    parser.add_argument("--fasttext", metavar="PYTHON", required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in given.sets:
        texts, signs = read(name)
        half, labels = len(texts) // 2, signs.tolist()
        with tempfile.TemporaryDirectory() as folder:
            file = trained(texts[half:], Path(folder), given.fasttext)
            found[name] = {}
            for text in ("words", "default"):
                for vectors in (None, file):
                    row = ours(texts[:half], labels[:half], text=text, vectors=vectors)
                    case = text if vectors is None else f"{text}, vectors"
                    found[name][case] = row
                    print(f"{name}: {case} {100 * row['error']:.3f} %, {row['us']:.0f} us")
    when = time.strftime("%Y-%m-%d", time.gmtime())
    result = {"date": when, "machine": machine.description(), "sets": found}
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
