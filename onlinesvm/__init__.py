"""A sparse online linear SVM that learns while it serves.

Reading order: `samples` (columns of samples), `lookup` (feature → id), `rules` (how weights move),
`learner` (OnlineSVM), `snapshot` (its file), then `onlinesvm.service`.
"""

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import OnlineSVMError
from onlinesvm.learner import OnlineSVM
from onlinesvm.version import __version__

__all__ = ["LearnerConfig", "Limits", "OnlineSVM", "OnlineSVMError", "__version__"]
