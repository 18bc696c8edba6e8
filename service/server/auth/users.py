"""The users of a daemon: their permits and quotas, and the check of a request."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from onlinesvm.service.errors import KeyFileError
from onlinesvm.service.keys.folder import read_permits
from onlinesvm.service.keys.permit import ANYONE, ROLES, Permit
from onlinesvm.service.protocol import MODELLESS, ROLE_OF, Request, RequestError, is_held
from onlinesvm.service.server.auth.quotas import Quotas

__all__ = ["Users"]

log = logging.getLogger(__name__)


class Users:
    """The permits of the folder `allow`, by public key; without one, anyone may do anything.

    Raises KeyFileError, OSError if the folder or a permit cannot be read.
    """

    def __init__(
        self, allow: str | os.PathLike[str] | None = None, quotas: Quotas | None = None
    ) -> None:
        self.quotas = Quotas() if quotas is None else quotas
        self._folder = None if allow is None else Path(allow)
        self._permits = {"": ANYONE}
        if self._folder is not None:
            errors = self._read(self._folder)
            if errors:
                raise KeyFileError(errors[0])

    def _read(self, folder: Path) -> list[str]:
        """Read the permits; why some cannot be used. Raises KeyFileError, OSError."""
        permits, errors = read_permits(folder)
        self._permits = {permit.public: permit for permit in permits}
        self.quotas.keep({permit.name for permit in permits})
        return errors

    @property
    def has_keys(self) -> bool:
        """True if a client needs a key."""
        return self._folder is not None

    def __len__(self) -> int:
        return len(self._permits) if self.has_keys else 0

    def reload(self) -> list[str]:
        """Read the permits again; why some cannot be used, which then permit nothing.

        Where the folder itself cannot be read, the permits stay as they are.
        """
        if self._folder is None:
            return []
        try:
            errors = self._read(self._folder)
        except (KeyFileError, OSError) as error:
            errors = [f"{error}; the permits stay as they were"]
        for text in errors:
            log.error("%s", text)
        log.info("%d keys are permitted", len(self))
        return errors

    def is_permitted(self, public: str) -> bool:
        """True if a client with that key may come in. Any thread may ask."""
        return public in self._permits

    def permit_of(self, public: str) -> Permit | None:
        """The permit of a key; None where there is none, or none any more."""
        return self._permits.get(public)

    def check(self, permit: Permit | None, request: Request) -> None:
        """Raise RequestError (FORBIDDEN) unless `permit` is enough for `request`."""
        if permit is ANYONE:
            return
        if permit is None:
            raise _forbidden("expected a permitted key, got one that was revoked", request)
        op = request.op
        role = ROLE_OF["label"] if is_held(request) else ROLE_OF.get(op, ROLES[-1])
        if permit.rank < ROLES.index(role):
            raise _forbidden(f"{op}: expected the role {role} or more, got {permit.role}", request)
        models = () if op in MODELLESS else (request.model, request.options.get("copy_of"))
        for name in models:
            if name is not None and not permit.has_model(name):
                raise _forbidden(
                    f"expected a model whose name matches {permit.models}, got {name}", request
                )
        if request.producer and not permit.has_producer(request.producer):
            raise _forbidden(
                f"expected a producer whose name starts with {permit.producers}, got"
                f" {request.producer.decode('utf-8', 'backslashreplace')}",
                request,
            )


def _forbidden(message: str, request: Request) -> RequestError:
    return RequestError("FORBIDDEN", message, None, request.id)
