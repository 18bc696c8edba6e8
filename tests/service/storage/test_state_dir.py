"""The state folder: its lock, its snapshots, and what a start makes of them."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.errors import ConfigError
from onlinesvm.service.errors import NotDurable, StateError
from onlinesvm.service.storage.recovery import Started, recover, start
from onlinesvm.service.storage.segment import segment_name
from onlinesvm.service.storage.snapshots import (
    StoredSnapshot,
    model_folder,
    snapshot_name,
    snapshots_in,
)
from onlinesvm.service.storage.state_dir import StateDir
from onlinesvm.snapshot.writer import write
from tests.daemons import DEADLINE_S, digest_of, files_in, snapshot_path
from tests.strategies import WIDE, configurations, samples

LIMITS = Limits()


@contextlib.contextmanager
def opened(
    folder: Path, limits: Limits = LIMITS, **given_config: Any
) -> Iterator[tuple[Started, OnlineSVM]]:
    """A start of `folder`, and its model."""
    with StateDir(folder) as state:
        started = start(state, given_config, limits, fsync="never")
        try:
            yield started, started.default.model
        finally:
            started.log.close()


def stored(started: Started) -> StoredSnapshot:
    """A snapshot of the model as it is, of the LSN after the last one's."""
    state = started.default
    state.position = state.position._replace(lsn=state.position.lsn + 1)
    return started.snapshots.write(state.view(started.folder).snapshot())


def names_in(folder: Path) -> set[str]:
    """The names in the folder of the model `default`."""
    return {path.name for path in model_folder(folder, "default").iterdir()}


def grown(positions: list[int], folder: Path) -> dict[int, OnlineSVM]:
    """A model by position, each saved in `folder` and one going on from the other."""
    models = {}
    folder.mkdir(parents=True, exist_ok=True)
    for position in sorted(positions):
        model = OnlineSVM()
        model.learn([([f"f{i}", "all"], 1 if i % 3 else -1) for i in range(position)])
        model.save(snapshot_path(folder, position))
        models[position] = model
    return models


def run(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """`code` in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        **options,
    )


# A new model.


@settings(max_examples=20)
@given(config=configurations())
def test_a_new_model_is_in_the_log_first(config: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "a" / "state"
        with opened(folder, **config) as (_, model):
            assert files_in(folder) == {"LOCK", f"log/{segment_name(1)}"}
            assert model.config == OnlineSVM(**config).config
        with opened(folder) as (_, again):
            assert (again.id, again.config) == (model.id, model.config)
            assert digest_of(again) == digest_of(model)


def test_the_configuration_given_at_creation_holds(tmp_path: Path) -> None:
    with opened(tmp_path, rule="sgd", eta0=0.5, bias=False):
        pass
    with opened(tmp_path) as (_, model):
        assert (model.config.eta0, model.config.bias) == (0.5, False)
    with opened(tmp_path, rule="sgd", eta0=0.5, alpha=0.0) as (_, model):
        assert model.config.eta0 == 0.5


@pytest.mark.parametrize(
    ("given_config", "message"),
    [
        ({"eta0": 0.25}, r"eta0: the model was .* with 0\.5, got 0\.25"),
        ({"bias": True}, "bias: the model was .* with False, got True"),
        ({"schedule": "invscaling"}, "schedule: .* 'constant', got 'invscaling'"),
        ({"alpha": 3.0}, r"alpha: the model was .* with 0\.0, got 3\.0"),
    ],
)
def test_another_configuration_is_refused_naming_both(
    tmp_path: Path, given_config: dict[str, Any], message: str
) -> None:
    with opened(tmp_path, rule="sgd", eta0=0.5, bias=False) as (_, model):
        digest = digest_of(model)
    before = files_in(tmp_path)
    with pytest.raises(ConfigError, match=message), opened(tmp_path, **given_config):
        pass
    assert files_in(tmp_path) == before
    with opened(tmp_path) as (_, model):
        assert digest_of(model) == digest


@pytest.mark.parametrize("snapshot", [False, True])
def test_every_start_begins_a_new_term(tmp_path: Path, snapshot: bool) -> None:
    for term in (1, 2, 3):
        with opened(tmp_path) as (started, _):
            assert started.log.term == term
            if snapshot:
                stored(started)


def test_a_recorded_limit_is_logged_when_it_changes(tmp_path: Path) -> None:
    for limit, lsn in ((5, 2), (5, 3), (7, 5), (7, 6)):
        with opened(tmp_path, limits=Limits(max_features=limit)) as (started, model):
            assert (started.log.lsn, model.limits.max_features) == (lsn, limit)


def test_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    before = os.umask(0)
    try:
        with opened(folder) as (started, _):
            stored(started)
    finally:
        os.umask(before)
    for path in [folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("name", ["LOCK", "log", "models"])
def test_links_are_not_followed(tmp_path: Path, name: str) -> None:
    target, folder = tmp_path / "target", tmp_path / "state"
    folder.mkdir()
    target.write_text("mine")
    (folder / name).symlink_to(target)
    with pytest.raises(OSError, match=r"a link|Not a directory"), opened(folder) as (started, _):
        stored(started)
    assert target.read_text() == "mine"


def test_limits_may_change(tmp_path: Path) -> None:
    models = grown([9], tmp_path)
    tight = Limits(max_features=3, max_name_bytes=1)
    with opened(tmp_path, limits=tight) as (_, model):
        assert model.limits == tight
        assert digest_of(model) == digest_of(models[9])


# The newest valid snapshot.

DAMAGES = {
    "empty": lambda raw: b"",
    "cut": lambda raw: raw[:-1],
    "longer": lambda raw: raw + b"\x00",
    "flipped": lambda raw: raw[:-200] + bytes([raw[-200] ^ 1]) + raw[-199:],
    "foreign": lambda raw: b"\x81\xa6format\xa7another",
}


@settings(max_examples=25)
@given(
    damage=st.lists(st.sampled_from([None, None, *DAMAGES]), min_size=1, max_size=4),
)
def test_a_start_takes_the_newest_that_is_whole(damage: list[str | None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        positions = [3 * i for i in range(len(damage))]
        models = grown(positions, folder)
        for position, kind in zip(positions, damage, strict=True):
            if kind:
                path = snapshot_path(folder, position)
                path.write_bytes(DAMAGES[kind](path.read_bytes()))
        whole = [p for p, kind in zip(positions, damage, strict=True) if kind is None]
        before = names_in(folder)
        if not whole:
            with (
                pytest.raises(StateError, match=f"none of its {len(damage)} snapshots in"),
                opened(folder),
            ):
                pass
            assert names_in(folder) == before
            return
        newest = max(whole)
        with opened(folder) as (_, model):
            assert digest_of(model) == digest_of(models[newest])
        aside = {snapshot_name(p) for p in positions if p > newest}
        kept = {snapshot_name(p) for p in [p for p in positions if p <= newest][-2:]}
        assert names_in(folder) == kept | {f"{name}.damaged" for name in aside}


def test_a_damaged_newest_snapshot_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grown([3, 6], tmp_path)
    newest = snapshot_path(tmp_path, 6)
    newest.write_bytes(newest.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING), opened(tmp_path) as (_, model):
        assert model.position == 3
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"snapshot passed over: {newest}: expected a trailer")
    assert second == f"set aside as {newest}.damaged"


def test_one_whose_parts_make_no_model_is_passed_over(tmp_path: Path) -> None:
    models = grown([3, 6], tmp_path)
    taken = models[6].snapshot()
    del taken.arrays["arow_weights"]
    write(snapshot_path(tmp_path, 6), taken, lambda taken: None)
    with opened(tmp_path) as (_, model):
        assert digest_of(model) == digest_of(models[3])


def test_one_that_is_named_for_another_lsn_is_passed_over(tmp_path: Path) -> None:
    with opened(tmp_path) as (started, model):
        path = Path(stored(started).path)
        digest = digest_of(model)
    shutil.copy(path, snapshot_path(tmp_path, 99))
    shutil.rmtree(tmp_path / "log")
    with opened(tmp_path) as (_, model):
        assert digest_of(model) == digest
    assert f"{snapshot_name(99)}.damaged" in names_in(tmp_path)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    folder = snapshot_path(tmp_path, 0).parent
    (folder / "notes.txt").write_text("mine")
    (folder / "snapshot-7.msgpack").write_text("mine too")
    with opened(tmp_path) as (started, model):
        for lsn in range(3, 7):
            model.learn_one(["a"], 1)
            saved = stored(started)
            assert (saved.path, saved.lsn) == (str(snapshot_path(tmp_path, lsn)), lsn)
            assert [at for at, _ in snapshots_in(folder)] == [lsn, lsn - 1][: lsn - 2]
            assert digest_of(OnlineSVM.load(saved.path)) == saved.digest == digest_of(model)
    assert {"notes.txt", "snapshot-7.msgpack"} < names_in(tmp_path)


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    grown([3], tmp_path)
    leftover = snapshot_path(tmp_path, 6).with_name(f".{snapshot_name(6)}.4711.tmp")
    leftover.write_bytes(b"half a snapsh")
    with opened(tmp_path) as (_, model):
        assert model.position == 3
    assert names_in(tmp_path) == {snapshot_name(3)}


# The lock.


def test_one_daemon_a_folder(tmp_path: Path) -> None:
    held = rf"another daemon holds it \(process {os.getpid()}\)"
    with StateDir(tmp_path):
        with pytest.raises(StateError, match=held):
            StateDir(tmp_path)
        done = run(
            "import sys, onlinesvm.service.storage.state_dir as s; s.StateDir(sys.argv[1])",
            tmp_path,
        )
        assert done.returncode == 1
        assert f"StateError: state folder {tmp_path}: another daemon holds it" in done.stderr
    StateDir(tmp_path).close()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time, onlinesvm.service.storage.state_dir as s\n"
        "state = s.StateDir(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError, match=rf"another daemon holds it \(process {holder.pid}\)"):
            StateDir(tmp_path)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=DEADLINE_S)
    StateDir(tmp_path).close()


def test_a_lock_file_with_anything_in_it(tmp_path: Path) -> None:
    (tmp_path / "LOCK").write_bytes(b"\xff\xfe\x00")
    with StateDir(tmp_path), pytest.raises(StateError, match=f"{os.getpid()}"):
        StateDir(tmp_path)


# Folders that cannot be used.


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "state", Path("/proc/nothing/state")):
        with pytest.raises(StateError, match=f"state folder {folder}: "):
            StateDir(folder)


def test_a_snapshot_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    snapshot_path(tmp_path, 3).symlink_to(snapshot_name(3))
    message = f"{snapshot_name(3)}: Too many levels of symbolic links"
    with pytest.raises(StateError, match=message), opened(tmp_path):
        pass


FULL = """
import resource, sys
from onlinesvm import Limits
from onlinesvm.service.storage.recovery import start
from onlinesvm.service.storage.state_dir import StateDir
with StateDir(sys.argv[1]) as state:
    room = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        started = start(state, {}, Limits())
        model = started.default
        model.model.learn([([str(i) for i in range(1000)], 1)])
        started.snapshots.write(model.view(started.folder).snapshot())
    except OSError as error:
        print(repr(error))
"""


def test_no_room_for_a_new_model(tmp_path: Path) -> None:
    done = run(FULL, tmp_path, 100)
    text = f"state folder {tmp_path}: the log cannot be written: File too large"
    message = f"StateError('{text}')\n"
    assert (done.stdout, done.stderr) == (message, "")
    assert files_in(tmp_path) - {f"log/{segment_name(1)}"} <= {"LOCK"}


def test_no_room_for_a_snapshot(tmp_path: Path) -> None:
    done = run(FULL, tmp_path, 20_000)
    assert (done.stdout, done.stderr) == ("OSError(27, 'File too large')\n", "")
    assert files_in(tmp_path) == {"LOCK", f"log/{segment_name(1)}"}
    with opened(tmp_path) as (_, model):
        assert model.position == 0


# Continuing.


@settings(max_examples=25)
@given(config=configurations(), rows=st.lists(samples(), max_size=12), cut=st.integers(0, 12))
def test_a_model_goes_on_as_if_it_had_never_stopped(
    config: dict[str, Any], rows: list[Any], cut: int
) -> None:
    whole = OnlineSVM(limits=WIDE, **config)
    whole.learn(rows)
    with tempfile.TemporaryDirectory() as name:
        with opened(Path(name), WIDE, **config) as (started, model):
            model.learn(rows[:cut])
            stored(started)
        with opened(Path(name), WIDE) as (_, model):
            model.learn(rows[cut:])
            assert digest_of(model) == digest_of(whole)


@pytest.mark.parametrize("strangers", [1, 2, 3])
def test_what_was_just_written_is_never_dropped(tmp_path: Path, strangers: int) -> None:
    with opened(tmp_path) as (started, model):
        for lsn in range(90, 90 + strangers):
            snapshot_path(tmp_path, lsn).write_bytes(b"junk")
        for _ in range(3):
            model.learn_one(["a"], 1)
            assert Path(stored(started).path).is_file()
        digest = digest_of(model)
    with StateDir(tmp_path) as state:
        assert recover(state)["snapshots"][0]["digest"] == digest


def test_a_newest_that_is_no_regular_file_is_set_aside(tmp_path: Path) -> None:
    models = grown([3], tmp_path)
    digest = digest_of(models[3])
    os.mkfifo(snapshot_path(tmp_path, 7))
    snapshot_path(tmp_path, 8).symlink_to(tmp_path / "nowhere")
    snapshot_path(tmp_path, 9).mkdir()
    snapshot_path(tmp_path, 9).with_name(f".{snapshot_name(9)}.1.tmp").mkdir()
    with opened(tmp_path) as (_, again):
        assert digest_of(again) == digest
    assert names_in(tmp_path) >= {f"{snapshot_name(n)}.damaged" for n in (7, 8, 9)}


def test_nothing_is_written_into_a_folder_that_another_may_hold(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with opened(folder) as (started, _):
        folder.rename(tmp_path / "moved")
        with opened(folder) as (_, other):
            before = files_in(folder)
            with pytest.raises(StateError, match="replaced or removed"):
                stored(started)
            with pytest.raises(NotDurable, match="replaced or removed"):
                started.log.append([])
            assert files_in(folder) == before
            assert other.position == 0


# A disk without any room.

START = """
import resource, sys
from onlinesvm import Limits
from onlinesvm.service.errors import NotDurable, StateError
from onlinesvm.service.storage.recovery import start
from onlinesvm.service.storage.state_dir import StateDir
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    with StateDir(sys.argv[1]) as state:
        started = start(state, {}, Limits())
        print(started.default.model.position)
        started.log.close()
except StateError as error:
    print(error)
"""


def test_a_model_starts_where_nothing_can_be_written(tmp_path: Path) -> None:
    with opened(tmp_path) as (started, model):
        model.learn([(["a"], 1)] * 9)
        stored(started)
    done = run(START, tmp_path)
    assert done.stdout == "9\n"
    assert done.stderr == "learning is refused for now: the log cannot be written: File too large\n"


def test_a_new_model_that_cannot_be_written_names_the_folder(tmp_path: Path) -> None:
    done = run(START, tmp_path)
    assert (done.stdout, done.stderr) == (
        f"state folder {tmp_path}: the log cannot be written: File too large\n",
        "",
    )


def test_a_folder_in_which_no_file_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "LOCK").mkdir()
    with pytest.raises(StateError, match=f"state folder {tmp_path}: Is a directory"):
        StateDir(tmp_path)
