"""The daemon, its clients and its command line. Imports onlinesvm; nothing there imports this.

Reading order: `protocol` (the wire), `server`, `storage`, `client`, `cli`; the first lines of each
folder say what is in it.
"""

from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.client.async_stream import AsyncStream
from onlinesvm.service.client.client import Client
from onlinesvm.service.client.stream import Stream

__all__ = ["AsyncClient", "AsyncStream", "Client", "Stream"]
