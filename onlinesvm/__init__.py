"""A sparse online linear SVM that learns while it serves.

Reading order: `data.batch` (samples in columns), `model.lookup` (feature → id), `model.rules` (how
weights move), `model.model` (learn and score), `svm` (OnlineSVM, the Python door), `snapshot` (its
file), `model.scorer` (fixed weights), `kernel.contract` (the two kernels), `onlinesvm.service`.
"""

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import OnlineSVMError
from onlinesvm.model.scorer import Scorer
from onlinesvm.svm import OnlineSVM
from onlinesvm.version import __version__

__all__ = ["LearnerConfig", "Limits", "OnlineSVM", "OnlineSVMError", "Scorer", "__version__"]
