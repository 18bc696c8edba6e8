"""Bodies that are decoded in steps, and batches that are learned in parts: the whole's bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.data.pieces import Decoded, in_pieces, parts
from onlinesvm.errors import OnlineSVMError
from onlinesvm.kernel import KERNELS
from tests.daemons import digest_of
from tests.strategies import WIDE, damaged

WORDS = ["free", "prize", "minutes", "of", "a", "carrier", "UA"]
records = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=4),
    st.dictionaries(st.sampled_from(WORDS), st.floats(-4, 4), max_size=3),
    st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join),
    st.fixed_dictionaries({"from": st.sampled_from("abc"), "to": st.sampled_from("xyz")}),
)
rows = st.lists(
    st.tuples(st.sampled_from(["yes", "no"]), records, st.sampled_from([0.0, 0.5, 1.0])),
    max_size=12,
)
CONFIGS: list[dict[str, Any]] = [
    {}, {"rule": "sgd"}, {"crosses": "*"}, {"task": "multiclass"},
    {"rule": "arow", "text": "words", "max_features_policy": "prune"},
]  # fmt: skip


def shown(batch: Decoded) -> list[Any]:
    """All that a batch has, piece by piece."""
    return [
        (
            [label.text for label in piece.label_table], np.asarray(piece.label_ids).tolist(),
            np.asarray(piece.importances).tolist(), np.asarray(piece.indptr).tolist(),
            list(piece.names), list(piece.values), piece.cut,
            list(piece.tags) if any(piece.tags) else [],  # none where all are 0
        )
        for piece in in_pieces(batch)
    ]  # fmt: skip


def in_steps(model: OnlineSVM, body: bytes, most: int) -> Decoded:
    work = model.decoding(body, labelled=True)
    while (found := work.step(most)) is None:
        pass
    return found


def outcome(decode: Any) -> Any:
    try:
        return shown(decode())
    except OnlineSVMError as error:
        return type(error), str(error)


@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data(), given_rows=rows, most=st.integers(1, 40), config=st.sampled_from(CONFIGS))
def test_a_body_decoded_in_steps_is_the_body_decoded_at_once(
    name: str, data: st.DataObject, given_rows: list[Any], most: int, config: dict[str, Any]
) -> None:
    body = msgpack.packb(given_rows)
    if data.draw(st.booleans()):
        body = data.draw(damaged(body))
    model = OnlineSVM(limits=WIDE, kernel=name, **config)
    whole = outcome(lambda: model.decode(body, labelled=True))
    assert outcome(lambda: in_steps(model, body, most)) == whole


@pytest.mark.parametrize("name", KERNELS)
@given(given_rows=rows, most=st.integers(1, 60), config=st.sampled_from(CONFIGS))
def test_a_batch_learned_in_parts_is_the_batch_learned_at_once(
    name: str, given_rows: list[Any], most: int, config: dict[str, Any]
) -> None:
    body = msgpack.packb(given_rows)
    limits = WIDE if "max_features_policy" not in config else replace(WIDE, max_features=8)
    whole, divided = (OnlineSVM(limits=limits, kernel=name, **config) for _ in range(2))
    is_read = isinstance(outcome(lambda: whole.decode(body, labelled=True)), list)
    assume(is_read)  # not every model reads texts
    before = whole.learn_batch(whole.decode(body, labelled=True))
    each = [divided.learn_batch(p) for p in parts(divided.decode(body, labelled=True), most)]
    assert np.concatenate([np.empty(0), *each]).tobytes() == before.tobytes()
    assert digest_of(divided) == digest_of(whole)
    assert divided.classes_.tolist() == whole.classes_.tolist()


@pytest.mark.parametrize("name", KERNELS)
@given(given_rows=rows, data=st.data())
def test_a_part_has_its_samples_alone(name: str, given_rows: list[Any], data: Any) -> None:
    model = OnlineSVM(limits=WIDE, kernel=name, crosses="*")
    body = msgpack.packb(given_rows)
    first = data.draw(st.integers(0, len(given_rows)))
    stop = data.draw(st.integers(first, len(given_rows)))
    part = model.decode(body, labelled=True).part(first, stop)  # type: ignore[union-attr]
    alone = model.decode(msgpack.packb(given_rows[first:stop]), labelled=True)
    [found], [wanted] = shown(part), shown(alone)
    assert found[2:] == wanted[2:]
    table, ids = found[:2]
    assert [table[id] for id in ids] == [label.encode() for label, *_ in given_rows[first:stop]]
    # No label that comes later.
    assert table == list(dict.fromkeys(label.encode() for label, *_ in given_rows[:stop]))


@pytest.mark.parametrize("name", KERNELS)
def test_samples_that_are_not_there(name: str) -> None:
    batch = OnlineSVM(kernel=name).decode(b"\x91\x90", labelled=False)
    for first, stop in ((0, 2), (1, 0), (2, 2)):
        with pytest.raises(ValueError, match=f"expected samples of 1, got {first} to {stop}"):
            batch.part(first, stop)  # type: ignore[union-attr]
