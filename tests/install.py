"""Wheels of this checkout, built in isolation with and without a compiler: `make test-install`.

No part of `make test`: pip installs the build's requirements for each wheel, which takes a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from onlinesvm.version import __version__

HOUSE = Path(__file__).resolve().parent.parent
SOURCES = ("onlinesvm", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    dropped = ("ONLINESVM_KERNEL", "PYTHONPATH")
    plain = {key: value for key, value in os.environ.items() if key not in dropped}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=plain | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def wheel(folder: Path, **environment: str) -> Path:
    """A wheel of a copy of the sources, built by pip with the build's requirements alone."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    (folder / "sources").mkdir()
    for name in SOURCES:
        source, copy = HOUSE / name, folder / "sources" / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=ignored)
        else:
            shutil.copy(source, copy)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder)
    run(*pip, folder / "sources", cwd=folder, **environment)
    (made,) = folder.glob("*.whl")
    return made


def version(made: Path, folder: Path) -> tuple[str, str]:
    """The stdout and stderr of the installed wheel's ``onlinesvm --version``."""
    there = folder / "installed"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", there)
    run(*pip, made, cwd=folder)
    command = (sys.executable, "-m", "onlinesvm.service", "--version")
    done = run(*command, cwd=folder, PYTHONPATH=str(there))
    return done.stdout, done.stderr


@pytest.mark.timeout(600)
def test_a_wheel_without_a_compiler_is_pure_python(tmp_path: Path) -> None:
    made = wheel(tmp_path, CC="/bin/false")
    assert made.name == f"onlinesvm-{__version__}-py3-none-any.whl"
    with ZipFile(made) as files:
        assert [name for name in files.namelist() if name.endswith(".so")] == []
        described = files.read(f"onlinesvm-{__version__}.dist-info/WHEEL").decode()
    assert "Root-Is-Purelib: true" in described
    out, said = version(made, tmp_path)
    assert out.startswith(f"onlinesvm {__version__}, kernel python (kernel native: ")
    assert said.count("\n") == 1
    assert said.startswith("onlinesvm: kernel native: ")


@pytest.mark.timeout(600)
def test_a_wheel_with_the_kernel_is_of_its_platform(tmp_path: Path) -> None:
    made = wheel(tmp_path)
    assert "none-any" not in made.name
    with ZipFile(made) as files:
        assert len([name for name in files.namelist() if name.endswith(".so")]) == 1
    assert version(made, tmp_path) == (f"onlinesvm {__version__}, kernel native\n", "")
