"""A sparse online linear SVM that learns while it serves.

Reading order: `samples` (columns of samples), `lookup` (feature → id), `rules` (how weights move),
`learner` (OnlineSVM), `snapshot` (its file), `scoring` (fixed weights), then `onlinesvm.service`.
"""

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import OnlineSVMError
from onlinesvm.model.scorer import Scorer
from onlinesvm.svm import OnlineSVM
from onlinesvm.version import __version__

__all__ = ["LearnerConfig", "Limits", "OnlineSVM", "OnlineSVMError", "Scorer", "__version__"]
