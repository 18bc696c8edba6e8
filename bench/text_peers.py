"""The learners that `bench.text` compares with, each at its defaults; those of two labels, or many.

VW reads words, or words and pairs (--ngram 2), from a file; of many labels it has --oaa, and knows
how many there are. scikit-learn hashes words and pairs, and learns 32 texts at a time. river learns
one by one: the passive-aggressive learner of words and pairs, one against the rest. fastText does
not learn on a stream: it is trained on the first half, 5 epochs, and judged on the second.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PEERS", "Peer", "Texts", "word_tokens"]

_WORD = re.compile(r"\w+")


class Texts(NamedTuple):
    """Texts, their labels as ids from 0, and how many labels there are."""

    texts: list[str]
    labels: NDArray[np.int64]
    classes: int


Mistakes = NDArray[np.bool_]


class Peer(NamedTuple):
    """A learner: the module that it needs, the texts that it has wrong, True where these are of the
    second half alone.
    """

    need: str
    learn: Callable[[Texts], Mistakes]
    is_halved: bool = False


def word_tokens(text: str) -> list[str]:
    """The words of a text, small."""
    return _WORD.findall(text.lower())


def scikit_learn(data: Texts) -> Mistakes:
    """HashingVectorizer and SGDClassifier."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    size = 2**20 if data.classes == 2 else 2**18  # it is dense, for each label
    vectorizer = HashingVectorizer(ngram_range=(1, 2), n_features=size)
    learner = SGDClassifier(random_state=0)
    wrong, every = [], np.arange(data.classes)
    for start in range(0, len(data.texts), 32):
        x = vectorizer.transform(data.texts[start : start + 32])
        y = data.labels[start : start + 32]
        predicted = learner.predict(x) if start else np.zeros(len(y))
        wrong.append(predicted != y)
        learner.partial_fit(x, y, classes=every)
    return np.concatenate(wrong)


def vowpal_wabbit(*options: str) -> Callable[[Texts], Mistakes]:
    """VW's hinge loss, from a file of words."""

    def learn(data: Texts) -> Mistakes:
        is_binary = data.classes == 2
        labels = 2 * data.labels - 1 if is_binary else data.labels + 1
        with tempfile.TemporaryDirectory() as folder:
            given, reported = Path(folder) / "in.vw", Path(folder) / "out"
            with given.open("w", encoding="utf-8") as file:
                for text, label in zip(data.texts, labels.tolist(), strict=True):
                    file.write(f"{label} | {' '.join(word_tokens(text))}\n")
            command = [sys.executable, "-m", "vowpalwabbit", "-d", str(given), "-p", str(reported)]
            command += ["--loss_function", "hinge", "--quiet", *options]
            if not is_binary:
                command += ["--oaa", str(data.classes), "-b", "24"]
            subprocess.run(command, check=True, capture_output=True)
            found = np.loadtxt(reported)
        if is_binary:
            return np.asarray((found > 0) != (labels > 0))
        return np.asarray(found.astype(int) != labels)

    return learn


def river(data: Texts) -> Mistakes:
    """Bag of words and pairs, and the passive-aggressive learner."""
    from river import feature_extraction, linear_model, multiclass

    words = feature_extraction.BagOfWords(ngram_range=(1, 2))
    learner = linear_model.PAClassifier()
    model = words | (learner if data.classes == 2 else multiclass.OneVsRestClassifier(learner))
    wrong = []
    for text, label in zip(data.texts, data.labels.tolist(), strict=True):
        wrong.append(model.predict_one(text) != label)
        model.learn_one(text, label)
    return np.array(wrong)


def fast_text(data: Texts) -> Mistakes:
    """Supervised fastText of words and pairs, of the second half."""
    import fasttext

    fasttext.FastText.eprint = lambda *_: None
    half = len(data.texts) // 2
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "train"
        with given.open("w", encoding="utf-8") as file:
            for text, label in zip(data.texts[:half], data.labels[:half].tolist(), strict=True):
                file.write(f"__label__{label} {' '.join(word_tokens(text))}\n")
        model = fasttext.train_supervised(str(given), wordNgrams=2, thread=1, verbose=0)
    found = [" ".join(word_tokens(text)) for text in data.texts[half:]]
    predicted = [labels[0] if labels else "" for labels in model.predict(found)[0]]
    wanted = [f"__label__{label}" for label in data.labels[half:].tolist()]
    return np.array(predicted) != np.array(wanted)


PEERS = {
    "scikit-learn": Peer("sklearn", scikit_learn),
    "river": Peer("river", river),
    "VW": Peer("vowpalwabbit", vowpal_wabbit()),
    "VW --ngram 2": Peer("vowpalwabbit", vowpal_wabbit("--ngram", "2")),
    "fastText": Peer("fasttext", fast_text, is_halved=True),
}
