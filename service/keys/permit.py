"""A permit: a user whom a daemon lets in, and what the user may do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import translate

__all__ = ["ANYONE", "ROLES", "Permit"]

# Each may do what the ones before it may.
ROLES = ("read", "learn", "admin")


@dataclass(frozen=True, slots=True)
class Permit:
    """The rights of a user.

    name: the user's. public: the user's key, as Z85. models: a glob, of the names of the models
    that the role is for. producers: how the names of the user's producers start. rank: the place of
    the role in `ROLES`.
    """

    name: str
    public: str
    role: str
    models: str = "*"
    producers: str = ""
    rank: int = field(init=False)
    _matches: Callable[[str], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", ROLES.index(self.role))
        object.__setattr__(self, "_matches", re.compile(translate(self.models)).match)

    def as_dict(self) -> dict[str, str]:
        """The fields that a permit's file has, and the name."""
        names = ("name", "public", "role", "models", "producers")
        return {name: getattr(self, name) for name in names}

    def has_model(self, name: str) -> bool:
        """True if the role is for the model of that name."""
        return self.models == "*" or self._matches(name) is not None

    def has_producer(self, name: bytes) -> bool:
        """True if the user may learn under that name."""
        return name.startswith(self.producers.encode())


# Of every client, where there are no keys.
ANYONE = Permit("", "", "admin")
