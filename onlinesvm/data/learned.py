"""The outcome of learning samples of many classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Learned"]


class Learned(NamedTuple):
    """Of n samples, each as the model stood before it was learned.

    margins: float64[n], the score of the sample's label less the best other one's; a label that is
    not known, and the other where there is none, have the score of a label that no feature knows.
    predicted: int32[n], −1 before any label is known. confidences: float64[n], the probability of
    the predicted label, 0 where there is none.
    """

    margins: NDArray[np.float64]
    predicted: NDArray[np.int32]
    confidences: NDArray[np.float64]
