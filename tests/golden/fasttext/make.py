"""Makes the golden fastText files, and expected.json beside them, with fastText's own wheel.

    pip install fasttext-wheel==0.9.2 'numpy<2'
    python tests/golden/fasttext/make.py

Existing files are left as they are. Nothing of onlinesvm is used here: expected.json is fastText's
word on each file.
"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import fasttext  # type: ignore[import-not-found, unused-ignore]

FOLDER = Path(__file__).parent
EXPECTED = FOLDER / "expected.json"
WORDS = [
    "free", "prize", "café", "naïve", "日本", "東京", "привет", "हिन्दी", "🎉", "don't", "minutes",
    "of", "the", "meeting", "now",
]  # fmt: skip
UNKNOWN = [
    "freedom", "cafés", "日本語", "", "a", "é", "<", "🎉🎉", "привет!", "__label__w1", "</s>",
]  # fmt: skip
SENTENCES = [
    "free prize now", "unknown café 東京  free", "", "🎉", "__label__w1 minutes of the meeting",
    "the</s> </s> of", "x \t of\vthe",
]  # fmt: skip

SUBWORDS = {"dim": 5, "bucket": 40, "minCount": 1, "epoch": 3, "thread": 1}
MODELS: dict[str, dict[str, Any]] = {
    "skipgram": {"model": "skipgram", "minn": 3, "maxn": 6, **SUBWORDS},
    "cbow": {"model": "cbow", "minn": 1, "maxn": 2, "loss": "hs", **SUBWORDS},
    "supervised": {"wordNgrams": 2, **SUBWORDS},
    "subwords": {"wordNgrams": 3, "minn": 2, "maxn": 3, "loss": "ova", **SUBWORDS},
    "quantized": {"wordNgrams": 2, "minn": 2, "maxn": 3, **SUBWORDS, "bucket": 300},
    "pruned": {"wordNgrams": 2, "minn": 2, "maxn": 3, **SUBWORDS, "bucket": 500, "dim": 3},
    "qout": {"wordNgrams": 2, **SUBWORDS, "bucket": 300, "dim": 3},
}
QUANTIZED: dict[str, dict[str, Any]] = {
    "quantized": {"dsub": 2},  # 5 columns: the last part has one
    "pruned": {"dsub": 2, "qnorm": True, "cutoff": 270},
    "qout": {"dsub": 2, "qnorm": True, "qout": True},
}


def corpus(path: Path, labels: int) -> None:
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for i in range(max(120, labels)):
            words = draw.choices([*WORDS, *(f"word{k}" for k in range(20))], k=6)
            label = [f"__label__w{i % labels}"] if labels else []
            file.write(" ".join([*label, *words]) + "\n")


def made(name: str, folder: Path) -> Any:
    options = dict(MODELS[name])
    supervised = "model" not in options
    labels = 260 if name == "qout" else 3
    corpus(folder / "corpus", labels if supervised else 0)
    if not supervised:
        return fasttext.train_unsupervised(str(folder / "corpus"), **options)
    model = fasttext.train_supervised(str(folder / "corpus"), **options)
    if name in QUANTIZED:
        model.quantize(str(folder / "corpus"), retrain=False, **QUANTIZED[name])
    return model


def digits(vector: Any) -> list[float]:
    """The 9 digits that say which float32 a number is."""
    return [float(f"{x:.9g}") for x in vector.tolist()]


def expected(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "words": model.get_words(),
        "labels": model.get_labels() if model.f.getArgs().model.name == "supervised" else [],
        "dim": model.get_dimension(),
        "vectors": {word: digits(model.get_word_vector(word)) for word in WORDS + UNKNOWN},
        "rows": {word: model.get_subwords(word)[1].tolist() for word in WORDS + UNKNOWN},
        "input": [digits(model.get_input_vector(row)) for row in (0, 1, 7, 20, 30)],
        "sentences": {text: digits(model.get_sentence_vector(text)) for text in SENTENCES},
    }
    if not model.is_quantized():
        for key, matrix in (("input", model.get_input_matrix), ("output", model.get_output_matrix)):
            found[f"{key}_sha256"] = hashlib.sha256(matrix().tobytes()).hexdigest()
    elif found["labels"]:
        labels, probabilities = model.predict(SENTENCES[0], k=len(found["labels"]))
        found["probabilities"] = dict(zip(labels, digits(probabilities), strict=True))
    return found


def main() -> None:
    known = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    for name in MODELS:
        path = FOLDER / f"{name}.bin"
        if path.exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            made(name, Path(folder)).save_model(str(path))
        known[name] = expected(fasttext.load_model(str(path)))  # as a reader sees it
        print("made", path, path.stat().st_size, "bytes")
    EXPECTED.write_text(
        json.dumps(known, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8"
    )


if __name__ == "__main__":
    main()
