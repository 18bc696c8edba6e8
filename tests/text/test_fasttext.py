"""fastText files: fastText's own word on each, and every kind of damage."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import tracemalloc
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.errors import ConfigError, VectorFileError
from onlinesvm.text.fasttext import Vectors
from onlinesvm.text.fasttext.hashing import gram_hashes, hash_of, word_gram_hashes
from onlinesvm.text.fasttext.model_file import open_model

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "fasttext"
EXPECTED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
NAMES = list(EXPECTED)
ROUNDS = int(os.environ.get("ONLINESVM_FUZZ", "1"))
LABEL = "__label__w1"


def golden(name: str) -> Path:
    return GOLDEN / f"{name}.bin"


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_kind_of_file_is_there() -> None:
    models = {name: open_model(golden(name)) for name in NAMES}
    kinds = {name: (type(m.input).__name__, type(m.output).__name__) for name, m in models.items()}
    assert kinds["skipgram"] == ("Dense", "Dense")
    assert kinds["quantized"] == ("Quantized", "Dense")
    assert kinds["qout"] == ("Quantized", "Quantized")
    assert models["pruned"].pruned
    assert getattr(models["pruned"].input, "norms") is not None  # noqa: B009
    assert getattr(models["quantized"].input, "norms") is None  # noqa: B009


# What fastText's wheel says -------------------------------------------------------------------


def test_words_rows_and_vectors_are_those_of_fasttext(name: str) -> None:
    vectors, expected = Vectors(golden(name)), EXPECTED[name]
    assert vectors.dim == expected["dim"]
    assert list(vectors) == expected["words"]
    assert len(vectors) == len(expected["words"])
    assert vectors.labels == expected["labels"]
    for word in set(expected["vectors"]) - {LABEL}:
        assert vectors.rows(word) == expected["rows"][word], word
        found = vectors[word]
        assert (found.dtype, found.shape) == (np.float32, (vectors.dim,))
        np.testing.assert_allclose(found, expected["vectors"][word], rtol=0, atol=1e-6)
        assert vectors[word.encode()].tobytes() == found.tobytes()
        assert (word in vectors) == (word.encode() in vectors) == (word in expected["words"])


def test_sentences_are_those_of_fasttext(name: str) -> None:
    vectors = Vectors(golden(name))
    for text, expected in EXPECTED[name]["sentences"].items():
        np.testing.assert_allclose(vectors.sentence(text), expected, rtol=0, atol=1e-6)


def test_the_input_is_that_of_fasttext(name: str) -> None:
    model = open_model(golden(name))
    np.testing.assert_allclose(
        model.input.rows((0, 1, 7, 20, 30)), EXPECTED[name]["input"], rtol=0, atol=1e-6
    )
    for which in ("input", "output"):
        if (expected := EXPECTED[name].get(f"{which}_sha256")) is not None:
            matrix = getattr(model, which)
            raw = matrix.rows(range(len(matrix))).tobytes()
            assert hashlib.sha256(raw).hexdigest() == expected


@pytest.mark.parametrize("name", ["quantized", "pruned", "qout"])
def test_the_output_gives_the_probabilities_of_fasttext(name: str) -> None:
    model, expected = open_model(golden(name)), EXPECTED[name]["probabilities"]
    hidden = Vectors(golden(name)).sentence(next(iter(EXPECTED[name]["sentences"])))
    logits = model.output.rows(range(len(model.output))) @ hidden
    odds = np.exp(logits - logits.max())
    found = odds / odds.sum()
    for label, row in model.labels.items():
        # fastText adds 1e-5 to a probability on the way through its logarithm.
        assert found[row] == pytest.approx(expected[label.decode()], abs=2e-5)


def test_a_label_is_an_unknown_word(name: str) -> None:
    # fastText adds a bucket's row to the label's n-grams: it takes the label's id for a word's.
    vectors, expected = Vectors(golden(name)), EXPECTED[name]["rows"][LABEL]
    own = EXPECTED[name]["labels"].count(LABEL)
    assert vectors.rows(LABEL) == expected[own:]
    assert LABEL not in vectors


def test_version_11_has_no_n_grams_in_supervised_models(tmp_path: Path) -> None:
    for name, least in (("subwords", 0), ("skipgram", 1)):
        raw = bytearray(golden(name).read_bytes())
        raw[4:8] = struct.pack("<i", 11)
        path = tmp_path / name
        path.write_bytes(raw)
        assert (len(Vectors(path).rows("unknown")) > 0) == least
        assert (len(Vectors(path).rows("free")) > 1) == least


# Hashes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"), [("é", 0x3CFA68C1), ("日本", 0xF8378251), ("a", 0xE40C292C)]
)
def test_the_hash_takes_bytes_as_signed_chars(text: str, expected: int) -> None:
    assert hash_of(text.encode()) == expected


@given(word=st.text(max_size=12), least=st.integers(0, 4), most=st.integers(0, 6))
def test_n_grams_are_cut_by_code_point(word: str, least: int, most: int) -> None:
    bounded = f"<{word}>"
    grams = [
        bounded[i : i + n]
        for i in range(len(bounded))
        for n in range(max(least, 1), most + 1)
        if i + n <= len(bounded) and not (n == 1 and i in (0, len(bounded) - 1))
    ]
    found = list(gram_hashes(word.encode(), least, most))
    assert found == [hash_of(gram.encode()) for gram in grams]


def test_continuation_bytes_belong_to_the_byte_before() -> None:
    found = list(gram_hashes(b"\x80a\xbf\xbf", 1, 1))
    assert found == [hash_of(b"a\xbf\xbf")]


@given(words=st.lists(st.binary(max_size=4), max_size=6), most=st.integers(0, 4))
def test_word_n_grams_begin_with_each_word(words: list[bytes], most: int) -> None:
    found = list(word_gram_hashes(words, most))
    assert len(found) == sum(max(0, min(most - 1, len(words) - i - 1)) for i in range(len(words)))
    if most >= 2 and len(words) >= 2:
        first, second = (struct.unpack("<i", struct.pack("<I", hash_of(w)))[0] for w in words[:2])
        assert found[0] == (first * 116049371 + second) % 2**64


# Kept matrices --------------------------------------------------------------------------------


def test_a_kept_matrix_gives_the_same_bits(name: str) -> None:
    plain, kept = Vectors(golden(name)), Vectors(golden(name), accumulate="float32")
    half = Vectors(golden(name), accumulate="float16")
    for word in [*plain, "unknown", "日本語", ""]:
        assert kept[word].tobytes() == plain[word].tobytes()
        rounded = plain[word].astype(np.float16) if word in plain else plain[word]
        assert half[word].tolist() == rounded.astype(np.float32).tolist()
    assert kept.sentence("free prize").tobytes() == plain.sentence("free prize").tobytes()


def test_a_vector_is_a_copy(name: str) -> None:
    for vectors in (Vectors(golden(name)), Vectors(golden(name), accumulate="float32")):
        vectors["free"][:] = 7
        assert (vectors["free"] != 7).all()


def test_unknown_ways_to_keep_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^accumulate: expected None, 'float32' or 'float16'"):
        Vectors(golden("cbow"), accumulate="int8")


@pytest.mark.parametrize("asked", [7, None, ["free"]])
def test_words_are_text(asked: Any) -> None:
    vectors = Vectors(golden("cbow"))
    for ask in (vectors.__getitem__, vectors.rows, vectors.sentence):
        with pytest.raises(TypeError, match=r"^expected text or bytes, got "):
            ask(asked)
    assert asked not in vectors


@given(st.text(max_size=20) | st.binary(max_size=20))
def test_any_text_has_a_finite_vector(text: str | bytes) -> None:
    for vectors in MAPPED:
        assert np.isfinite(vectors[text]).all()
        assert np.isfinite(vectors.sentence(text)).all()


MAPPED = [Vectors(golden(name)) for name in NAMES]


# Damage ---------------------------------------------------------------------------------------


def places(raw: bytes) -> list[int]:
    """Every byte of the head and the end of a file, and some between."""
    last = max(110, len(raw) - 30)
    between = range(110, last, max(1, len(raw) // (100 * ROUNDS)))
    return [*range(110), *between, *range(last, len(raw))]


def used(path: Path) -> None:
    """Open a file and ask it all that it can be asked."""
    vectors = Vectors(path)
    for word in ["free", "unknown", "日本", *list(vectors)[:3]]:
        vectors.rows(word)
        vectors[word]
    vectors.sentence("free prize unknown")
    model = open_model(path)
    model.output.rows(range(min(3, len(model.output))))


def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    raw, path = golden(name).read_bytes(), tmp_path / "cut"
    for size in places(raw):
        path.write_bytes(raw[:size])
        with pytest.raises(VectorFileError, match=r"cut: expected .*, got "):
            open_model(path)
    path.write_bytes(raw + b"\0")
    with pytest.raises(
        VectorFileError, match=rf"the end of the file, got 1 bytes more, at byte {len(raw)}$"
    ):
        open_model(path)


def test_damaged_bytes_are_refused_or_read(name: str, tmp_path: Path) -> None:
    draw = random.Random(name)
    raw, path = golden(name).read_bytes(), tmp_path / "damaged"
    refused = 0
    for _ in range(150 * ROUNDS):
        bad = bytearray(raw)
        for _ in range(draw.choice((1, 1, 2))):
            # Where sizes lie, most of the time: the head, and anywhere.
            at = draw.randrange(min(len(raw), draw.choice((110, len(raw)))))
            if draw.random() < 0.7:
                bad[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            else:
                bad[at : at + draw.randrange(5)] = draw.randbytes(draw.randrange(5))
        path.write_bytes(bad)
        try:
            used(path)
        except VectorFileError:
            refused += 1
    assert refused > 15


def test_no_size_takes_memory_that_the_file_does_not_have(name: str, tmp_path: Path) -> None:
    raw, path = golden(name).read_bytes(), tmp_path / "huge"
    tracemalloc.start()
    try:
        for at in places(raw[:-8]):
            for size in (struct.pack("<i", 2**31 - 1), struct.pack("<q", 2**62)):
                path.write_bytes(raw[:at] + size + raw[at + len(size) :])
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                with suppress(VectorFileError):
                    open_model(path)
                assert tracemalloc.get_traced_memory()[1] - before < 100_000 + 30 * len(raw)
    finally:
        tracemalloc.stop()


HEAD = 8 + 12 * 4 + 8  # where the dictionary begins


@pytest.mark.parametrize(
    ("form", "at", "value", "message"),
    [
        ("<i", 0, 7, r"expected a fastText .bin file \(magic 793712314\), got 7, at byte 0"),
        ("<i", 4, 13, "expected version 11 or 12, got 13, at byte 4"),
        ("<i", 8, 0, "expected dim from 1 to 2147483647, got 0, at byte 8"),
        ("<i", 8, 6, r"expected the input matrix of 6 columns, got 5, at byte \d+"),
        ("<i", 28, -1, "expected wordNgrams from 0 to 64, got -1, at byte 28"),
        ("<i", 32, 9, "expected loss from 1 to 4, got 9, at byte 32"),
        ("<i", 36, 4, "expected model from 1 to 3, got 4, at byte 36"),
        ("<i", 40, 0, "expected a bucket of 1 or more for n-grams, got 0, at byte 40"),
        ("<i", 40, 41, r"expected at least 77 rows for 36 words and 41 buckets, got 76, at byte"),
        ("<i", 48, 65, "expected maxn from 0 to 64, got 65, at byte 48"),
        ("<i", HEAD, 35, f"expected 36 entries, got 35, at byte {HEAD}"),
        ("<i", HEAD + 4, 0, f"expected at least 1 word, got 0, at byte {HEAD + 4}"),
        ("<i", HEAD + 8, -1, f"expected 0 labels or more, got -1, at byte {HEAD + 8}"),
        ("<q", HEAD + 20, -2, f"expected -1 or more pruned n-grams, got -2, at byte {HEAD + 20}"),
        ("<q", HEAD + 20, 2**40, f"expected 36 entries and {2**40} pruned n-grams, got "),
        ("<b", HEAD + 28, 255 - 256, None),  # a word that is no UTF-8 is a word
    ],
)
def test_faults_say_expected_got_and_where(
    tmp_path: Path, form: str, at: int, value: int, message: str | None
) -> None:
    raw, path = bytearray(golden("skipgram").read_bytes()), tmp_path / "model.bin"
    struct.pack_into(form, raw, at, value)
    path.write_bytes(raw)
    if message is None:
        words = list(Vectors(path))
        assert words[0].startswith("\udcff")
        assert words[0] in Vectors(path)
        return
    with pytest.raises(VectorFileError, match=rf"^.*model\.bin: {message}"):
        open_model(path)


def entry(word: bytes, kind: int = 0) -> bytes:
    return word + b"\0" + struct.pack("<qb", 1, kind)


def model_bytes(entries: list[bytes], rows: list[list[float]]) -> bytes:
    """A file without n-grams, of 2 columns."""
    matrix = struct.pack("<qq", len(rows), 2) + struct.pack(f"<{2 * len(rows)}f", *chain(*rows))
    return (
        struct.pack("<ii", 793712314, 12)
        + struct.pack("<12id", 2, 5, 5, 1, 5, 1, 2, 1, 0, 0, 0, 100, 1e-4)
        + struct.pack("<iiiqq", len(entries), len(entries), 0, 9, -1)
        + b"".join(entries)
        + b"\0" + matrix + b"\0" + struct.pack("<qq", 0, 2)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry(b"a"), entry(b"a")], "expected 2 different words, got 1, at byte 64"),
        (
            [entry(b"a"), entry(b"b", 1)],
            r"expected a word \(kind 0\), got \"b\" of kind 1, at byte",
        ),
        ([entry(b"a" * 70_000)] * 2, "expected a word of at most 65536 bytes and a NUL, got none"),
    ],
)
def test_faulty_entries_are_refused(tmp_path: Path, entries: list[bytes], message: str) -> None:
    path = tmp_path / "m"
    path.write_bytes(model_bytes(entries, [[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(VectorFileError, match=message):
        open_model(path)


@pytest.mark.parametrize("accumulate", [None, "float32", "float16"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, accumulate: str | None) -> None:
    path = tmp_path / "m"
    path.write_bytes(model_bytes([entry(b"a"), entry(b"b")], [[1, 2], [float("nan"), 1]]))
    with pytest.raises(VectorFileError, match='expected finite numbers in the rows of "b", got'):
        Vectors(path, accumulate=accumulate)["b"]
    path.write_bytes(model_bytes([entry(b"a"), entry(b"b")], [[1, 2], [1e6, 1]]))
    if accumulate == "float16":
        with pytest.raises(VectorFileError, match=r'magnitude up to 65504 .* of "b"'):
            Vectors(path, accumulate=accumulate)
    else:
        assert Vectors(path, accumulate=accumulate)["b"].tolist() == [1e6, 1]


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe")):
        with pytest.raises(VectorFileError, match=f"expected a regular file, got {kind}"):
            Vectors(path)
    (tmp_path / "empty").touch()
    with pytest.raises(VectorFileError, match=r"expected a fastText \.bin file, got an empty file"):
        Vectors(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        Vectors(tmp_path / "missing")
