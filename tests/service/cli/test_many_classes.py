"""Many classes on the command line: every format, a file and a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onlinesvm import Client, OnlineSVM
from onlinesvm.metrics.classes import ClassMetrics
from tests.daemons import on_a_thread
from tests.shell import done, run

NAMES = ("red", "green", "blue", "black")
SAMPLES = [([f"w{k % 4}", f"c{k % 7}"], NAMES[k % 4]) for k in range(120)]
FILES = {
    "svmlight": "".join(f"{k % 4} {1 + k % 4}:1 {10 + k % 7}:1\n" for k in range(120)),
    "vw": "".join(f"{1 + k % 4} | w{k % 4} c{k % 7}\n" for k in range(120)),
    "jsonl": "".join(json.dumps({"label": y, "features": x}) + "\n" for x, y in SAMPLES),
    "labelled-text": "".join(f"{y}\tw{k % 4} c{k % 7}\n" for k, (_, y) in enumerate(SAMPLES)),
    "fasttext": "".join(f"__label__{y} w{k % 4} c{k % 7}\n" for k, (_, y) in enumerate(SAMPLES)),
    "csv": "label,a,b,c,d\n"
    + "".join(
        f"{y},{','.join(str(int(k % 4 == j)) for j in range(4))}\n"
        for k, (_, y) in enumerate(SAMPLES)
    ),
}


@pytest.mark.parametrize("format", FILES)
def test_every_format_brings_its_labels(format: str, tmp_path: Path) -> None:
    (tmp_path / "train").write_text(FILES[format])
    model = tmp_path / "m"
    given = ("--label-column", "label") if format == "csv" else ()
    learned = done("learn", "--file", model, *given, tmp_path / "train")
    outcome = json.loads(learned.out)
    assert (outcome["samples"], outcome["labels"]) == (120, 4)
    assert "the new model is a multiclass one" in learned.err
    assert 0 < outcome["progressive_error"] < 0.5
    predicted = done("predict", "--file", model, *given, tmp_path / "train")
    found = OnlineSVM.load(model)
    assert predicted.out.split() == [str(found.classes_[k % 4]) for k in range(120)]
    assert predicted.err == "error 0.000000 of 120 labelled samples\n"


def train(tmp_path: Path) -> tuple[Path, Path, OnlineSVM]:
    path, text = tmp_path / "m", tmp_path / "train.jsonl"
    text.write_text(FILES["jsonl"])
    done("learn", "--file", path, "--task", "multiclass", text)
    model = OnlineSVM(task="multiclass")
    model.learn(SAMPLES)
    return path, text, model


def test_a_file_answers_as_the_library_does(tmp_path: Path) -> None:
    path, text, model = train(tmp_path)
    assert OnlineSVM.load(path).snapshot().digest() == model.snapshot().digest()
    asked = [sample for sample, _ in SAMPLES]
    lines = done("predict", "--file", path, "--top", 3, text).out.splitlines()
    assert [[*map(tuple, json.loads(line))] for line in lines] == model.top(asked, 3)
    lines = done("predict", "--file", path, "--output", "margin", "--top", 0, text).out.splitlines()
    scores = [dict(json.loads(line)) for line in lines]
    assert [[row[name] for name in model.classes_] for row in scores] == (
        model.decision_function(asked).tolist()
    )
    named = ("--label", "red", "--other", "blue")
    lines = done("explain", "--file", path, *named, text).out.splitlines()
    explained = model.explain(asked[0], "red", "blue")
    assert (json.loads(lines[0])["margin"], json.loads(lines[0])["label"]) == (
        explained.margin, "red",
    )  # fmt: skip
    inspected = json.loads(done("inspect", "--json", path).out)
    assert (inspected["labels"], inspected["position"]) == (4, 120)
    assert inspected["macro_f1"] == model.metrics["macro_f1"]
    assert "balanced_error" in done("inspect", path).out


def test_labels_are_listed_and_dropped(tmp_path: Path) -> None:
    path, _, model = train(tmp_path)
    listed = [json.loads(line) for line in done("labels", "--file", path).out.splitlines()]
    assert listed == model.label_figures(0, 9)[0]
    assert done("labels", "--file", path, "--drop", "green").out == ""
    assert OnlineSVM.load(path).classes_.tolist() == ["red", "blue", "black"]
    refused = run("labels", "--file", path, "--drop", "green")
    assert (refused.code, refused.out) == (1, "")
    assert 'got "green" at label' in refused.err


def test_a_daemon_answers_as_a_file_does(tmp_path: Path) -> None:
    path, text, model = train(tmp_path)
    with on_a_thread(tmp_path / "state", task="multiclass") as endpoint:
        by = ("--connect", endpoint)
        outcome = json.loads(done("learn", *by, text).out)
        assert (outcome["labels"], outcome["samples"], outcome["position"]) == (4, 120, 120)
        assert outcome["progressive_error"] == pytest.approx(model.progressive.error)
        for command in (
            ("predict", text), ("predict", "--top", 2, text), ("evaluate", "--json", text),
            ("predict", "--output", "margin", text), ("explain", "--label", "blue", text),
            ("labels",),
        ):  # fmt: skip
            name, *rest = command
            assert done(name, *by, *rest) == done(name, "--file", path, *rest)
        done("labels", *by, "--drop", "red")
        with Client(endpoint) as client:
            assert client.stats()["labels"] == 3


def test_an_evaluation_has_the_errors_by_label(tmp_path: Path) -> None:
    path, text, _ = train(tmp_path)
    text.write_text(FILES["jsonl"] + '{"label": "pink", "features": ["w1"]}\n')
    report = json.loads(done("evaluate", "--file", path, "--json", text).out)
    metrics = ClassMetrics()
    assert (report["samples"], report["error"]) == (121, pytest.approx(1 / 121))
    assert report["balanced_error"] == pytest.approx(1 / 5)
    assert report["confusion"]["labels"] == [*NAMES, "pink"]
    assert report["confusion"]["weights"][4][1] > 0
    assert set(report) >= {"macro_f1", "calibration_error", *metrics.report()} - {
        name for name in metrics.report() if name.startswith("recent_")
    }
    table = done("evaluate", "--file", path, text).out
    assert "balanced error" in table and "pink" in table.splitlines()[-1]


def test_two_labels_make_a_binary_model(tmp_path: Path) -> None:
    text = tmp_path / "two.vw"
    text.write_text("1 | a\n-1 | b\n" * 20)
    assert json.loads(done("learn", "--file", tmp_path / "m", text).out)["labels"] == [-1, 1]
    refused = run("predict", "--file", tmp_path / "m", "--top", 2, text)
    assert (refused.code, "--top needs a multiclass model" in refused.err) == (2, True)
    third = run("learn", "--file", tmp_path / "m", "-", stdin=b"2 | c\n")
    assert third.code == 1
    assert "expected one of the model's two labels, -1 or 1, got 2" in third.err
    assert "--task multiclass" in third.err
    assert run("explain", "--file", tmp_path / "m", "--other", "1", text).code == 2
