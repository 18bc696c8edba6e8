"""The compiled kernel: Cython over the C in csrc/. The contract says what each name does."""

from onlinesvm.kernel.native._native import *  # noqa: F403
from onlinesvm.kernel.native._native import __all__  # noqa: F401
