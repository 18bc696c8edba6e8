"""Bearer tokens (RFC 6750): who may read, learn, and administer."""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import HTTPConnection

from onlinesvm.errors import ConfigError
from onlinesvm.service.http.problem import Problem

__all__ = ["ROLES", "Tokens"]

ROLES = ("read", "learn", "admin")  # each may do what those before it may
_MIN_CHARACTERS = 16
_MAX_FILE_BYTES = 2**20
_LOCAL = frozenset(("localhost", "127.0.0.1", "[::1]"))


class Tokens:
    """The role of each token; without any, every caller on this machine has every role."""

    def __init__(self, roles: Mapping[str, str]) -> None:
        self._ranks = [(token.encode(), ROLES.index(role)) for token, role in roles.items()]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Tokens:
        """Those of a file with a role and a token on each line; # begins a comment.

        Raises ConfigError for a file that others can read, or that is not of this form; OSError.
        """
        with Path(path).open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError(f"{path}: expected a file that its owner alone reads (chmod 600)")
            text = file.read(_MAX_FILE_BYTES + 1)
        if len(text) > _MAX_FILE_BYTES:
            raise ConfigError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes, got more")
        roles: dict[str, str] = {}
        for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            is_token = len(words) == 2 and words[1].isascii() and len(words[1]) >= _MIN_CHARACTERS
            if not is_token or words[0] not in ROLES:
                raise ConfigError(
                    f"{path}, line {number}: expected a role ({', '.join(ROLES)}) and a token of"
                    f" {_MIN_CHARACTERS} ASCII characters or more"
                )
            if words[1] in roles:
                raise ConfigError(f"{path}, line {number}: expected each token once")
            roles[words[1]] = words[0]
        if not roles:
            raise ConfigError(f"{path}: expected a role and a token on each line, got none")
        return cls(roles)

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def check(self, connection: HTTPConnection, role: str) -> None:
        """Raise Problem unless the caller has the role."""
        if not self._ranks:
            _check_host(connection)
            return
        kind, _, given = connection.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise _unauthorized("expected a bearer token", "Bearer")
        token, rank = given.strip().encode(), -1
        for known, its_rank in self._ranks:  # all of them: the time says nothing of the tokens
            if hmac.compare_digest(known, token):
                rank = its_rank
        if rank < 0:
            raise _unauthorized(
                "expected a token that is known here", 'Bearer error="invalid_token"'
            )
        if rank < ROLES.index(role):
            raise Problem(
                403, "FORBIDDEN", f"expected a token of role {role} or above",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{role}"'},
            )  # fmt: skip


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(401, "UNAUTHORIZED", detail, headers={"WWW-Authenticate": challenge})


def _check_host(connection: HTTPConnection) -> None:
    """Raise Problem for a name that is not this machine's.

    A site can have its own name resolve to 127.0.0.1, so that a browser takes the door for a part
    of that site; the name is then still the site's.
    """
    host = connection.headers.get("host", "").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in _LOCAL:
        raise Problem(403, "FORBIDDEN", "expected the host localhost where there are no tokens")
