"""Pairs of CURVE keys, and their files.

    NAME.secret   the pair: public and secret. It stays with its owner
    NAME.public   the public key alone, to be given to others

Both are TOML, 0600. A key is 32 bytes, written as 40 characters of Z85 (ZeroMQ's RFC 32).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

from onlinesvm.service.errors import KeyFileError
from onlinesvm.service.storage.posix import make_private, open_regular
from onlinesvm.snapshot.writer import create_beside, sync_folder

__all__ = [
    "KeyPair", "check_name", "create_pair", "public_key_of", "read_keys", "read_pair", "write_keys",
]  # fmt: skip

PUBLIC, SECRET = ".public", ".secret"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_Z85 = re.compile(r"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
_KEY_BYTES = 32
_MAX_BYTES = 4096  # of a file
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The two keys of a user or a daemon, each as Z85."""

    public: str
    secret: str = field(repr=False)


def check_name(name: str) -> None:
    """Raise KeyFileError unless `name` may be a user's."""
    if _NAME.fullmatch(name) is None:
        raise KeyFileError(
            "expected a name of 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot,"
            f" got {name!r}"
        )


def create_pair(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a pair in two new files of `folder`, which is made too: the secret and the public one.

    Raises KeyFileError, OSError; FileExistsError where there is a file already.
    """
    check_name(name)
    make_private(folder)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    paths = folder / f"{name}{SECRET}", folder / f"{name}{PUBLIC}"
    write_keys(
        paths[0], f"The key of {name}. Keep it to yourself.", replace=False,
        public=public, secret=secret,
    )  # fmt: skip
    try:
        write_keys(
            paths[1], f"The public key of {name}, to be given to others.", replace=False,
            public=public,
        )  # fmt: skip
    except BaseException:
        paths[0].unlink()
        raise
    return paths


def write_keys(path: Path, comment: str, *, replace: bool, **values: str) -> None:
    """Write a file, whole or not at all; `replace`: one that may be there.

    Only its owner can read it, and no link is followed. Raises OSError.
    """
    lines = [f"# {comment}", *(f"{name} = {_quoted(value)}" for name, value in values.items())]
    descriptor, temporary = create_beside(os.fspath(path))
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            try:
                os.link(temporary, path)  # unlike a rename, never over another
            except FileExistsError as error:
                text = "File exists; remove it first, or choose another name"
                raise FileExistsError(error.errno, text, os.fspath(path)) from None
            os.unlink(temporary)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(os.fspath(path.parent))


def _quoted(value: str) -> str:
    """`value` as a string of TOML; it holds printable ASCII alone."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_keys(path: Path, *, is_secret: bool) -> dict[str, Any]:
    """The values in a file. Raises KeyFileError, OSError.

    A file that others can change is refused, and one that others can read where it `is_secret`.
    """
    with open_regular(path) as file:
        mode = os.fstat(file.fileno()).st_mode
        data = file.read(_MAX_BYTES + 1)
    open_to_others = mode & (_OTHERS if is_secret else stat.S_IWGRP | stat.S_IWOTH)
    if open_to_others:
        expected = "only its owner can read" if is_secret else "only its owner can change"
        raise KeyFileError(
            f"{path}: expected a file that {expected} (chmod 600), got mode {mode & 0o777:o}"
        )
    if len(data) > _MAX_BYTES:
        raise KeyFileError(f"{path}: expected at most {_MAX_BYTES} bytes, got more")
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:
        raise KeyFileError(f"{path}: expected a file of keys, got no TOML: {error}") from None


def read_pair(path: Path) -> KeyPair:
    """The pair in a secret file. Raises KeyFileError, OSError."""
    keys = read_keys(path, is_secret=True)
    if "secret" not in keys:
        raise KeyFileError(f"{path}: expected a secret key (NAME{SECRET}), got none")
    secret = checked_key(path, "secret", keys["secret"])
    public = checked_key(path, "public", keys.get("public"))
    if zmq.curve_public(secret.encode()).decode() != public:
        raise KeyFileError(f"{path}: expected the public key of its secret key, got another")
    return KeyPair(public, secret)


def public_key_of(given: str | os.PathLike[str]) -> str:
    """The public key in the file `given`, or `given` itself where it is one.

    Raises KeyFileError, OSError.
    """
    path = Path(given)
    if isinstance(given, str) and is_key(given) and not path.exists():
        return given
    keys = read_keys(path, is_secret=False)
    if "secret" in keys:
        raise KeyFileError(
            f"{path}: expected a public key (NAME{PUBLIC}), got a secret one: it stays with its"
            " owner"
        )
    return checked_key(path, "public", keys.get("public"))


def checked_key(path: Path, name: str, value: object) -> str:
    """`value` if it is a key. Raises KeyFileError."""
    if not isinstance(value, str) or not is_key(value):
        got = "none" if value is None else "another value"  # maybe a part of a secret
        raise KeyFileError(f"{path}: expected {name} as 40 characters of Z85, got {got}")
    return value


def is_key(text: str) -> bool:
    """True for 40 characters of Z85, of 32 bytes."""
    if _Z85.fullmatch(text) is None:
        return False
    try:
        return len(z85.decode(text)) == _KEY_BYTES
    except (ValueError, struct.error):  # five characters of more than 32 bits
        return False
