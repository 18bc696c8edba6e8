"""What the commands do: learn, predict, explain and inspect, by a model file and by a daemon."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from tests.daemons import digest_of, on_a_thread
from tests.shell import assert_failed, done, run, svmlight, write

# A file of each format, and the samples it has.
FILES: dict[str, tuple[bytes, list[Any]]] = {
    "svmlight": (
        b"+1 1:0.5 7:1\n\n-1 2:1 # a comment\n0 qid:3 9:2\n",
        [({"1": 0.5, "7": 1}, 1), ({"2": 1}, -1), ({"9": 2}, -1)],
    ),
    "vw": (
        b"1 2 'tag |n:2 a b:0.5\n-1 | c\n0 0.5 |m\n",
        [({"n^a": 2, "n^b": 1.0}, 1, 2), (["c"], -1), ([], -1, 0.5)],
    ),
    "json": (
        b'{"label":1,"features":["a",5],"importance":3}\n{"label":-1,"features":{"len":2.5}}\n',
        [(["a", 5], 1, 3), ({"len": 2.5}, -1)],
    ),
    "text": (
        b"1\tFree prize, FREE!\n-1\t\n0\tSee you\n",
        [(["free", "prize"], 1), ([], -1), (["see", "you"], -1)],
    ),
}

# The same, with no label and with one that means nothing.
UNLABELLED = {
    "svmlight": (b"1:0.5 7:1\n", b"what 1:0.5 7:1\n"),
    "vw": (b"|n:2 a b:0.5\n", b"what |n:2 a b:0.5\n"),
    "json": (b'{"features":["a",5]}\n', b'{"label":"what","features":["a",5]}\n'),
    "text": (b"\tFree prize\n", b"what\tFree prize\n"),
}


def random_rows(n: int, seed: int = 3) -> list[tuple[int, dict[int, float]]]:
    rng = random.Random(seed)
    return [
        (
            rng.choice((1, -1)),
            {i: rng.choice((0.5, 1.0, 2.25)) for i in rng.sample(range(1, 40), rng.randint(0, 6))},
        )
        for _ in range(n)
    ]


def inspected(model: Path) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(done("inspect", "--json", model).out)
    return shown


def outcome_of(out: str) -> dict[str, Any]:
    """The one JSON object of `learn`, less its time."""
    assert len(out.splitlines()) == 1
    outcome: dict[str, Any] = json.loads(out)
    assert outcome.pop("seconds") >= 0
    return outcome


# learn --model.


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
        learned = done("learn", "--model", model, file)
    else:
        learned = done("learn", "--model", model, stdin=content)
    expected = OnlineSVM()
    expected.learn(samples)
    assert learned.err == ""
    assert digest_of(OnlineSVM.load(model)) == digest_of(expected)
    figures = expected.progressive
    assert outcome_of(learned.out) == {
        "samples": len(samples),
        "skipped": 0,
        "features": len(expected.lookup),
        "position": len(samples),
        "progressive_error": figures.error,
        "progressive_hinge_loss": figures.hinge_loss,
        "recent_error": figures.recent_error,
        "recent_hinge_loss": figures.recent_hinge_loss,
    }


def test_learn_continues_a_model(tmp_path: Path) -> None:
    rows = random_rows(60)
    one, two = (
        write(tmp_path / "1", svmlight(rows[:25])),
        write(tmp_path / "2", svmlight(rows[25:])),
    )
    model, whole = tmp_path / "m.msgpack", tmp_path / "whole.msgpack"
    done("learn", "--model", model, "--rule", "sgd", "--eta0", 0.5, one)
    # What is given again must be the same; what is left out is the model's own.
    for flags in ((), ("--eta0", "0.50"), ("--rule", "sgd")):
        done("learn", "--model", model, *flags, stdin=b"")
    second = outcome_of(done("learn", "--model", model, two).out)
    assert (second["samples"], second["position"]) == (35, 60)
    both = outcome_of(done("learn", "--model", whole, "--rule", "sgd", "--eta0", 0.5, one, two).out)
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
        once = outcome_of(done("learn", "--model", folder / "a", stdin=svmlight(rows)).out)
        assert outcome_of(done("learn", "--model", folder / "b", *files).out) == once
        assert digest_of(OnlineSVM.load(folder / "a")) == digest_of(OnlineSVM.load(folder / "b"))


def test_no_samples_make_a_newborn_model(tmp_path: Path) -> None:
    learned = outcome_of(done("learn", "--model", tmp_path / "m", stdin=b"\n\n").out)
    assert (learned["samples"], learned["features"], learned["progressive_error"]) == (0, 0, None)
    assert digest_of(OnlineSVM.load(tmp_path / "m")) == digest_of(OnlineSVM())


def test_a_models_own_bound_on_features_holds(tmp_path: Path) -> None:
    model = tmp_path / "m"
    first = done("learn", "--model", model, "--max-features", 2, stdin=b"1 a:1\n1 b:1\n1 c:1\n")
    assert outcome_of(first.out)["features"] == 2
    assert outcome_of(done("learn", "--model", model, stdin=b"1 d:1\n").out)["features"] == 2
    more = done("learn", "--model", model, "--max-features", 3, stdin=b"1 d:1\n")
    assert outcome_of(more.out)["features"] == 3


# Lines that are bad, and labels.


BAD = b"+1 1:1\nnonsense\n-1 2:1\n2 3:1\n-1 4:nan\n+1 5:1\n"


def test_bad_lines_are_counted_where_that_is_asked_for(tmp_path: Path) -> None:
    model = tmp_path / "m"
    learned = done("learn", "--model", model, "--skip-bad", stdin=BAD)
    outcome = outcome_of(learned.out)
    assert (outcome["samples"], outcome["skipped"], learned.err) == (3, 3, "")
    file = write(tmp_path / "bad", BAD)
    two = outcome_of(done("learn", "--model", model, "--skip-bad", file, file).out)
    assert (two["samples"], two["skipped"], two["position"]) == (6, 6, 9)
    with on_a_thread(tmp_path / "state") as endpoint:
        there = outcome_of(done("learn", "--connect", endpoint, "--skip-bad", file).out)
    assert there == outcome
    # Without their labels those lines but one are good; that of a label alone is an empty sample.
    predicted = done("predict", "--model", model, "--skip-bad", file)
    assert len(predicted.out.splitlines()) + predicted.err.count("bad line") >= 5
    assert "bad lines skipped\n" in predicted.err


def test_a_bad_line_stops_a_daemons_stream_behind_the_good_ones(tmp_path: Path) -> None:
    with on_a_thread(tmp_path / "state") as endpoint:
        assert_failed(run("learn", "--connect", endpoint, stdin=BAD), "stdin, line 2: expected ")
        assert json.loads(done("stats", "--connect", endpoint).out)["position"] == 1


@pytest.mark.parametrize(
    ("text", "flags", "labels"),
    [
        (b"spam\ta\nham\tb\neggs\tc\n", ("--positive", "spam"), [1, -1, -1]),
        (b"spam\ta\nham\tb\neggs\tc\n", ("--positive", "spam", "--positive", "eggs"), [1, -1, 1]),
        (b"7\ta\n0\tb\n-2\tc\n", ("--positive", ">0"), [1, -1, -1]),
        (b"1\ta\n0\tb\n-1\tc\n", (), [1, -1, -1]),
    ],
)
def test_labels(text: bytes, flags: tuple[str, ...], labels: list[int], tmp_path: Path) -> None:
    done("learn", "--model", tmp_path / "m", *flags, stdin=text)
    expected = OnlineSVM()
    expected.learn([([name], label) for name, label in zip("abc", labels, strict=True)])
    assert digest_of(OnlineSVM.load(tmp_path / "m")) == digest_of(expected)


def test_the_format_may_be_given(tmp_path: Path) -> None:
    """What looks like svmlight, and is text: its label and TAB come late."""
    done("learn", "--model", tmp_path / "m", "--format", "text", stdin=b"\n1\t{ a | b\n")
    assert list(OnlineSVM.load(tmp_path / "m").lookup) == ["a", "b"]


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
        here = done("learn", "--model", model, *given, one, two)
        assert outcome_of(there.out) == outcome_of(here.out)
        assert there.err == here.err == ""
        saved = json.loads(done("snapshot", "--connect", endpoint).out)
        assert saved["digest"] == inspected(model)["digest"]
        asked = ("predict", "--connect", endpoint, two), ("predict", "--model", model, two)
        by_daemon, by_file = (done(*command) for command in asked)
        assert by_daemon == by_file
        assert len(by_file.out.splitlines()) == 1000
        assert "error 0." in by_file.err
        for command in asked:
            told = done(*command, "--probability")
            assert told.out == done(*asked[1], "--probability").out
            assert told.err == by_file.err  # predictions are by the threshold, whatever is printed
        explain = ("explain", "--connect", endpoint), ("explain", "--model", model)
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
    assert predicted == done("predict", "--model", saved["path"], stdin=text)
    assert len(predicted.out.splitlines()) == lines
    explained = done("explain", "--connect", strict, stdin=text)
    assert explained == done("explain", "--model", saved["path"], stdin=text)


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
        assert_failed(refused, "TOO_LARGE: ", f"(sample {bad} of the stream)")


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


# predict.


@pytest.mark.parametrize("format", FILES)
def test_labels_of_what_is_predicted_change_nothing(format: str, tmp_path: Path) -> None:
    text, samples = FILES[format]
    model = OnlineSVM()
    model.learn(samples)
    model.save(tmp_path / "m")
    predicted = done("predict", "--model", tmp_path / "m", stdin=text)
    margins = model.predict([sample[0] for sample in samples])
    assert predicted.out == "".join(f"{margin!r}\n" for margin in margins.tolist())
    # Importance-weighted, as all figures are.
    weights = [sample[2] if len(sample) == 3 else 1 for sample in samples]
    wrong = [
        weight
        for sample, margin, weight in zip(samples, margins, weights, strict=True)
        if (margin > 0) != (sample[1] > 0)
    ]
    error = sum(wrong) / sum(weights)
    assert predicted.err == f"error {error:.6f} of {len(samples)} labelled samples\n"
    first = f"{margins.tolist()[0]!r}\n"
    for line in UNLABELLED[format]:
        assert done("predict", "--model", tmp_path / "m", stdin=line) == (0, first, "")
        # One line without a label, and there is no error to be told.
        mixed = done("predict", "--model", tmp_path / "m", "--format", format, stdin=text + line)
        assert mixed == (0, predicted.out + first, "")


def test_nothing_to_predict(tmp_path: Path) -> None:
    OnlineSVM().save(tmp_path / "m")
    assert done("predict", "--model", tmp_path / "m", stdin=b"\n") == (0, "", "")


def test_predict_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    done("learn", "--model", tmp_path / "m", stdin=FILES["vw"][0])
    before = (tmp_path / "m").read_bytes()
    done("predict", "--model", tmp_path / "m", stdin=b"| never seen\n")
    assert (tmp_path / "m").read_bytes() == before


# inspect.


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
    assert "rule=sgd eta0=0.5" in rows["config"]
    assert float(rows["progressive_error"]) == model.progressive.error
    for title, text, sign in (("+1", up, 1), ("-1", down, -1)):
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
        json.loads(done("snapshot", "--connect", endpoint).out)
        assert inspected(tmp_path / "state")["position"] == 0
        done("learn", "--connect", endpoint, stdin=FILES["text"][0])
        saved = json.loads(done("snapshot", "--connect", endpoint).out)
        header = inspected(tmp_path / "state")
        assert header["position"] == 3
        assert (header["path"], header["digest"]) == (saved["path"], saved["digest"])


def test_a_hedges_experts_are_shown(tmp_path: Path) -> None:
    done("learn", "--model", tmp_path / "m", "--rule", "hedge", stdin=FILES["vw"][0])
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
    done("learn", "--model", tmp_path / "m", stdin=FILES["json"][0])
    model.learn(FILES["json"][1])
    assert digest_of(OnlineSVM.load(tmp_path / "m")) == digest_of(model)


def test_a_label_that_never_comes_is_told(tmp_path: Path) -> None:
    text = b"spam\thello\nham\tmeeting\n"
    model = tmp_path / "m.msgpack"
    told = run("learn", "--model", model, "--positive", "Spam", "-", stdin=text)
    assert told.code == 0
    assert told.err == "onlinesvm: no label was 'Spam': all were learned as -1\n"
    silent = run("learn", "--model", model, "--positive", "spam", "-", stdin=text)
    assert (silent.code, silent.err) == (0, "")
