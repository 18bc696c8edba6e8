"""What onlinesvm raises where a user may catch it.

    OnlineSVMError
    ├── ConfigError (ValueError)       a parameter out of its range, or at odds with the model's own
    ├── KernelError (ImportError)      a kernel that was asked for and is not there
    ├── BodyError (ValueError)         bytes that are not one whole msgpack object
    ├── SampleError (ValueError)       a sample that cannot be learned or scored
    │   └── LimitError                 one that is larger than a limit allows
    ├── FormatError (ValueError)       a line of a text file that is not a sample
    ├── SnapshotError (ValueError)     a snapshot that is damaged, foreign or too new
    ├── JournalError (ValueError)      a journal that is damaged before its end
    ├── StateError (OSError)           a state folder that cannot be used
    ├── NotDurable (OSError)           what could not be written to the journal
    └── ServiceError                   what a client meets
        ├── RequestRefused (ValueError)   the daemon answered with an error
        ├── DaemonTimeout (TimeoutError)  no answer within the deadline
        ├── DaemonLost (ConnectionError)  the connection broke with requests under way
        └── StreamBroken                  a numbered stream that cannot go on

Messages say what was expected, what came, and where.
"""

from __future__ import annotations

__all__ = [
    "BodyError",
    "ConfigError",
    "DaemonLost",
    "DaemonTimeout",
    "FormatError",
    "JournalError",
    "KernelError",
    "LimitError",
    "NotDurable",
    "OnlineSVMError",
    "Path",
    "RequestRefused",
    "SampleError",
    "ServiceError",
    "SnapshotError",
    "StateError",
    "StreamBroken",
    "format_path",
    "format_text",
]

# The way into a nest of arrays and maps: an int is an index, bytes are a key.
Path = tuple["int | bytes", ...]

_SHOWN_CHARACTERS = 40


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

    code = "BAD_REQUEST"


class SampleError(OnlineSVMError, ValueError):
    """A sample that cannot be learned or scored.

    `message` says what was expected and what came; `path` leads to the fault; `code` is the code
    on the wire; `root` names what the path leads into.
    """

    code = "BAD_SAMPLE"

    def __init__(self, message: str, path: Path = (), root: str = "$") -> None:
        super().__init__(message, path, root)
        self.message = message
        self.path = path
        self.root = root

    @property
    def at(self) -> str:
        """The path as text, as ``$[3][1]["len"]``."""
        return format_path(self.path, self.root)

    def __str__(self) -> str:
        return f"{self.message} at {self.at}"


class LimitError(SampleError):
    """A sample, a batch or a name larger than a limit allows."""

    code = "TOO_LARGE"


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


class JournalError(OnlineSVMError, ValueError):
    """A journal that is damaged before its end: what is behind the damage cannot be applied."""


class NotDurable(OnlineSVMError, OSError):
    """Requests that could not be written to the journal; nothing of them is kept."""


class StateError(OnlineSVMError, OSError):
    """A state folder that cannot be made, locked, read or written."""


class ServiceError(OnlineSVMError):
    """What a client of the daemon meets."""


class RequestRefused(ServiceError, ValueError):
    """The daemon answered with an error.

    `code`, `message` and `at` are those of the reply. From a stream also: `sample`, the index of
    the refused sample in the stream (None where the error names none), and `applied`, how many
    samples of the stream the daemon has acknowledged.
    """

    def __init__(
        self,
        code: str,
        message: str,
        at: str | None = None,
        *,
        sample: int | None = None,
        applied: int | None = None,
    ) -> None:
        super().__init__(code, message, at)
        self.code = code
        self.message = message
        self.at = at
        self.sample = sample
        self.applied = applied

    def __str__(self) -> str:
        where = f" at {self.at}" if self.at else ""
        stream = "" if self.sample is None else f" (sample {self.sample} of the stream)"
        applied = "" if self.applied is None else f"; {self.applied} samples applied"
        return f"{self.code}: {self.message}{where}{stream}{applied}"


class DaemonTimeout(ServiceError, TimeoutError):
    """No answer within the deadline. Whether the request was carried out is not known.

    From a stream, `applied` says how many samples are known to be learned.
    """

    def __init__(self, message: str, applied: int | None = None) -> None:
        super().__init__(message)
        self.applied = applied


class DaemonLost(ServiceError, ConnectionError):
    """The connection broke with requests under way; `applied` samples are known to be learned."""

    def __init__(self, message: str, applied: int | None = None) -> None:
        super().__init__(message)
        self.applied = applied


class StreamBroken(ServiceError):
    """A numbered stream that cannot go on without losing samples or applying some twice.

    Another client uses its producer's name, or the daemon no longer knows what it had acknowledged.
    `applied` samples are known to be learned.
    """

    def __init__(self, message: str, applied: int | None = None) -> None:
        super().__init__(message)
        self.applied = applied
