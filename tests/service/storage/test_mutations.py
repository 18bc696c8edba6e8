"""Folders damaged at random: a start gives a state that was acknowledged, or says what to do.

``MUTATIONS`` sets how many are tried; `make mutations` tries 10,000.
"""

from __future__ import annotations

import os
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.data.objects import Worse
from onlinesvm.service.errors import LogError, StateError
from tests.daemons import digest_of
from tests.logs import WIDE, Batch, Bench, bench, body_of, recovered, scratch

MUTATIONS = int(os.environ.get("MUTATIONS", "300"))
SEED = int(os.environ.get("MUTATIONS_SEED", "1"))


CONFIGS: dict[str, dict[str, Any]] = {
    "binary": {"rule": "sgd"}, "multiclass": {"task": "multiclass"},
    "multilabel": {"task": "multilabel"}, "ranking": {"task": "ranking"},
}  # fmt: skip
TOTAL = 16
DROPPED = 7  # of many classes, the label 0 is dropped before this sample


def sample(task: str, i: int) -> Any:
    features = [f"f{i % 3}", f"n{i}"]
    if task == "ranking":
        return features, Worse([f"f{(i + 1) % 3}"])
    if task == "multilabel":
        return features, [f"L{k}" for k in range(3) if i >> k & 1]
    return features, f"L{i % 5}" if task == "multiclass" else 1 if i % 2 else -1


def batches(task: str, n: int, start: int = 0) -> list[Batch]:
    return [[sample(task, i)] for i in range(start, n)]


@cache
def prefixes(task: str) -> dict[str, int]:
    """How many samples were learned, by the digest of a state that was acknowledged."""
    model = OnlineSVM(limits=WIDE, **CONFIGS[task])
    found = {digest_of(model): 0}
    for i in range(TOTAL + 1):
        if i == DROPPED and model.is_multiclass:
            model.drop_label("L0")
            found[digest_of(model)] = i
        if i == TOTAL:
            return found
        model.learn_batch(model.decode(body_of([sample(task, i)]), labelled=True))
        found[digest_of(model)] = i + 1


def made(folder: Path, task: str) -> None:
    """Two snapshots, four lives, sixteen samples, some requests without any, a dropped label."""
    for life in range(4):
        with bench(folder, **CONFIGS[task]) as found:
            found.learn(*batches(task, 4 * life + 2, 4 * life))
            found.numbered("p", life + 1, [])
            if life in (1, 2):
                found.snapshot()
            for i in range(4 * life + 2, 4 * life + 4):
                if i == DROPPED:
                    drop(found)
                found.learn(*batches(task, i + 1, i))


def drop(found: Bench) -> None:
    if found.model.is_multiclass:
        (reply,) = found.turn(("drop_label", None, {"label": "L0"}, b"peer"))
        assert reply["position"] == DROPPED


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
@pytest.mark.parametrize("task", CONFIGS)
def test_a_damaged_folder_starts_with_a_prefix_or_is_refused(task: str) -> None:
    chance = random.Random(SEED)
    outcomes: dict[str, int] = {}
    with scratch() as top:
        made(top / "whole", task)
        for number in range(MUTATIONS // (1 if task == "binary" else 3)):
            folder = shutil.copytree(top / "whole", top / "damaged")
            how = [mutate(folder, chance) for _ in range(chance.choice([1, 1, 1, 2]))]
            try:
                outcome = start(folder, task)
                if outcome == "refused":
                    try:
                        recovered(folder)
                    except StateError:
                        outcome = "no whole snapshot"
                    else:
                        assert start(folder, task) == "started", "recovered, and still refused"
            except Exception as error:
                raise AssertionError(f"number {number}: {how}: {error!r}") from error
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            shutil.rmtree(folder)
    assert {"started", "refused"} <= set(outcomes)


def start(folder: Path, task: str) -> str:
    """Start a folder twice, and learn: the same state both times, one that was acknowledged."""
    try:
        with bench(folder) as found:
            digest = digest_of(found.model)
            known = prefixes(task)[digest]
    except (LogError, StateError):
        return "refused"
    with bench(folder) as found:
        assert digest_of(found.model) == digest, "another state at the second start"
        found.learn(*batches(task, known + 1, known))
        digest = digest_of(found.model)
    with bench(folder) as found:
        assert digest_of(found.model) == digest, "an acknowledged sample was lost"
    return "started"
