"""The tasks of a round: functions of the model and the shard, which refuse what they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.errors import FormatError
from onlinesvm.service.errors import ClusterError
from onlinesvm.service.train.shards import Part, Shard, cut
from onlinesvm.service.train.tasks import (
    Learned,
    Reading,
    figures_of,
    learn_shard,
    mix_pair,
    model_of,
)
from onlinesvm.snapshot.reader import from_bytes
from onlinesvm.snapshot.writer import to_bytes
from onlinesvm.version import __version__

pytest.importorskip("distributed")


def digest(learned: Learned) -> str:
    return from_bytes(model_of(learned)).digest()


@pytest.fixture
def base() -> bytes:
    model = OnlineSVM()
    model.learn([(["a"], "spam"), (["b"], "ham")])
    return to_bytes(model.snapshot())


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Shard, ...]:
    file = tmp_path / "samples.tsv"
    lines = ["spam\tfree prize", "ham\tlunch at one", "spam\tprize", "ham\tsee you at lunch"] * 8
    file.write_text("\n".join(lines))
    return cut([str(file)], shards=3, shard_bytes=1)


def test_a_round_of_one_shard_is_a_pass(base: bytes, shards: tuple[Shard, ...]) -> None:
    (whole,) = cut([shards[0][0].path], shards=1, shard_bytes=1)
    learned = learn_shard(__version__, base, 0, whole, Reading())
    model = OnlineSVM.from_bytes(base)
    with Path(whole[0].path).open() as file:
        pairs = [line.rstrip("\n").split("\t") for line in file]
    model.learn([(text, label) for label, text in pairs])
    made = OnlineSVM.from_snapshot(from_bytes(model_of(learned)))
    assert dict(made.weights) == dict(model.weights)
    assert (made.bias, made.position) == (model.bias, 34)
    figures = figures_of(learned)
    assert figures is not None
    assert (figures.shard, figures.samples, figures.error) == (0, 32, made.progressive.error)


def test_tasks_are_functions_of_their_arguments(base: bytes, shards: tuple[Shard, ...]) -> None:
    def run() -> list[str]:
        learned = [
            learn_shard(__version__, base, number, shard, Reading())
            for number, shard in enumerate(shards)
        ]
        mixed = mix_pair(__version__, base, learned[0], learned[1])
        return [*map(digest, learned), digest(mix_pair(__version__, base, mixed, learned[2]))]

    assert run() == run()


def test_another_version_is_refused(base: bytes, shards: tuple[Shard, ...]) -> None:
    expected = f"this process: expected onlinesvm 0.0.9, got {__version__}"
    with pytest.raises(ClusterError, match=expected):
        learn_shard("0.0.9", base, 0, shards[0], Reading())
    learned = learn_shard(__version__, base, 0, shards[0], Reading())
    with pytest.raises(ClusterError, match=expected):
        mix_pair("0.0.9", base, learned, learned)


def test_another_file_is_refused(base: bytes, shards: tuple[Shard, ...]) -> None:
    path = Path(shards[0][0].path)
    with path.open("a") as file:
        file.write("\nham\tmore")
    with pytest.raises(ClusterError, match=r"samples.tsv: expected a file of \d+ bytes, got \d+"):
        learn_shard(__version__, base, 0, shards[0], Reading())
    path.unlink()
    with pytest.raises(ClusterError, match=r"samples.tsv: No such file .* by the same paths"):
        learn_shard(__version__, base, 0, shards[0], Reading())


def test_a_file_that_cannot_be_read_to_its_end_is_an_error_of_the_task(base: bytes) -> None:
    """An OSError would be taken for a loss of the cluster, and the round begin again for ever."""
    memory = Part("/proc/self/mem", 0, 0, 0, False)  # it can be opened; reading it fails
    with pytest.raises(ClusterError, match="/proc/self/mem: Input/output error; every worker"):
        learn_shard(__version__, base, 0, (memory,), Reading())


def test_faults_have_their_line_in_the_file(base: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.tsv"
    file.write_text("spam\tfree\n" * 20 + "eggs\tbreakfast\n" + "\tno label\n")
    *_, last = cut([str(file)], shards=4, shard_bytes=1)
    with pytest.raises(FormatError, match="line 21: expected one of the model's two labels"):
        learn_shard(__version__, base, 0, last, Reading(format="text"))
    file.write_text("spam\tfree\n" * 20 + "breakfast\n")
    *_, last = cut([str(file)], shards=4, shard_bytes=1)
    with pytest.raises(FormatError, match="line 21"):
        learn_shard(__version__, base, 0, last, Reading(format="text"))
    figures = figures_of(
        learn_shard(__version__, base, 3, last, Reading(format="text", skip_bad=True))
    )
    assert figures is not None
    assert figures.skipped == 1
    assert "line 21" in str(figures.first_bad)
