"""Word vectors as features of texts: a file known by its digest, on both kernels."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Client, LearnerConfig, Limits, OnlineSVM, Scorer
from onlinesvm import kernel as kernels
from onlinesvm.errors import ConfigError, VectorFileError, VectorsMissing
from onlinesvm.kernel import KERNELS
from onlinesvm.service.errors import RequestRefused
from onlinesvm.text import word_vectors
from onlinesvm.text.constants import VIEW_NUMBERS
from onlinesvm.text.fasttext import Vectors
from onlinesvm.text.options import TextOptions
from onlinesvm.text.word_vectors import VECTORS_PATH, embedding, know, named
from tests.daemons import digest_of, on_a_thread, serve
from tests.shell import assert_failed, done, run

GOLDEN = Path(__file__).parent.parent / "golden" / "fasttext"
FILE = GOLDEN / "skipgram.bin"
STREAM: list[Any] = [
    ("the free prize", "spam"), ("at home, dear", "ham"),
    ({"subject": "the free one", "n": 3}, "spam"), (["free"], "spam"), ("a home", "ham"),
]  # fmt: skip


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is known, as in a new process."""
    monkeypatch.setattr(word_vectors, "_open", {})
    monkeypatch.delenv(VECTORS_PATH, raising=False)


def numbers(kernel: kernels.Kernel, text: str, most: int = 65_536) -> dict[str, float]:
    options = TextOptions(vectors=know(FILE))
    found = kernel.Extractor(options, Limits(), most).extract(msgpack.packb(text))
    pairs = zip(found.names, found.values, found.views, strict=True)
    made = {name.decode(): value for name, value, view in pairs if view == VIEW_NUMBERS}
    return made


def test_a_text_has_the_mean_of_the_unit_vectors_of_its_tokens(kernel: kernels.Kernel) -> None:
    vectors = Vectors(FILE)
    known = [word for word in vectors if word.isalpha() and word.islower()][:2]
    units = [vectors[w].astype(np.float64) / np.linalg.norm(vectors[w]) for w in known]
    made = numbers(kernel, f"{known[0].upper()} {known[1]}  {known[1]}")
    mean = (units[0] + 2 * units[1]) / 3
    assert list(made) == [f"vec[{i}]" for i in range(vectors.dim)]
    assert np.allclose(list(made.values()), mean, atol=1e-7)
    assert numbers(kernel, "") == {}
    field = OnlineSVM(kernel=kernel.NAME, vectors=FILE).features({"subject": f"{known[0]} x"})
    assert {"subject^vec[0]", "subject^vec[1]"} <= {name for name, _ in field}


@settings(max_examples=60)
@given(st.text(st.sampled_from("abc the free\u0301日!"), max_size=30), st.integers(1, 40))
def test_both_kernels_make_the_same_numbers(text: str, most: int) -> None:
    native, python = (numbers(kernels.load(name), text, most) for name in KERNELS)
    assert native == python


def test_both_kernels_learn_one_model(tmp_path: Path) -> None:
    found = []
    asked = [sample[0] for sample in STREAM]
    for kernel in KERNELS:
        model = OnlineSVM(kernel=kernel, vectors=os.fspath(FILE), numbers="prefixes")
        margins = model.learn(STREAM * 3).tobytes()
        scores = model.decision_function(asked).tobytes()
        assert Scorer.from_bytes(Scorer(model).to_bytes()).score(asked).tobytes() == scores
        explained = model.explain(asked[2])
        total = sum(part.contribution for part in explained.fields) + explained.bias
        assert total == pytest.approx(explained.margin)
        found.append((digest_of(model), margins, scores))
        assert "numbers.scw" in (model.experts or {})
    assert found[0] == found[1]
    model.save(tmp_path / "m")
    again = OnlineSVM.load(tmp_path / "m")
    assert again.config.vectors == hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert again.decision_function(asked).tobytes() == found[0][2]


def test_a_model_whose_file_is_not_known_is_refused(
    forgotten: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    for kernel in KERNELS:
        with pytest.raises(VectorsMissing, match=f"the fastText file of SHA-256 {digest}, "):
            OnlineSVM(kernel=kernel, vectors=digest)
    shutil.copy(FILE, tmp_path / "any.bin")
    (tmp_path / "other.bin").write_bytes(b"none")
    monkeypatch.setenv(VECTORS_PATH, os.pathsep.join([os.fspath(tmp_path / "no"), str(tmp_path)]))
    assert OnlineSVM(vectors=digest).config.vectors == digest
    assert embedding(digest).dim == Vectors(FILE).dim


def test_other_files_and_digests_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no vectors")
    with pytest.raises(VectorFileError):
        OnlineSVM(vectors=tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        OnlineSVM(vectors=tmp_path / "none")
    for wrong in ("ab", "A" * 64, 5):
        with pytest.raises(ConfigError, match="vectors: expected a file's SHA-256"):
            LearnerConfig(vectors=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="vectors: expected none, as the model reads no text"):
        LearnerConfig(rule="sgd", vectors="a" * 64)
    assert named(None) is None
    assert "vectors" not in LearnerConfig().as_dict()


def test_a_daemon_needs_the_file(
    forgotten: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, state = know(FILE), tmp_path / "state"
    with on_a_thread(state) as endpoint, Client(endpoint, model="wv") as client:
        client.create("wv", vectors=digest)
        client.learn(STREAM)
        before = client.decision_function(["free home"])
        client.snapshot()
        with pytest.raises(RequestRefused, match="BAD_REQUEST: .* SHA-256 " + "b" * 64):
            client.create("other", vectors="b" * 64)
    with serve(state) as daemon, daemon.client(model="wv") as client:
        with pytest.raises(RequestRefused, match=f"BUSY: .* SHA-256 {digest}, "):
            client.predict(["free home"])
        assert [row["loaded"] for row in client.models() if row["name"] == "wv"] == [False]
    monkeypatch.setenv(VECTORS_PATH, str(GOLDEN))
    with serve(state) as daemon, daemon.client(model="wv") as client:
        assert client.decision_function(["free home"]).tobytes() == before.tobytes()


def test_a_daemon_does_not_start_without_the_file_of_its_default_model(
    forgotten: None, tmp_path: Path
) -> None:
    digest = know(FILE)
    with on_a_thread(tmp_path, vectors=digest) as endpoint, Client(endpoint) as client:
        client.learn(STREAM)
    with pytest.raises(AssertionError, match=f"did not start: .* SHA-256 {digest}, "):
        serve(tmp_path)


def test_vectors_are_a_flag(tmp_path: Path) -> None:
    text = b"spam\tthe free prize\nham\tat home\n"
    done("learn", "--file", tmp_path / "m", "--vectors", FILE, stdin=text)
    model = OnlineSVM.load(tmp_path / "m")
    assert model.config.vectors == know(FILE)
    assert "vec[0]" in model.lookup
    wrong = run("learn", "--file", tmp_path / "n", "--vectors", tmp_path / "none", stdin=text)
    assert wrong.code == 2
    assert "No such file" in wrong.err
    other = run("learn", "--file", tmp_path / "m", "--vectors", GOLDEN / "cbow.bin", stdin=text)
    assert_failed(other, "vectors: the model was created with")
