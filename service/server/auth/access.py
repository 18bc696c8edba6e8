"""Access to a daemon, for its door and loop: its key, its users, the bound on connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from onlinesvm.service.config import ServeConfig
from onlinesvm.service.keys.pair import KeyPair, read_pair
from onlinesvm.service.server.auth.quotas import Quotas
from onlinesvm.service.server.auth.users import Users

__all__ = ["Access"]


@dataclass(frozen=True, slots=True)
class Access:
    """The users that may connect; by default anyone. pair: the daemon's keys, if any."""

    users: Users = field(default_factory=Users)
    pair: KeyPair | None = None
    max_connections: int = 4096

    @classmethod
    def of(cls, config: ServeConfig) -> Access:
        """That of a configuration. Raises KeyFileError, OSError for files that cannot be read."""
        if config.key is None:
            return cls(max_connections=config.max_connections)
        quotas = Quotas(config.max_user_bytes_per_s, config.max_user_features_per_s)
        pair = read_pair(Path(config.key))
        return cls(Users(config.allow, quotas), pair, config.max_connections)
