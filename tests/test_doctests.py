"""The examples of the docstrings, run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import onlinesvm

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(onlinesvm.__path__, "onlinesvm.")
    if not module.name.endswith(("__main__", "_native", "onlinesvm.sklearn"))
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
