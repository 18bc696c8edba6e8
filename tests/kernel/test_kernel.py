"""The kernels: which one is used, and that each keeps the contract."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from onlinesvm import OnlineSVM, config
from onlinesvm import kernel as kernels
from onlinesvm.errors import KernelError


def test_a_kernel_defines_the_contract(kernel: kernels.Kernel) -> None:
    for name in kernels.CONTRACT:
        assert hasattr(kernel, name), name
    assert kernel.NAME in kernels.KERNELS
    assert set(kernel.RULES) == set(config.RULES)


def test_the_readable_reference_is_always_there() -> None:
    assert kernels.load("python").NAME == "python"
    assert OnlineSVM(kernel="python").snapshot().kernel == "python"


def test_a_kernel_is_forced_by_name_or_by_the_environment(
    kernel: kernels.Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLINESVM_KERNEL", kernel.NAME)
    assert kernels.load() is kernel
    assert OnlineSVM().kernel is kernel
    monkeypatch.setenv("ONLINESVM_KERNEL", "none")
    assert kernels.load(kernel.NAME) is kernel  # by name wins
    with pytest.raises(KernelError, match=r"kernel: expected one of .*python, got 'none'"):
        kernels.load()
    monkeypatch.setenv("ONLINESVM_KERNEL", "")
    assert kernels.load().NAME in kernels.KERNELS
    with pytest.raises(KernelError, match="got 'gpu'"):
        OnlineSVM(kernel="gpu")


def test_a_forced_kernel_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONLINESVM_KERNEL", raising=False)
    monkeypatch.setattr(kernels, "_warned", True)
    monkeypatch.setattr(kernels, "KERNELS", ("absent", "python"))
    assert kernels.load().NAME == "python"
    message = "kernel absent: No module named 'onlinesvm.kernel.absent'"
    with pytest.raises(KernelError, match=message) as caught:
        kernels.load("absent")
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


# A process without the compiled kernel that learns twice.
WITHOUT = """
import sys
sys.modules["onlinesvm.kernel.native"] = None
from onlinesvm import OnlineSVM
for _ in range(2):
    OnlineSVM().learn_one(["a"], 1)
"""


def without_native(program: str, **environment: str) -> str:
    """What `program` writes to stderr."""
    plain = {key: value for key, value in os.environ.items() if key != "ONLINESVM_KERNEL"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=plain | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_missing_native_kernel_is_reported_once_in_one_line() -> None:
    said = without_native(WITHOUT)
    assert said.startswith("onlinesvm: kernel native: import of onlinesvm.kernel.native halted")
    assert "; the python kernel learns 15 to 80 times slower. " in said
    assert said.count("\n") == 1
    assert said.endswith("\n")


def test_a_forced_kernel_is_not_reported() -> None:
    assert without_native(WITHOUT, ONLINESVM_KERNEL="python") == ""
    assert without_native(WITHOUT.replace("OnlineSVM()", 'OnlineSVM(kernel="python")')) == ""


def test_nothing_is_reported_where_stderr_is_closed() -> None:
    assert without_native("import sys; sys.stderr = None" + WITHOUT) == ""
