"""Which user each producer belongs to: the one who used it first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["Ownership"]


class Ownership:
    """The producers that belong to users; of each user in the order of their last application."""

    def __init__(self, known: Mapping[bytes, str] | None = None) -> None:
        self._user_of: dict[bytes, str] = {}
        self._names_of: dict[str, dict[bytes, None]] = {}
        for name, user in (known or {}).items():
            self.claim(name, user)

    def user_of(self, name: bytes) -> str:
        """The user whom a producer belongs to; "" where it belongs to none."""
        return self._user_of.get(name, "")

    def names_of(self, user: str) -> Iterable[bytes]:
        """A user's producers, the one applied furthest back first."""
        return self._names_of.get(user, ())

    def count(self, user: str) -> int:
        """How many producers a user has."""
        return len(self._names_of.get(user, ()))

    def claim(self, name: bytes, user: str) -> None:
        """From now on a producer belongs to `user`."""
        self.forget(name)
        self._user_of[name] = user
        self._names_of.setdefault(user, {})[name] = None

    def touch(self, name: bytes) -> None:
        """Note that a producer was applied last."""
        user = self._user_of.get(name)
        if user is not None:
            names = self._names_of[user]
            del names[name]
            names[name] = None

    def forget(self, name: bytes) -> None:
        """Forget whom a producer belongs to."""
        user = self._user_of.pop(name, None)
        if user is not None:
            names = self._names_of[user]
            del names[name]
            if not names:
                del self._names_of[user]

    def dump(self) -> dict[bytes, str]:
        """All of them, as a snapshot holds them, in order."""
        return {name: user for user, names in self._names_of.items() for name in names}
