"""Debian's package lists as sets of many classes: descriptions, and their classes.

    sections      the section of a package
    maintainers   its maintainer, of those with at least 8 packages
    debtags       its tags: several labels a row

They are downloaded with apt, into folders of the caller's, so that no rights are needed:
`Acquire::Languages=en` fetches the long descriptions. Rows come in the order of the lists.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

APT_HELPER = "/usr/lib/apt/apt-helper"
FEWEST = 8  # packages of a maintainer


class Package(NamedTuple):
    name: str
    section: str
    maintainer: str
    tags: tuple[str, ...]
    text: str


def absent() -> str | None:
    """The reason why the lists cannot be downloaded here, None if they may be."""
    if shutil.which("apt-get") is None or not Path(APT_HELPER).exists():
        return "no apt here"
    return None


def download(folder: Path) -> None:
    """Fetch the lists into `folder`, once. Raises RuntimeError where apt cannot."""
    lists = folder / "lists"
    if list(lists.glob("*Translation-en*")):
        return
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    command = ["apt-get", "-q", "update", "-o", "Acquire::Languages=en", "-o", "Debug::NoLocking=1"]
    for name, value in (("State::lists", lists), ("Cache", folder)):
        command += ["-o", f"Dir::{name}={value}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError("apt-get update: not done after 300 s") from error
    if done.returncode or not list(lists.glob("*Translation-en*")):
        said = (done.stderr.strip().splitlines() or ["no descriptions came"])[-1]
        raise RuntimeError(f"apt-get update: {said}")


def _stanzas(path: Path) -> Iterator[dict[str, str]]:
    text = subprocess.run(
        [APT_HELPER, "cat-file", str(path)], check=True, capture_output=True
    ).stdout.decode("utf-8", "replace")
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[name] += "\n" + line.strip()
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        yield fields


def packages(folder: Path) -> list[Package]:
    """Each package once, in the order of the lists."""
    lists = folder / "lists"
    texts: dict[str, str] = {}
    for path in sorted(lists.glob("*Translation-en*")):
        for fields in _stanzas(path):
            if "Description-md5" in fields:
                texts[fields["Description-md5"]] = fields.get("Description-en", "")
    found: dict[str, Package] = {}
    for path in sorted(lists.glob("*Packages*")):
        for fields in _stanzas(path):
            name, text = fields.get("Package", ""), texts.get(fields.get("Description-md5", ""))
            if name and text and name not in found:
                tags = re.sub(r"([^,\s]*)\{([^}]*)\}", _expanded, fields.get("Tag", ""))
                found[name] = Package(
                    name, fields.get("Section", ""), fields.get("Maintainer", ""),
                    tuple(tag.strip() for tag in tags.split(",") if tag.strip()), text,
                )  # fmt: skip
    return list(found.values())


def _expanded(match: re.Match[str]) -> str:
    """role::{a, b} as role::a, role::b."""
    return ", ".join(match[1] + part.strip() for part in match[2].split(","))


def rows(folder: Path, name: str) -> list[tuple[str, str]]:
    """Label and text of each row of a set."""
    found = packages(folder)
    if name == "sections":
        return [(p.section, p.text) for p in found]
    if name == "maintainers":
        counts = Counter(p.maintainer for p in found)
        return [(p.maintainer, p.text) for p in found if counts[p.maintainer] >= FEWEST]
    raise ValueError(f"set: expected sections or maintainers, got {name!r}")
