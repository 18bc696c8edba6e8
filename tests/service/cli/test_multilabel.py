"""Several labels a sample on the command line: every format, both kernels, a file and a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onlinesvm import Client, OnlineSVM
from tests.daemons import on_a_thread
from tests.shell import done, run

# Sample k has label L0 where k is even, L1 where 3 divides it, "one, two" where neither.
SETS = [
    [name for name, divides in (("L0", k % 2 == 0), ("L1", k % 3 == 0)) if divides] or ["7"]
    for k in range(150)
]
WORDS = [[f"w{name}" for name in labels] + [f"n{k % 5}"] for k, labels in enumerate(SETS)]
ROWS = list(zip(WORDS, SETS, strict=True))
FILES = {
    "svmlight": "".join(f"{','.join(y)} {' '.join(f'{x}:1' for x in xs)}\n" for xs, y in ROWS),
    "vw": "".join(f"{','.join(y)} | {' '.join(xs)}\n" for xs, y in ROWS),
    "jsonl": "".join(json.dumps({"label": y, "features": xs}) + "\n" for xs, y in ROWS),
    "labelled-text": "".join(f"{', '.join(y)}\t{' '.join(xs)}\n" for xs, y in ROWS),
    "fasttext": "".join(
        f"{' '.join(f'__label__{one}' for one in y)} {' '.join(xs)}\n" for xs, y in ROWS
    ),
    "csv": "label,wL0,wL1,w7\n"
    + "".join(
        f'"{",".join(y)}",{",".join(str(int(x in xs)) for x in ("wL0", "wL1", "w7"))}\n'
        for xs, y in ROWS
    ),
}


@pytest.mark.parametrize("format", FILES)
def test_every_format_brings_sets_of_labels(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train").write_text(FILES[format])
    given = ("--label-column", "label") if format == "csv" else ()
    digests = set()
    for kernel in ("native", "python"):
        monkeypatch.setenv("ONLINESVM_KERNEL", kernel)
        path = tmp_path / kernel
        learned = done("learn", "--file", path, "--task", "multilabel", *given, tmp_path / "train")
        outcome = json.loads(learned.out)
        assert (outcome["samples"], outcome["labels"]) == (150, 3)
        assert outcome["micro_f1"] > 0.8 and outcome["progressive_error"] is None
        digests.add(OnlineSVM.load(path).snapshot().digest())
    assert len(digests) == 1
    predicted = done("predict", "--file", path, *given, tmp_path / "train").out.splitlines()
    assert [set(line.split(",")) for line in predicted] == [set(labels) for labels in SETS]


def test_commands_show_sets(tmp_path: Path) -> None:
    path, text = tmp_path / "m", tmp_path / "train.jsonl"
    text.write_text(FILES["jsonl"])
    done("learn", "--file", path, "--task", "multilabel", text)
    report = json.loads(done("evaluate", "--json", "--file", path, text).out)
    assert (report["samples"], report["error"], report["micro_f1"]) == (150, 0.0, 1.0)
    assert "micro f1                 1.000000" in done("evaluate", "--file", path, text).out
    rows = [json.loads(line) for line in done("labels", "--file", path).out.splitlines()]
    assert {row["label"] for row in rows} == {"L0", "L1", "7"}
    lines = done("predict", "--file", path, "--output", "probability", text).out.splitlines()
    assert all(0.5 < share <= 1.0 for line in lines for _, share in json.loads(line))
    lines = done("predict", "--file", path, "--top", 2, text).out.splitlines()
    assert all(len(json.loads(line)) == 2 for line in lines)


def test_a_daemon_answers_as_a_file_does(tmp_path: Path) -> None:
    path, text = tmp_path / "m", tmp_path / "train.svm"
    text.write_text(FILES["svmlight"])
    done("learn", "--file", path, "--task", "multilabel", text)
    with on_a_thread(tmp_path / "state", task="multilabel") as endpoint:
        outcome = json.loads(done("learn", "--connect", endpoint, text).out)
        assert outcome["micro_f1"] == OnlineSVM.load(path).metrics["micro_f1"]
        for command in (("predict",), ("predict", "--top", 2), ("evaluate", "--json")):
            by_file = done(*command, "--file", path, text).out
            assert done(*command, "--connect", endpoint, text).out == by_file
        with Client(endpoint) as client:
            saved = client.snapshot()
    assert saved["digest"] == OnlineSVM.load(path).snapshot().digest()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,,b x:1\n", "expected a label, got an empty text"),
        ("a,1.5 x:1\n", "expected a label as text, integer or boolean, got"),
        (",".join(f"L{k}" for k in range(65)) + " x:1\n", "expected at most 64 labels a sample"),
    ],
)
@pytest.mark.parametrize("kernel", ["native", "python"])
def test_bad_sets_are_refused_with_their_line(
    line: str, message: str, kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLINESVM_KERNEL", kernel)
    text = tmp_path / "bad.svm"
    text.write_text(f"a,b x:1\n{line}")
    failed = run("learn", "--file", tmp_path / "m", "--task", "multilabel", text)
    assert failed.code == 1
    assert "line 2" in failed.err and message in failed.err
