"""Probabilities, explanations, experts and drift, over the wire and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service.cli.main import main
from onlinesvm.service.errors import RequestRefused
from tests.daemons import serve

ROWS = [
    ({"free": 1.0, f"w{i % 7}": 0.5}, 1) if i % 3 else ({"minutes": 2.0, f"w{i % 5}": 1.0}, -1)
    for i in range(200)
]
ASKED: list[Any] = [["free"], {"minutes": 1.5, "unheard of": 1.0}, [b"\xff"], []]


def test_a_daemon_gives_probabilities_and_explanations(tmp_path: Path) -> None:
    model = OnlineSVM()
    model.learn(ROWS)
    with serve(tmp_path) as daemon, daemon.client() as client:
        client.learn(ROWS)
        assert client.decision_function(ASKED).tolist() == model.decision_function(ASKED).tolist()
        p = client.predict_proba(ASKED)[:, 1]
        assert p.tolist() == model.predict_proba(ASKED)[:, 1].tolist()
        assert client.explain(ASKED) == [model.explain(asked) for asked in ASKED]
        header, _ = client.request("explain", msgpack.packb([["free"]]))
        assert header == {"samples": 1, "position": 200}
        stats = client.stats()
        assert stats["experts"] == model.experts
        assert {key: stats[key] for key in model.metrics} == model.metrics
        with pytest.raises(
            RequestRefused, match="expected output as one of margin, label, probability, got 1"
        ):
            client.request("predict", msgpack.packb([]), output=1)
        with pytest.raises(RequestRefused, match='expected no key "output" for explain'):
            client.request("explain", msgpack.packb([]), output="margin")


def test_drift_is_logged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with serve(tmp_path, rule="sgd", eta0=0.1) as daemon, daemon.client() as client:
        client.learn([(["a"], 1)] * 3000)
        assert client.stats()["drifts"] == 0
        client.learn([(["a"], int(y)) for y in rng.choice([-1, 1], 1000)])
        assert client.stats()["drifts"] == 1
        assert client.stats()["samples_since_drift"] < 1000
    assert sum("WARNING drift: the error rose, by position 4000" in x for x in daemon.lines) == 1


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, asked = tmp_path / "m.msgpack", tmp_path / "asked.json"
    model = OnlineSVM()
    model.learn(ROWS)
    model.save(path)
    asked.write_text(
        '{"label": 1, "features": {"free": 1, "new": 2}}\n{"label": -1, "features": ["minutes"]}\n'
    )
    rows: list[Any] = [{"free": 1, "new": 2}, ["minutes"]]
    code, out, err = run(capsys, "predict", "--file", path, "--output", "probability", asked)
    assert code == 0
    assert list(map(float, out.split())) == model.predict_proba(rows)[:, 1].tolist()
    assert "error 0.000000 of 2 labelled samples" in err

    code, out, _ = run(capsys, "explain", "--file", path, asked)
    reported = [json.loads(line) for line in out.splitlines()]
    for row, shown in zip(rows, reported, strict=True):
        explained = model.explain(row)
        assert shown["margin"] == explained.margin
        assert shown["bias"] == explained.bias
        assert shown["features"] == [part._asdict() for part in explained.contributions]

    code, out, _ = run(capsys, "inspect", path)
    assert code == 0
    assert "adaptive_fast" in out
    code, out, _ = run(capsys, "inspect", "--json", path)
    shown = json.loads(out)
    assert shown["experts"] == model.experts
    assert shown["recent_auc"] == model.metrics["recent_auc"]


def test_flags_of_the_learner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text('{"label": 1, "features": {"a": 3, "b": 4}}\n')
    path = tmp_path / "m.msgpack"
    flags = ["--rule", "sgd", "--average", "--class-weight", "1,2", "--normalize", "l2"]
    code, _, _ = run(capsys, "learn", "--file", path, *flags, "--threshold", "0.5", rows)
    assert code == 0
    config = OnlineSVM.load(path).config
    assert (config.average, config.class_weight, config.normalize, config.threshold) == (
        True, (1.0, 2.0), "l2", 0.5,
    )  # fmt: skip
    assert run(capsys, "learn", "--file", path, *flags, rows)[0] == 0
    code, _, err = run(capsys, "learn", "--file", path, "--class-weight", "balanced", rows)
    assert (code, "class_weight: the model was created with (1.0, 2.0), got 'balanced'" in err) == (
        1, True,
    )  # fmt: skip
    code, _, err = run(capsys, "learn", "--file", tmp_path / "new", "--eta0", "0.1", rows)
    assert (code, "eta0: expected none, as rule hedge has no such parameter" in err) == (1, True)
    with pytest.raises(SystemExit):
        run(capsys, "learn", "--file", path, "--class-weight", "much", rows)


def test_as_much_is_explained_at_once_as_one_sample_may_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(tmp_path / "state", max_features_per_sample=20) as daemon, daemon.client() as client:
        assert len(client.explain([[str(i) for i in range(10)]] * 2)) == 2
        with pytest.raises(RequestRefused) as caught:
            client.explain([[str(i) for i in range(7)]] * 3)
        assert (caught.value.code, caught.value.at) == ("TOO_LARGE", "$")
        assert "expected at most 20 features to explain at once, got 21" in str(caught.value)
        # The command asks for less at once.
        path = tmp_path / "rows.svm"
        path.write_text("1:1 2:1 3:1 4:1 5:1 6:1 7:1\n" * 9)
        code, out, _ = run(capsys, "explain", "--connect", daemon.endpoint, path)
        assert code == 0
        assert len(out.splitlines()) == 9
