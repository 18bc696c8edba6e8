"""The daemon, its clients and its command line. Imports onlinesvm; nothing there imports this.

Reading order: `protocol` (the wire), `server`, `storage`, `client`, `cli`; the first lines of each
folder describe it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onlinesvm.service.client.async_client import AsyncClient
    from onlinesvm.service.client.async_stream import AsyncStream
    from onlinesvm.service.client.client import Client
    from onlinesvm.service.client.stream import Stream

__all__ = ["AsyncClient", "AsyncStream", "Client", "Stream"]

_ROOMS = {
    "AsyncClient": "onlinesvm.service.client.async_client",
    "AsyncStream": "onlinesvm.service.client.async_stream",
    "Client": "onlinesvm.service.client.client",
    "Stream": "onlinesvm.service.client.stream",
}


def __getattr__(name: str) -> Any:
    """Import the client on first use: a command that needs none starts without ZeroMQ."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_ROOMS[name]), name)
    return value
