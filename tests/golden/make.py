"""Makes the golden snapshots of the current format version, and digests.json beside them.

    python tests/golden/make.py

Existing files are left as they are: files of a released format version have to stay loadable. A new
format version gets new files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onlinesvm import Limits, OnlineSVM

FOLDER = Path(__file__).parent
DIGESTS = FOLDER / "digests.json"

MODELS: dict[str, dict[str, Any]] = {
    "v1-plain": {},
    "v1-shrinking": {"eta0": 0.3, "alpha": 0.01, "schedule": "invscaling", "bias": False},
    "v1-bounded": {"eta0": 0.5, "limits": Limits(max_features=7)},
    "v1-empty": {},
    "v1-hedge": {"rule": "hedge"},
    "v1-balanced": {
        "rule": "hedge", "class_weight": "balanced", "normalize": "l2", "threshold": 0.1,
    },
    "v1-average": {"average": True},
    "v1-pa1": {"rule": "pa1", "C": 0.5},
    "v1-pa2": {"rule": "pa2"},
    "v1-arow": {"rule": "arow", "class_weight": (1.0, 2.0)},
    "v1-adagrad": {"rule": "adagrad", "forgetting": 0.999},
    "v1-nag": {"rule": "nag", "bias": False},
    "v1-ranking": {"rule": "hedge", "task": "ranking"},
    "v1-ranking-sgd": {"task": "ranking"},
    "v1-multiclass": {"rule": "hedge", "task": "multiclass", "class_weight": "balanced"},
    "v1-multilabel": {"rule": "hedge", "task": "multilabel"},
    "v1-multiclass-text": {"rule": "hedge", "task": "multiclass", "numbers": "prefixes"},
}  # fmt: skip


def stream(start: int, end: int) -> Iterator[tuple[Any, int, float]]:
    """Samples start … end - 1 of one endless stream, with names and values of every kind."""
    names: list[Any] = ["free", "prix gagné", b"\xff\x00", 5, -1, "", "5", "日本", 2**64 - 1]
    state = 12345
    for i in range(end):
        features: dict[Any, float] = {}
        for _ in range(i % 6):
            state = (state * 1103515245 + 12345) % 2**31
            features[names[(state >> 8) % len(names)]] = ((state >> 16) % 200 - 100) / 8
        label = 1 if (state >> 12) % 3 else -1
        if i >= start:
            # Integers alone are refused as names, as they could be the values of a row.
            texts = [str(name) if isinstance(name, int) else name for name in features]
            given = texts if i % 4 == 1 else features
            yield given, label, (0.0 if i % 11 == 10 else 1.0 + (i % 3) / 2)


def samples(model: OnlineSVM, start: int, end: int) -> Iterator[Any]:
    """Samples of the stream; of a ranking pairs of neighbours in it, of many classes with labels by
    their names, and as texts and fields where numbers have prefixes.
    """
    found = stream(start, end)
    if model.config.numbers == "prefixes":
        found = ((as_text(x), y, h) for x, y, h in found)
    if model.is_multilabel:
        yield from ((x, sorted({str(len(str(name))) for name in x}), h) for x, _, h in found)
        return
    if model.is_multiclass:
        yield from ((x, f"label {len(x) % 4}" if y > 0 else len(x), h) for x, y, h in found)
        return
    if model.is_ranking:
        yield from ((x, z, h) for (x, _, h), (z, _, _) in zip(found, found, strict=False))
    else:
        yield from found


def as_text(features: Any) -> Any:
    """The first two names as a text; with values, as a field beside two numbers."""
    text = " ".join(map(str, [*features][:2]))
    if isinstance(features, list):
        return text
    return {"t": text, "n": len(features), "most": max(features.values(), default=None)}


def made(name: str, kernel: str) -> OnlineSVM:
    """The golden model of that name."""
    model = OnlineSVM(**{"rule": "sgd", "kernel": kernel, **MODELS[name]})
    if not name.endswith("empty"):
        model.learn(samples(model, 0, 200))
    if model.is_multiclass:
        model.drop_label(model.classes_.tolist()[1])
    return model


def expected(model: OnlineSVM) -> dict[str, Any]:
    """The model's digest, and the state that it reaches when the stream goes on."""
    before = model.snapshot().digest()
    margins = model.learn(samples(model, 200, 300))
    weights = {}
    if not model.is_multiclass:  # which has no flat vector
        weights = {
            "continued_weights": {name: weight.hex() for name, weight in model.weights.items()},
            "continued_bias": model.bias.hex(),
        }
    return {
        "digest": before,
        "continued_margins": [margin.hex() for margin in margins[-5:].tolist()],
        **weights,
        "continued_digest": model.snapshot().digest(),
    }


def main() -> None:
    digests = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    for name in MODELS:
        path = FOLDER / f"{name}.msgpack"
        if path.exists():
            continue
        model = made(name, "python")
        model.save(path)
        digests[name] = expected(model)
        print("made", path)
    DIGESTS.write_text(json.dumps(digests, indent=2) + "\n")


if __name__ == "__main__":
    main()
