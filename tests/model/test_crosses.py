"""Crosses of categories: off by default, and ended where they would be too many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import LearnerConfig, Limits, OnlineSVM, Scorer
from onlinesvm import kernel as kernels
from onlinesvm.errors import ConfigError, SnapshotError
from onlinesvm.kernel import KERNELS
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.text.categories import CountedFields, check_categories
from onlinesvm.text.constants import CROSS_FIELDS, CROSS_MOST
from onlinesvm.text.options import TextOptions
from tests.daemons import digest_of, serve
from tests.shell import assert_failed, done, run

FLIGHT = {"carrier": "UA", "origin": "EWR", "dest": "SFO", "n": 2}


def crosses(model: OnlineSVM, record: Any) -> list[str]:
    return [name for name, _ in model.features(record) if "&" in name]


def wide(n: int, start: int = 0) -> list[Any]:
    """Samples of two fields with n values each, and a third with two."""
    return [
        ({"a": f"x{i}", "b": f"y{i}", "c": "st"[i % 2]}, "pq"[i % 3 == 0])
        for i in range(start, start + n)
    ]


def test_categories_are_crossed_where_it_is_asked_for(kernel: kernels.Kernel) -> None:
    def made(**config: Any) -> list[str]:
        return crosses(OnlineSVM(kernel=kernel.NAME, **config), FLIGHT)

    assert made() == []
    assert made(crosses="*") == [
        "carrier=UA&dest=SFO", "carrier=UA&origin=EWR", "dest=SFO&origin=EWR"
    ]  # fmt: skip
    assert made(crosses=[("origin", "carrier")]) == ["carrier=UA&origin=EWR"]
    assert made(rule="sgd", crosses=[("dest", "carrier"), ("a", "b")]) == ["carrier=UA&dest=SFO"]


def test_two_fields_of_too_many_values_are_crossed_no_more(kernel: kernels.Kernel) -> None:
    n = int(CROSS_MOST**0.5) + 5
    model = OnlineSVM(kernel=kernel.NAME, crosses="*")
    model.learn(wide(n))
    known = set(model.lookup)
    most = int(CROSS_MOST**0.5)
    assert f"a=x{most}&b=y{most}" in known  # most values stood before it
    assert f"a=x{most + 1}&b=y{most + 1}" not in known
    assert f"a=x{n - 1}&c={'st'[(n - 1) % 2]}" in known
    asked = {"a": "x0", "b": "y0", "c": "s"}
    assert "a=x0&b=y0" in known  # and yet no feature of a sample any more
    assert crosses(model, asked) == ["a=x0&c=s", "b=y0&c=s"]
    explained = model.explain(asked)
    assert "a=x0&b=y0" not in {part.name for part in explained.contributions}
    total = 0.0
    for part in explained.contributions:
        total += part.contribution
    assert total + explained.bias == explained.margin == model.decision_function_one(asked)
    fields = sum(part.contribution for part in explained.fields)
    assert fields + explained.bias == pytest.approx(explained.margin)


records = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from("xyz") for name in ("a", "b", "c")} | {
        "d": st.sampled_from(["2026-11-28", "2026-12-01T09:30"]), "d.dow": st.sampled_from("67"),
        "n": st.sampled_from([1.0, 2.0]), "t": st.sampled_from(["free prize", "at home"]),
    },
)  # fmt: skip
streams = st.lists(
    st.tuples(records, st.sampled_from(["p", "q"]), st.sampled_from([1.0, 0.0, 2.0])), max_size=12
)
configurations = st.sampled_from(
    [
        {"crosses": "*"}, {"crosses": (("a", "b"), ("a", "d.dow"))},
        {"crosses": "*", "rule": "pa1"},
        {"crosses": "*", "normalize": "l2"}, {"crosses": "*", "max_features_policy": "prune"},
        {"crosses": "*", "numbers": "prefixes", "fields": {"d": "date"}},
    ]
)  # fmt: skip


@settings(max_examples=60)
@given(
    stream=streams, config=configurations, cut=st.integers(0, 12),
    wide_by=st.sampled_from([0, 69, 71]), most=st.sampled_from([40, 10_000]),
)  # fmt: skip
def test_both_kernels_and_any_split_give_one_model(
    stream: list[Any], config: dict[str, Any], cut: int, wide_by: int, most: int
) -> None:
    stream = wide(wide_by) + stream + wide(3, start=wide_by)
    asked = [sample[0] for sample in stream]
    found = []
    for kernel in KERNELS:
        for split in (False, True):
            model = OnlineSVM(kernel=kernel, limits=Limits(max_features=most), **config)
            if split:
                margins = [*model.learn(stream[:cut])]
                model = OnlineSVM.from_bytes(model.to_bytes(), kernel=kernel)
                for sample in stream[cut:]:
                    before = model.decision_function_one(sample[0])
                    margins.append(model.learn_one(*sample))
                    if "max_features_policy" not in config:  # a prune comes before a sample
                        assert margins[-1] == before
            else:
                margins = [*model.learn(stream)]
            scores = model.decision_function(asked).tobytes()
            scorer = Scorer(model)
            assert scorer.score(asked).tobytes() == scores
            assert Scorer.from_bytes(scorer.to_bytes()).score(asked).tobytes() == scores
            found.append((digest_of(model), np.array(margins).tobytes(), scores))
    assert all(one == found[0] for one in found)


def test_a_scorer_keeps_the_crosses_of_its_time(kernel: kernels.Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, crosses="*")
    model.learn(wide(70))
    scorer, asked = Scorer(model), [sample[0] for sample in wide(9)]
    before = scorer.score(asked).tobytes()
    model.learn(wide(9, start=70))
    assert scorer.score(asked).tobytes() == before


def test_samples_that_are_not_learned_count_nothing(kernel: kernels.Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, crosses="*")
    model.learn_one(FLIGHT, 1)
    counted = model.snapshot().categories
    assert counted == [(b"carrier", 1), (b"origin", 1), (b"dest", 1)]
    model.learn_one({"carrier": "AA"}, 1, 0.0)
    model.predict([{"carrier": "DL"}])
    model.learn_one({"carrier": "UA", "n": 3}, 1)
    assert model.snapshot().categories == counted
    assert OnlineSVM(kernel=kernel.NAME).snapshot().categories == []


def test_a_model_without_crosses_is_stored_as_ever() -> None:
    assert "crosses" not in LearnerConfig().as_dict()
    model = OnlineSVM()
    model.learn_one(FLIGHT, 1)
    head = msgpack.unpackb(model.snapshot().digested_head())
    assert len(head) == 6
    assert b"categories" not in model.to_bytes()


@pytest.mark.parametrize(
    "forged",
    [
        {}, [[b"a"]], [["a", 1]], [[b"a", 0]], [[b"a", True]], [[b"a", 1.0]], [[b"a", 2**40]],
        [[b"a", 1], [b"a", 2]], [[b"x" * 300, 1]],
    ],
)  # fmt: skip
def test_forged_counts_are_refused(kernel: kernels.Kernel, forged: Any) -> None:
    model = OnlineSVM(kernel=kernel.NAME, crosses="*")
    model.learn_one(FLIGHT, 1)
    with pytest.raises(ValueError, match=r"^categories: expected "):
        check_categories(forged)
    taken: Snapshot = replace(model.snapshot(), categories=forged)
    with pytest.raises(SnapshotError, match="categories: expected "):
        OnlineSVM.from_snapshot(taken, kernel=kernel.NAME)
    raw = model.to_bytes()
    head = msgpack.Unpacker()
    head.feed(raw)
    header = head.unpack() | {"categories": forged}
    with pytest.raises(SnapshotError, match="header: categories: expected "):
        OnlineSVM.from_bytes(msgpack.packb(header) + raw[head.tell() :], kernel=kernel.NAME)


def test_more_fields_than_are_counted_are_refused() -> None:
    with pytest.raises(ValueError, match="an array of at most 1024 fields"):
        check_categories([[b"%d" % i, 1] for i in range(CROSS_FIELDS + 1)])


def test_fields_beyond_those_that_are_counted_are_not_crossed(kernel: kernels.Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME, crosses="*", limits=Limits(max_features=10**6))
    for start in range(0, CROSS_FIELDS, 8):
        model.learn_one({f"f{i}": "x" for i in range(start, start + 8)}, 1)
    assert len(model.snapshot().categories) == CROSS_FIELDS
    assert crosses(model, {"f0": "x", "f1": "x", "more": "x"}) == ["f0=x&f1=x"]
    model.learn_one({"f0": "x", "more": "x"}, 1)
    assert "f0=x&more=x" not in model.lookup
    assert len(model.snapshot().categories) == CROSS_FIELDS


def test_counted_fields() -> None:
    counted = CountedFields([(b"a", 70), (b"b", 71)])
    assert counted.cross(b"a", b"b")
    counted.add(b"b")
    assert not counted.cross(b"a", b"b")
    assert counted.cross(b"b", b"new")


@settings(max_examples=80)
@given(record=records, pairs=st.sampled_from(["*", (("a", "b"),), (("d.dow", "a"), ("b", "c"))]))
def test_both_kernels_mark_the_same_features(record: Any, pairs: Any) -> None:
    options = TextOptions(crosses=pairs, fields={"d": "date"})
    packed = msgpack.packb(record)
    native, python = (
        kernels.load(name).Extractor(options, Limits(), 65_536).extract(packed) for name in KERNELS
    )
    assert dict(native.marks) == dict(python.marks)
    for feature, fields in python.marks.items():
        assert python.names[feature].startswith(fields[0] + b"=")
        assert (b"&" + fields[-1] + b"=" in python.names[feature]) == (len(fields) == 2)


@pytest.mark.parametrize("given", ["a", "**", [("a", "a")], [("a",)], ["ab"], [(1, 2)], 5, "a:b"])
def test_other_crosses_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^crosses: expected "):
        LearnerConfig(crosses=given)


def test_crosses_are_a_flag_and_part_of_the_configuration(tmp_path: Path) -> None:
    table = b"y,carrier,origin,dest\n1,UA,EWR,SFO\n0,AA,JFK,MIA\n"
    flags = "--file", tmp_path / "m", "--label-column", "y"
    done("learn", *flags, "--crosses", "origin:carrier,dest:carrier", stdin=table)
    model = OnlineSVM.load(tmp_path / "m")
    assert model.config.crosses == (("carrier", "dest"), ("carrier", "origin"))
    assert {"carrier=UA&dest=SFO", "carrier=AA&origin=JFK"} <= set(model.lookup)
    model.config.check_given({"crosses": [("dest", "carrier"), ("origin", "carrier")]})
    again = run("learn", *flags, "--crosses", "*", stdin=table)
    assert_failed(again, "crosses: the model was created with")
    wrong = run("learn", "--file", tmp_path / "n", "--crosses", "a", stdin=table)
    assert wrong.code == 2
    assert "expected * or pairs of fields as carrier:origin" in wrong.err


def test_the_daemon_crosses_as_the_library_does(tmp_path: Path) -> None:
    model, stream = OnlineSVM(crosses="*"), wide(75)
    asked = [sample[0] for sample in stream]
    with serve(tmp_path / "state", crosses="*") as daemon, daemon.client() as client:
        assert client.learn(stream[:40]).tobytes() == model.learn(stream[:40]).tobytes()
        client.snapshot()
        assert client.learn(stream[40:]).tobytes() == model.learn(stream[40:]).tobytes()
        daemon.kill()
    with serve(tmp_path / "state") as daemon, daemon.client() as client:
        scores = client.decision_function(asked).tobytes()
        assert scores == model.decision_function(asked).tobytes()
        assert client.snapshot()["digest"] == digest_of(model)
        assert client.features(asked[:1]) == [model.features(asked[0])]
        assert client.explain(asked[:1]) == [model.explain(asked[0])]
