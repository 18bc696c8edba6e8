"""A sparse online linear SVM that learns while it serves.

Reading order: `data.batch` (samples in columns), `model.lookup` (feature → id), `model.rules` (how
weights move), `model.model` (learn and score), `svm` (OnlineSVM, the Python door), `snapshot` (its
file), `model.scorer` (fixed weights), `kernel.contract` (the two kernels), `onlinesvm.service`.
"""

from typing import TYPE_CHECKING, Any

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import OnlineSVMError
from onlinesvm.model.scorer import Scorer
from onlinesvm.svm import OnlineSVM
from onlinesvm.version import __version__

if TYPE_CHECKING:
    from onlinesvm.service.client.async_client import AsyncClient
    from onlinesvm.service.client.client import Client

__all__ = [
    "AsyncClient",
    "Client",
    "LearnerConfig",
    "Limits",
    "OnlineSVM",
    "OnlineSVMError",
    "Scorer",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load the clients at their first use: the learner by itself does not load zmq."""
    if name in ("AsyncClient", "Client"):
        from onlinesvm import service

        return getattr(service, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
