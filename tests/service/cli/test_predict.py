"""`predict`, `explain` and `features`: a line for each sample."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from onlinesvm import Client, OnlineSVM
from tests.daemons import on_a_thread
from tests.service.cli.samples import FILES, UNLABELLED, random_rows
from tests.shell import DEADLINE_S, assert_failed, done, run, started, svmlight


@pytest.mark.parametrize("format", FILES)
def test_labels_of_what_is_predicted_change_nothing(format: str, tmp_path: Path) -> None:
    text, samples = FILES[format]
    model = OnlineSVM()
    model.learn(samples)
    model.save(tmp_path / "m")
    ask = "predict", "--file", tmp_path / "m", "--output", "margin"
    predicted = done(*ask, stdin=text)
    margins = model.decision_function([sample[0] for sample in samples])
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
        assert done(*ask, stdin=line) == (0, first, "")
        # One line without a label, and there is no error to show.
        mixed = done(*ask, "--format", format, stdin=text + line)
        assert mixed == (0, predicted.out + first, "")
    labels = done("predict", "--file", tmp_path / "m", stdin=text)
    assert labels.err == predicted.err
    assert labels.out == "".join(f"{1 if margin > 0 else -1}\n" for margin in margins)
    probabilities = done("predict", "--file", tmp_path / "m", "--output", "probability", stdin=text)
    assert probabilities.out == "".join(f"{p!r}\n" for p in model.probabilities(margins).tolist())


def test_each_input_line_has_its_output_line(tmp_path: Path) -> None:
    """A skipped line is a dash, so that the output can be pasted beside the input."""
    rows = random_rows(40)
    model = OnlineSVM()
    model.learn([({str(i): v for i, v in features.items()}, y) for y, features in rows])
    model.save(tmp_path / "m")
    good = svmlight(rows).splitlines()
    lines = [b"1 2:x", *good[:3], b"1 a:", b"1 b:nan", *good[3:], b"1 7:?"]
    text = b"\n".join(lines)
    margins = iter(
        model.decision_function([{str(i): v for i, v in f.items()} for _, f in rows]).tolist()
    )
    expected = [repr(next(margins)) if line in good else "-" for line in lines]
    flags = "--output", "margin", "--skip-bad"
    predicted = done("predict", "--file", tmp_path / "m", *flags, stdin=text)
    assert predicted.out.splitlines() == expected
    assert predicted.err.startswith("onlinesvm: 4 bad lines skipped, the first: stdin, line 1: ")
    with on_a_thread(tmp_path / "state") as endpoint:
        there = done("predict", "--connect", endpoint, *flags, stdin=text)
        assert [line == "-" for line in there.out.splitlines()] == [w == "-" for w in expected]
    for command in ("explain", "features"):
        to = () if command == "features" else ("--file", tmp_path / "m")
        shown = done(command, *to, "--skip-bad", stdin=text)
        assert [line == "null" for line in shown.out.splitlines()] == [w == "-" for w in expected]
    stopped = run("predict", "--file", tmp_path / "m", stdin=text)
    assert (stopped.code, stopped.out) == (1, "")


IDS = {
    "vw": (b"1 'one|a\n-1 two| b\n1 | c\n", ["one", "two", "-"]),
    "json": (
        b'{"id":"x y","features":["a"]}\n{"id":7,"features":["b"]}\n{"features":["c"]}\n'
        b'{"id":"t\\tn\\n","features":["c"]}\n',
        ["x y", "7", "-", "t\\tn\\n"],
    ),
    "svmlight": (b"1 1:1\n", ["-"]),
}


@pytest.mark.parametrize("format", IDS)
def test_ids_come_first(format: str, tmp_path: Path) -> None:
    text, ids = IDS[format]
    OnlineSVM().save(tmp_path / "m")
    bad = b"1 2:x\n" if format == "svmlight" else b"{\n" if format == "json" else b"1 | a:x\n"
    shown = done(
        "predict", "--file", tmp_path / "m", "--with-id", "--skip-bad", "--format", format,
        "--output", "margin", stdin=text + bad,
    )  # fmt: skip
    lines = [line.split("\t") for line in shown.out.splitlines()]
    assert lines == [*([id, "0.0"] for id in ids), ["-", "-"]]


def test_keys_and_columns_have_the_names_that_are_given(tmp_path: Path) -> None:
    OnlineSVM().save(tmp_path / "m")
    rows = b'{"no":"x","y":1,"words":["a","b"]}\n'
    flags = "--label-key", "y", "--features-key", "words", "--id-key", "no"
    (sample,) = done("features", *flags, stdin=rows).out.splitlines()
    assert json.loads(sample) == {
        "label": 1, "importance": 1.0, "features": [["a", 1.0], ["b", 1.0]],
    }  # fmt: skip
    shown = done("predict", "--file", tmp_path / "m", "--with-id", *flags, stdin=rows)
    assert shown.out == "x\t-\n"  # no label is known
    (row,) = done("features", "--label-column", "y", stdin=b"y,len\n-1,2.5\n").out.splitlines()
    assert json.loads(row)["features"] == [["len", 2.5]]
    assert json.loads(row)["label"] == -1


def test_features_of_each_line(tmp_path: Path) -> None:
    for format, (text, samples) in FILES.items():
        shown = done("features", "--format", format, stdin=text + UNLABELLED[format][0])
        *rows, last = map(json.loads, shown.out.splitlines())
        assert last["label"] is None
        learned, again = OnlineSVM(), OnlineSVM()
        if format == "text":
            made = [[list(pair) for pair in learned.features(sample[0])] for sample in samples]
            assert [row["features"] for row in rows] == made
            continue
        learned.learn(samples)
        again.learn([(dict(row["features"]), row["label"], row["importance"]) for row in rows])
        assert (
            again.decision_function([s[0] for s in samples]).tolist()
            == learned.decision_function([s[0] for s in samples]).tolist()
        )


def test_features_are_those_of_the_model_that_is_named(tmp_path: Path) -> None:
    model = OnlineSVM(text="words", fields={"from": "text"}, numbers="prefixes")
    asked = [{"from": "shop", "n": 3}, "Free prize!", ["a"]]
    model.learn([(asked[0], 1), (["b"], 0)])
    model.save(tmp_path / "m")
    text = b"".join(json.dumps({"features": one}).encode() + b"\n" for one in asked)
    expected = [[list(pair) for pair in model.features(one)] for one in asked]
    with on_a_thread(tmp_path / "state", **model.config.as_dict()) as endpoint:
        for target in (("--file", tmp_path / "m"), ("--connect", endpoint)):
            shown = done("features", *target, stdin=text).out.splitlines()
            assert [json.loads(line)["features"] for line in shown] == expected
    flags = "--text", "words", "--fields", "from=text", "--numbers", "prefixes"
    shown = done("features", *flags, stdin=text).out.splitlines()
    assert [json.loads(line)["features"] for line in shown] == expected
    both = run("features", "--file", tmp_path / "m", "--text", "words", stdin=text)
    assert_failed(both, "--text: expected none, as the model has its own", code=2)


def test_nothing_to_predict(tmp_path: Path) -> None:
    OnlineSVM().save(tmp_path / "m")
    assert done("predict", "--file", tmp_path / "m", stdin=b"\n") == (0, "", "")


def test_predict_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    done("learn", "--file", tmp_path / "m", stdin=FILES["vw"][0])
    before = (tmp_path / "m").read_bytes()
    done("predict", "--file", tmp_path / "m", stdin=b"| never seen\n")
    assert (tmp_path / "m").read_bytes() == before


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_ids_and_labels_come_back_as_the_bytes_that_were_read(
    tmp_path: Path, encoding: str
) -> None:
    """Also bytes that are not UTF-8; a control character does not break the line."""
    given = b"\xffham\xfe 'i\xff\x01\xfe| a\nspam 'j| b\n" * 20
    done("learn", "--file", tmp_path / "m", stdin=given)
    with started(
        "predict", "--file", tmp_path / "m", "--with-id", "-",
        env={**os.environ, "PYTHONIOENCODING": encoding},
    ) as process:  # fmt: skip
        out, _ = process.communicate(given, DEADLINE_S)
    assert out == b"i\xff\\u0001\xfe\t\xffham\xfe\nj\tspam\n" * 20


def test_labels_are_names_of_one_line_each(tmp_path: Path) -> None:
    rows = [(["a"], "two\nlines\udcff"), (["b"], "größe")] * 20
    model = OnlineSVM()
    model.learn(rows)
    model.save(tmp_path / "m")
    text = b'{"features":["a"]}\n{"features":["b"]}\n'
    with on_a_thread(tmp_path / "state") as endpoint:
        with Client(endpoint) as client:
            client.learn(rows)
        for target in (("--file", tmp_path / "m"), ("--connect", endpoint)):
            assert done("predict", *target, stdin=text).out == "two\\nlines\udcff\ngröße\n"
            shown = [
                json.loads(line) for line in done("explain", *target, stdin=text).out.splitlines()
            ]
            assert [row["label"] for row in shown] == ["two\nlines\udcff", "größe"]
