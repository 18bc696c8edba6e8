"""`evaluate`, by a snapshot file and by a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.metrics.held_out import HeldOut
from tests.daemons import on_a_thread
from tests.service.cli.samples import random_rows
from tests.shell import assert_failed, done, run, svmlight, write

FLAGS = ("--rule", "sgd", "--threshold", "0.25")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Samples to learn, and held-out ones."""
    rows = random_rows(900)
    return (
        write(tmp_path / "train.svm", svmlight(rows[:600])),
        write(tmp_path / "test.svm", svmlight(rows[600:])),
    )


def test_a_file_and_a_daemon_are_evaluated_the_same(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    train, test = files
    model = tmp_path / "m"
    done("learn", "--file", model, *FLAGS, train)
    shown = done("evaluate", "--file", model, "--json", test)
    loaded = OnlineSVM.load(model)
    held_out = HeldOut()
    rows = random_rows(900)[600:]
    samples = [{str(i): value for i, value in features.items()} for _, features in rows]
    margins = loaded.decision_function(samples)
    labels = [float(label) for label, _ in rows]
    held_out.count(margins, loaded.probabilities(margins), labels, [1.0] * len(rows))
    assert json.loads(shown.out) == {"labels": [-1, 1], **held_out.report(0.25)}
    assert shown.err == ""
    with on_a_thread(tmp_path / "state", rule="sgd", threshold=0.25) as endpoint:
        done("learn", "--connect", endpoint, train)
        before = json.loads(done("stats", "--connect", endpoint).out)["position"]
        assert done("evaluate", "--connect", endpoint, "--json", test) == shown
        assert json.loads(done("stats", "--connect", endpoint).out)["position"] == before


def test_the_table_has_the_figures(files: tuple[Path, Path], tmp_path: Path) -> None:
    train, test = files
    done("learn", "--file", tmp_path / "m", train)
    report = json.loads(done("evaluate", "--file", tmp_path / "m", "--json", test).out)
    table = done("evaluate", "--file", tmp_path / "m", test).out
    assert max(map(len, table.splitlines())) <= 80
    for name in ("error", "balanced_error", "auc", "log_loss", "calibration_error"):
        assert f"\n{name.replace('_', ' '):18} {report[name]:14.6f}\n" in table
    counts = report["confusion"]
    assert table.splitlines()[-1].split() == [
        "-1", f"{counts['false_positives']:g}", f"{counts['true_negatives']:g}",
    ]  # fmt: skip


def test_a_line_without_a_label_cannot_be_evaluated(tmp_path: Path) -> None:
    OnlineSVM(labels=(-1, 1)).save(tmp_path / "m")
    failed = run("evaluate", "--file", tmp_path / "m", stdin=b"1 a:1\na:1\n")
    assert_failed(failed, "stdin, line 2: expected a label")


def test_a_label_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    OnlineSVM(labels=("spam", "ham")).save(tmp_path / "m")
    text = b"ham\ta\n\nspam\tb\neggs\tc\n"
    failed = run("evaluate", "--file", tmp_path / "m", stdin=text)
    assert_failed(
        failed, 'stdin, line 4: expected a label of the model, "spam" or "ham", got "eggs"'
    )
    table = done("evaluate", "--file", tmp_path / "m", stdin=text.replace(b"eggs", b"ham")).out
    assert "predicted ham" in table
    assert table.splitlines()[-1].split() == ["spam", "0", "1"]


def test_one_class_has_no_auc(tmp_path: Path) -> None:
    OnlineSVM(labels=(-1, 1)).save(tmp_path / "m")
    table = done("evaluate", "--file", tmp_path / "m", stdin=b"1 a:1\n").out
    assert f"\n{'auc':18} {'-':>14}\n" in table
