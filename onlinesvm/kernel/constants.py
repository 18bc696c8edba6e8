"""The constants that Python and C share, as a C header.

Each is defined once, in one of SOURCES. setup.py runs this file by its path and writes the header
to the build folder. Neither this package nor NumPy can be imported there: the standard library is
all there is.

    float              a macro, in hexadecimal and so exact
    integer            a macro
    tuple of floats    an array
    tuple of names     a macro: how many there are

A macro that the compiler's command line defines keeps that value (bench.constants).
"""

from __future__ import annotations

import runpy
from pathlib import Path

__all__ = ["SOURCES", "header", "shared", "values"]

Constant = float | int | tuple[float, ...] | tuple[str, ...]

PACKAGE = Path(__file__).resolve().parent.parent
SOURCES = (
    "magnitudes.py", "data/constants.py", "metrics/constants.py", "model/rules/constants.py",
    "text/constants.py",
)  # fmt: skip


def shared() -> dict[str, Constant]:
    """All shared constants by name, in the order of the sources."""
    found: dict[str, Constant] = {}
    for source in SOURCES:
        for name, value in runpy.run_path(str(PACKAGE / source)).items():
            if not name.isupper():
                continue
            if name in found:
                raise ValueError(f"{source}: expected a name of its own, got {name} again")
            found[name] = value
    return found


def values() -> dict[str, float]:
    """Every number of the header, in the order in which `constants_read` writes them."""
    numbers: dict[str, float] = {}
    for name, value in shared().items():
        if not isinstance(value, tuple):
            numbers[name] = value
        elif isinstance(value[0], str):
            numbers[name] = len(value)
        else:
            numbers.update({f"{name}[{k}]": float(number) for k, number in enumerate(value)})
    return numbers


def header() -> str:
    """The header's text."""
    lines = [
        "/* Made by onlinesvm/kernel/constants.py from " + ", ".join(SOURCES) + ". */",
        "#ifndef ONLINESVM_CONSTANTS_H",
        "#define ONLINESVM_CONSTANTS_H",
        "",
    ]
    for name, value in shared().items():
        if isinstance(value, tuple) and not isinstance(value[0], str):
            series = ", ".join(_literal(float(number)) for number in value)
            lines.append(f"static const double {name}[{len(value)}] = {{{series}}};")
        else:
            number = len(value) if isinstance(value, tuple) else value
            shown = f" /* {number!r} */" if isinstance(number, float) else ""
            lines += [f"#ifndef {name}", f"#define {name} {_literal(number)}{shown}", "#endif"]
    numbers = values()
    lines += [
        "",
        "/* Every number above, as compiled, in their order. */",
        f"#define CONSTANTS {len(numbers)}",
        "static void constants_read(double *values)",
        "{",
        *(f"    values[{k}] = {name};" for k, name in enumerate(numbers)),
        "}",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _literal(number: float) -> str:
    return number.hex() if isinstance(number, float) else str(number)
