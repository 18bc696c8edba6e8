"""The commands and snippets of README and docs, run as printed, each page in its own folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).resolve().parent.parent
PAGES = [HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", *sorted((HOUSE / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(sh|python|js|c)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")

# Files that a page takes for granted.
GIVEN = {"vectors.md": {"model.bin": HOUSE / "tests/golden/fasttext/skipgram.bin"}}

# Programs and headers that a page needs; without them its commands are skipped, by name.
NEEDS = {
    "other-languages.md": ("node", "npm", "cc", "/usr/include/zmq.h", "/usr/include/msgpack.h")
}

# make runs these itself before it runs this test.
SET_UP = ("make demo", "pip install", "python3 -m venv", ". .venv")


def blocks_of(page: Path) -> list[tuple[str, str]]:
    return _BLOCK.findall(page.read_text("utf-8"))


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def await_daemon(log: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while log.read_text("utf-8").count("ready") < count:
        assert time.monotonic() < deadline, f"no daemon started: {log.read_text('utf-8')}"
        time.sleep(0.02)


def test_the_readme_is_short() -> None:
    assert len((HOUSE / "README.md").read_text("utf-8").split()) <= 1500


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text("utf-8")):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors_of(path), f"{target}#{anchor}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=lambda page: page.name)
def test_every_block_runs_as_printed(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    assert shutil.which("onlinesvm", path=environment["PATH"])
    for need in NEEDS.get(page.name, ()):
        if not (Path(need).exists() or shutil.which(need)):
            pytest.skip(f"no {need}")
    log = tmp_path / "daemons.log"
    log.touch()
    for name, source in GIVEN.get(page.name, {}).items():
        shutil.copy(source, tmp_path / name)
    daemons: list[Any] = []
    try:
        for language, block in blocks_of(page):
            named = re.match(r"(?:#|//) (\w+\.\w+)\n", block)
            if named:  # a file that later commands use
                (tmp_path / named[1]).write_text(block, "utf-8")
                continue
            if language == "python":
                script = tmp_path / "snippet.py"
                script.write_text(block, "utf-8")
                commands = [f"{sys.executable} {script}"]
            else:
                commands = [line for line in block.splitlines() if not line.startswith(SET_UP)]
            for command in commands:
                if command.endswith("&"):
                    with log.open("ab") as stderr:
                        daemons.append(
                            subprocess.Popen(
                                command[:-1].split(), cwd=tmp_path, env=environment, stderr=stderr
                            )
                        )
                    if command.startswith("onlinesvm"):
                        await_daemon(log, sum(d.args[0] == "onlinesvm" for d in daemons))
                    continue
                done = subprocess.run(
                    command, shell=True, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
                    capture_output=True, text=True, timeout=60,
                )  # fmt: skip
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                assert "Traceback" not in done.stderr
    finally:
        for daemon in daemons:
            daemon.send_signal(signal.SIGTERM)
        codes = {daemon.args[0]: daemon.wait(20) for daemon in daemons}
    assert codes.pop("onlinesvm", 0) == 0
    assert set(codes.values()) <= {0, -signal.SIGTERM}  # servers of others
