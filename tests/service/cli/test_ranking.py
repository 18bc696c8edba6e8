"""A ranking on the command line: files of pairs, a snapshot file and a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onlinesvm import Client, OnlineSVM
from tests.daemons import digest_of, on_a_thread
from tests.shell import done, run


def lines() -> str:
    """Queries of five items whose grade is that of their best feature."""
    rng = np.random.default_rng(2)
    made = []
    for query in range(60):
        for _ in range(5):
            found = rng.choice(12, 3, replace=False)
            names = " ".join(f"w{j}:1" for j in found)
            made.append(f"{max(found) // 3} qid:{query} {names} q{query}:1\n")
    return "".join(made)


def pairs() -> list[tuple[list[str], list[str]]]:
    """The pairs of these lines."""
    rows: dict[str, list[tuple[int, list[str]]]] = {}
    for line in lines().splitlines():
        grade, query, *words = line.split()
        names = [word.partition(":")[0] for word in words]
        rows.setdefault(query, []).append((int(grade), names))
    made = []
    for items in rows.values():
        for j, (grade, names) in enumerate(items):
            for other, others in items[:j]:
                if grade != other:
                    made.append((names, others) if grade > other else (others, names))
    return made


@pytest.mark.parametrize("rule", ["hedge", "sgd"])
def test_a_file_and_a_daemon_learn_as_the_library_does(tmp_path: Path, rule: str) -> None:
    model, text, path = OnlineSVM(task="ranking", rule=rule), tmp_path / "q.svm", tmp_path / "m"
    text.write_text(lines())
    margins = model.learn(pairs())
    learned = json.loads(
        done("learn", "--file", path, "--task", "ranking", "--rule", rule, text).out
    )
    assert digest_of(OnlineSVM.load(path)) == digest_of(model)
    assert (learned["samples"], learned["position"]) == (len(pairs()), len(pairs()))
    assert learned["progressive_error"] == pytest.approx((margins <= 0).mean())
    predicted = done("predict", "--file", path, text).out
    items = [line.split()[2:] for line in lines().splitlines()]
    scores = model.predict([[word.partition(":")[0] for word in words] for words in items])
    assert [float(line) for line in predicted.split()] == scores.tolist()
    found = json.loads(done("evaluate", "--file", path, "--json", text).out)
    by_pair = [model.predict(list(pair)) for pair in pairs()]
    assert found["pairs"] == len(pairs())
    assert found["pair_error"] == np.mean([a <= b for a, b in by_pair])
    assert found["pair_error"] < learned["progressive_error"]
    with on_a_thread(tmp_path / "state") as endpoint:
        given = ("--connect", endpoint, "--model", "r")
        done("create", "r", "--connect", endpoint, "--task", "ranking", "--rule", rule)
        outcome = json.loads(done("learn", *given, "--producer", "p", text).out)
        for name in ("samples", "position", "features"):
            assert outcome[name] == learned[name]
        assert outcome["progressive_error"] == learned["progressive_error"]
        again = json.loads(done("learn", *given, "--producer", "p", text).out)
        known = again["samples"], again["known"], again["position"]
        assert known == (0, len(pairs()), len(pairs()))
        assert json.loads(done("evaluate", *given, "--json", text).out) == found
        assert done("predict", *given, text).out == predicted
        with Client(endpoint, model="r") as client:
            assert client.stats()["pair_error"] == model.metrics["pair_error"]


def test_pairs_are_shuffled_and_learned_in_several_passes(tmp_path: Path) -> None:
    text = tmp_path / "q.svm"
    text.write_text(lines())
    outcomes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = tmp_path / name
        arguments = ("learn", "--file", path, "--task", "ranking", "--passes", 2)
        outcomes.append(json.loads(done(*arguments, "--shuffle", seed, text).out))
        assert OnlineSVM.load(path).position == 2 * len(pairs())
    assert [outcome["samples"] for outcome in outcomes] == [2 * len(pairs())] * 3
    digests = [digest_of(OnlineSVM.load(tmp_path / name)) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_json_pairs_of_texts(tmp_path: Path) -> None:
    text, path = tmp_path / "p.jsonl", tmp_path / "m"
    pair = {"better": "a clear answer", "worse": {"body": "spam, cheap", "links": 3}}
    text.write_text(f"{json.dumps(pair)}\n" * 20)
    model = OnlineSVM(task="ranking")
    model.learn([(pair["better"], pair["worse"])] * 20)
    done("learn", "--file", path, "--task", "ranking", text)
    assert digest_of(OnlineSVM.load(path)) == digest_of(model)
    table = done("evaluate", "--file", path, text).out
    assert "pair error               0.000000\n" in table


def test_what_a_ranking_does_not_do_is_refused(tmp_path: Path) -> None:
    text, path = tmp_path / "q.svm", tmp_path / "m"
    text.write_text(lines())
    done("learn", "--file", path, "--task", "ranking", "--max-pairs-per-query", 2, text)
    assert 60 < OnlineSVM.load(path).position <= 120
    for arguments, code, message in (
        (("predict", "--file", path, "--output", "probability", text), 2, "a ranking gives scores"),
        (("predict", "--file", path, "--top", "2", text), 2, "--top needs a multiclass model"),
        (("learn", "--file", path, "--format", "vw", text), 2, "expected json or svmlight"),
        (("learn", "--file", tmp_path / "n", "--task", "ranking", "--rule", "pa1", text), 2,
         "hedge or sgd for task ranking"),
    ):  # fmt: skip
        found = run(*arguments)
        assert (found.code, message in found.err) == (code, True), found
