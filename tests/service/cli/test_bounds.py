"""`--max-value`, `--max-importance` and `--clip`, by files and by a daemon and its reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service.errors import RequestRefused
from tests.daemons import digest_of, follow, refused_start, serve
from tests.shell import assert_failed, done, run, write

GOOD = [({"a": 1.0}, 1), ({"b": 1.0}, -1)]
POISON = ({"a": 1e9}, -1)
CLIPPED = ({"a": 32.0}, -1)
LINES = b"+1 a:1\n-1 b:1\n"


def learned(*samples: object) -> str:
    model = OnlineSVM(rule="sgd")
    model.learn(samples)
    return digest_of(model)


def test_a_file_is_refused_or_clipped(tmp_path: Path) -> None:
    model, file = tmp_path / "m.msgpack", write(tmp_path / "f", LINES + b"-1 a:1e9\n")
    assert_failed(
        run("learn", "--file", model, "--rule", "sgd", file),
        "line 3: expected a number of magnitude at most 32 (max_value), got",
        "2 samples were learned before it; nothing was saved",
    )
    assert not model.exists()
    done("learn", "--file", model, "--rule", "sgd", "--clip", file)
    assert digest_of(OnlineSVM.load(model)) == learned(*GOOD, CLIPPED)
    # The file remembers that it clips, to learn and to predict.
    done("learn", "--file", model, file)
    assert digest_of(OnlineSVM.load(model)) == learned(*GOOD, CLIPPED, *GOOD, CLIPPED)
    asked = write(tmp_path / "asked", b"a:1e9\na:32\n")
    first, second = done("predict", "--file", model, asked).out.split()
    assert first == second
    done("evaluate", "--file", model, file)
    assert_failed(run("learn", "--file", model, "--max-value", "32", file), "32 (max_value)")
    done("learn", "--file", model, "--max-value", "1e9", file)
    assert OnlineSVM.load(model).limits.bounds == (1e9, 32.0, False)


def test_clipping_without_a_bound_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "f", LINES)
    assert_failed(
        run("learn", "--file", tmp_path / "m", "--clip", file),
        "clip: expected max_value or max_importance with it, as rule hedge bounds neither",
    )
    code, message = refused_start(state=tmp_path / "state", clip=True)
    assert code == 1
    assert "clip: expected max_value or max_importance with it" in message


def test_a_daemon_refuses_or_clips_and_its_reader_clips_too(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serve(state, rule="sgd") as daemon, daemon.client() as client:
        client.learn(GOOD)
        with pytest.raises(RequestRefused) as caught:
            client.learn([(["b"], -1), POISON])
        assert caught.value.code == "BAD_SAMPLE"
        assert caught.value.at == '$[1][1]["a"]'
        assert "expected a number of magnitude at most 32 (max_value), got 1000000000" in str(
            caught.value
        )
        assert client.stats()["position"] == 2
        # Predicting changes nothing: it takes what would not be learned.
        assert client.predict([POISON[0]])[0] > 1e6
    with serve(state, clip=True) as daemon, daemon.client() as client:
        client.learn([POISON])
        daemon.kill()
    with serve(state, clip=True) as daemon, daemon.client() as client:
        snapshot = client.snapshot()
        assert snapshot["digest"] == learned(*GOOD, CLIPPED)
        expected = client.predict([{"a": 32.0}]).tolist()
        assert client.predict([POISON[0]]).tolist() == expected
    with follow(state) as daemon, daemon.client() as client:
        assert client.predict([POISON[0]]).tolist() == expected


def test_help_names_the_bounds() -> None:
    for command in ("serve", "learn"):
        shown = " ".join(done(command, "--help").out.split())
        for words in ("--max-value", "--max-importance", "--clip", "sgd, arow, nag: 32"):
            assert words in shown
