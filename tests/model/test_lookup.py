"""The dictionary from feature to id, and the read-only views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.batch import Batch
from onlinesvm.data.codec import encode
from onlinesvm.data.label import label_of
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.lookup import name_bytes, name_text
from onlinesvm.model.mappings import names_of
from tests.strategies import names


@given(raw=st.binary())
def test_any_bytes_go_to_text_and_back(raw: bytes) -> None:
    assert name_bytes(name_text(raw)) == raw


@given(name=names())
def test_a_name_is_its_utf8_or_its_decimal_form(name: str | bytes | int) -> None:
    if isinstance(name, str):
        assert name_bytes(name) == name.encode("utf-8", "surrogateescape")
    elif isinstance(name, int):
        assert name_bytes(name) == name_bytes(str(name)) == name_bytes(np.str_(name))
    else:
        assert name_bytes(name) == name_bytes(bytearray(name)) == name


def test_names_of_other_types_are_refused() -> None:
    for wrong in (True, 1.0, None, ["a"], np.bool_(True), np.float64(1)):
        with pytest.raises(TypeError, match="expected text, bytes or an integer as a name, got"):
            name_bytes(wrong)  # type: ignore[arg-type]
    for far in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match=f"integer name from -2.* got {far}"):
            name_bytes(far)
    assert name_bytes(2**64 - 1) == b"18446744073709551615"
    assert name_bytes(-(2**63)) == b"-9223372036854775808"
    assert name_bytes(np.int8(-3)) == b"-3"


@given(wanted=st.lists(names(), max_size=20))
def test_views_are_mappings_in_the_order_of_first_sight(
    kernel: Kernel, wanted: list[str | bytes | int]
) -> None:
    model = OnlineSVM(kernel=kernel.NAME, bias=False)
    model.learn([({name: 1}, 1) for name in wanted])
    order = list(dict.fromkeys(map(name_bytes, wanted)))

    lookup, weights = model.lookup, model.weights
    assert isinstance(lookup, Mapping)
    assert isinstance(weights, Mapping)
    assert len(lookup) == len(weights) == len(order)
    assert list(lookup) == list(weights) == [name_text(raw) for raw in order]
    assert list(lookup.values()) == list(range(1, len(order) + 1))
    for i, raw in enumerate(order, 1):
        assert lookup[raw] == lookup[name_text(raw)] == i  # type: ignore[index]
        assert weights[raw] == weights[name_text(raw)] != 0.0  # type: ignore[index]
    for name in wanted:
        assert name in lookup
        assert name in weights
        assert lookup[name] == order.index(name_bytes(name)) + 1  # type: ignore[index]
    assert dict(lookup) == lookup
    assert dict(weights) == weights


def test_what_was_never_seen_is_in_no_view(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    model.learn_one(["a", 5], 1)
    views: list[Mapping[Any, Any]] = [model.lookup, model.weights]
    for view in views:
        for absent in ("b", b"b", 6, "", 2**64, True, 5.0, None, "\ud800"):
            assert absent not in view
        for absent in ("b", b"b", 6, ""):
            assert view.get(absent) is None
            with pytest.raises(KeyError):
                view[absent]
        assert view["5"] == view[5] == view[b"5"]


def test_views_are_read_only_and_live(kernel: Kernel) -> None:
    model = OnlineSVM(kernel=kernel.NAME)
    views: list[Any] = [model.lookup, model.weights]
    model.learn_one(["a"], 1)
    for view in views:
        assert list(view) == ["a"]
        with pytest.raises(TypeError):
            view["a"] = 1
        with pytest.raises(TypeError):
            del view["a"]
        assert not hasattr(view, "clear")
    for attribute in ("lookup", "weights", "bias"):
        with pytest.raises(AttributeError):
            setattr(model, attribute, {})


def batch_of(kernel: Kernel, rows: list[tuple[float, list[tuple[bytes, float]]]]) -> Any:
    """(importance, features) rows as a batch of `kernel`, by the way of the wire."""
    batch = Batch()
    for importance, row in rows:
        batch.append(
            label_of(1), importance, [name for name, _ in row], [value for _, value in row]
        )
    return kernel.decode(encode(batch, labelled=True), Limits(), labelled=True)


def test_csr_rows_keep_the_order_and_pad_the_unknown(kernel: Kernel) -> None:
    lookup = kernel.Lookup(2)
    batch = batch_of(
        kernel,
        [
            (1.0, [(b"b", 1.0), (b"a", 2.0), (b"b", 0.5)]),
            (0.0, [(b"c", 1.0), (b"a", 1.0), (b"d", 2.0), (b"c", 4.0)]),
            (1.0, []),
            (1.0, [(b"c", 1.0), (b"a", 3.0)]),  # the lookup is full
        ],
    )
    grown = lookup.ids(batch, grow=True)
    assert [array.dtype for array in grown] == [np.int64, np.int32, np.float64]
    assert grown.indptr.tolist() == [0, 2, 5, 5, 6]
    assert grown.indices.tolist() == [1, 2, 0, 2, 0, 2]
    assert grown.data.tolist() == [1.5, 2.0, 5.0, 1.0, 2.0, 3.0]
    assert list(names_of(lookup.view())) == [b"b", b"a"]
    found = lookup.ids(batch)
    assert found.indices.tolist() == [1, 2, 0, 2, 0, 0, 2]
    assert found.data.tolist() == [1.5, 2.0, 5.0, 1.0, 2.0, 1.0, 3.0]
    assert (lookup.id(b"a"), lookup.id(b"zz"), len(lookup)) == (2, 0, 2)


@given(wanted=st.lists(st.binary(max_size=9), unique=True))
def test_a_dump_is_restored(kernel: Kernel, wanted: list[bytes]) -> None:
    lookup = kernel.Lookup(100)
    lookup.ids(batch_of(kernel, [(1.0, [(name, 1.0) for name in wanted])]), grow=True)
    lengths, raw = lookup.view().arrays().values()
    assert (lengths.dtype, raw.dtype) == (np.uint32, np.uint8)
    assert lengths.tolist() == [len(name) for name in wanted]
    assert raw.tobytes() == b"".join(wanted)
    other = kernel.Lookup(100)
    other.restore(lengths, raw)
    assert list(names_of(other.view())) == wanted
    assert [other.id(name) for name in wanted] == list(range(1, len(wanted) + 1))


def test_a_dump_that_names_a_feature_twice_is_refused(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="expected distinct names, got one twice"):
        kernel.Lookup(9).restore(np.array([1, 1], np.uint32), np.frombuffer(b"aa", np.uint8))


@given(
    known=st.lists(st.binary(max_size=2), unique=True, max_size=8),
    joined=st.lists(st.binary(max_size=2), max_size=60),
    bound=st.integers(1, 30),
)
def test_joined_names_have_the_ids_that_they_have_or_the_next(
    kernel: Kernel, known: list[bytes], joined: list[bytes], bound: int
) -> None:
    lookup = kernel.Lookup(bound)
    lookup.restore(*packed_names(known))
    wanted = {name: i for i, name in enumerate(known, 1)}
    ids = []
    for name in joined:
        if name not in wanted and len(wanted) < bound:
            wanted[name] = len(wanted) + 1
        ids.append(wanted.get(name, 0))
    found = lookup.join(*packed_names(joined))
    assert (found.dtype, found.tolist()) == (np.int32, ids)
    assert list(names_of(lookup.view())) == list(wanted)
    assert lookup.name_bytes == sum(map(len, wanted))
    assert [lookup.id(name) for name in wanted] == list(wanted.values())


def test_names_to_join_of_other_lengths_are_refused(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="expected names of 3 bytes, got 2"):
        kernel.Lookup(9).join(np.array([1, 2], np.uint32), np.frombuffer(b"aa", np.uint8))


def packed_names(names: list[bytes]) -> tuple[Any, Any]:
    """Names as a view has them: their lengths, and their bytes end to end."""
    lengths = np.array([len(name) for name in names], dtype=np.uint32)
    return lengths, np.frombuffer(b"".join(names), dtype=np.uint8)
