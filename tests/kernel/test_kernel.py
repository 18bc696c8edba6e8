"""The kernels: which one is used, and that each keeps the contract."""

from __future__ import annotations

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
    monkeypatch.setattr(kernels, "KERNELS", ("absent", "python"))
    assert kernels.load().NAME == "python"
    message = "kernel absent: No module named 'onlinesvm.kernel.absent'"
    with pytest.raises(KernelError, match=message) as caught:
        kernels.load("absent")
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
