"""The C of the compiled kernel: folders include one another one way."""

from __future__ import annotations

import re
from pathlib import Path

CSRC = Path(__file__).resolve().parent.parent.parent / "onlinesvm" / "kernel" / "csrc"
MAY_INCLUDE: dict[str, set[str]] = {
    "memory": set(),
    "codec": {"memory"},
    "lookup": {"memory", "codec"},
    "metrics": {"memory"},
    "rules": {"memory", "metrics"},
    "text": {"memory", "codec"},
    "lines": {"memory", "codec", "text"},
}


def test_folders_include_one_way() -> None:
    assert {path.name for path in CSRC.iterdir() if path.is_dir()} == set(MAY_INCLUDE)
    for folder, allowed in MAY_INCLUDE.items():
        for header in (CSRC / folder).iterdir():
            included = re.findall(r'#include "(.+)"', header.read_text(encoding="utf-8"))
            tops = {name.partition("/")[0] for name in included}
            assert tops <= {*allowed, folder, "constants.h"}, header


def test_every_folder_is_described() -> None:
    readme = (CSRC / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", readme, flags=re.MULTILINE) == list(MAY_INCLUDE)
