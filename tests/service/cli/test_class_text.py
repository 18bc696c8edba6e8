"""Texts and tables of many classes on the command line: a file, and a daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from tests.daemons import digest_of, on_a_thread
from tests.shell import done, write

TICKETS = [
    ("I was charged twice for my order", "billing"),
    ("Where is my parcel? It was due on Monday", "shipping"),
    ("I forgot my password and cannot log in", "account"),
    ("Please refund the second charge", "billing"),
    ("The parcel arrived broken", "shipping"),
    ("How do I change my password?", "account"),
] * 5
FILES: dict[str, tuple[tuple[str, ...], str]] = {
    "text": ((), "".join(f"{label}\t{text}\n" for text, label in TICKETS)),
    "fasttext": ((), "".join(f"__label__{label} {text}\n" for text, label in TICKETS)),
    "json": (
        (), "".join(json.dumps({"label": y, "features": x}) + "\n" for x, y in TICKETS)
    ),
}  # fmt: skip


@pytest.mark.parametrize("format", FILES)
def test_a_ticket_router_is_one_command(format: str, tmp_path: Path) -> None:
    flags, text = FILES[format]
    source, path = write(tmp_path / "tickets", text.encode()), tmp_path / "m"
    learned = done("learn", "--file", path, *flags, source)
    assert "the new model is a multiclass one" in learned.err
    model = OnlineSVM(task="multiclass")
    model.learn(TICKETS)
    assert digest_of(OnlineSVM.load(path)) == digest_of(model)
    asked = "my card was charged for a parcel"
    given = json.dumps({"features": asked}).encode() + b"\n"
    assert done("predict", "--file", path, stdin=given).out == "billing\n"
    explain = ("explain", "--file", path, "--label", "billing", "--other", "shipping")
    shown = json.loads(done(*explain, stdin=given).out)
    assert shown["margin"] == model.explain(asked, "billing", "shipping").margin
    parts = {part["text"]: part["contribution"] for part in shown["fields"][0]["text"]}
    assert parts["charged"] > 0 > parts["parcel"]
    shaded = done(*explain, "--output", "text", stdin=given).out
    assert shaded.startswith("+ billing, - shipping\n")
    assert "charged[+" in shaded and "parcel[-" in shaded
    with on_a_thread(tmp_path / "state", task="multiclass") as endpoint:
        done("learn", "--connect", endpoint, *flags, source)
        by = ("--connect", endpoint)
        assert done(*(*explain[:1], *by, *explain[3:]), stdin=given) == done(*explain, stdin=given)
        report = done("evaluate", *by, "--json", *flags, source)
        assert report == done("evaluate", "--file", path, "--json", *flags, source)


def test_a_table_of_many_classes_has_prefixes_of_numbers(tmp_path: Path) -> None:
    sizes = ["small", "mid", "large"]
    rows: list[tuple[dict[str, Any], str]] = [
        ({"size": k % 9, "kind": f"k{k % 2}"}, sizes[k % 9 // 3]) for k in range(90)
    ]
    lines = "".join(f"{y},{x['size']},{x['kind']}\n" for x, y in rows)
    table = write(tmp_path / "t.csv", f"label,size,kind\n{lines}".encode())
    done("learn", "--file", tmp_path / "m", "--label-column", "label", table)
    model = OnlineSVM(task="multiclass", numbers="prefixes")
    model.learn(rows)
    assert digest_of(OnlineSVM.load(tmp_path / "m")) == digest_of(model)
    assert model.progressive.recent_error is not None and model.progressive.recent_error < 0.2
