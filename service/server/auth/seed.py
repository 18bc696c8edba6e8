"""The seed of the C library's generator, which ZeroMQ numbers its connections with."""

from __future__ import annotations

import ctypes
import os

__all__ = ["seed_generator"]


def seed_generator() -> None:
    """Seed `rand` from the system's generator; to be called before the first socket is made.

    A ROUTER gives its clients identities that count up from a number that `rand` gives. Without a
    seed it is the same in every process, and a client that claims one of the next aborts it.
    """
    ctypes.CDLL(None).srand(ctypes.c_uint(int.from_bytes(os.urandom(4), "little")))
