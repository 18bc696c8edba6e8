"""The benches: the same samples in every form, ratios the right way round, a bench that runs."""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import numpy as np
import pytest

from bench import (
    accuracy,
    claims,
    constants,
    embedding_bag,
    learn_names,
    products,
    report,
    streams,
)
from bench.harness import Target, judged
from onlinesvm import OnlineSVM
from onlinesvm.readers.reader import Reader


def samples_of(stream: streams.Stream) -> list[tuple[int, frozenset[str]]]:
    samples = [sample for body in streams.bodies(stream) for sample in msgpack.unpackb(body)]
    return [(label, frozenset(names)) for label, names in samples]


def test_the_stream_is_the_same_in_every_form(tmp_path: Path) -> None:
    stream = streams.Stream(streams.CLASSIC, 1500, tmp_path)
    samples = samples_of(stream)
    assert [len(names) for _, names in samples] == [streams.A_SAMPLE] * 1500
    read = []
    with Reader(streams.vw(stream)) as reader:
        for batch in reader:
            names = [name.decode() for name in batch.names]
            read += [
                (int(label), frozenset(names[i : i + streams.A_SAMPLE]))
                for label, i in zip(batch.labels, batch.indptr[:-1], strict=True)
            ]
    assert read == samples
    matrix, labels = streams.csr(stream)
    columns = [
        [column + 1 for column in matrix.indices[i : i + streams.A_SAMPLE].tolist()]
        for i in matrix.indptr[:-1]
    ]
    lines = streams.svmlight(stream).read_text().splitlines()
    assert lines == [
        f"{label:+.0f} " + " ".join(f"{column}:1" for column in row)
        for label, row in zip(labels, columns, strict=True)
    ]
    lines = streams.ids_vw(stream).read_text().splitlines()
    assert lines == [
        f"{label:.0f} | " + " ".join(map(str, row))
        for label, row in zip(labels, columns, strict=True)
    ]
    # One name a column, the same everywhere.
    assert [label for label, _ in samples] == labels.tolist()
    assert len(set(map(int, matrix.indices))) == len(frozenset().union(*(s for _, s in samples)))


def test_a_longer_stream_begins_with_a_shorter_one(tmp_path: Path) -> None:
    long = samples_of(streams.Stream(streams.CLASSIC, 300, tmp_path))
    assert samples_of(streams.Stream(streams.CLASSIC, 200, tmp_path)) == long[:200]


def test_numbered_requests_hold_the_names_of_their_numbers() -> None:
    numbers = np.arange(1100 * streams.A_SAMPLE).reshape(-1, streams.A_SAMPLE)[::-1]
    samples = [sample for body in streams.numbered(numbers) for sample in msgpack.unpackb(body)]
    expected = [[streams.numbered_name(n).decode() for n in row] for row in numbers.tolist()]
    assert [names for _, names in samples] == expected
    assert {label for label, _ in samples} == {-1, 1}


@pytest.mark.parametrize(
    ("target", "ratio", "met"),
    [
        (Target("a", "b", "rate", at_least=2), 3, True),
        (Target("a", "b", "seconds", at_least=2, lower_is_better=True), 1 / 3, False),
        (Target("b", "a", "seconds", at_least=2, lower_is_better=True), 3, True),
        (Target("a", "b", "seconds", at_most=2, lower_is_better=True), 3, False),
        (Target("a", None, "seconds", at_most=7, lower_is_better=True), 6, True),
        (Target("a", "c", "rate", at_least=2), None, None),
    ],
)
def test_a_ratio_says_how_many_times_better_or_at_most_what(
    target: Target, ratio: float | None, met: bool | None
) -> None:
    runs = {
        "a": [{"rate": rate, "seconds": 6.0} for rate in (5.0, 6.0, 9.0)],
        "b": [{"rate": 2.0, "seconds": 2.0}] * 3,
    }
    found = judged(target, runs)
    assert (found["ratio"], found["met"]) == (ratio, met)


def test_a_bench_runs_and_its_result_becomes_a_page(tmp_path: Path) -> None:
    arguments = ["--rounds", "1", "--size", "samples=300", "--data", str(tmp_path / "data")]
    arguments += ["--only", "native, bytes", "--only", "python, bytes", "--only",
                  "dictionary, 12 lines", "--out", str(tmp_path / "results")]  # fmt: skip
    assert learn_names.bench.main(arguments) == 0
    result = json.loads((tmp_path / "results" / "learn_names.json").read_text())
    case = result["cases"]["classic"]
    # The plain dictionary learns the very same model: the same mistakes.
    errors = {name: found["error"]["median"] for name, found in case["contenders"].items()}
    assert len(errors) + len(case["skipped"]) == 3
    assert len(set(errors.values())) == 1
    report.main(tmp_path / "results")
    page = (tmp_path / "README.md").read_text()
    for name in errors:
        assert name in page


def test_batches_are_scored_by_who_is_there(tmp_path: Path) -> None:
    small = ["--rounds", "1", "--size", "turns=1", "--size", "batch=64", "--out", str(tmp_path)]
    names = ["auto", "path padded", "scipy csr", "numpy padded", products.EMBEDDING,
             products.PADDED + products.RESIDENT]  # fmt: skip
    for name in names:
        small += ["--only", name]
    assert embedding_bag.bench.main([*small, "--case", "batch, float64"]) == 0
    result = json.loads((tmp_path / "embedding_bag.json").read_text())
    case = result["cases"]["batch, float64"]
    assert set(names) == {*case["contenders"], *case["skipped"]}
    for figures in case["contenders"].values():
        assert [size for size in (1, 16, 64) if figures[f"us@{size}"]["median"] > 0] == [1, 16, 64]
    for reason in case["skipped"].values():
        assert reason in ("torch not installed", "no CUDA device")
    shown = report.table(result)
    assert "No GPU was at hand" in shown or "faster than `auto`" in shown


def test_the_crossover_is_where_the_gpu_gets_ahead_for_good() -> None:
    def curve(*us: float) -> dict[str, dict[str, float]]:
        return {f"us@{16**k}": {"median": value} for k, value in enumerate(us)}

    contenders = {
        "auto": curve(1, 2, 30, 400),
        "torch, CUDA, ids resident": curve(20, 1, 31, 40),
        "torch, CUDA, ids on the host": curve(20, 20, 31, 500),
    }
    assert report._crossover({"contenders": contenders}) == [
        "- torch, CUDA, ids resident: faster than `auto` from 4,096 rows on.",
        "- torch, CUDA, ids on the host: faster than `auto` at no size.",
    ]


def test_the_claims_about_ours_hold(tmp_path: Path) -> None:
    arguments = ["--rounds", "1", "--size", "turns=1", "--size", "batch=50", "--out", str(tmp_path)]
    ours = ["(c) ours", "(d) ours, reduce mean", "(e) ours, pad and unpad",
            "(f) ours, snapshot file"]  # fmt: skip
    for name in ours:
        arguments += ["--only", name]
    assert claims.bench.main(arguments) == 0
    case = json.loads((tmp_path / "claims.json").read_text())["cases"]["classic"]
    found = {
        name: {figure: value["median"] for figure, value in figures.items()}
        for name, figures in case["contenders"].items()
    }
    if found.keys() != set(ours):  # without the compiled kernel
        assert set(case["skipped"]) == set(ours) - found.keys()
        return
    assert found["(c) ours"] == {"zero_rows": 3, "pad_weight": 0, "same": 1}
    assert found["(d) ours, reduce mean"]["off_by"] < 1e-12
    assert found["(e) ours, pad and unpad"] == {"same": 1}
    assert found["(f) ours, snapshot file"]["same"] == 1


def test_a_variant_of_the_hedge_differs_by_what_was_changed_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {int(i): float(rng.normal()) for i in rng.choice(30, size=5, replace=False) + 1}
        for _ in range(300)
    ]
    labels = np.array([1 if sum(row.values()) > 0 else -1 for row in rows])
    made = constants.Rows(accuracy.Data(rows, labels, 31))
    shipped = constants.margins(constants.compiled({}, tmp_path), made)
    samples = [(row, int(y)) for row, y in zip(rows, labels, strict=True)]
    assert shipped.tobytes() == OnlineSVM(kernel="native").learn(samples).tobytes()
    named = constants.margins(constants.compiled(constants.CONSTANTS, tmp_path), made)
    assert named.tobytes() == shipped.tobytes()
    for macros in ({"HEDGE_ETA_FAST": 8.0}, constants.WITHOUT["arow"]):
        changed = constants.margins(constants.compiled(macros, tmp_path), made)
        assert np.isfinite(changed).all()
        assert changed.tobytes() != shipped.tobytes()


def test_the_variant_left_out_is_chosen_on_the_other_sets() -> None:
    errors = {
        "as shipped": {"a": 0.1, "b": 0.2, "c": 0.3},
        "x": {"a": 0.05, "b": 0.21, "c": 0.31},
        "y": {"a": 0.2, "b": 0.19, "c": 0.3},
    }
    chosen = constants.left_out(errors)
    assert [variant for variant, _ in chosen.values()] == ["y", "x", "x"]
    assert chosen["a"][1] == pytest.approx(2)
    assert "+100.0" in constants.table(errors)
