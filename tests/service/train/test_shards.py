"""Shards: every line in one of them, whatever the files, by names and sizes alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.errors import ConfigError
from onlinesvm.readers.spans import SpanBlocks
from onlinesvm.service.train import shards as room
from onlinesvm.service.train.shards import Part, cut, expanded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


def lines_of(part: Part) -> bytes:
    if not part.is_cut:
        return gzip.decompress(Path(part.path).read_bytes())
    blocks = SpanBlocks(part.path, part.start, part.end, max_line_bytes=99)
    text = b"".join(block for block in blocks if isinstance(block, bytes))
    blocks.close()
    return text


@given(
    texts=st.lists(
        st.tuples(st.lists(st.integers(0, 5), max_size=12), st.booleans()), min_size=1, max_size=4
    ),
    count=st.one_of(st.none(), st.integers(1, 9)),
    shard_bytes=st.integers(1, 50),
)
def test_every_line_of_every_file_lies_in_one_shard(
    folder: Path, texts: list[tuple[list[int], bool]], count: int | None, shard_bytes: int
) -> None:
    paths, lines = [], []
    for number, (lengths, is_packed) in enumerate(texts):
        text = b"".join(b"%d" % number * length + b"\n" for length in lengths)
        path = folder / str(number)
        path.write_bytes(gzip.compress(text) if is_packed else text)
        paths.append(str(path))
        lines.append(text)
    shards = cut(paths, shards=count, shard_bytes=shard_bytes)
    assert shards == cut(paths, shards=count, shard_bytes=shard_bytes)
    assert all(shards)
    if count is not None:
        assert len(shards) <= count
    for path, text in zip(paths, lines, strict=True):
        parts = [part for shard in shards for part in shard if part.path == path]
        assert b"".join(map(lines_of, parts)) == text


def test_shards_are_of_even_bytes(folder: Path) -> None:
    paths = []
    for name, size in (("one", 1000), ("two", 3000), ("three", 500)):
        (folder / name).write_bytes(b"x\n" * (size // 2))
        paths.append(str(folder / name))
    shards = cut(paths, shards=4, shard_bytes=1)
    assert [sum(part.end - part.start for part in shard) for shard in shards] == [1125] * 4
    assert [len(shard) for shard in cut(paths, shards=None, shard_bytes=1500)] == [2, 1, 2]


def test_patterns_are_expanded_by_name(folder: Path) -> None:
    for name in ("b.svm", "a.svm", "c.txt", "odd[1].svm"):
        (folder / name).write_text("1 a:1\n")
    assert expanded([f"{folder}/[ab].svm"]) == [f"{folder}/a.svm", f"{folder}/b.svm"]
    assert expanded([f"{folder}/odd[1].svm"]) == [f"{folder}/odd[1].svm"]
    with pytest.raises(ConfigError, match=r"files: expected one at least that '.*nix' matches"):
        expanded([f"{folder}/*.nix"])
    with pytest.raises(ConfigError, match=r"files: expected each once, got .*/a\.svm twice"):
        expanded([f"{folder}/a.svm", f"{folder}/*.svm"])


def test_what_cannot_be_shards_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "many").write_bytes(b"x" * 100)
    monkeypatch.setattr(room, "MOST_SHARDS", 9)
    with pytest.raises(ConfigError, match="shards: expected at most 9, got 10"):
        cut([str(folder / "many")], shards=10, shard_bytes=1)
    with pytest.raises(ConfigError, match="files: expected regular files"):
        cut([str(folder)], shards=1, shard_bytes=1)
