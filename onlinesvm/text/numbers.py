"""Names of a number: its sign, its exponent, and 0 to 4 bits of its mantissa."""

from __future__ import annotations

import struct

from onlinesvm.text.constants import NUMBER_LEVELS

__all__ = ["prefix_names", "prefix_text"]

_MANTISSA_BITS = 52


def prefix_names(number: float) -> list[str]:
    """One name a level, ``level:lower end`` of the interval that `number` lies in; 0 has one.

    Nearby numbers share their first names. No state, so no bin ever moves.

    >>> prefix_names(0.7)
    ['0:0.5', '1:0.5', '2:0.625', '3:0.6875', '4:0.6875']
    """
    if number == 0:
        return ["0:0"]
    (bits,) = struct.unpack(">Q", struct.pack(">d", number))
    names = []
    for level in range(NUMBER_LEVELS):
        dropped = _MANTISSA_BITS - level
        (lower,) = struct.unpack(">d", struct.pack(">Q", bits >> dropped << dropped))
        names.append(f"{level}:{prefix_text(lower).decode()}")
    return names


def prefix_text(lower: float) -> bytes:
    """A lower end as it stands in a name."""
    return b"%g" % lower
