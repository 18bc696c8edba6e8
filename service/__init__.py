"""The daemon, its clients and its command line. Imports onlinesvm; nothing there imports this.

Reading order: `protocol` (the wire), `daemon` (the loop), `serving` (the operations), `store` (the
state folder), `replica` (followers), then `client` and `stream`, then `cli`.
"""

from onlinesvm.service.client.client import Client
from onlinesvm.service.client.stream import Stream

__all__ = ["Client", "Stream"]
