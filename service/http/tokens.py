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


class Tokens:
    """The role of each token; without any, every caller has every role."""

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
            lines = file.read(_MAX_FILE_BYTES).decode("utf-8", "replace").splitlines()
        roles: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            if len(words) != 2 or words[0] not in ROLES or len(words[1]) < _MIN_CHARACTERS:
                raise ConfigError(
                    f"{path}, line {number}: expected a role ({', '.join(ROLES)}) and a token of"
                    f" {_MIN_CHARACTERS} characters or more"
                )
            roles[words[1]] = words[0]
        if not roles:
            raise ConfigError(f"{path}: expected a role and a token on each line, got none")
        return cls(roles)

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def check(self, connection: HTTPConnection, role: str) -> None:
        """Raise Problem unless the caller has the role."""
        if not self._ranks:
            return
        kind, _, given = connection.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise Problem(
                401, "UNAUTHORIZED", "expected a bearer token",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        token, rank = given.strip().encode(), -1
        for known, its_rank in self._ranks:  # all of them: the time says nothing of the tokens
            if hmac.compare_digest(known, token):
                rank = its_rank
        if rank < 0:
            raise Problem(
                401, "UNAUTHORIZED", "expected a token that is known here",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )  # fmt: skip
        if rank < ROLES.index(role):
            raise Problem(403, "FORBIDDEN", f"expected a token of role {role} or above")
