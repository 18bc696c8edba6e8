"""Shared by the test files: Hypothesis profiles, the order of tests, reports, and the kernels."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

from onlinesvm import kernel as kernels

# The suite is a gate, so it tries the same examples each time; `make fuzz` looks for new ones.
settings.register_profile("suite", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that no worker is left alone with one at the end. Those with redis and
    Dask are skipped, by name, where it is not installed.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for marker, packages, programs in (
        ("redis", ("redis", "hiredis"), ("redis-server",)),
        ("dask", ("distributed",), ()),
    ):
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        missing += [name for name in programs if shutil.which(name) is None]
        skip = pytest.mark.skip(reason=f"needs {', '.join(missing)}")
        for item in items if missing else ():
            if item.get_closest_marker(marker) is not None:
                item.add_marker(skip)


@pytest.fixture(scope="session", params=kernels.KERNELS)
def kernel(request: pytest.FixtureRequest) -> kernels.Kernel:
    """Each kernel in turn, ids [native] and [python]. One that is not there is an error, no skip.

    Deselect it by name (``-k 'not native'``) where it cannot be built.
    """
    return kernels.load(request.param)


def encodable(value: Any) -> Any:
    """`value` with the lone surrogates of its texts written as ``\\udcff``."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(encodable, value))
    return value


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports cross from pytest-xdist's workers as UTF-8; captured output may hold surrogates."""
    return encodable((yield))
