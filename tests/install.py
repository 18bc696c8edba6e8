"""Wheels and source distributions of this checkout, built in isolation and installed into fresh
environments: `make test-install`.

No part of `make test`: pip installs requirements into each environment, which takes minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from onlinesvm.version import __version__

HOUSE = Path(__file__).resolve().parent.parent
SOURCES = (
    "onlinesvm", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE",
    "CHANGELOG.md", "Makefile", "docs", "packaging", "tests", "bench",
)  # fmt: skip
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"


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


def sources(folder: Path) -> Path:
    """A copy of the sources, without what was built."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    copies = folder / "sources"
    copies.mkdir()
    for name in SOURCES:
        source, copy = HOUSE / name, copies / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=ignored)
        else:
            shutil.copy(source, copy)
    return copies


def wheel(folder: Path, **environment: str) -> Path:
    """A wheel of a copy of the sources, built by pip with the build's requirements alone."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder)
    run(*pip, sources(folder), cwd=folder, **environment)
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


def pythons() -> dict[str, str]:
    """The Pythons of this machine that onlinesvm supports, by their versions."""
    paths = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    paths += map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    found = {}
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, paths):
        done = subprocess.run([path, "-c", script], capture_output=True, text=True, timeout=60)
        version = done.stdout.strip()
        if done.returncode == 0 and int(version.partition(".")[2]) >= 11:
            found.setdefault(version, path)
    return found


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A source distribution and the wheel that was built of it, by their endings."""
    folder = tmp_path_factory.mktemp("distributions")
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", sources(folder), cwd=folder)
    return {path.name.rpartition(".")[2]: path for path in (folder / "dist").iterdir()}


@pytest.mark.timeout(600)
def test_both_distributions_are_in_order(distributions: dict[str, Path], tmp_path: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *distributions.values(), cwd=tmp_path)
    with tarfile.open(distributions["gz"]) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    for name in ("docs/wire.md", "packaging/onlinesvm.service", "tests/oracle.py", "LICENSE"):
        assert name in names
    with ZipFile(distributions["whl"]) as wheel:
        page = HOUSE / "service/http/page"
        for path in page.rglob("*"):
            if path.is_file():
                name = f"onlinesvm/service/http/page/{path.relative_to(page)}"
                assert name in names
                assert wheel.read(name) == path.read_bytes()
        (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        shown = message_from_bytes(wheel.read(metadata)).get_payload()
    assert "First five minutes" in str(shown)
    assert re.findall(r"\]\((?!https?:)[^)]*\)", str(shown)) == []  # an index has no such file


@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", sorted(pythons()))
@pytest.mark.parametrize("kind", ["whl", "gz"])
def test_a_distribution_works_in_a_fresh_environment(
    distributions: dict[str, Path], tmp_path: Path, python: str, kind: str
) -> None:
    made = distributions[kind]
    if kind == "whl" and f"cp{python.replace('.', '')}" != TAG:
        pytest.skip(f"the wheel is for {TAG}")
    run(pythons()[python], "-m", "venv", tmp_path / "env", cwd=tmp_path)
    run(tmp_path / "env/bin/pip", "install", "--quiet", made, cwd=tmp_path)
    command = tmp_path / "env/bin/onlinesvm"
    assert (
        run(command, "--version", cwd=tmp_path).stdout
        == f"onlinesvm {__version__}, kernel native\n"
    )
    (tmp_path / "some.tsv").write_text("spam\tfree prize\nham\tminutes\n")
    run(command, "learn", "--file", "m.msgpack", "some.tsv", cwd=tmp_path)
    done = run(command, "predict", "--file", "m.msgpack", "some.tsv", cwd=tmp_path)
    assert done.stdout == "spam\nham\n"


@pytest.mark.timeout(600)
def test_the_containers_scripts_run(tmp_path: Path) -> None:
    copies = sources(tmp_path)
    run("sh", copies / "packaging/build.sh", copies, tmp_path / "wheels", cwd=tmp_path)
    done = run(
        "sh", copies / "packaging/install.sh", tmp_path / "wheels", tmp_path / "opt", cwd=tmp_path
    )
    assert done.stdout == f"onlinesvm {__version__}, kernel native\n"
