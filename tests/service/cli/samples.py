"""Samples for the tests of the commands: a file of each format, and files at random."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.shell import done

# A file of each format, and the samples it has.
FILES: dict[str, tuple[bytes, list[Any]]] = {
    "svmlight": (
        b"+1 1:0.5 7:1\n\n-1 2:1 # a comment\n-1 qid:3 9:2\n",
        [({"1": 0.5, "7": 1}, 1), ({"2": 1}, -1), ({"9": 2}, -1)],
    ),
    "vw": (
        b"1 2 'tag |n:2 a b:0.5\n-1 | c\n-1 0.5 |m\n",
        [({"n^a": 2, "n^b": 1.0}, 1, 2), (["c"], -1), ([], -1, 0.5)],
    ),
    "json": (
        b'{"label":1,"features":["a",5],"importance":3}\n{"label":-1,"features":{"len":2.5}}\n',
        [(["a", 5], 1, 3), ({"len": 2.5}, -1)],
    ),
    "text": (
        b"1\tFree prize, FREE!\n-1\t\n-1\tSee you\n",
        [("Free prize, FREE!", 1), ("", -1), ("See you", -1)],
    ),
}

# Files of texts and fields.
RECORDS: dict[str, tuple[bytes, list[Any]]] = {
    "vw": (
        b"1 2 'tag |n:2 a b:0.5\n-1 | c\n-1 0.5 |m\n1 |m See  you! |n x | d\n",
        [
            ({"n^a": 2, "n^b": 1.0}, 1, 2), (["c"], -1), ([], -1, 0.5),
            ({"m": "See  you!", "n": "x", "d": 1}, 1),
        ],
    ),
    "json": (
        b'{"label":1,"features":["a",5],"importance":3}\n{"label":-1,"features":{"len":2.5}}\n'
        b'{"label":1,"features":{"a":"Free prize","b":true,"c":["x",5],"d":null,"e":0}}\n'
        b'{"label":-1,"features":"See you"}\n',
        [
            (["a", 5], 1, 3), ({"len": 2.5}, -1),
            ({"a": "Free prize", "b": True, "c": ["x", 5], "d": None, "e": 0}, 1), ("See you", -1),
        ],
    ),
    "fasttext": (
        b"__label__1 Free prize\n  __label__-1\n__label__-1\t See you \r\n",
        [("Free prize", 1), ("", -1), ("See you ", -1)],
    ),
}  # fmt: skip

# The same, with no label and with one that means nothing.
UNLABELLED = {
    "svmlight": (b"1:0.5 7:1\n", b"what 1:0.5 7:1\n"),
    "vw": (b"|n:2 a b:0.5\n", b"what |n:2 a b:0.5\n"),
    "json": (b'{"features":["a",5]}\n', b'{"label":"what","features":["a",5]}\n'),
    "text": (b"\tFree prize, FREE!\n", b"what\tFree prize, FREE!\n"),
}


def random_rows(n: int, seed: int = 3) -> list[tuple[int, dict[int, float]]]:
    rng = random.Random(seed)
    return [
        (
            rng.choice((1, -1)),
            {i: rng.choice((0.5, 1.0, 2.25)) for i in rng.sample(range(1, 40), rng.randint(0, 6))},
        )
        for _ in range(n)
    ]


def inspected(model: Path) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(done("inspect", "--json", model).out)
    return shown


def outcome_of(out: str) -> dict[str, Any]:
    """The one JSON object of `learn`, less its time."""
    assert len(out.splitlines()) == 1
    outcome: dict[str, Any] = json.loads(out)
    assert outcome.pop("seconds") >= 0
    return outcome
