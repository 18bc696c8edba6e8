"""The hedge's constants: what does each of them, and each expert, do to the error?

    python -m bench.constants                    every variant on every set, two tables
    python -m bench.constants --sets sms_spam    one set

Caveats first. The hedge's C is compiled anew with one constant changed at a time, halved or
doubled, and with one expert at a time that never learns: its margins are 0, and so is its part in
the model. Sets, their order and the error are those of bench.accuracy; importance is 1. "Left out"
chooses, for each set, the variant that is best on all the others, and tells what it does to the
set: where that is no gain, the shipped constants did not need the set.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import machine
from bench.accuracy import RESULTS, SETS, Data, geometric_mean, read, there
from onlinesvm.kernel import constants as header
from onlinesvm.model.rules import constants as rules

SOURCES = Path(__file__).resolve().parent.parent / "onlinesvm" / "kernel" / "csrc"
FLAGS = ("-O3", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-w", "-shared", "-fPIC")

# One learner from birth, over rows whose ids are all known beforehand.
PROGRAM = """
#include <stdlib.h>
#include "rules/hedge.h"
int run(int64_t *indptr, int32_t *indices, double *data, const double *labels,
        const double *importances, size_t samples, uint32_t width, double *margins)
{
    const rows x = {indptr, indices, data};
    hedge r;
    int whole;
    hedge_init(&r, 1);
    whole = blocks_reserve(&r.state, width) && hedge_begin(&r, rows_longest(&x, samples));
    if (whole)
        hedge_learn(&r, &x, samples, labels, importances, margins);
    hedge_end(&r);
    hedge_clear(&r);
    return whole;
}
"""

# The constants that are varied, and their values in the hedge. In C they are macros of these names.
VARIED = (
    "HEDGE_C",
    "HEDGE_PHI",
    "HEDGE_C_WIDE",
    "HEDGE_PHI_WIDE",
    "HEDGE_AROW_R",
    "HEDGE_ETA_SLOW",
    "HEDGE_ETA_FAST",
    "HEDGE_ETA_FASTEST",
    "HEDGE_YOUNG",
    "HEDGE_OUTLIER_BELOW",
    "HEDGE_OUTLIER_ABOVE",
    "HEDGE_PROPORTION",
    "HEDGE_RUN",
    "MIXTURE_LOSS_DISCOUNT",
    "MIXTURE_SCALE_DISCOUNT",
    "MIXTURE_RATE",
    "MIXTURE_RATE_DECAY",
    "MIXTURE_STACK_VARIANCE",
    "MIXTURE_STACK_RETURN",
    "MIXTURE_MARGIN_CUT",
)
CONSTANTS: dict[str, float] = {name: getattr(rules, name) for name in VARIED}
HEADING = """# The hedge's constants

Progressive error as shipped; below it what each change does to it, in percent of it: an expert that
never learns, a constant halved or doubled (of a discount, its distance from 1; a run has at most
63). debian_langid has 23 mistakes in all, so one of them is 4 percent; kdd99 has 152. Then, for
each set, the variant that is best on the others, and what it does to the one left out. Made by
`python -m bench.constants`.

"""
# The constants that keep each expert from moving.
WITHOUT: dict[str, dict[str, float]] = {
    "scw": {"HEDGE_C": 0.0},
    "scw_wide": {"HEDGE_C_WIDE": 0.0},
    "arow": {"HEDGE_AROW_R": 1e300},
    "adaptive_slow": {"HEDGE_ETA_SLOW": 0.0},
    "adaptive_fast": {"HEDGE_ETA_FAST": 0.0},
    "adaptive_fastest": {"HEDGE_ETA_FASTEST": 0.0},
}


def scaled(name: str, factor: float) -> float:
    """A constant times `factor`; of a discount, its distance from 1 is scaled."""
    value = CONSTANTS[name]
    if name.endswith("DISCOUNT"):
        return 1.0 - (1.0 - value) * factor
    return int(value * factor) if isinstance(value, int) else value * factor


def variants() -> dict[str, dict[str, float]]:
    """Each variant's macros: as shipped, without each expert, each constant halved and doubled."""
    of: dict[str, dict[str, float]] = {"as shipped": {}}
    of.update({f"without {name}": macros for name, macros in WITHOUT.items()})
    for name in CONSTANTS:
        for factor in (0.5, 2.0):
            # Of a run there are six bits.
            value = min(scaled(name, factor), 63) if name == "HEDGE_RUN" else scaled(name, factor)
            of[f"{name} {value:g}"] = {name: value}
    return of


class Rows:
    """A set as the C has it: rows over ids from 1."""

    def __init__(self, data: Data) -> None:
        lengths = [len(row) for row in data.rows]
        self.indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.indices = np.array([i for row in data.rows for i in row], dtype=np.int32)
        self.values = np.array([x for row in data.rows for x in row.values()], dtype=np.float64)
        self.labels = data.labels.astype(np.float64)
        self.width = data.width


def compiled(macros: dict[str, float], folder: Path) -> Any:
    """The program with these macros, loaded."""
    source, library = folder / "variant.c", folder / f"variant{len(list(folder.iterdir()))}.so"
    source.write_text(PROGRAM)
    (folder / "constants.h").write_text(header.header(), encoding="utf-8")
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    defined = [f"-D{name}={value!r}" for name, value in macros.items()]
    command = [
        compiler,
        *FLAGS,
        f"-I{SOURCES}",
        f"-I{folder}",
        *defined,
        str(source),
        "-o",
        str(library),
        "-lm",
    ]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library)).run


def margins(run: Any, rows: Rows) -> NDArray[np.float64]:
    """The margins before learning, float64[n]. Raises MemoryError."""
    n = len(rows.labels)
    reported, ones = np.empty(n), np.ones(n)

    def pointer(array: NDArray[Any]) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    arrays = (rows.indptr, rows.indices, rows.values, rows.labels, ones)
    size, width = ctypes.c_size_t(n), ctypes.c_uint32(rows.width)
    if not run(*(pointer(array) for array in arrays), size, width, pointer(reported)):
        raise MemoryError
    return reported


def error(run: Any, rows: Rows) -> float:
    """The progressive error."""
    return float(((margins(run, rows) > 0) != (rows.labels > 0)).mean())


Errors = dict[str, dict[str, float]]


def left_out(errors: Errors) -> dict[str, tuple[str, float]]:
    """For each set the variant that is best on all others, and its error there over the shipped."""
    chosen = {}
    shipped = errors["as shipped"]
    if len(shipped) < 2:
        return {}
    for name in shipped:
        others = [other for other in shipped if other != name]
        best = min(
            errors, key=lambda v: geometric_mean([errors[v][o] / shipped[o] for o in others])
        )
        chosen[name] = (best, errors[best][name] / shipped[name])
    return chosen


def table(errors: Errors) -> str:
    """Each variant's error over that of the hedge as shipped, in percent more or less."""
    shipped = errors["as shipped"]
    lines = ["| | " + " | ".join(shipped) + " | mean |", "|---" * (len(shipped) + 2) + "|"]
    cells = [f"{100 * e:.3f} %" for e in shipped.values()]
    lines.append("| as shipped | " + " | ".join(cells) + " | |")
    for variant, row in errors.items():
        if variant == "as shipped":
            continue
        ratios = [row[name] / shipped[name] for name in shipped]
        cells = [f"{100 * (ratio - 1):+.1f}" for ratio in (*ratios, geometric_mean(ratios))]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def left_out_table(chosen: dict[str, tuple[str, float]]) -> str:
    lines = ["| left out | best on the others | on the one left out |", "|---|---|---|"]
    lines += [f"| {s} | {v} | {100 * (ratio - 1):+.1f} |" for s, (v, ratio) in chosen.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    for name in arguments.sets:
        if not there(name):
            print(f"skipped set {name}: not there", file=sys.stderr)
    sets = {name: Rows(read(name)) for name in arguments.sets if there(name)}
    errors: Errors = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant, macros in variants().items():
            run = compiled(macros, Path(folder))
            errors[variant] = {name: error(run, rows) for name, rows in sets.items()}
            print(variant, errors[variant], file=sys.stderr)
    if not sets:
        return
    chosen = left_out(errors)
    page = f"{table(errors)}\n\n{left_out_table(chosen)}\n"
    print(page)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "constants.md").write_text(HEADING + page)
    outcome = {"machine": machine.description(), "errors": errors, "left_out": chosen}
    (arguments.out / "constants.json").write_text(json.dumps(outcome, indent=1) + "\n")


if __name__ == "__main__":
    main()
