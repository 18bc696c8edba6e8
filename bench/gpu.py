"""The rows of a GPU, in under five minutes: what has contenders on CUDA, in small forms.

    python -m bench.gpu bench/results/gpu    results into that folder; bench.report shows them

For a machine that is lent for minutes. `make bench-torch` measures the same rows, and all others,
where the machine has a GPU of its own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench import cross_features, embedding_bag, products, voices
from bench.harness import HERE

__all__ = ["FORMS", "main"]

LIMIT_S = 270.0

# Beside the rows on CUDA: what they are compared with.
_BESIDE = {
    "cross_features": list(cross_features.bench.contenders)[:2],
    "voices": [voices.BASELINE],
    "embedding_bag": [
        "auto", "native csr", "scipy csr", products.EMBEDDING, products.OFFSETS,
        "torch sparse CSR", "training: ours, sgd", "training: ours, hedge",
        *(name for name in embedding_bag.bench.contenders if name.startswith("named: ours")),
    ],
}  # fmt: skip
# Bench → arguments; the most important first, for when time runs out.
FORMS: dict[str, list[str]] = {
    "packed": ["--size", "turns=3"],
    "recurrent": ["--size", "seeds=1", "--size", "texts=100"],
    "cross_features": ["--size", "samples=5000"],
    "voices": [],
    "autoencoder": ["--size", "seconds=15"],
    "embedding_bag": [
        "--size", "turns=3", "--size", "samples=50000",
        "--case", "batch, float32", "--case", "batch, float64", "--case", "training",
        "--case", "named", "--case", "weights, float32", "--size", "weights=10000000",
    ],
}  # fmt: skip


def command(name: str, folder: Path) -> list[str]:
    """The command of one bench: its CUDA contenders, and those that they stand beside."""
    module = __import__(f"bench.{name}", fromlist=["bench"])
    chosen = [n for n in module.bench.contenders if "CUDA" in n] + _BESIDE.get(name, [])
    only = [argument for n in chosen for argument in ("--only", n)]
    return [sys.executable, "-m", f"bench.{name}", "--full", "--rounds", "1", "--out", str(folder),
            *FORMS[name], *only]  # fmt: skip


def main(folder: Path) -> int:
    """Run all; 1 if one failed or the time was up."""
    end = time.monotonic() + LIMIT_S
    failed = 0
    for name in FORMS:
        start = time.monotonic()
        try:
            done = subprocess.run(
                command(name, folder), cwd=HERE.parent, timeout=max(1.0, end - start)
            ).returncode
        except subprocess.TimeoutExpired:
            print(f"{name}: not done in time", file=sys.stderr)
            done = 1
        failed |= done
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
