"""The checkpoint of a training: as it was saved, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import Limits, OnlineSVM
from onlinesvm.errors import SnapshotError
from onlinesvm.service.errors import ClusterError
from onlinesvm.service.train.checkpoint import Checkpoint, Done, plan_of
from onlinesvm.service.train.shards import Part
from onlinesvm.service.train.tasks import Reading

pytest.importorskip("distributed")

SHARDS = ((Part("/a", 9, 0, 5, True),), (Part("/a", 9, 5, 9, True), Part("/b.gz", 3, 0, 3, False)))


def done() -> Done:
    model = OnlineSVM()
    model.learn([(["a"], 1), (["b"], -1)])
    return Done(model.snapshot(), [0.25, None])


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    checkpoint = Checkpoint(f"{tmp_path}/m.checkpoint", plan_of(SHARDS, Reading()))
    assert not checkpoint.exists
    saved = done()
    checkpoint.save(saved)
    assert checkpoint.exists
    assert Path(checkpoint.path).stat().st_mode & 0o777 == 0o600
    found = checkpoint.load()
    assert (found.rounds, found.errors) == (2, [0.25, None])
    assert found.model.digest() == saved.model.digest()
    assert found.model.id == saved.model.id
    checkpoint.save(Done(saved.model, [0.25]))  # in its place
    assert checkpoint.load().rounds == 1
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []
    checkpoint.remove()


def test_one_of_other_files_or_flags_is_refused(tmp_path: Path) -> None:
    path = f"{tmp_path}/m.checkpoint"
    Checkpoint(path, plan_of(SHARDS, Reading())).save(done())
    grown = (SHARDS[0], (replace_size(SHARDS[1][0]), SHARDS[1][1]))
    plans = [
        plan_of(SHARDS[:1], Reading()),
        plan_of(SHARDS[::-1], Reading()),
        plan_of(((*SHARDS[0], *SHARDS[1]),), Reading()),
        plan_of(grown, Reading()),
        plan_of(SHARDS, Reading(skip_bad=True)),
        plan_of(SHARDS, Reading(limits=Limits(max_features=9))),
    ]
    assert len({*plans}) == len(plans)
    for plan in plans:
        with pytest.raises(ClusterError, match="expected a training of these files, shards and fl"):
            Checkpoint(path, plan).load()


def replace_size(part: Part) -> Part:
    return part._replace(size=part.size + 1)


@pytest.mark.parametrize(
    "attached",
    [
        {},
        {"training": 5},
        {"training": {"rounds": 1, "plan": "p"}},
        {"training": {"rounds": 2, "plan": "p", "errors": [0.5]}},
        {"training": {"rounds": 0, "plan": "p", "errors": []}},
        {"training": {"rounds": 1, "plan": "p", "errors": ["0.5"]}},
    ],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, attached: dict[str, Any]) -> None:
    model = OnlineSVM()
    path = f"{tmp_path}/m.checkpoint"
    from onlinesvm.snapshot.writer import write

    write(path, replace(model.snapshot(), attachments=attached), OnlineSVM.check_snapshot)
    with pytest.raises(SnapshotError, match="expected the checkpoint of a training, got none"):
        Checkpoint(path, "p").load()
