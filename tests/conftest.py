"""What the test files share: how Hypothesis runs, and the kernels."""

from __future__ import annotations

import pytest
from hypothesis import settings

from onlinesvm import kernel as kernels

# The suite is a gate, so it tries the same examples each time; `make fuzz` looks for new ones.
settings.register_profile("suite", deadline=None, max_examples=60, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("suite")


@pytest.fixture(scope="session", params=kernels.KERNELS)
def kernel(request: pytest.FixtureRequest) -> kernels.Kernel:
    """Each kernel in turn, ids [native] and [python]. One that is not there is an error, no skip.

    Deselect it by name (``-k 'not native'``) where it cannot be built.
    """
    return kernels.load(request.param)
