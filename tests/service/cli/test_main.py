"""The command line as a whole: its help, its exit codes, its streams, its ends."""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import IO

import msgpack
import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service.cli import admin as rooms
from onlinesvm.service.storage.state_dir import StateDir
from onlinesvm.version import __version__
from tests.daemons import ANY_PORT, HOUSE, eventually, on_a_thread, serve, snapshot_path
from tests.shell import (
    DEADLINE_S,
    assert_failed,
    commands,
    done,
    ended,
    run,
    shell,
    started,
    svmlight,
    write,
)

COMMANDS = tuple(commands())
NOBODY = "tcp://127.0.0.1:1"

rng = random.Random(7)
LINES = svmlight([(rng.choice([1, -1]), {rng.randint(1, 50): 1.5}) for _ in range(500)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good file, files that are not, and models."""
    folder = tmp_path_factory.mktemp("cli")
    write(folder / "good.svm", b"+1 1:1\n-1 2:1\n")
    write(folder / "bad.svm", b"+1 1:1\n\n-1 2:x\n+1 3:1\n")
    write(folder / "labels.tsv", b"spam\tfree prize\nham\tsee you\n")
    write(folder / "more.svm", b"3 1:1\n0 2:1\n")
    OnlineSVM(rule="sgd", eta0=0.5).save(folder / "half.msgpack")
    whole = (folder / "half.msgpack").read_bytes()
    write(folder / "damaged.msgpack", whole[:-1] + bytes([whole[-1] ^ 1]))
    write(folder / "cut.msgpack", whole[: len(whole) // 2])
    write(folder / "foreign.msgpack", msgpack.packb({"format": "something else"}))
    write(folder / "notes.txt", b"no model")
    (folder / "empty").mkdir()
    return folder


# Help and documentation.


def test_the_commands_are_those_of_the_readme() -> None:
    readme = (HOUSE / "README.md").read_text("utf-8")
    assert set(COMMANDS) == set(re.findall(r"^\| `onlinesvm (\w+)` \|", readme, re.M))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_the_command_takes(command: str) -> None:
    code, help, errors = run(command, "--help")
    assert (code, errors) == (0, "")
    _, example = help.split("\nexample:\n")
    lines = re.findall(r"^  (?:.*\| )?onlinesvm (.*?)(?: >.*)?$", example, re.M)
    assert lines
    for line in lines:
        name, *arguments = (word.strip("'\"") for word in re.findall(r"'.*?'|\".*?\"|\S+", line))
        assert name == command
        commands()[name].parse_args(arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_help(command: str) -> None:
    for action in commands()[command]._actions:
        assert action.help, action


def test_help_lists_every_command() -> None:
    code, help, _ = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert re.search(rf"^ +{command} ", help, re.M)
    assert done("--version").out == f"onlinesvm {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_documents_commands_and_flags(command: str) -> None:
    readme = (HOUSE / "README.md").read_text("utf-8")
    assert f"onlinesvm {command}" in readme
    table = "\n".join(line for line in readme.splitlines() if line.startswith("|"))
    for action in commands()[command]._actions:
        if isinstance(action, argparse._HelpAction) or not action.option_strings:
            continue
        documented = (rf"`{option}(?![\w-])" for option in action.option_strings)
        assert any(re.search(option, table) for option in documented), action.option_strings


# Wrong usage.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "COMMAND"),
        ("teach", "invalid choice: 'teach'"),
        ("learn --speed 3", "unrecognized arguments: --speed"),
        ("learn --eta0 fast", "--eta0: invalid float value: 'fast'"),
        ("learn --rule magic", "--rule: invalid choice: 'magic'"),
        ("learn --format csv", "--format: invalid choice: 'csv'"),
        ("learn --model m --connect tcp://127.0.0.1:1", "not allowed with argument"),
        ("predict --eta0 0.1", "unrecognized arguments: --eta0"),
        ("stats --timeout-s 0", "expected seconds above 0, got 0"),
        ("stats --timeout-s nan", "expected seconds above 0, got nan"),
        ("stats --timeout-s soon", "expected seconds above 0, got soon"),
        ("stats file", "unrecognized arguments: file"),
        ("inspect", "required: snapshot"),
        ("inspect --top -1 m", "expected a count from 0, got -1"),
        ("inspect --top ²", "expected a count from 0, got ²"),
    ],
)
def test_wrong_flags(arguments: str, says: str) -> None:
    code, out, errors = run(*arguments.split())
    assert (code, out) == (2, "")
    assert errors.startswith("usage: onlinesvm")
    assert says in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("learn --rule sgd --eta0 -1 --model m", "eta0: expected a number from"),
        ("learn --rule sgd --eta0 nan --model m", "eta0: expected a number from"),
        ("learn --rule sgd --alpha 20 --model m", "alpha: expected eta0 * alpha below 1"),
        ("learn --rule sgd --eta0 0.2", "a daemon's learner has its parameters already"),
        ("learn --max-features 0 --model m", "max_features: expected an integer from 1"),
        ("predict --max-name-bytes 4294967296 --model m", "max_name_bytes: expected an integer"),
        ("serve --state", None),
        ("serve --rule sgd --eta0 0", "eta0: expected a number"),
        ("serve --snapshot-every-s 0", "snapshot_every_s: expected a number"),
        ("serve --max-message-bytes 0", "max_message_bytes: expected an integer"),
        ("serve --bind here", "endpoint: expected tcp://HOST:PORT or ipc://PATH, got 'here'"),
        ("serve --bind tcp://127.0.0.1:99999", "endpoint: expected tcp://HOST:PORT"),
        ("serve --bind tcp://0.0.0.0:5577", "--insecure"),
        ("serve --bind ipc://\udcff", "bind: expected an endpoint, got 'ipc://\\udcff'"),
        ("serve --follow d --rule sgd --eta0 0.2", "--follow takes the model as it is"),
        ("serve --follow d --no-bias", "--follow takes the model as it is"),
        ("serve --follow d --state s", "--follow takes the model as it is"),
        ("serve --follow d --snapshot-every-s 5", "--snapshot-every-s with a learner's"),
        ("serve --state s --reload-every-s 5", "--reload-every-s goes with --follow"),
        *(
            (f"{command} --connect {endpoint}", f"endpoint: expected tcp://HOST:PORT {rest}")
            for command in ("learn", "predict", "stats", "snapshot")
            for endpoint, rest in (("here", "or ipc://PATH, got 'here'"),)
        ),
        ("stats --connect tcp://127.0.0.1", "got 'tcp://127.0.0.1'"),
        ("stats --connect tcp://127.0.0.1:99999", "got 'tcp://127.0.0.1:99999'"),
        ("stats --connect udp://127.0.0.1:1", "got 'udp://127.0.0.1:1'"),
        ("stats --connect ipc://\udcff", "got 'ipc://\\udcff' (no UTF-8)"),
        ("learn --positive >1 --model m", "positive: expected a label, or '>0', got '>1'"),
        ("predict --positive >x -", "positive: expected a label, or '>0', got '>x'"),
    ],
)
def test_flags_that_make_no_sense(
    arguments: str, says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if says is None:
        assert run(*arguments.split()).code == 2
    else:
        assert_failed(run(*arguments.split()), says, code=2)
    assert not list(tmp_path.iterdir())  # nothing was made


# Failures.


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ("learn --model m bad.svm", ('bad.svm, line 3: expected a number, got "x"',)),
        ("predict --model half.msgpack nothere", ("nothere: No such file or directory",)),
        ("learn --model m empty", ("empty: Is a directory",)),
        ("learn --model m labels.tsv", ("labels.tsv, line 1: ", '"spam"', "--positive LABEL")),
        ("learn --model m more.svm", ("more.svm, line 1: ", '"3"', "--positive")),
        ("learn --model m good.svm nothere", ("nothere: No such file or directory",)),
        ("learn --model m --format json good.svm", ("good.svm, line 1: ",)),
        ("predict --model nothere good.svm", ("nothere: No such file or directory",)),
        *(
            (f"{command} {name}.msgpack good.svm", (f"{name}.msgpack: ",))
            for command in ("learn --model", "predict --model")
            for name in ("damaged", "cut", "foreign")
        ),
        ("predict --model notes.txt good.svm", ("notes.txt: ",)),
        ("learn --model half.msgpack --eta0 0.25 good.svm", ("eta0: ", "0.5", "0.25")),
        ("learn --model half.msgpack --no-bias good.svm", ("bias: ", "True", "False")),
        ("learn --model no/m good.svm", ("no: no folder that can be written",)),
        ("learn --model good.svm/m good.svm", ("good.svm: no folder that can be written",)),
        ("learn --model empty good.svm", ("empty: ",)),
        ("inspect nothere", ("nothere: No such file or directory",)),
        ("inspect empty", ("empty: no snapshot there",)),
        ("inspect damaged.msgpack", ("damaged.msgpack: ",)),
        ("inspect --json cut.msgpack", ("cut.msgpack: ",)),
    ],
)
def test_files_that_will_not_do(
    arguments: str, texts: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    before = {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
    assert_failed(run(*arguments.split()), *texts)
    assert {path: path.read_bytes() for path in place.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("command", ["learn", "predict", "stats", "snapshot"])
def test_no_daemon_there(command: str) -> None:
    files = ["-"] if command in ("learn", "predict") else []
    outcome = run(command, "--connect", NOBODY, "--timeout-s", 0.6, *files, stdin=b"1 1:1\n")
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        f"onlinesvm: waiting for a daemon at {NOBODY} (Ctrl-C to stop)",
        f"onlinesvm: no daemon took a request at {NOBODY} in time; is one running?",
    ]


def test_starts_that_fail(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        outcome = run("serve", "--bind", endpoint, "--state", tmp_path / "state")
        assert_failed(outcome, f"cannot bind {endpoint}: Address already in use")
        following = run("serve", "--bind", endpoint, "--follow", tmp_path / "state")
        assert following.code == 1 and following.err == outcome.err
        assert not (tmp_path / "state").exists(), "a model was born that nobody can reach"
    held = StateDir(tmp_path / "state")  # which that daemon has left free
    outcome = run("serve", "--bind", ANY_PORT, "--state", tmp_path / "state")
    assert_failed(outcome, "state: another daemon holds it (process ")
    held.close()
    file = write(tmp_path / "file", b"")
    outcome = run("serve", "--bind", ANY_PORT, "--state", file / "state")
    assert_failed(outcome, "state folder ", "Not a directory")


def test_what_a_follower_refuses(tmp_path: Path) -> None:
    OnlineSVM().save(snapshot_path(tmp_path, 0))
    with started("serve", "--bind", ANY_PORT, "--follow", tmp_path) as follower:
        endpoint = start_line(follower)[1]
        for command in ("learn", "snapshot"):
            assert_failed(run(command, "--connect", endpoint, stdin=b"1 a:1\n"), "READ_ONLY: ")


def test_a_kernel_that_is_not_there(place: Path) -> None:
    outcome = shell("ONLINESVM_KERNEL=abacus exec $@", "inspect", place / "half.msgpack")
    assert_failed(outcome, "abacus")


def test_a_daemon_that_is_lost_in_mid_stream(tmp_path: Path) -> None:
    """The input has no end, so the command is in its middle whenever the daemon is killed."""
    with (
        serve(tmp_path / "state") as daemon,
        daemon.client() as watcher,
        started("learn", "--connect", daemon.endpoint, "-") as learning,
    ):
        feeder = threading.Thread(target=feed, args=(learning.stdin,))
        feeder.start()
        eventually(lambda: watcher.stats()["position"], "samples that were learned", DEADLINE_S)
        daemon.kill()
        outcome = ended(learning)
        feeder.join(DEADLINE_S)
    assert_failed(outcome, f"the connection to {daemon.endpoint} broke; ", "acknowledged")


def feed(pipe: IO[bytes]) -> None:
    """Write samples until nobody reads them."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            pipe.write(LINES)


# Streams.


def test_an_interrupt_leaves_the_old_model(tmp_path: Path) -> None:
    """What a pipe cannot hold was read, and its end has not come: the command is in its middle."""
    model = tmp_path / "m.msgpack"
    done("learn", "--model", model, "-", stdin=LINES)
    before = model.read_bytes()
    with started("learn", "--model", model, "-") as learning:
        assert learning.stdin is not None
        learning.stdin.write(LINES * 500)
        learning.send_signal(signal.SIGINT)
        assert_failed(ended(learning), "onlinesvm: interrupted\n")
    assert model.read_bytes() == before
    assert list(tmp_path.iterdir()) == [model]


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """As ``onlinesvm predict … | head -1``; what is left in a buffer is not told of at the end."""
    OnlineSVM().save(tmp_path / "m.msgpack")
    with started("predict", "--model", tmp_path / "m.msgpack", "-") as predicting:
        assert predicting.stdin is not None and predicting.stdout is not None
        predicting.stdin.write(LINES)
        predicting.stdin.flush()
        assert predicting.stdout.readline() == b"0.0\n"
        predicting.stdout.close()
        predicting.stdin.write(b"1 1:1\n")
        predicting.stdin.flush()
        assert predicting.wait(DEADLINE_S) == 1
        assert predicting.stderr is not None
        assert predicting.stderr.read() == b""


def test_a_slow_pipe_is_answered_line_by_line(tmp_path: Path) -> None:
    OnlineSVM().save(tmp_path / "m.msgpack")
    with started("predict", "--model", tmp_path / "m.msgpack", "-") as predicting:
        assert predicting.stdin is not None and predicting.stdout is not None
        for _ in range(3):
            predicting.stdin.write(b"| a b\n")
            predicting.stdin.flush()
            assert predicting.stdout.readline() == b"0.0\n"
        predicting.stdin.close()
        assert ended(predicting)[:2] == (0, "")


def test_output_that_cannot_be_written(place: Path) -> None:
    arguments = ("predict", "--model", place / "half.msgpack", place / "good.svm")
    outcome = shell('exec "$@" > /dev/full', *arguments)
    assert_failed(outcome, "No space left on device")


def test_streams_that_are_closed(place: Path, tmp_path: Path) -> None:
    """None of them is needed, and no file takes the place of one."""
    model = tmp_path / "m.msgpack"
    outcome = shell('exec "$@" <&- >&- 2>&-', "learn", "--model", model, place / "good.svm", "-")
    assert outcome == (0, "", "")
    assert OnlineSVM.load(model).position == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(28, "Full", "f")])
def test_how_a_command_may_end(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {KeyboardInterrupt: "interrupted", MemoryError: "out of memory", OSError: "f: Full"}

    def fail(_: argparse.Namespace) -> None:
        raise error

    monkeypatch.setattr(rooms, "inspect", fail)
    outcome = run("inspect", "m")
    assert_failed(outcome, f"onlinesvm: {texts[type(error)]}\n")


def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    assert_failed(run("inspect", f"{tmp_path}/\udcff"), "\\udcff: No such file or directory")


# The daemon.


def start_line(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """The start-up line of a daemon, and the endpoint it names; the log may have more before."""
    assert process.stderr is not None
    start = rf"onlinesvm {re.escape(__version__)} \w+ at (tcp://127.0.0.1:\d+): "
    log = []
    while line := process.stderr.readline().decode():
        log.append(line)
        if found := re.match(start, line):
            return line, found[1]
    raise AssertionError(log)


def test_a_daemon_says_what_it_is_and_obeys_from_then_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with started(
        "serve", "--bind", ANY_PORT, "--state", state, "--rule", "sgd", "--eta0", 0.25, "--no-bias",
        "--max-name-bytes", 99,
    ) as daemon:  # fmt: skip
        line, _ = start_line(daemon)
        daemon.send_signal(signal.SIGTERM)
        assert ended(daemon) == (0, "", "")
    for word in (
        "learner", f"kernel {OnlineSVM().kernel.NAME}", f"state {state}", "position 0",
        "0 features", "rule=sgd", "eta0=0.25", "bias=False", "max_name_bytes=99",
        "max_message_bytes=16777216", "snapshot_every_s=300.0", "insecure=False",
    ):  # fmt: skip
        assert word in line
    assert list(Path(state, "log").iterdir())


def test_a_follower_says_what_it_is_and_obeys_from_then_on(tmp_path: Path) -> None:
    with started(
        "serve", "--bind", ANY_PORT, "--follow", tmp_path, "--reload-every-s", 7
    ) as follower:
        line, _ = start_line(follower)
        follower.send_signal(signal.SIGTERM)
        assert ended(follower) == (0, "", "")
    for word in (
        "follower", "kernel ", f"follows {tmp_path}", "no model yet", "reload_every_s=7.0",
        "max_features=10000000",
    ):  # fmt: skip
        assert word in line
    assert list(tmp_path.iterdir()) == []


def test_stats_and_snapshot_are_one_json_object(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state", rule="sgd", eta0=0.5) as endpoint:
        learned = done("learn", "--connect", endpoint, "-", stdin=b"1 a:1\n-1 b:2\n")
        assert learned.err == ""
        stats = done("stats", "--connect", endpoint)
        assert stats.err == ""
        figures = json.loads(stats.out)
        assert (figures["position"], figures["features"], figures["mode"]) == (2, 2, "learner")
        assert figures["config"]["eta0"] == 0.5
        assert figures["errors"] == {}
        snapshot = done("snapshot", "--connect", endpoint)
        assert snapshot.err == ""
        saved = json.loads(snapshot.out)
        assert saved["position"] == 2
        shown = json.loads(done("inspect", "--json", saved["path"]).out)
        assert shown["digest"] == saved["digest"]
