"""The keys of a daemon and its users, for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq

from onlinesvm.service.keys.folder import remove_permit, write_permit
from onlinesvm.service.keys.pair import KeyPair, create_pair, public_key_of, read_pair
from onlinesvm.service.keys.permit import Permit


class Keyring:
    """Pairs in a folder of their own, and a folder of permits. The daemon's pair is there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.pairs, self.permits = folder / "keys", folder / "permits"
        self.permits.mkdir(mode=0o700)
        self.make("daemon")

    def make(self, name: str) -> str:
        """Make a pair; the public key."""
        return public_key_of(create_pair(name, self.pairs)[1])

    def permit(self, name: str, role: str = "admin", **fields: str) -> Permit:
        """Permit a user, who is made if there is none yet."""
        if not (self.pairs / f"{name}.secret").exists():
            self.make(name)
        permit = Permit(name, self.pair(name).public, role, **fields)
        write_permit(self.permits, permit)
        return permit

    def revoke(self, name: str) -> None:
        remove_permit(self.permits, name)

    def pair(self, name: str) -> KeyPair:
        return read_pair(self.pairs / f"{name}.secret")

    @property
    def served(self) -> dict[str, Any]:
        """The flags of `serve`."""
        return {"key": self.pairs / "daemon.secret", "allow": self.permits}

    def of(self, name: str) -> dict[str, Any]:
        """The arguments of a client of that user."""
        return {
            "key": self.pairs / f"{name}.secret",
            "server_key": self.pairs / "daemon.public",
        }

    def arm(self, socket: zmq.Socket[bytes], name: str) -> None:
        """Give a bare socket a user's keys, before it connects."""
        pair = self.pair(name)
        socket.curve_publickey = pair.public.encode()
        socket.curve_secretkey = pair.secret.encode()
        socket.curve_serverkey = self.pair("daemon").public.encode()
