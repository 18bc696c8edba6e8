"""How the C library keeps the memory that messages come in and go out of."""

from __future__ import annotations

import contextlib
import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Of <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# A turn of the loop takes 4 MiB of messages and some times that once they are decoded.
_KEPT_BYTES = 64 * 2**20
_MAPPED_BYTES = 4 * 2**20


def keep_freed_memory() -> None:
    """Have freed memory of up to 64 MiB kept for the next message, where the C library is glibc's.

    Left alone it gives the memory of a message of some 100 kB back to the system when it is freed,
    and takes it again for the next: one page fault for every 4 KiB, which cost more than to decode
    what came in them. What is larger than 4 MiB still goes back at once.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library has its own ways
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
