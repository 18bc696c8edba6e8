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
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgpack
import pytest

from onlinesvm import Limits, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.service.cli import admin as rooms
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.daemon import Daemon, load_leader
from onlinesvm.service.server.loading import Progress
from onlinesvm.service.server.service import Service
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
    start_lines,
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
    write(folder / "labels.tsv", b"0.5\tfree prize\n1\tsee you\n")
    write(folder / "more.svm", b"1 1:1\n-1 2:1\n3 1:1\n")
    OnlineSVM(rule="sgd", eta0=0.5).save(folder / "half.msgpack")
    whole = (folder / "half.msgpack").read_bytes()
    write(folder / "damaged.msgpack", whole[:-1] + bytes([whole[-1] ^ 1]))
    write(folder / "cut.msgpack", whole[: len(whole) // 2])
    write(folder / "foreign.msgpack", msgpack.packb({"format": "something else"}))
    write(folder / "notes.txt", b"no model")
    (folder / "empty").mkdir()
    return folder


# Help and documentation.


def documentation() -> str:
    """The README and the chapters."""
    return "\n".join(p.read_text("utf-8") for p in [HOUSE / "README.md", *HOUSE.glob("docs/*.md")])


def test_the_documented_commands_are_those_there_are() -> None:
    assert set(COMMANDS) == set(re.findall(r"^\| `onlinesvm (\w+)` \|", documentation(), re.M))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_the_command_takes(command: str) -> None:
    code, help, errors = run(command, "--help")
    assert (code, errors) == (0, "")
    assert max(map(len, help.splitlines())) <= 80
    usage, _ = help.split("\n\n", 1)
    assert usage.startswith(f"usage: onlinesvm {command} ") and "\n" not in usage
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
    assert done("--version").out == f"onlinesvm {__version__}, kernel {kernels.load().NAME}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_flags_are_documented(command: str) -> None:
    table = "\n".join(line for line in documentation().splitlines() if line.startswith("|"))
    for action in commands()[command]._actions:
        if isinstance(action, argparse._HelpAction) or not action.option_strings:
            continue
        documented = (rf"`{option}(?![\w-])" for option in action.option_strings)
        assert any(re.search(option, table) for option in documented), action.option_strings


# Wrong usage.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "required: COMMAND; see onlinesvm --help"),
        ("--completion fish", "--completion: invalid choice: 'fish' (choose from"),
        ("teach", "unknown command 'teach' (onlinesvm --help lists them)"),
        ("lern", "(onlinesvm --help lists them); did you mean learn?"),
        ("learn --speed 3", "onlinesvm learn: error: unknown flag --speed"),
        ("learn --prodcer=x", "unknown flag --prodcer; did you mean --producer?"),
        ("learn --prod x", "unknown flag --prod; did you mean --producer?"),
        ("learn --rule hegde", "did you mean hedge?"),
        ("learn --eta0 fast", "--eta0: invalid float value: 'fast'"),
        ("learn --rule magic", "--rule: invalid choice: 'magic'"),
        ("learn --format tsv", "--format: invalid choice: 'tsv'"),
        ("predict --eta0 0.1", "unknown flag --eta0"),
        (
            "stats --timeout-s 0",
            "expected a time above 0, as 10 (seconds), 200ms, 5m or 1h, got '0'",
        ),
        ("stats --timeout-s nan", "or 1h, got 'nan'"),
        ("stats --timeout-s 5 m", "expected no argument 'm'"),
        ("stats --timeout-s soon", "or 1h, got 'soon'"),
        ("learn --max-message-bytes 16MeB", "64KiB, 16MiB or 1GB, got '16MeB'"),
        ("learn --shuffle=x", "expected an integer from 0, got 'x'"),
        ("stats file", "expected no argument 'file'"),
        ("inspect", "required: SNAPSHOT"),
        ("inspect --top -1 m", "expected an integer from 0, got '-1'"),
        ("inspect --top ²", "expected an integer from 0, got '²'"),
    ],
)
def test_wrong_flags(arguments: str, says: str) -> None:
    code, out, errors = run(*arguments.split())
    assert (code, out) == (2, "")
    assert errors.startswith("usage: onlinesvm")
    assert says in errors.splitlines()[-1]


def test_dashes_alone_make_no_flag_near() -> None:
    errors = run("serve", "--port", "5577").err
    assert errors.splitlines()[-1] == "onlinesvm serve: error: unknown flag --port"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("learn --file m --connect tcp://127.0.0.1:1", "expected --file or --connect, got both"),
        ("learn --format csv --file m", "label_column: expected one with the format csv"),
        ("predict --file m --model default", "expected --file or --model, got both"),
        ("learn --file m --producer p", "--producer needs a daemon"),
        ("learn --shuffle", "--shuffle and --passes need --file"),
        ("learn --passes 2", "--shuffle and --passes need --file"),
        ("learn --passes 0 --file m", "passes: expected an integer from 1, got 0"),
        ("learn --passes 2 --file m", "--passes reads files again: expected a file, got stdin"),
        ("learn --passes 2 --file m /dev/null", "expected a file, got /dev/null"),
        ("learn --rule sgd --eta0 -1 --file m", "eta0: expected a number from"),
        ("learn --rule sgd --eta0 nan --file m", "eta0: expected a number from"),
        ("learn --rule sgd --alpha 20 --file m", "alpha: expected eta0 * alpha below 1"),
        ("learn --rule sgd --eta0 0.2", "a daemon's learner has its parameters already"),
        ("learn --max-features 0 --file m", "max_features: expected an integer from 1"),
        ("predict --max-name-bytes 4294967296 --file m", "max_name_bytes: expected an integer"),
        ("serve --state", None),
        ("serve --rule sgd --eta0 0", "eta0: expected a number"),
        ("serve --snapshot-every-s 1ms", "snapshot_every_s: expected a number"),
        ("serve --snapshot-every-s 0", None),
        ("serve --max-message-bytes 0", "max_message_bytes: expected an integer"),
        ("serve --bind here", "endpoint: expected tcp://HOST:PORT or ipc://PATH, got 'here'"),
        ("serve --bind tcp://127.0.0.1:99999", "endpoint: expected tcp://HOST:PORT"),
        ("serve --bind tcp://0.0.0.0:5577", "or give keys (--key, --allow)"),
        ("serve --key daemon.secret", "allow: expected key and allow together"),
        ("serve --allow permits", "key: expected key and allow together"),
        ("serve --max-connections 0", "max_connections: expected an integer from 1"),
        ("serve --max-user-models 5", "max_user_models: expected keys (--key, --allow) too"),
        ("keys list --folder=", "--folder: expected a folder, got ''"),
        ("stats --key alice.secret", "server_key: expected key and server_key together"),
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
        ("stats --connect ipc://\udcff", "got 'ipc://\\udcff' (not printable text)"),
        ("learn --positive >1 --file m", "positive: expected a label, or '>0', got '>1'"),
        ("serve --positive >x", "positive: expected a label, or '>0', got '>x'"),
        *((f"{c} --file=", "--file: expected a file's name, got ''") for c in ("learn", "predict")),
        ("recover --state=", "--state: expected a folder, got ''"),
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
        ("learn --file m bad.svm", ('bad.svm, line 3: expected a number, got "x"',)),
        ("predict --file half.msgpack nothere", ("nothere: No such file or directory",)),
        ("learn --file m empty", ("empty: Is a directory",)),
        ("learn --file m labels.tsv", ("labels.tsv, line 1: ", '"0.5"', "--positive '>0'")),
        ("learn --file m --task binary more.svm", ("more.svm, line 3: ", "-1 or 1, got 3")),
        ("learn --file m good.svm nothere", ("nothere: No such file or directory",)),
        ("learn --file m --format json good.svm", ("good.svm, line 1: ",)),
        ("predict --file nothere good.svm", ("nothere: No such file or directory",)),
        *(
            (f"{command} {name}.msgpack good.svm", (f"{name}.msgpack: ",))
            for command in ("learn --file", "predict --file")
            for name in ("damaged", "cut", "foreign")
        ),
        ("predict --file notes.txt good.svm", ("notes.txt: ",)),
        ("learn --file half.msgpack --eta0 0.25 good.svm", ("eta0: ", "0.5", "0.25")),
        ("learn --file half.msgpack --no-bias good.svm", ("bias: ", "True", "False")),
        ("learn --file no/m good.svm", ("no: expected a folder that can be written",)),
        ("learn --file good.svm/m good.svm", ("good.svm: expected a folder that can be written",)),
        ("learn --file empty good.svm", ("empty: ",)),
        ("inspect nothere", ("nothere: No such file or directory",)),
        (
            "inspect empty",
            ("empty: expected a snapshot of model default in this folder, got none",),
        ),
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


@pytest.mark.parametrize("command", ["learn", "predict", "stats", "snapshot", "ping"])
def test_no_daemon_there(command: str) -> None:
    files = ["-"] if command in ("learn", "predict") else []
    outcome = run(command, "--connect", NOBODY, "--timeout-s", 600, *files, stdin=b"1 1:1\n")
    assert outcome.code == 1
    refused = f"onlinesvm: no daemon at {NOBODY}: connection refused"
    remedies = "onlinesvm: `onlinesvm serve` starts a daemon; --connect names another."
    remedies += " --file FILE needs no daemon." if files else ""
    assert (outcome.err.splitlines()[0], outcome.err.splitlines()[-1]) == (refused, remedies)
    outcome = run(command, "--connect", NOBODY, "--wait", 0.3, *files, stdin=b"1 1:1\n")
    assert outcome.code == 1
    waiting = f"onlinesvm: waiting for a daemon at {NOBODY} (Ctrl-C to stop)"
    assert outcome.err.splitlines()[:2] == [waiting, refused]
    assert outcome.err.splitlines()[-1] == remedies


def test_ping(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon:
        outcome = run("ping", "--connect", daemon.endpoint)
        assert (outcome.code, outcome.err) == (0, "")
        assert re.fullmatch(rf"leader at {daemon.endpoint}: \d+\.\d\d ms\n", outcome.out)


def test_ping_waits_until_the_models_are_loaded(tmp_path: Path) -> None:
    may_load = threading.Event()
    load = load_leader(ServeConfig(state=str(tmp_path / "state")), Limits(), {})

    def load_late(counters: Counters, wake: Callable[[], None], progress: Progress) -> Service:
        assert may_load.wait(DEADLINE_S)
        return load(counters, wake, progress)

    daemon = Daemon(load_late, ANY_PORT, Limits())
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        assert done("ping", "--connect", daemon.endpoint).out.startswith("loading at ")
        with started("ping", "--connect", daemon.endpoint, "--wait", "1m") as waiting:
            pings = daemon._loop.counters.operations
            eventually(lambda: pings["ping"] > 2, "a ping of the one that waits")
            may_load.set()
            out, err = waiting.communicate(timeout=DEADLINE_S)
        assert out.startswith(b"leader at ") and not err
    finally:
        may_load.set()
        daemon.stop()
        thread.join()


def test_starts_that_fail(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        outcome = run("serve", "--bind", endpoint, "--state", tmp_path / "state")
        assert_failed(outcome, f"cannot bind {endpoint}: Address already in use")
        following = run("serve", "--bind", endpoint, "--follow", tmp_path / "state")
        assert following.code == 1 and following.err == outcome.err
        assert not (tmp_path / "state").exists(), "a model was created that no client can reach"
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
        endpoint = start_lines(follower)[1]
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
    """Wait until more was read than a pipe holds, without its end: the command is in the middle."""
    model = tmp_path / "m.msgpack"
    done("learn", "--file", model, "-", stdin=LINES)
    before = model.read_bytes()
    with started("learn", "--file", model, "-") as learning:
        assert learning.stdin is not None
        learning.stdin.write(LINES * 500)
        learning.send_signal(signal.SIGINT)
        assert_failed(
            ended(learning), "onlinesvm: interrupted\n", "; nothing was saved\n", code=130
        )
    assert model.read_bytes() == before
    assert list(tmp_path.iterdir()) == [model]


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """As ``onlinesvm predict … | head -1``; the rest of a buffer causes no message at the end."""
    OnlineSVM().save(tmp_path / "m.msgpack")
    with started("predict", "--file", tmp_path / "m.msgpack", "-") as predicting:
        assert predicting.stdin is not None and predicting.stdout is not None
        predicting.stdin.write(LINES)
        predicting.stdin.flush()
        assert predicting.stdout.readline() == b"-\n"
        predicting.stdout.close()
        predicting.stdin.write(b"1 1:1\n")
        predicting.stdin.flush()
        assert predicting.wait(DEADLINE_S) == 1
        assert predicting.stderr is not None
        assert predicting.stderr.read().startswith(b"onlinesvm: stdin: read as svmlight (")


def test_a_slow_pipe_is_answered_line_by_line(tmp_path: Path) -> None:
    OnlineSVM().save(tmp_path / "m.msgpack")
    with started("predict", "--file", tmp_path / "m.msgpack", "-") as predicting:
        assert predicting.stdin is not None and predicting.stdout is not None
        for _ in range(3):
            predicting.stdin.write(b"| a b\n")
            predicting.stdin.flush()
            assert predicting.stdout.readline() == b"-\n"
        predicting.stdin.close()
        assert ended(predicting)[:2] == (0, "")


def test_output_that_cannot_be_written(place: Path) -> None:
    arguments = ("predict", "--file", place / "half.msgpack", place / "good.svm")
    for command in (arguments, ("inspect", place / "half.msgpack")):
        outcome = shell('exec "$@" > /dev/full', *command)
        assert_failed(outcome, "onlinesvm: stdout: No space left on device")


def test_a_model_that_cannot_be_written(place: Path) -> None:
    """The error names the file, not the temporary one beside it."""
    script = 'ulimit -f 0; trap "" XFSZ; exec "$@"'
    outcome = shell(script, "learn", "--file", place / "new.msgpack", place / "good.svm")
    assert_failed(
        outcome,
        f"onlinesvm: {place}/new.msgpack: File too large\n",
        "2 samples were learned before it; nothing was saved",
    )
    assert not list(place.glob("*new*"))


def test_streams_that_are_closed(place: Path, tmp_path: Path) -> None:
    """None of them is needed, and no file takes the place of one."""
    model = tmp_path / "m.msgpack"
    outcome = shell('exec "$@" <&- >&- 2>&-', "learn", "--file", model, place / "good.svm", "-")
    assert outcome == (0, "", "")
    assert OnlineSVM.load(model).position == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(28, "Full", "f")])
def test_how_a_command_may_end(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {KeyboardInterrupt: "interrupted", MemoryError: "out of memory", OSError: "f: Full"}

    def fail(_: argparse.Namespace) -> None:
        raise error

    monkeypatch.setattr(rooms, "inspect", fail)
    outcome = run("inspect", "m")
    code = 130 if isinstance(error, KeyboardInterrupt) else 1
    assert_failed(outcome, f"onlinesvm: {texts[type(error)]}\n", code=code)


def test_a_file_name_that_is_not_utf8_is_shown_escaped(tmp_path: Path) -> None:
    assert_failed(run("inspect", f"{tmp_path}/\udcff"), "\\udcff: No such file or directory")


# The daemon.


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_daemon_starts_with_three_lines_and_obeys_from_then_on(
    level: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with started(
        "serve", "--bind", ANY_PORT, "--state", state, "--rule", "sgd", "--eta0", 0.25, "--no-bias",
        "--max-name-bytes", "99B", "--snapshot-every-s", "5m", "--log-level", level,
    ) as daemon:  # fmt: skip
        lines, endpoint = start_lines(daemon)
        daemon.send_signal(signal.SIGTERM)
        assert ended(daemon)[:2] == (0, "")
    assert lines[-3:] == [
        f"onlinesvm {__version__} leader at {endpoint}: state {state}",
        f"kernel {OnlineSVM().kernel.NAME}, model sgd, position 0, 0 features",
        "ready",
    ]
    assert max(map(len, lines[-2:])) < 80
    shown = "\n".join(lines[:-3])
    for word in (
        "eta0=0.25", "bias=False", "max_name_bytes=99", "max_message_bytes=16777216",
        "snapshot_every_s=300.0", "max_connections=4096",
    ):  # fmt: skip
        assert (word in shown) == (level == "debug")
    assert list(Path(state, "log").iterdir())


def test_a_follower_starts_with_three_lines_and_obeys_from_then_on(tmp_path: Path) -> None:
    with started(
        "serve", "--bind", ANY_PORT, "--follow", tmp_path, "--reload-every-s", 7
    ) as follower:
        lines, endpoint = start_lines(follower)
        follower.send_signal(signal.SIGTERM)
        assert ended(follower) == (0, "", "")
    assert lines[-3:] == [
        f"onlinesvm {__version__} reader at {endpoint}: follows {tmp_path}",
        f"kernel {OnlineSVM().kernel.NAME}, no model yet",
        "ready",
    ]
    assert list(tmp_path.iterdir()) == []


def test_stats_and_snapshot_are_one_json_object(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state", rule="sgd", eta0=0.5) as endpoint:
        learned = done("learn", "--connect", endpoint, "-", stdin=b"1 a:1\n-1 b:2\n")
        assert learned.err == ""
        stats = done("stats", "--connect", endpoint)
        assert stats.err == ""
        figures = json.loads(stats.out)
        assert (figures["position"], figures["features"], figures["mode"]) == (2, 2, "leader")
        assert figures["config"]["eta0"] == 0.5
        assert figures["errors"] == {}
        snapshot = done("snapshot", "--connect", endpoint)
        assert snapshot.err == ""
        saved = json.loads(snapshot.out)
        assert saved["position"] == 2
        shown = json.loads(done("inspect", "--json", saved["path"]).out)
        assert shown["digest"] == saved["digest"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_completion_script_knows_commands_and_flags(shell: str) -> None:
    printed = run("--completion", shell)
    assert printed.code == 0
    for word in ("serve", "evaluate", "fsync", "label-column"):
        assert word in printed.out
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=printed.out, text=True, check=True, timeout=30)
