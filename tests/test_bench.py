"""The benches: the same samples in every form, ratios the right way round, a bench that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from bench import (
    accuracy,
    autoencoder,
    claims,
    constants,
    cross_features,
    embedding_bag,
    learn_names,
    packed,
    products,
    recurrent,
    report,
    streams,
    voices,
)
from bench.classes import errors, page, rates, sets, tags
from bench.classes.__main__ import summary
from bench.harness import Target, verdict
from bench.nets import pairwise, spectrogram, triples, verification
from bench.published import Claim, outcome
from onlinesvm import OnlineSVM
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.readers.reader import Reader
from tests.columns import labels_of


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
                (int(label or 0), frozenset(names[i : i + streams.A_SAMPLE]))
                for label, i in zip(labels_of(batch), batch.indptr[:-1], strict=True)
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
    found = verdict(target, runs)
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


@pytest.mark.parametrize(
    ("claim", "here", "holds"),
    [
        (Claim("", "", "a", "times", at_least=2), 3, True),
        (Claim("", "", "a", "times", at_least=2, at_most=2.5), 3, False),
        (Claim("", "", "a", "times", peer="b", at_most=1), 1.5, False),
        (Claim("", "", "a", "last", over="times", at_most=0.5), 0.5, True),
        (Claim("", "", "a", "last", peer="b"), None, None),
        (Claim("", "", "c", "times"), None, None),
    ],
)
def test_a_claim_is_decided_by_a_figure(
    claim: Claim, here: float | None, holds: bool | None
) -> None:
    runs = {"a": [{"times": n, "last": 1.5} for n in (1.0, 3.0, 5.0)], "b": [{"times": 2.0}]}
    found = outcome(claim, runs)
    assert (here is None) == (found is None)
    if found is not None:
        assert (found["here"], found["holds"]) == (here, holds)


def test_claims_of_a_gpu_stand_in_the_table_beside_the_others(tmp_path: Path) -> None:
    def result(*contenders: str) -> str:
        claims = [{"text": "it is so", "published": "2×", "contender": name, "here": 3.0,
                   "unit": "×", "holds": True} for name in contenders]  # fmt: skip
        return json.dumps({
            "bench": "packed", "question": "Packed?", "caveats": [], "sizes": {}, "form": "full",
            "versions": {"Python": "3"},
            "machine": {"cpu": "a processor", "cpu_mhz": 1, "cpu_cache": "", "cores": 2,
                        "memory_gib": 1, "system": "Linux", "load_before": 0, "gpu": "a GPU"},
            "cases": {"classic": {"skipped": {}, "failed": {}, "contenders": {}, "ratios": [],
                                  "claims": claims}},
        })  # fmt: skip

    (tmp_path / "results" / "gpu").mkdir(parents=True)
    (tmp_path / "results" / "packed.json").write_text(result("torch"))
    (tmp_path / "results" / "gpu" / "packed.json").write_text(result("torch", "torch, CUDA"))
    report.main(tmp_path / "results")
    head, _, rest = (tmp_path / "README.md").read_text().partition("## Packed?")
    assert head.count("| it is so | 2× | 3× |") == 2
    assert "# On a GPU: a GPU" in rest


def test_cross_features_are_numbered_and_named_one_to_one() -> None:
    ids, labels = cross_features.samples(200, 6)
    assert ids.shape == (200, 25)
    assert ids.min() >= 0 and ids.max() < 25 * 6 * 6
    assert set(labels.tolist()) == {-1.0, 1.0}
    named = cross_features.names(ids, 6)
    pairs = {
        (int(id), name)
        for row, names in zip(ids, named, strict=True)
        for id, name in zip(row, names, strict=True)
    }
    assert len(pairs) == len({id for id, _ in pairs}) == len({name for _, name in pairs})
    assert named[0][0].startswith("u0=") and "×i0=" in named[0][0]


def test_spectrograms_are_scaled_and_the_same_every_time() -> None:
    x, speakers = spectrogram.spectrograms(3, 4, seed=5)
    assert x.shape == (12, spectrogram.BINS, spectrogram.FRAMES)
    assert speakers.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert np.allclose(x.mean((1, 2)), 0, atol=1e-4) and np.allclose(x.std((1, 2)), 1, atol=1e-4)
    assert x.tobytes() == spectrogram.spectrograms(3, 4, seed=5)[0].tobytes()


def test_triplets_hold_two_rows_of_one_speaker_and_one_of_another() -> None:
    speakers = np.array([2, 0, 1, 2, 0, 1, 1])
    anchor, own, other = triples.drawn(speakers, 500, np.random.default_rng(0))
    assert (anchor != own).all()
    assert (speakers[anchor] == speakers[own]).all()
    assert (speakers[anchor] != speakers[other]).all()
    assert set(anchor) == set(own) == set(other) == set(range(7))


def test_a_speaker_is_known_by_the_top_five_similarities() -> None:
    speakers = np.repeat([0, 1], 8)
    vectors = np.where(speakers == 0, [[1.0], [0.0]], [[0.0], [1.0]]).T
    vectors[0] = [0, 1]  # of six known ones of speaker 0 one is like speaker 1: not in the top
    scores, own = verification.trials(vectors, speakers, 6, verification.cosine)
    assert scores.tolist() == [[1, 0], [1, 0], [0.2, 1], [0.2, 1]]
    assert own.tolist() == [[True, False]] * 2 + [[False, True]] * 2
    threshold = verification.best_threshold(scores, own)
    assert verification.balanced_error(scores, own, threshold) == 0
    assert verification.balanced_error(scores, own, 1.0) == 0.5


@pytest.mark.parametrize("rule", ["hedge", "sgd"])
def test_the_ranking_row_learns_the_order_of_pairs(rule: str) -> None:
    random = np.random.default_rng(0)
    true = random.standard_normal(6)
    a, b = random.standard_normal((2, 2000, 6))
    better = np.where(((a - b) @ true > 0)[:, None], a, b)
    weights, figures = pairwise.ours(better, a + b - better, rule)
    assert figures["progressive_pair_error"] < 0.1
    assert np.corrcoef(weights, true)[0, 1] > 0.95
    anchors = random.standard_normal((3, 6))
    alike = pairwise.alike(anchors, a[:3], true)
    assert np.allclose(np.diag(alike), pairwise.products(anchors, a[:3]) @ true)


def test_the_words_of_a_test_that_were_not_learned_share_an_id() -> None:
    train = [(1, ["free", "prize", "free"]), (0, [])]
    assert recurrent.numbered(train, [*train, (0, ["free", "lunch"])]) == [[2, 3, 2], [1], [2, 1]]
    assert recurrent.error_and_f1([1, 1, 0, 0], [1, 0, 0, 1]) == {"error": 0.5, "f1": 0.5}


@pytest.mark.parametrize("bench", [recurrent, packed, autoencoder, voices])
def test_a_bench_of_nets_says_what_it_lacks(bench: Any) -> None:
    for name, contender in bench.bench.contenders.items():
        if "torch" in name:
            assert contender.needs == (("cuda",) if name.endswith(", CUDA") else ("torch",))


def test_packed_states_are_those_of_single_sequences() -> None:
    torch = pytest.importorskip("torch")
    from bench.nets import gru

    rows, sums = packed.sequences(20)
    ids, lengths = gru.padded(rows, 3)
    model = gru.Classifier(packed.VOCABULARY, "packed").eval()
    with torch.inference_mode():
        alone = torch.cat([model.state(*gru.padded([row])) for row in rows])
        ordered, longest_first, labels, order = gru.in_order_of_length(
            ids, lengths, torch.tensor(sums)
        )
        assert ordered.sum(1).tolist() == labels.tolist()
        assert gru.restored(labels, order).tolist() == sums
        unpacked = gru.restored(model.unpacked(ordered, longest_first), order)
        for found in (unpacked, model.gathered(ids, lengths), model.state(ids, lengths)):
            assert float((found - alone).abs().max()) < 1e-6


def test_a_mask_does_not_stop_a_recurrent_state() -> None:
    torch = pytest.importorskip("torch")
    from bench.nets import gru

    for way in gru.WAYS:
        model = gru.Classifier(10, way).eval()
        with torch.inference_mode():
            alone, after = (model.state(*gru.padded([[3, 4, 5]], extra)) for extra in (0, 20))
        assert torch.equal(alone, after) == (way == "packed")


def test_the_autoencoder_has_its_published_shapes() -> None:
    pytest.importorskip("torch")
    from bench.nets import convolution

    assert convolution.shapes(44) == autoencoder.PUBLISHED
    assert autoencoder.places_restored("cpu")


def test_only_violators_count_in_a_triplet_loss() -> None:
    torch = pytest.importorskip("torch")
    from bench.nets import convolution

    own, other = torch.tensor([0.9, 0.5, 0.4]), torch.tensor([0.1, 0.4, 0.4])
    loss, share = convolution.hinge(own, other, 0.3)
    assert float(loss) == pytest.approx((0.2 + 0.3) / 2)
    assert float(share) == pytest.approx(2 / 3)


@pytest.mark.thorough  # it compiles the rule four times
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


def classes_of(n: int) -> sets.Data:
    """Rows of three labels, each with a word of its own."""
    labels = np.random.default_rng(0).integers(0, 3, n).astype(np.int32)
    rows = [[(f"w{label}", 1.0), (f"n{i % 7}", 1.0)] for i, label in enumerate(labels.tolist())]
    csr, names = sets._columns(rows)
    return sets.Data(csr, names, labels).shuffled(0)


def test_many_classes_are_judged_beside_peers_and_shown(tmp_path: Path) -> None:
    data, kept = classes_of(300), errors.Kept(tmp_path / "kept")
    assert data.labels[0] == 0 and data.classes == 3  # by first sight
    assert data.shuffled(1).crc != data.crc
    only = ["PA-I", "AROW", "K hedges"]
    orders = [errors.judged(data, only, kept, is_first=True)]
    orders += [errors.judged(data.shuffled(k), only, kept, is_first=False) for k in (1, 2)]
    assert all(0 < order["figure"] < 0.2 for order in orders)
    assert all(0 < order["peers"][name] < 0.2 for order in orders for name in ("PA-I", "AROW"))
    assert len(list((tmp_path / "kept").iterdir())) == 6
    for path in (tmp_path / "kept").glob("AROW-*"):
        path.write_text('{"figure": 0.0421}')
    again = errors.judged(data, only, kept, is_first=True)  # what is kept is not measured again
    assert again["peers"] == {"PA-I": orders[0]["peers"]["PA-I"], "AROW": 0.0421}
    mean = errors.means(orders)
    assert mean["figure"] == pytest.approx((orders[1]["figure"] + orders[2]["figure"]) / 2)
    found = {"rows": 300, "labels": 3, "orders": orders, "mean": mean}
    outcome = {"sets": {"kdd99": found}, "summary": summary({"kdd99": found})}
    shown = page.table(outcome)
    assert f"| **ours** | **{mean['figure']:.4f}** |" in shown
    assert f"| AROW | {mean['peers']['AROW']:.4f} |" in shown


def test_tags_are_judged_by_micro_f1() -> None:
    data = classes_of(200)
    labels = [[label] if label else [0, 1] for label in data.labels.tolist()]
    tagged = sets.Tagged(data.csr, data.names, LabelSets.of(labels)).shuffled(3)
    truths = tagged.labels.lists()
    assert tags.micro_f1(tagged, truths) == 1.0
    assert tags.micro_f1(tagged, [[]] * 200) == 0.0
    for learn in (tags.ours, tags.dense("PA-I"), tags.dense("AROW")):
        assert 0.8 < tags.micro_f1(tagged, learn(tagged)) < 1.0
    once = tags.micro_f1(tagged, [row[:1] for row in truths])
    whole = sum(map(len, truths))
    assert once == pytest.approx(2 * 200 / (200 + whole))


def test_rates_of_names_count_every_sample() -> None:
    figures = rates.learn_names(classes_of(300))
    assert figures["samples_per_s"] > 0 and 0 < figures["error"] < 0.2
