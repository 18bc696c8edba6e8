"""The kernels: which one is used, and that each keeps the contract."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from onlinesvm import OnlineSVM, config
from onlinesvm import kernel as kernels
from onlinesvm.errors import KernelError
from onlinesvm.kernel import contract
from onlinesvm.model.head import Head
from onlinesvm.model.rules import Rule
from onlinesvm.model.rules.class_layout import ClassLayout, SetLayout
from onlinesvm.model.rules.records import RecordRule
from onlinesvm.text.options import TextOptions


def members(of: object) -> set[str]:
    """The public names of an object, less a class's constants."""
    return {name for name in dir(of) if not name.startswith("_") and not name.isupper()}


def test_a_kernel_defines_exactly_the_contract(kernel: kernels.Kernel) -> None:
    assert sorted(kernel.__all__) == sorted(contract.MODULE)  # type: ignore[attr-defined]
    assert all(hasattr(kernel, name) for name in contract.MODULE)
    assert kernel.NAME in kernels.KERNELS
    assert tuple(kernel.RULES) == config.RULES
    lookup = kernel.Lookup(9)
    assert members(lookup) == set(contract.MEMBERS["Lookup"])
    assert members(lookup.view()) == set(contract.MEMBERS["View"])
    assert members(kernel.Metrics(0.0)) == set(contract.MEMBERS["Metrics"])
    extractor = kernel.Extractor(TextOptions(), config.Limits(), 9)
    assert members(extractor) == set(contract.MEMBERS["Extractor"])
    classes = kernel.Multiclass(True, 9, 9, ClassLayout)
    assert members(classes) == set(contract.MEMBERS["Multiclass"])
    assert members(classes.view(0)) == set(contract.MEMBERS["View"])
    sets = kernel.Multilabel(True, 9, 9, SetLayout)
    assert members(sets) == set(contract.MEMBERS["Multilabel"])


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("name", config.RULES)
def test_a_rule_defines_exactly_the_contract(
    kernel: kernels.Kernel, name: str, average: bool
) -> None:
    given = {"average": True} if average and name == "sgd" else {}
    rule = Head(kernel, config.LearnerConfig(rule=name, **given)).rule
    # The formulas of the python kernel have the hooks of their bases beside it.
    hooks = {*Rule.__abstractmethods__, *RecordRule.__abstractmethods__, "bias", "variant", "tau"}
    own = members(rule) - (hooks if kernel.NAME == "python" else set())
    assert own == set(contract.MEMBERS["Rule"])
    assert members(rule.view(0)) == set(contract.MEMBERS["View"])


def test_the_contract_is_as_small_as_it_says() -> None:
    assert contract.__doc__ is not None
    names = {*contract.MODULE, *(name for part in contract.MEMBERS.values() for name in part)}
    assert f"{len(contract.MODULE)} names of MODULE" in contract.__doc__
    assert f"{len(names)} different names in all" in contract.__doc__


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
    """The stderr of `program`."""
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
