"""Flags from a file and from the environment."""

from __future__ import annotations

import json
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from onlinesvm import Limits, OnlineSVM
from onlinesvm.config import LearnerConfig
from onlinesvm.service.cli import settings
from onlinesvm.service.cli.flags import add_flags, given_flags
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.config import ServeConfig
from tests.daemons import eventually, flags_of, follow, serve
from tests.shell import commands, run
from tests.strategies import configurations


def taken(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """The learner's parameters that a command would have."""
    parser = Parser()
    add_flags(parser, LearnerConfig, "its flags")
    settings.add_config(parser)
    settings.apply(parser._actions, words, environment)
    return given_flags(parser.parse_args(words), LearnerConfig)


def in_toml(value: object) -> str:
    return json.dumps(value if isinstance(value, bool | int | float) else str(value))


@given(configurations())
def test_flags_environment_and_file_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("".join(f"{name} = {in_toml(value)}\n" for name, value in config.items()))
    variables = {f"ONLINESVM_{name.upper()}": str(value) for name, value in config.items()}
    assert taken(flags_of(config), {}) == config
    assert taken(["--config", str(path)], {}) == config
    assert taken([], {"ONLINESVM_CONFIG": str(path)}) == config
    assert taken([], variables) == config


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "svm.toml"
    path.write_text('rule = "sgd"\neta0 = 1\nalpha = 0.5\npositive = ["a", "b"]\n')
    variables = {"ONLINESVM_ETA0": "2", "ONLINESVM_ALPHA": "0.25"}
    assert taken([f"--config={path}", "--alpha", "0.125", "--positive", "c"], variables) == {
        "rule": "sgd", "eta0": 2.0, "alpha": 0.125, "positive": ["c"],
    }  # fmt: skip


def test_a_file_has_lists_and_tables(tmp_path: Path) -> None:
    path = tmp_path / "svm.toml"
    path.write_text(
        'labels = ["spam", "ham"]\nclass-weight = [1, 5]\nfields = {sent = "date"}\nbias = false\n'
    )
    config = LearnerConfig(**taken(["--config", str(path)], {}))
    assert config.labels == ("spam", "ham") and config.class_weight == (1.0, 5.0)
    assert config.fields == (("sent", "date"),) and not config.bias


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("fsinc = 1", "{path}: unknown key 'fsinc'; did you mean fsync?"),
        ("config = 'a'", "{path}: unknown key 'config'"),
        ("fsync = 'nevr'", "{path}: fsync: expected one of always, everysec, never, got 'nevr'"),
        ("max-models = 1.5", "{path}: max-models: expected an integer, got '1.5'"),
        ("max_models = true", "{path}: max_models: expected a text or a number, got True"),
        ("auto_create = 1", "{path}: auto_create: expected true or false, got 1"),
        ("max_memory = '1 TB'", "{path}: max_memory: expected a size in bytes"),
        ("bind =", "{path}: expected TOML: Invalid value (at end of document)"),
        ("[daemon]\nbind = 'a'", "{path}: unknown key 'daemon'"),
        ("max_held = " + "1" * 5000, "{path}: expected TOML: Exceeds the limit"),
        ("bind = " + "[" * 3000, "{path}: expected TOML: maximum recursion depth exceeded"),
        ("bind = '\xff'", "{path}: expected TOML in UTF-8, got other bytes"),
        ("#" * 2**20 + "\n", "{path}: expected at most 1048576 bytes, got more"),
    ],
)
def test_errors_of_a_file_name_it(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "svm.toml"
    path.write_text(text, "latin-1")
    outcome = run("serve", "--config", path)
    assert outcome.code == 2
    assert outcome.err.startswith(f"onlinesvm: {error.format(path=path)}")


def test_errors_of_the_environment_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONLINESVM_TIMEOUT_S", "soon")
    outcome = run("ping")
    assert outcome.code == 2
    assert outcome.err.startswith("onlinesvm: ONLINESVM_TIMEOUT_S: expected a time above 0")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    outcome = run("ping", "--config", tmp_path / "none.toml")
    assert outcome.code == 2
    assert outcome.err == f"onlinesvm: --config {tmp_path}/none.toml: No such file or directory\n"


def test_a_flag_drops_the_settings_that_it_excludes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A host that names its daemon in the environment still learns into files, and asks others."""
    monkeypatch.setenv("ONLINESVM_CONNECT", "tcp://127.0.0.1:1")
    monkeypatch.setenv("ONLINESVM_MODEL", "spam")
    path = tmp_path / "m.msgpack"
    assert run("learn", "--file", path, "-", stdin=b"+1\ta\n-1\tb\n").code == 0
    assert OnlineSVM.load(path).position == 2


def test_a_daemons_learner_is_not_refused_by_the_clients_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONLINESVM_RULE", "arow")
    with serve(tmp_path / "state", rule="arow") as daemon:
        learned = run("learn", "--connect", daemon.endpoint, "-", stdin=b"+1\ta\n-1\tb\n")
        assert learned.code == 0, learned.err
        assert run("learn", "--connect", daemon.endpoint, "--rule", "arow").code == 2


def test_every_command_takes_settings() -> None:
    for name, command in commands().items():
        assert any(action.dest == "config" for action in command._actions), name


def test_the_printed_file_starts_the_same_daemon(tmp_path: Path) -> None:
    path = tmp_path / "svm.toml"
    flags = ("--fsync", "always", "--fields", "sent=date", "--class-weight", "1,5", "--no-bias")
    printed = run("serve", "--print-config", *flags, "--max-name-bytes", "100")
    assert printed.code == 0
    path.write_text(printed.out)
    assert tomllib.loads(printed.out) == {
        "fsync": "always", "fields": {"sent": "date"}, "class_weight": [1.0, 5.0], "bias": False,
        "max_name_bytes": 100,
    }  # fmt: skip
    again = run("serve", "--config", path, "--print-config")
    assert again.out == printed.out
    for config in (ServeConfig, LearnerConfig, Limits):
        for name in config.__dataclass_fields__:
            assert f"\n{name} = " in printed.out or f"\n# {name} =" in printed.out, name


def test_the_log_is_json_where_asked(tmp_path: Path) -> None:
    with serve(tmp_path / "state", log_format="json") as daemon:
        assert daemon.stop() == 0
        lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert lines[0]["level"] == "info" and lines[0]["message"].endswith("; ready")
    assert all(line["time"].endswith("Z") and "logger" in line for line in lines)


def test_the_environment_configures_a_daemon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONLINESVM_RULE", "pa1")
    monkeypatch.setenv("ONLINESVM_LOG_LEVEL", "debug")
    with serve(tmp_path / "state") as daemon, daemon.client() as client:
        assert client.stats()["rule"] == "pa1"
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert "rule=pa1" in daemon.log


def test_a_hangup_reads_the_settings_again(tmp_path: Path) -> None:
    path = tmp_path / "svm.toml"
    path.write_text('snapshot_every_s = "1h"\nfsync = "never"\n')
    with serve(tmp_path / "state", config=path) as daemon, daemon.client() as client:
        client.learn([(["a"], 1)])
        path.write_text("auto_create = 1\n")
        daemon.signal(signal.SIGHUP)
        eventually(
            lambda: "settings are as before: " in daemon.log and "auto_create" in daemon.log,
            "an error",
        )
        path.write_text(
            'snapshot_every_s = "10ms"\nauto_create = true\nmax_memory = "1GiB"\nfsync = "always"\n'
        )
        daemon.signal(signal.SIGHUP)
        changes = "auto_create=True, max_memory=1073741824, snapshot_every_s=0.01\n"
        eventually(lambda: f"settings read again: {changes}" in daemon.log, "a report")
        eventually(lambda: "wait for the next start: fsync\n" in daemon.log, "a warning")
        client.model("new").learn([(["a"], 1)])
        eventually(lambda: list((tmp_path / "state/models/new").glob("*")), "a snapshot")


def test_a_reader_takes_settings_again(tmp_path: Path) -> None:
    path = tmp_path / "svm.toml"
    path.write_text('reload_every_s = "1h"\n')
    with serve(tmp_path / "state") as leader, leader.client() as client:
        client.learn([(["a"], 1)])
        client.snapshot()
        with follow(tmp_path / "state", config=path) as reader, reader.client() as copy:
            client.learn([(["a"], 1)])
            client.snapshot()
            path.write_text('reload_every_s = "50ms"\n')
            reader.signal(signal.SIGHUP)
            eventually(lambda: copy.stats()["position"] == 2, "the newer snapshot")
