"""The kernels: the hot way of a sample, from bytes to margins, by one contract.

    native   compiled, from bytes to margins without a Python object on the way
    python   no compiler, real dicts: the readable reference

`contract` lists their names; this module only chooses. ``ONLINESVM_KERNEL=native|python`` forces
one; a forced kernel never falls back. The best available is used otherwise, and `fallback` says why
it is not the best there is. The python kernel is made of the other rooms, the native one shares
their checks and messages.
May import `config`, `data`, `errors`, `metrics`, `model`, `readers` and `text`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, cast

from onlinesvm.errors import KernelError

if TYPE_CHECKING:
    from onlinesvm.kernel.contract import Kernel

__all__ = ["KERNELS", "fallback", "found", "in_use", "load"]

KERNELS = ("native", "python")  # the best first

_fallback: str | None = None
_warned = False


def fallback() -> str | None:
    """The reason why the best kernel is not in use, for the start-up line; None if it is.

    It is the first import error of the last `load` that was free to choose.
    """
    return _fallback


def load(name: str | None = None) -> Kernel:
    """The kernel `name`, else the one ``ONLINESVM_KERNEL`` names, else the best available.

    Raises KernelError if the one that is asked for cannot be imported, or if none can.
    """
    global _fallback
    asked = name or os.environ.get("ONLINESVM_KERNEL") or None
    if asked is not None and asked not in KERNELS:
        raise KernelError(f"kernel: expected one of {', '.join(KERNELS)}, got {asked!r}")
    candidates: Sequence[str] = KERNELS if asked is None else (asked,)
    first: ImportError | None = None
    for candidate in candidates:
        try:
            kernel = importlib.import_module(f"onlinesvm.kernel.{candidate}")
        except ImportError as error:
            first = first or error
            continue
        if asked is None:
            _fallback = None if first is None else f"kernel {candidates[0]}: {first}"
            _warn_once(candidate)
        return cast("Kernel", kernel)
    raise KernelError(f"kernel {candidates[0]}: {first}") from first


def _warn_once(name: str) -> None:
    """Say on stderr, once a process, that `name` is in use because a faster kernel is missing."""
    global _warned
    if _fallback is None or _warned or sys.stderr is None:
        return
    _warned = True
    print(
        f"onlinesvm: {_fallback}; the {name} kernel learns 15 to 80 times slower. Reinstall with a"
        f" C compiler, or set ONLINESVM_KERNEL={name} if that is meant",
        file=sys.stderr,
    )


def in_use() -> str:
    """The kernel in use, and the reason if it is not the best one. Raises KernelError."""
    name, reason = load().NAME, fallback()
    return f"kernel {name} ({reason})" if reason else f"kernel {name}"


def found() -> str:
    """As `in_use`, for a program that needs no kernel: the compiled one is loaded, but not run, as
    it would import NumPy. Raises KernelError.
    """
    if os.environ.get("ONLINESVM_KERNEL") in (None, "", "native"):
        spec = PathFinder.find_spec("_native", [os.path.join(*__path__, "native")])
        with contextlib.suppress(ImportError):
            if spec is not None and importlib.util.module_from_spec(spec) is not None:
                return "kernel native"
    return in_use()
