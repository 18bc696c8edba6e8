"""All questions, one after the other, and the page of their results.

Arguments are those of a single bench, less --case, --only and --size.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

from bench import report
from bench.harness import HERE, SCRATCH


def main(arguments: list[str]) -> int:
    """Run every bench; 1 if a contender of one failed."""
    failed = 0
    for name in report.ORDER:
        start = time.monotonic()
        failed |= importlib.import_module(f"bench.{name}").bench.main(arguments)
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    if "--out" in arguments:
        out = Path(arguments[arguments.index("--out") + 1])
    else:
        out = HERE / "results" if "--full" in arguments else SCRATCH / "results"
    report.main(out)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
