"""Dates: ISO 8601 to hour, day of the week and month."""

from __future__ import annotations

import re

__all__ = ["date_parts"]

_DATE = re.compile(
    rb"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    rb"(?:[Tt ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]+)?)?)?"
    rb"(?:[Zz]|[+-]([0-9]{2})(?::?([0-9]{2}))?)?)?"
)
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SHIFTS = (0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4)


def date_parts(raw: bytes) -> list[tuple[str, int]] | None:
    """hour (0 to 23, where there is a time), dow (1 Monday to 7 Sunday) and month (1 to 12), as
    written: a zone moves nothing. None where `raw` is no date.

    ``2026-11-28``, ``2026-11-28T09:30``, ``2026-11-28 09:30:15.25+01:00`` are dates.
    """
    if (match := _DATE.fullmatch(raw)) is None:
        return None
    year, month, day, *time = (None if part is None else int(part) for part in match.groups())
    assert year is not None
    assert month is not None
    assert day is not None
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1] + (month == 2 and leap):
        return None
    bounds = (23, 59, 60, 23, 59)
    if any(part is not None and part > most for part, most in zip(time, bounds, strict=True)):
        return None
    hour = time[0]
    found = [] if hour is None else [("hour", hour)]
    return [*found, ("dow", _weekday(year, month, day)), ("month", month)]


def _weekday(year: int, month: int, day: int) -> int:
    """1 Monday to 7 Sunday. Sakamoto's formula; the calendar repeats every 400 years."""
    y = year + 400 - (month < 3)
    from_sunday = (y + y // 4 - y // 100 + y // 400 + _SHIFTS[month - 1] + day) % 7
    return from_sunday or 7
