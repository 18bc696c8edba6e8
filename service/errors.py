"""The exceptions that the service raises for its users::

    OnlineSVMError                     (onlinesvm.errors)
    ├── LogError (ValueError)          a log that is damaged before its end, or of another folder
    ├── StateError (OSError)           a state folder that cannot be used
    ├── NotDurable (OSError)           requests that could not be written to the log
    ├── KeyFileError (ValueError)      a file of keys that cannot be used
    ├── ClusterError (RuntimeError)    a Dask cluster that cannot train
    └── ServiceError                   errors of a client
        ├── RequestRefused (ValueError)   the daemon answered with an error
        ├── DaemonTimeout (TimeoutError)  no answer within the deadline
        ├── DaemonLost (ConnectionError)  the connection broke with requests in flight
        │   └── DaemonUnreachable         no connection to a daemon; nothing was learned
        │       └── ClientRefused         a daemon that refuses this client
        └── StreamBroken                  a numbered stream that cannot go on

Messages say what was expected, what came, and where.
"""

from __future__ import annotations

from onlinesvm.errors import OnlineSVMError

__all__ = [
    "ClientRefused",
    "ClusterError",
    "DaemonLost",
    "DaemonTimeout",
    "DaemonUnreachable",
    "KeyFileError",
    "LogError",
    "NotDurable",
    "RequestRefused",
    "ServiceError",
    "StateError",
    "StreamBroken",
]


class LogError(OnlineSVMError, ValueError):
    """A log that is damaged before its end, or of another folder: it cannot be applied."""


class NotDurable(OnlineSVMError, OSError):
    """Requests that could not be written to the log; nothing of them is kept."""


class KeyFileError(OnlineSVMError, ValueError):
    """A file of keys that cannot be used: damaged, or open to others."""


class ClusterError(OnlineSVMError, RuntimeError):
    """A Dask cluster that cannot train: no scheduler, or workers of another version or file."""


class StateError(OnlineSVMError, OSError):
    """A state folder that cannot be made, locked, read or written."""


class ServiceError(OnlineSVMError):
    """An error that a client of the daemon raises."""


class RequestRefused(ServiceError, ValueError):
    """The daemon answered with an error.

    `code`, `message`, `at` and `retry_after_s` are those of the reply; the last is None unless the
    daemon is BUSY and can say for how long. `sample` is the index of the refused sample in the
    request, or in the stream where it comes from one; None where the error names no sample.
    `applied`, from a stream alone: how many of its samples the daemon has acknowledged.
    """

    def __init__(
        self,
        code: str,
        message: str,
        at: str | None = None,
        *,
        sample: int | None = None,
        applied: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, message, at)
        self.code = code
        self.message = message
        self.at = at
        self.sample = sample
        self.applied = applied
        self.retry_after_s = retry_after_s
        self.cursor: bytes | None = None  # of the refused sample of a numbered stream

    def __str__(self) -> str:
        where = f" at {self.at}" if self.at else ""
        stream = ""
        if self.sample is not None and not (self.applied is None and self._is_at_sample()):
            stream = f" (sample {self.sample} of the stream)"
        applied = "" if self.applied is None else f"; {self.applied} samples applied"
        return f"{self.code}: {self.message}{where}{stream}{applied}"

    def _is_at_sample(self) -> bool:
        """True where `at` names the sample by the same index."""
        return (self.at or "").startswith(f"$[{self.sample}]")


class DaemonTimeout(ServiceError, TimeoutError):
    """No answer within the deadline. It is unknown if the request was applied.

    From a stream, `applied` is the number of samples known to be learned.
    """

    def __init__(self, message: str, applied: int | None = None) -> None:
        super().__init__(message)
        self.applied = applied


class DaemonLost(ServiceError, ConnectionError):
    """The connection broke with requests in flight; `applied` samples are known to be learned."""

    def __init__(self, message: str, applied: int | None = None) -> None:
        super().__init__(message)
        self.applied = applied


class DaemonUnreachable(DaemonLost):
    """No connection to a daemon: refused, or another service answers. Nothing was learned."""


class ClientRefused(DaemonUnreachable):
    """A daemon that refuses this client: its key is missing, wrong or not permitted, or
    there are too many connections.
    """


class StreamBroken(ServiceError):
    """A numbered stream that cannot go on without losing samples or applying some twice.

    Another client uses its producer's name, or the daemon no longer knows the samples that it had
    acknowledged. `applied` samples are known to be learned.
    """

    def __init__(self, message: str, applied: int | None = None) -> None:
        super().__init__(message)
        self.applied = applied
