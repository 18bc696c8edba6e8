"""Folders damaged at random: a start gives a state that was acknowledged, or says what to do.

``MUTATIONS`` sets how many are tried; `make mutations` tries 10,000.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from onlinesvm.service.errors import LogError, StateError
from tests.daemons import digest_of
from tests.logs import Batch, bench, digest_after, recovered, scratch

MUTATIONS = int(os.environ.get("MUTATIONS", "300"))
SEED = int(os.environ.get("MUTATIONS_SEED", "1"))


def batches(n: int, start: int = 0) -> list[Batch]:
    return [[([f"f{i % 3}", f"n{i}"], 1 if i % 2 else -1)] for i in range(start, n)]


TOTAL = 16
PREFIXES = {digest_after(batches(n), rule="sgd"): n for n in range(TOTAL + 1)}


def made(folder: Path) -> None:
    """Two snapshots, four lives, sixteen samples, some requests without any."""
    for life in range(4):
        with bench(folder, rule="sgd") as found:
            found.learn(*batches(4 * life + 2, 4 * life))
            found.numbered("p", life + 1, [])
            if life in (1, 2):
                found.snapshot()
            found.learn(*batches(4 * life + 4, 4 * life + 2))


def mutate(folder: Path, chance: random.Random) -> str:
    """Damage one file; says how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "LOCK")
    path = chance.choice(files)
    raw = path.read_bytes()
    at = chance.randrange(max(1, len(raw)))
    size = chance.choice([1, 2, 4, 8, 60, 300])
    kind = chance.choice(
        ["flip", "cut", "delete", "remove", "zero", "insert", "random", "swap", "copy", "empty"]
    )
    if kind == "flip" and raw:
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :])
    elif kind == "cut":
        path.write_bytes(raw[:at])
    elif kind == "delete":
        path.write_bytes(raw[:at] + raw[at + size :])
    elif kind == "remove":
        path.unlink()
    elif kind == "zero":
        path.write_bytes(raw[:at] + bytes(len(raw[at : at + size])) + raw[at + size :])
    elif kind == "insert":
        path.write_bytes(raw[:at] + chance.randbytes(size) + raw[at:])
    elif kind == "random":
        path.write_bytes(raw[:at] + chance.randbytes(len(raw[at : at + size])) + raw[at + size :])
    elif kind == "swap":
        other = chance.choice(files)
        path.write_bytes(other.read_bytes())
        other.write_bytes(raw)
    elif kind == "copy":
        path.write_bytes(chance.choice(files).read_bytes())
    else:
        path.write_bytes(b"")
    return f"{kind} of {path.name} at {at}, {size} bytes"


@pytest.mark.timeout(60 + MUTATIONS)
def test_a_damaged_folder_starts_with_a_prefix_or_is_refused() -> None:
    chance = random.Random(SEED)
    outcomes: dict[str, int] = {}
    with scratch() as top:
        made(top / "whole")
        for number in range(MUTATIONS):
            folder = shutil.copytree(top / "whole", top / "damaged")
            how = [mutate(folder, chance) for _ in range(chance.choice([1, 1, 1, 2]))]
            try:
                outcome = start(folder)
                if outcome == "refused":
                    try:
                        recovered(folder)
                    except StateError:
                        outcome = "no whole snapshot"
                    else:
                        assert start(folder) == "started", "recovered, and still refused"
            except Exception as error:
                raise AssertionError(f"number {number}: {how}: {error!r}") from error
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            shutil.rmtree(folder)
    assert {"started", "refused"} <= set(outcomes)


def start(folder: Path) -> str:
    """Start a folder twice, and learn: the same state both times, one that was acknowledged."""
    try:
        with bench(folder) as found:
            digest = digest_of(found.model)
            known = PREFIXES[digest]
    except (LogError, StateError):
        return "refused"
    with bench(folder) as found:
        assert digest_of(found.model) == digest, "another state at the second start"
        found.learn(*batches(known + 1, known))
        digest = digest_of(found.model)
    with bench(folder) as found:
        assert digest_of(found.model) == digest, "an acknowledged sample was lost"
    return "started"
