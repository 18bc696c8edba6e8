"""The constants that Python and C share: defined once, compiled as they are defined."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from onlinesvm.kernel import constants

HOUSE = Path(__file__).resolve().parent.parent.parent
CSRC = HOUSE / "onlinesvm" / "kernel" / "csrc"
# Numbers of arithmetic, which formulas have whatever the constants are.
PLAIN = {0.0, 0.5, 1.0, 2.0, 4.0}


def code(path: Path) -> str:
    """A header without its comments."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def by_hand(text: str) -> list[str]:
    """Repetitions of a shared constant in C code: its name defined anew, or its value."""
    names = constants.shared()
    found = [name for name in re.findall(r"#define\s+(\w+)", text) if name in names]
    known = {value for value in constants.values().values() if isinstance(value, float)} - PLAIN
    floats = re.findall(r"(?<![\w.])(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?", text)
    return found + [number for number in floats if float(number) in known]


def test_c_compiled_what_python_computes_with() -> None:
    from onlinesvm.kernel.native import _native  # an error where it is missing

    values = constants.values()
    compiled = dict(zip(values, _native.constants().tolist(), strict=True))
    assert {name: number.hex() for name, number in compiled.items()} == {
        name: float(number).hex() for name, number in values.items()
    }


def test_no_header_defines_a_shared_constant_by_hand() -> None:
    headers = sorted(CSRC.rglob("*.h"))
    assert len(headers) > 20
    assert {str(path): found for path in headers if (found := by_hand(code(path)))} == {}


@pytest.mark.parametrize(
    "text",
    ["#define HEDGE_RUN 40", "x = x * 0.9999 + h;", "if (z > 8.) z = 8.0;", "n > 1e3", "-1e-50"],
)
def test_a_constant_by_hand_is_found(text: str) -> None:
    assert by_hand(text)


def test_plain_numbers_and_other_names_are_no_constants() -> None:
    assert by_hand("#define HEDGE_STRIDE 12\n y = 1.0 - 2.0 * x17 / 17; HEDGE_RUN_1e3") == []


def test_the_header_is_made_by_the_standard_library_alone() -> None:
    program = (
        "import runpy, sys; runpy.run_path('onlinesvm/kernel/constants.py')['header']();"
        "print([m for m in sys.modules if m.split('.')[0] in ('onlinesvm', 'numpy', 'msgpack')])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_a_name_is_defined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "SOURCES", (*constants.SOURCES, constants.SOURCES[0]))
    with pytest.raises(ValueError, match=r"magnitudes.py: .* got MIN_MAGNITUDE again"):
        constants.shared()
