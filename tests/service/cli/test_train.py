"""The command `train`: what it refuses before it starts a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from onlinesvm.service.cli.main import main

pytest.importorskip("distributed")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "samples.svm"
    made.write_text("1 a:1\n0 b:1\n")
    return made


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["train", *map(str, words)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "rounds: expected an integer from 1, got 0"),
        (["--rounds", "1001"], "rounds: expected at most 1000, got 1001"),
        (["--shards", "0"], "shards: expected an integer from 1, got 0"),
        (["--shard-bytes", "0"], "shard_bytes: expected an integer from 1, got 0"),
        (["--scheduler", "tcp://x:1", "--workers", "2"], "expected --scheduler or --workers"),
        (["--rule", "arow"], "rule: expected hedge or sgd for a model to be mixed, got 'arow'"),
        (["--task", "multilabel"], "task: expected binary or multiclass for a model to be mixed"),
        (["--crosses", "*"], "crosses: expected none for a model to be mixed"),
        (["--positive", "eggs"], "--positive: expected its label among the first 2 samples"),
    ],
)
def test_wrong_usage_is_refused(
    capsys: pytest.CaptureFixture[str], file: Path, words: list[str], message: str
) -> None:
    assert message in refused(capsys, "--file", file.with_name("m"), *words, file)


def test_files_are_read_again(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    out = file.with_name("m")
    for words in ([], ["-"], [file, "-"]):
        assert "train reads files again in every round" in refused(capsys, "--file", out, *words)
    assert "expected one at least that" in refused(capsys, "--file", out, f"{file}*.gz")
    assert "got" in refused(capsys, "--file", "", file)


def test_a_checkpoint_is_not_passed_over(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    (file.parent / "m.checkpoint").write_text("")
    message = refused(capsys, "--file", file.with_name("m"), file)
    assert "m.checkpoint is of a training that ended early: --resume continues it" in message


def test_a_third_label_among_the_first_is_refused_with_its_line(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    file.write_text("1 a:1\n0 b:1\n2 c:1\n")
    words = ["--file", file.with_name("m"), "--task", "binary", file]
    assert main(["train", *map(str, words)]) == 1
    assert "line 3: expected one of the model's two labels" in capsys.readouterr().err


def test_without_dask_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "onlinesvm.service.train.cluster", raising=False)
    message = refused(capsys, "--file", file.with_name("m"), file)
    assert "train needs its extra: pip install 'onlinesvm[dask]'" in message
