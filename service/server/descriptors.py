"""File descriptors: how many the process may have, and the connections that they suffice for."""

from __future__ import annotations

import resource

from onlinesvm.service.server.auth.door import ANSWERED

__all__ = ["room_for"]

# What a daemon of many models has open at most, as measured, with its threads that load and write.
_OWN = 40
# Kept for the log and the snapshots, whatever the connections do.
_RESERVED = 8


def room_for(connections: int) -> int:
    """Raise the process's limit so that there is room for `connections`, and some more that are
    refused; for how many there is room.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _OWN + _RESERVED + ANSWERED
    if soft == resource.RLIM_INFINITY:
        return connections
    wanted = connections + others
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(connections, soft - others))
