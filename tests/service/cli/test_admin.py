"""`inspect`, `stats`, `snapshot` and `recover`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from onlinesvm import OnlineSVM
from tests.daemons import ANY_PORT, digest_of, on_a_thread
from tests.service.cli.samples import FILES, inspected
from tests.shell import done, run, start_lines, started


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = OnlineSVM(rule="sgd", eta0=0.5)
    names = ["good", "better", "b\x1b[2Jd", "\udcff"]
    model.learn([([names[0]], 1), ([names[1]], 1), ([names[2]], -1), ([names[3]], -1)])
    model.learn([(["better"], 1)])
    path = tmp_path_factory.mktemp("inspect") / "m.msgpack"
    model.save(path)
    return path


def test_a_snapshot_as_a_table(shown: Path) -> None:
    out = done("inspect", shown).out
    model = OnlineSVM.load(shown)
    header, up, down = out.split("\n\nstrongest features for ")
    rows = dict(line.split(maxsplit=1) for line in header.splitlines())
    assert rows["position"] == "5" and rows["features"] == "4"
    assert rows["kernel"] == model.kernel.NAME
    assert rows["digest"] == digest_of(model)
    assert rows["path"] == str(shown)
    written = datetime.fromisoformat(rows["written_at"])
    assert written.utcoffset() is not None
    assert abs(datetime.now(written.tzinfo) - written) < timedelta(minutes=10)
    assert "rule=sgd eta0=0.5" in rows["config"]
    assert float(rows["progressive_error"]) == model.progressive.error
    for title, text, sign in (("1", up, 1), ("-1", down, -1)):
        assert text.splitlines()[0] == title
        weights = [float(line.split()[0]) for line in text.splitlines()[1:]]
        assert weights and weights == sorted(weights, key=abs, reverse=True)
        assert all(sign * weight > 0 for weight in weights)
    assert "\x1b" not in out  # what a terminal would obey
    assert "'b\\x1b[2Jd'" in down and "'\\udcff'" in down


def test_a_snapshot_as_json(shown: Path) -> None:
    model = OnlineSVM.load(shown)
    out = done("inspect", "--json", "--top", 1, shown).out
    assert len(out.splitlines()) == 1
    header = json.loads(out)
    up, down = model.strongest(1)
    assert header["positive"] == [list(row) for row in up] and len(up) == 1
    assert header["negative"] == [list(row) for row in down] and len(down) == 1
    assert header["config"]["eta0"] == 0.5
    assert (header["position"], header["features"], header["bias"]) == (5, 4, model.bias)
    assert header["digest"] == digest_of(model)
    none = json.loads(done("inspect", "--json", "--top", 0, shown).out)
    assert none["positive"] == none["negative"] == []


def test_a_folder_stands_for_its_newest_snapshot(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        done("snapshot", "--connect", endpoint)
        assert inspected(tmp_path / "state")["position"] == 0
        done("learn", "--connect", endpoint, stdin=FILES["text"][0])
        saved = json.loads(done("snapshot", "--connect", endpoint).out)
        header = inspected(tmp_path / "state")
        assert header["position"] == 3
        assert (header["path"], header["digest"]) == (saved["path"], saved["digest"])


def test_a_hedges_experts_are_shown(tmp_path: Path) -> None:
    done("learn", "--file", tmp_path / "m", "--rule", "hedge", stdin=FILES["vw"][0])
    experts = OnlineSVM.load(tmp_path / "m").experts
    assert experts
    assert inspected(tmp_path / "m")["experts"] == json.loads(json.dumps(experts))
    table = done("inspect", tmp_path / "m").out
    for name in experts:
        assert f"\n  {name} " in table


def test_a_model_that_python_saved_is_one_of_the_command_lines(tmp_path: Path) -> None:
    """And the other way round."""
    model = OnlineSVM(rule="sgd", alpha=0.01)
    model.learn(FILES["vw"][1])
    model.save(tmp_path / "m")
    done("learn", "--file", tmp_path / "m", stdin=FILES["json"][0])
    model.learn(FILES["json"][1])
    assert digest_of(OnlineSVM.load(tmp_path / "m")) == digest_of(model)


def test_paths_are_absolute(shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shown.parent)
    assert inspected(Path(shown.name))["path"] == str(shown)
    with started("serve", "--bind", ANY_PORT, "--state", "s", cwd=tmp_path) as daemon:
        endpoint = start_lines(daemon)[1]
        saved = json.loads(done("snapshot", "--connect", endpoint).out)
        figures = json.loads(done("stats", "--connect", endpoint).out)
        assert saved["path"] == figures["snapshot_path"]
        assert Path(saved["path"]).parent == tmp_path / "s" / "models" / "default"
    with started("serve", "--bind", ANY_PORT, "--follow", "s", cwd=tmp_path) as follower:
        endpoint = start_lines(follower)[1]
        figures = json.loads(done("stats", "--connect", endpoint).out)
        assert figures["snapshot_path"] == saved["path"]


def test_the_default_folder_is_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    missing = run("recover")
    assert missing.code == 1 and f"{tmp_path}/state: no such folder" in missing.err
    with on_a_thread(tmp_path / "state") as endpoint:
        done("learn", "--connect", endpoint, stdin=FILES["text"][0])
    (saved,) = json.loads(done("recover").out)["snapshots"]
    assert saved["path"].startswith(f"{tmp_path}/state/models/default/snapshot-")


def test_the_models_name_is_sent(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        for command in ("stats", "snapshot", "learn", "predict", "explain", "evaluate"):
            flags = command, "--connect", endpoint, "--model"
            refused = run(*flags, "spam", stdin=b"1 a:1\n")
            assert refused.code == 1 and "NO_MODEL: expected the name of a model" in refused.err
            done(*flags, "default", stdin=b"1 a:1\n")
