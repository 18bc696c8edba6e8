"""The C library's memory settings for messages."""

from __future__ import annotations

import contextlib
import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Of <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# A turn of the loop takes 4 MiB of messages, and several times that once they are decoded.
_KEPT_BYTES = 64 * 2**20
_MAPPED_BYTES = 4 * 2**20


def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MiB of freed memory for the next message.

    By default it returns the memory of a message of some 100 kB to the system when it is freed, and
    takes it again for the next. The page faults, one for every 4 KiB, take longer than decoding.
    Blocks above 4 MiB are still returned at once.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
