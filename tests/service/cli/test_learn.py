"""`learn`, into a snapshot file and by a daemon."""

from __future__ import annotations

import fcntl
import gzip
import json
import signal
import struct
import tempfile
import termios
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.service.cli.main import parser
from tests.daemons import digest_of, eventually, on_a_thread, serve
from tests.service.cli.samples import FILES, inspected, outcome_of, random_rows
from tests.shell import (
    DEADLINE_S,
    assert_failed,
    done,
    ended,
    run,
    started,
    svmlight,
    write,
)

# Into a snapshot file.


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("source", ["file", "stdin"])
@pytest.mark.parametrize("format", FILES)
def test_learn_makes_the_model_of_the_samples(
    format: str, source: str, packed: bool, tmp_path: Path
) -> None:
    text, samples = FILES[format]
    content = gzip.compress(text) if packed else text
    file = write(tmp_path / ("file.gz" if packed else "file"), content)
    model = tmp_path / "m.msgpack"
    if source == "file":
        learned = done("learn", "--file", model, file)
    else:
        learned = done("learn", "--file", model, stdin=content)
    expected = OnlineSVM()
    expected.learn(samples)
    assert learned.err == ""
    assert digest_of(OnlineSVM.load(model)) == digest_of(expected)
    figures = expected.progressive
    assert outcome_of(learned.out) == {
        "samples": len(samples),
        "skipped": 0,
        "labels": [-1, 1],
        "features": len(expected.lookup),
        "position": len(samples),
        "progressive_error": figures.error,
        "progressive_hinge_loss": figures.hinge_loss,
        "recent_error": figures.recent_error,
        "recent_hinge_loss": figures.recent_hinge_loss,
        "label_run": max(len(list(run)) for _, run in groupby(s[1] > 0 for s in samples)),
    }


def test_learn_continues_a_model(tmp_path: Path) -> None:
    rows = random_rows(60)
    one, two = (
        write(tmp_path / "1", svmlight(rows[:25])),
        write(tmp_path / "2", svmlight(rows[25:])),
    )
    model, whole = tmp_path / "m.msgpack", tmp_path / "whole.msgpack"
    done("learn", "--file", model, "--rule", "sgd", "--eta0", 0.5, one)
    # A parameter given again must be the same; the model keeps the others.
    for flags in ((), ("--eta0", "0.50"), ("--rule", "sgd")):
        done("learn", "--file", model, *flags, stdin=b"")
    second = outcome_of(done("learn", "--file", model, two).out)
    assert (second["samples"], second["position"]) == (35, 60)
    both = outcome_of(done("learn", "--file", whole, "--rule", "sgd", "--eta0", 0.5, one, two).out)
    assert (both["samples"], both["position"]) == (60, 60)
    expected = OnlineSVM(rule="sgd", eta0=0.5)
    expected.learn([({str(i): v for i, v in features.items()}, y) for y, features in rows])
    assert digest_of(OnlineSVM.load(model)) == digest_of(expected)
    assert digest_of(OnlineSVM.load(whole)) == digest_of(expected)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 40), max_size=3), st.integers(0, 1000))
def test_files_are_one_stream_however_they_are_cut(cuts: list[int], seed: int) -> None:
    rows = random_rows(40, seed)
    edges = [0, *sorted(cuts), len(rows)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [
            write(folder / str(i), svmlight(rows[start:end]))
            for i, (start, end) in enumerate(pairwise(edges))
        ]
        once = outcome_of(done("learn", "--file", folder / "a", stdin=svmlight(rows)).out)
        assert outcome_of(done("learn", "--file", folder / "b", *files).out) == once
        assert digest_of(OnlineSVM.load(folder / "a")) == digest_of(OnlineSVM.load(folder / "b"))


def test_no_samples_make_a_new_model(tmp_path: Path) -> None:
    learned = outcome_of(done("learn", "--file", tmp_path / "m", stdin=b"\n\n").out)
    assert (learned["samples"], learned["features"], learned["progressive_error"]) == (0, 0, None)
    assert digest_of(OnlineSVM.load(tmp_path / "m")) == digest_of(OnlineSVM())


def test_a_models_own_bound_on_features_holds(tmp_path: Path) -> None:
    model = tmp_path / "m"
    first = done("learn", "--file", model, "--max-features", 2, stdin=b"1 a:1\n1 b:1\n1 c:1\n")
    assert outcome_of(first.out)["features"] == 2
    assert outcome_of(done("learn", "--file", model, stdin=b"1 d:1\n").out)["features"] == 2
    more = done("learn", "--file", model, "--max-features", 3, stdin=b"1 d:1\n")
    assert outcome_of(more.out)["features"] == 3


# Lines that are bad.


BAD = b"+1 1:1\n1.5\n-1 2:1\n2.5 3:1\n-1 4:nan\n+1 5:1\n"


FIRST_BAD = 'line 2: expected a label as text, integer or boolean, got "1.5"'


def test_bad_lines_are_counted_and_the_first_is_shown(tmp_path: Path) -> None:
    model = tmp_path / "m"
    learned = done("learn", "--file", model, "--skip-bad", stdin=BAD)
    outcome = outcome_of(learned.out)
    assert (outcome["samples"], outcome["skipped"]) == (3, 3)
    assert learned.err.startswith(f"onlinesvm: 3 bad lines skipped, the first: stdin, {FIRST_BAD}")
    assert len(learned.err.splitlines()) == 1
    file = write(tmp_path / "bad", BAD)
    two = outcome_of(done("learn", "--file", model, "--skip-bad", file, file).out)
    assert (two["samples"], two["skipped"], two["position"]) == (6, 6, 9)
    with on_a_thread(tmp_path / "state") as endpoint:
        there = outcome_of(done("learn", "--connect", endpoint, "--skip-bad", file).out)
    assert there == outcome


def test_a_run_that_skips_every_line_fails(tmp_path: Path) -> None:
    model = tmp_path / "m"
    outcome = run("learn", "--file", model, "--skip-bad", stdin=b"1 a:x\n1 b:y\n")
    assert_failed(outcome, "no sample was read; 2 bad lines skipped, the first: stdin, line 1: ")
    assert not model.exists()


# Runs that end early.


def test_a_bad_line_stops_the_run_and_shows_what_was_learned(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        plain = run("learn", "--connect", endpoint, stdin=BAD)
        assert_failed(
            plain,
            "stdin, line 2: expected ",
            "1 sample was learned before it; with --producer NAME a rerun continues there",
        )
        assert position_at(endpoint) == 1
        numbered = "learn", "--connect", endpoint, "--producer", "p"
        assert_failed(
            run(*numbered, stdin=BAD),
            "1 sample was learned before it, 1 by producer p in all; a rerun continues there",
        )
        mended = BAD.replace(b"1.5\n", b"").replace(b"nan", b"1").replace(b"2.5 3:1", b"1 3:1")
        outcome = outcome_of(done(*numbered, stdin=mended).out)
        assert (outcome["known"], outcome["samples"]) == (1, 4)
        assert position_at(endpoint) == 6
    file = run("learn", "--file", tmp_path / "m", stdin=BAD)
    assert_failed(file, "stdin, line 2: ", "1 sample was learned before it; nothing was saved")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_an_interrupted_run_reports_what_was_learned(
    number: int, said: str, tmp_path: Path
) -> None:
    """The input is read and its end has not come, so the command is in its middle."""
    text = svmlight(random_rows(500))
    with (
        on_a_thread(tmp_path / "state") as endpoint,
        started("learn", "--connect", endpoint, "-") as learning,
    ):
        assert learning.stdin is not None
        learning.stdin.write(text)
        learning.stdin.flush()
        eventually(lambda: position_at(endpoint) == 500, "the samples are learned")
        learning.send_signal(number)
        assert_failed(
            ended(learning),
            f"onlinesvm: {said}\nonlinesvm: 500 samples were learned before it; with --producer",
            code=130,
        )


def test_a_second_interrupt_ends_the_run_at_once(tmp_path: Path) -> None:
    """A daemon that has stopped answers nothing, and the first interrupt waits for its answer."""
    with (
        serve(tmp_path / "state") as daemon,
        started("learn", "--connect", daemon.endpoint, "--timeout-s", "100", "-") as learning,
    ):
        assert learning.stdin is not None
        learning.stdin.write(b"1 a:1\n")
        learning.stdin.flush()
        with daemon.client() as watcher:
            eventually(lambda: watcher.stats()["position"] == 1, "a sample is learned")
        daemon.signal(signal.SIGSTOP)
        try:
            learning.stdin.write(b"1 a:1\n")
            learning.stdin.flush()
            eventually(lambda: unread(learning.stdin) == 0, "the second sample is read")
            learning.send_signal(signal.SIGINT)
            eventually(lambda: ignores_no_interrupt(learning.pid), "the first was handled")
            learning.send_signal(signal.SIGINT)
            assert learning.wait(DEADLINE_S) == -signal.SIGINT
            assert learning.stderr is not None and b"Traceback" not in learning.stderr.read()
        finally:
            daemon.signal(signal.SIGCONT)


def unread(pipe: IO[bytes] | None) -> int:
    """The bytes in a pipe that nobody has read yet."""
    assert pipe is not None
    size = fcntl.ioctl(pipe.fileno(), termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", size)[0])


def ignores_no_interrupt(pid: int) -> bool:
    """True if a process has no handler for SIGINT any more: it dies of the next."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return not caught >> (signal.SIGINT - 1) & 1


def test_a_terminal_as_stdin_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("learn", "predict", "evaluate", "explain", "features"):
        arguments = parser().parse_args([command])
        with monkeypatch.context() as patched:
            patched.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
            with pytest.raises(SystemExit) as caught:
                arguments.run(arguments)
        assert caught.value.code == 2


# Order.


SORTED = svmlight([(label, {i % 7 + 1: 1.0}) for label in (1, -1) for i in range(1500)])


def test_sorted_labels_are_warned_of_and_shuffling_cures_them(tmp_path: Path) -> None:
    file = write(tmp_path / "sorted.svm", SORTED)
    asis = done("learn", "--file", tmp_path / "a", file)
    assert outcome_of(asis.out)["label_run"] == 1500
    assert "warning: 1,500 samples in a row had the label " in asis.err
    assert "in random order it would be about 11; " in asis.err
    assert "--shuffle mixes a file\n" in asis.err
    mixed = done("learn", "--file", tmp_path / "b", "--shuffle", file)
    assert mixed.err == ""
    assert outcome_of(mixed.out)["label_run"] < 40
    blocks = done(
        "learn", "--file", tmp_path / "c", "--shuffle", "--max-memory", "10KiB", file
    )  # each of one label
    assert "a larger --max-memory mixes more of the file\n" in blocks.err
    with on_a_thread(tmp_path / "state") as endpoint:
        there = done("learn", "--connect", endpoint, file)
        assert "mix them first\n" in there.err
        assert outcome_of(there.out)["label_run"] == 1500


def test_a_shuffle_is_of_its_seed_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "s.svm", svmlight(random_rows(300)))
    digests = [
        inspected_after(tmp_path / name, *flags, file)
        for name, flags in {
            "plain": (), "one": ("--shuffle",), "1": ("--shuffle", 1), "two": ("--shuffle=2",),
            "small": ("--shuffle", "--max-samples-per-batch", 7),
        }.items()
    ]  # fmt: skip
    plain, one, same, two, small = digests
    assert one == same == small
    assert len({plain, one, two}) == 3


def inspected_after(model: Path, *arguments: object) -> str:
    """The digest of the model after a run of `learn`."""
    done("learn", "--file", model, *arguments)
    return str(inspected(model)["digest"])


def test_passes_read_the_files_again(tmp_path: Path) -> None:
    rows = random_rows(100)
    file = write(tmp_path / "rows.svm", svmlight(rows))
    model, twice = tmp_path / "m", OnlineSVM()
    outcome = outcome_of(done("learn", "--file", model, "--passes", 2, file).out)
    samples = [({str(i): v for i, v in features.items()}, y) for y, features in rows]
    twice.learn(samples)
    first = twice.progressive.error
    twice.learn(samples)
    assert inspected(model)["digest"] == digest_of(twice)
    assert (outcome["samples"], outcome["position"], outcome["passes"]) == (200, 200, 2)
    assert outcome["progressive_error"] == first  # a sample that was learned before tests nothing
    mixed = tmp_path / "a", tmp_path / "b"
    once = inspected_after(mixed[0], "--shuffle", file)
    done("learn", "--file", mixed[0], "--shuffle", file)
    assert inspected_after(mixed[1], "--shuffle", "--passes", 2, file) != once
    assert inspected(mixed[1])["digest"] != inspected(mixed[0])["digest"]  # an order of its own


# Lines and labels.


@pytest.mark.parametrize(
    ("text", "flags", "names", "signs"),
    [
        (b"spam\ta\nham\tb\nspam\tc\n", (), ["spam", "ham"], [-1, 1, -1]),
        (b"spam\ta\nham\tb\nspam\tc\n", ("--labels", "ham,spam"), ["ham", "spam"], [1, -1, 1]),
        (b"spam\ta\nham\tb\neggs\tc\n", ("--positive", "spam"), ["rest", "spam"], [1, -1, -1]),
        (b"spam\ta\nham\tb\neggs\tc\n", ("--positive", "spam", "--positive", "eggs"),
         ["ham", "spam,eggs"], [1, -1, 1]),
        (b"7\ta\n0\tb\n-2.5\tc\n", ("--positive", ">0"), ["rest", 7], [1, -1, -1]),
        (b"+1\ta\n0\tb\n-1\tc\n", ("--positive", "1"), ["rest", 1], [1, -1, -1]),
        (b"1\ta\n0\tb\n0\tc\n", (), [0, 1], [1, -1, -1]),
    ],
)  # fmt: skip
def test_labels(
    text: bytes, flags: tuple[str, ...], names: list[Any], signs: list[int], tmp_path: Path
) -> None:
    learned = done("learn", "--file", tmp_path / "m", *flags, stdin=text)
    assert json.loads(learned.out)["labels"] == names
    expected = OnlineSVM()
    expected.learn([(name, sign) for name, sign in zip("abc", signs, strict=True)])
    model = OnlineSVM.load(tmp_path / "m")
    assert dict(model.weights) == dict(expected.weights)
    assert inspected(tmp_path / "m")["labels"] == list(model.labels.names()) == names
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    with on_a_thread(
        tmp_path / "state",
        **({"labels": tuple(given["--labels"].split(","))} if "--labels" in given else {}),
        **({"positive": flags[1::2]} if "--positive" in given else {}),
    ) as endpoint:
        flags = () if "--labels" in given else flags
        there = done("learn", "--connect", endpoint, *flags, stdin=text)
        assert json.loads(there.out)["labels"] == names
        assert json.loads(done("stats", "--connect", endpoint).out)["labels"] == names


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_third_label_is_refused_with_its_line(shuffled: bool, tmp_path: Path) -> None:
    text = b"# made by us\nspam\ta\n\nham\tb\n" + b"spam\ta\n" * 3000 + b"eggs\tc\nspam\td\n"
    says = (
        "labels.tsv, line 3005: expected one of the model's two labels,"
        ' "spam" or "ham", got "eggs"'
    )
    path, model = write(tmp_path / "labels.tsv", text), tmp_path / "m"
    flags = ("--task", "binary", *(("--shuffle", "1") if shuffled else ()))
    assert_failed(run("learn", "--file", model, *flags, path), says)
    assert not model.exists()
    if not shuffled:
        with on_a_thread(tmp_path / "state") as endpoint:
            assert_failed(run("learn", "--connect", endpoint, path), says)
            figures = json.loads(done("stats", "--connect", endpoint).out)
            assert figures["labels"] in (["spam", "ham"], [None, None])
            assert figures["errors"] == {}


def test_positive_is_kept_with_the_model(tmp_path: Path) -> None:
    path, model = write(tmp_path / "f", b"+1\ta\n0\tb\n"), tmp_path / "m"
    done("learn", "--file", model, "--positive", "0", path)
    assert inspected(model)["labels"] == [1, 0]
    for flags in ((), ("--positive", "0"), ("--positive", "0.0")):
        done("learn", "--file", model, *flags, path)
    failed = run("learn", "--file", model, "--positive", "1", path)
    assert_failed(failed, "positive: the model was created with")
    with on_a_thread(tmp_path / "state", positive=(0,)) as endpoint:
        done("learn", "--connect", endpoint, "--positive", "+0", path)
        failed = run("learn", "--connect", endpoint, "--positive", "1", path)
        assert_failed(failed, "positive: the model was created with")


def test_the_format_may_be_given(tmp_path: Path) -> None:
    """Text that looks like svmlight: its label and TAB come late."""
    done("learn", "--file", tmp_path / "m", "--format", "text", stdin=b"\n1\t{ a | b\n")
    assert list(OnlineSVM.load(tmp_path / "m").lookup)[:4] == ["{", "a", "|", "b"]


# By a daemon.


def test_a_daemon_learns_and_predicts_the_same(tmp_path: Path) -> None:
    rows = random_rows(3000)
    one, two = (
        write(tmp_path / "1", svmlight(rows[:2000])),
        write(tmp_path / "2", svmlight(rows[2000:])),
    )
    model = tmp_path / "m.msgpack"
    flags: dict[str, Any] = {"rule": "sgd", "eta0": 0.3, "threshold": 0.2}
    given = [word for name, value in flags.items() for word in (f"--{name}", value)]
    with on_a_thread(tmp_path / "state", **flags) as endpoint:
        there = done("learn", "--connect", endpoint, one, two)
        here = done("learn", "--file", model, *given, one, two)
        assert outcome_of(there.out) == outcome_of(here.out)
        assert there.err == here.err == ""
        saved = json.loads(done("snapshot", "--connect", endpoint).out)
        assert saved["digest"] == inspected(model)["digest"]
        asked = ("predict", "--connect", endpoint, two), ("predict", "--file", model, two)
        by_daemon, by_file = (done(*command) for command in asked)
        assert by_daemon == by_file
        assert len(by_file.out.splitlines()) == 1000
        assert "error 0." in by_file.err
        for command in asked:
            shown = done(*command, "--output", "probability")
            assert shown.out == done(*asked[1], "--output", "probability").out
            assert shown.err == by_file.err  # predictions are by the threshold, whatever is printed
        explain = ("explain", "--connect", endpoint), ("explain", "--file", model)
        by_daemon, by_file = (done(*command, stdin=svmlight(rows[:50])) for command in explain)
        assert by_daemon == by_file


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon whose limits are lower than those the client knows."""
    limits = Limits(max_samples_per_batch=4, max_features_per_sample=3, max_message_bytes=2000)
    with on_a_thread(tmp_path_factory.mktemp("strict"), limits=limits, rule="sgd") as endpoint:
        yield endpoint


def position_at(endpoint: str) -> int:
    position: int = json.loads(done("stats", "--connect", endpoint).out)["position"]
    return position


@pytest.mark.parametrize(
    "text",
    [
        svmlight([(1, {i: 1.0}) for i in range(1, 30)]),
        # The first half is the larger one: the pieces of the second are acknowledged before it.
        b"1 %s:1\n-1 %s:1\n1 %s:1\n" % (b"a" * 900, b"b" * 900, b"c" * 900)
        + b"1 d:1\n-1 e:1\n" * 4,
    ],
    ids=["samples", "bytes"],
)
def test_a_daemon_of_lower_limits_is_sent_less_at_once(
    text: bytes, strict: str, tmp_path: Path
) -> None:
    lines = text.count(b"\n")
    before = position_at(strict)
    outcome = outcome_of(done("learn", "--connect", strict, stdin=text).out)
    assert outcome["samples"] == lines
    assert outcome["position"] - before == lines
    saved = json.loads(done("snapshot", "--connect", strict).out)
    predicted = done("predict", "--connect", strict, stdin=text)
    assert predicted == done("predict", "--file", saved["path"], stdin=text)
    assert len(predicted.out.splitlines()) == lines
    explained = done("explain", "--connect", strict, stdin=text)
    assert explained == done("explain", "--file", saved["path"], stdin=text)


@pytest.mark.parametrize("bad", [0, 6, 10])
@pytest.mark.parametrize("lines", [3, 11])
def test_a_sample_over_a_daemons_limit_is_named_by_its_place(
    bad: int, lines: int, strict: str
) -> None:
    """However its batch was cut."""
    bad = min(bad, lines - 1)
    rows: list[tuple[int, dict[int, float]]] = [(1, {i + 1: 1.0}) for i in range(lines)]
    rows[bad] = 1, {i: 1.0 for i in range(1, 6)}
    before = position_at(strict)
    learned = run("learn", "--connect", strict, stdin=svmlight(rows))
    assert_failed(
        learned,
        "TOO_LARGE: expected at most 3 features a sample, got 5",
        f"(sample {bad} of the stream); {lines - 1} samples applied",
    )
    assert position_at(strict) - before == lines - 1
    for command in ("predict", "explain"):
        refused = run(command, "--connect", strict, stdin=svmlight(rows))
        assert_failed(refused, "TOO_LARGE: ")
        # The path alone where it names the sample by its place in the whole run.
        places = f" at $[{bad}]\n", f" (sample {bad} of the stream)\n"
        assert refused.err.endswith(places), refused.err


def test_what_no_message_can_hold(strict: str) -> None:
    text = b"1 %s:1\n" % (b"a" * 300)
    for command in ("learn", "predict"):
        assert_failed(
            run(command, "--connect", strict, "--max-message-bytes", 250, stdin=text),
            "expected at most 250 bytes",
        )
        assert_failed(
            run(command, "--connect", strict, "--max-message-bytes", 310, stdin=text),
            "expected a message of at most 310 bytes",
        )


def test_a_positive_label_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    text = b"spam\thello\nham\tmeeting\n"
    model = tmp_path / "m.msgpack"
    says = "--positive: expected its label among the first {} samples, got {}"
    shown = run("learn", "--file", model, "--positive", "Spam", "-", stdin=text)
    assert_failed(shown, says.format("2", '"spam", "ham"'), code=2)
    many = b"".join(b"%d\ta\n" % (i % 9) for i in range(30_000))
    shown = run("learn", "--file", model, "--positive", "spam", "-", stdin=many + text)
    assert shown.code == 2
    assert "got 0, 1, 2, 3, 4, 5, 6, 7, …" in shown.err
    assert not model.exists()
    with on_a_thread(tmp_path / "state", positive=("Spam",)) as endpoint:
        shown = run("learn", "--connect", endpoint, "--positive", "Spam", "-", stdin=text)
        assert_failed(shown, says.format("2", '"spam", "ham"'), code=2)
        assert json.loads(done("stats", "--connect", endpoint).out)["position"] == 0
    silent = run("learn", "--file", model, "--positive", "spam", "-", stdin=text)
    assert (silent.code, silent.err) == (0, "")
