"""The C library's memory settings for messages."""

from __future__ import annotations

import numpy as np

__all__ = ["keep_freed_memory"]

# The most that glibc's thresholds follow, less what malloc adds to a block.
_LARGEST_BYTES = 32 * 2**20 - 2**16


def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MiB of freed memory for the next message.

    With its first thresholds glibc returns the memory of a message of some 100 kB to the system
    when it is freed, and takes it again for the next: one page fault for every 4 KiB, which costs
    more than to decode what came in them. The thresholds follow the largest block that was freed
    (mallopt(3), M_MMAP_THRESHOLD): one of 32 MiB is allocated here and freed, its pages untouched.
    Other C libraries, and glibc under ``MALLOC_TRIM_THRESHOLD_``, stay as they are.
    """
    np.empty(_LARGEST_BYTES, dtype=np.uint8)
