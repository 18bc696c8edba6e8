"""The folder of permits. Each is a file ``NAME.toml``, TOML, 0600:

public      the user's public key, 40 characters of Z85
role        read, learn or admin
models      a glob; * if it is left out
producers   a prefix; none if it is left out
"""

from __future__ import annotations

import os
from pathlib import Path

from onlinesvm.service.errors import KeyFileError
from onlinesvm.service.keys.pair import check_name, checked_key, read_keys, write_keys
from onlinesvm.service.keys.permit import ROLES, Permit
from onlinesvm.service.storage.posix import make_private
from onlinesvm.snapshot.writer import sync_folder

__all__ = ["read_permits", "remove_permit", "write_permit"]

_SUFFIX = ".toml"
_KEYS = ("public", "role", "models", "producers")
_MAX_TEXT = 64  # characters of a glob or a prefix, as a model's name has
_WRITABLE_BY_OTHERS = 0o022


def write_permit(folder: Path, permit: Permit) -> Path:
    """Write a permit, in place of an older one of that name; its file. The folder is made.

    Raises KeyFileError, OSError.
    """
    check_name(permit.name)
    for name in ("models", "producers"):
        _check_text(name, getattr(permit, name))
    make_private(folder)
    path = folder / f"{permit.name}{_SUFFIX}"
    values = permit.as_dict()
    write_keys(path, f"The permit of {values.pop('name')}.", replace=True, **values)
    return path


def remove_permit(folder: Path, name: str) -> None:
    """Remove a permit. Raises KeyFileError where there is none, OSError."""
    check_name(name)
    try:
        (folder / f"{name}{_SUFFIX}").unlink()
    except FileNotFoundError:
        raise KeyFileError(f"{folder}: expected a permit of {name}, got none") from None
    sync_folder(os.fspath(folder))


def read_permits(folder: Path) -> tuple[list[Permit], list[str]]:
    """The permits of a folder by name, and why others cannot be used: a key with two permits has
    neither. Raises KeyFileError if the folder is none, or if others could change it; OSError.
    """
    _check_folder(folder)
    found: dict[str, list[Permit]] = {}
    errors: list[str] = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        if path.name.startswith("."):  # on its way
            continue
        try:
            permit = _read(path)
        except (KeyFileError, OSError) as error:
            text = str(error)
            errors.append(text if str(path) in text else f"{path}: {text}")
        else:
            found.setdefault(permit.public, []).append(permit)
    for several in found.values():
        if len(several) > 1:
            names = ", ".join(permit.name for permit in several)
            errors.append(f"{folder}: expected a key of its own for each user, got one of {names}")
    return [several[0] for several in found.values() if len(several) == 1], errors


def _check_folder(folder: Path) -> None:
    mode = folder.stat().st_mode
    if not folder.is_dir():
        raise KeyFileError(f"{folder}: expected a folder of permits, got a file")
    if mode & _WRITABLE_BY_OTHERS:
        raise KeyFileError(
            f"{folder}: expected a folder that only its owner can change (chmod 700), got mode"
            f" {mode & 0o777:o}"
        )


def _read(path: Path) -> Permit:
    """The permit in a file. Raises KeyFileError, OSError."""
    values = read_keys(path, is_secret=False)
    if not values.keys() <= set(_KEYS):
        unknown = min(values.keys() - set(_KEYS))
        raise KeyFileError(f"{path}: expected {', '.join(_KEYS)}, got {unknown[:40]!r}")
    public = checked_key(path, "public", values.get("public"))
    role = values.get("role")
    if role not in ROLES:
        raise KeyFileError(f"{path}: expected role as one of {', '.join(ROLES)}, got {role!r:.40}")
    try:
        name = path.name.removesuffix(_SUFFIX)
        check_name(name)
        models = _check_text("models", values.get("models", "*"))
        producers = _check_text("producers", values.get("producers", ""))
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from None
    return Permit(name, public, role, models, producers)


def _check_text(name: str, text: object) -> str:
    is_text = isinstance(text, str) and text.isascii() and (not text or text.isprintable())
    if not isinstance(text, str) or not is_text or len(text) > _MAX_TEXT:
        raise KeyFileError(
            f"{name}: expected up to {_MAX_TEXT} printable characters of ASCII, got {text!r:.80}"
        )
    return text
