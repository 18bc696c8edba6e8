"""The exceptions of onlinesvm that a user may catch.

    OnlineSVMError
    ├── ConfigError (ValueError)       a parameter out of its range, or at odds with the model's own
    ├── KernelError (ImportError)      a kernel that was asked for and is not there
    ├── BodyError (ValueError)         bytes that are not one whole msgpack object
    ├── SampleError (ValueError)       a sample that cannot be learned or scored
    │   └── LimitError                 one that is larger than a limit allows
    ├── FormatError (ValueError)       a line of a text file that is not a sample
    ├── SnapshotError (ValueError)     a snapshot that is damaged, foreign or too new
    ├── VectorFileError (ValueError)   a file of word vectors that is damaged, foreign or too new
    └── VectorsMissing (OSError)       the file of word vectors that a model needs is not known

The service adds its own in `service/errors.py`. Messages say what was expected, what came, and
where.
"""

from __future__ import annotations

import stat

__all__ = [
    "BodyError",
    "ConfigError",
    "FormatError",
    "KernelError",
    "LimitError",
    "OnlineSVMError",
    "Path",
    "SampleError",
    "SnapshotError",
    "VectorFileError",
    "VectorsMissing",
    "format_kind",
    "format_path",
    "format_text",
]

# The way into a nest of arrays and maps: an int is an index, bytes are a key.
Path = tuple["int | bytes", ...]

_SHOWN_CHARACTERS = 40


def format_kind(mode: int) -> str:
    """The kind of file that a mode of `os.stat` says, for a message."""
    kinds = {
        stat.S_IFREG: "a regular file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "another kind of file")


def format_text(raw: bytes | str) -> str:
    r"""`raw` as a JSON string, undecodable bytes as ``\xNN``, cut at 40 characters.

    >>> format_text(b"len\xff")
    '"len\\xff"'
    """
    # A character of UTF-8 takes at most four bytes, so this prefix holds all that can be shown.
    text = raw[: 4 * _SHOWN_CHARACTERS + 4]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    shown = "".join(map(_escaped, text[:_SHOWN_CHARACTERS]))
    return f'"{shown}…"' if len(text) > _SHOWN_CHARACTERS else f'"{shown}"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escaped(character: str) -> str:
    """`character` as JSON has it; a byte that is no UTF-8 (a lone surrogate here) as \\xNN."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def format_path(path: Path, root: str = "$") -> str:
    """`path` as the wire shows it; `root` names what it leads into, ``$`` a message's body.

    >>> format_path((3, 1, b"len"))
    '$[3][1]["len"]'
    """
    parts = (f"[{key}]" if isinstance(key, int) else f"[{format_text(key)}]" for key in path)
    return root + "".join(parts)


class OnlineSVMError(Exception):
    """The root: ``except OnlineSVMError`` catches all that onlinesvm raises on purpose."""


class ConfigError(OnlineSVMError, ValueError):
    """A parameter out of its range, or one that differs from the model's own."""


class KernelError(OnlineSVMError, ImportError):
    """The kernel that was asked for cannot be had; the message carries the first import error."""


class BodyError(OnlineSVMError, ValueError):
    """A message body that is not one whole msgpack object."""


class SampleError(OnlineSVMError, ValueError):
    """A sample that cannot be learned or scored.

    `message` says what was expected and what came; `path` leads to the fault; `root` names what the
    path leads into. `sample` is the index of the sample in the batch, the first step of the path;
    None where the fault is not one sample's, or the sample was given `alone`.
    """

    def __init__(self, message: str, path: Path = (), root: str = "$", alone: bool = False) -> None:
        super().__init__(message, path, root, alone)
        self.message = message
        self.path = path
        self.root = root
        first = path[0] if path and not alone else None
        self.sample = first if isinstance(first, int) else None

    @property
    def at(self) -> str:
        """The path as text, as ``$[3][1]["len"]``."""
        return format_path(self.path, self.root)

    def __str__(self) -> str:
        return f"{self.message} at {self.at}"


class LimitError(SampleError):
    """A sample, a batch or a name larger than a limit allows."""


class FormatError(OnlineSVMError, ValueError):
    """A line of a text file that is not a sample of its format. `line` counts from 1."""

    def __init__(self, message: str, source: str, line: int) -> None:
        super().__init__(message, source, line)
        self.message = message
        self.source = source
        self.line = line

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: {self.message}"


class SnapshotError(OnlineSVMError, ValueError):
    """A file that is not a whole, undamaged snapshot of a version known here."""


class VectorsMissing(OnlineSVMError, OSError):
    """The file of word vectors that a model was created with is not known to this process."""


class VectorFileError(OnlineSVMError, ValueError):
    """A file that is not a whole, undamaged fastText model of a version known here."""
