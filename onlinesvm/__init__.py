"""A sparse online linear SVM that learns while it serves.

Reading order: `data.batch` (samples in columns), `model.lookup` (feature → id), `model.rules` (how
weights move), `model.model` (learn and score), `svm` (OnlineSVM, the Python door), `snapshot` (its
file), `model.scorer` (fixed weights), `kernel.contract` (the two kernels), `onlinesvm.service`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from onlinesvm.version import __version__

if TYPE_CHECKING:
    from onlinesvm.config import LearnerConfig, Limits
    from onlinesvm.data.objects import Worse
    from onlinesvm.errors import OnlineSVMError
    from onlinesvm.model.scorer import Scorer
    from onlinesvm.service.client.async_client import AsyncClient
    from onlinesvm.service.client.client import Client
    from onlinesvm.svm import OnlineSVM

__all__ = [
    "AsyncClient",
    "Client",
    "LearnerConfig",
    "Limits",
    "OnlineSVM",
    "OnlineSVMError",
    "Scorer",
    "Worse",
    "__version__",
]

_ROOMS = {
    "AsyncClient": "onlinesvm.service.client.async_client",
    "Client": "onlinesvm.service.client.client",
    "LearnerConfig": "onlinesvm.config",
    "Limits": "onlinesvm.config",
    "OnlineSVM": "onlinesvm.svm",
    "OnlineSVMError": "onlinesvm.errors",
    "Scorer": "onlinesvm.model.scorer",
    "Worse": "onlinesvm.data.objects",
}


def __getattr__(name: str) -> Any:
    """Import a name on its first use: a command imports what it needs and nothing else."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_ROOMS[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
