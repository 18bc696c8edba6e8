"""The connections of producers whose models leave the memory."""

from __future__ import annotations

from onlinesvm.service.server.resumed import Resumed
from onlinesvm.service.storage.producers import Producers


def resumed(*names: bytes) -> Producers:
    """Producers that the connection `new` has resumed."""
    producers = Producers(10)
    for name in names:
        producers.resume(name, b"new")
    return producers


def may_send(kept: Resumed, id: bytes) -> bool:
    """Whether the connection `old` may send as `p`, once the model is in memory again."""
    producers = Producers(10)
    kept.give_back(id, producers)
    return producers.may_send(b"p", b"old")


def test_a_model_has_its_own_again() -> None:
    kept = Resumed()
    kept.keep(b"1", resumed(b"p"))
    kept.keep(b"2", resumed(b"q"))
    kept.keep(b"3", resumed())
    assert len(kept) == 2
    assert [may_send(kept, id) for id in (b"1", b"2", b"3")] == [False, True, True]
    assert len(kept) == 0


def test_beyond_the_bound_the_model_that_left_first_loses_its_own() -> None:
    kept = Resumed(most=3)
    kept.keep(b"1", resumed(b"p"))
    kept.keep(b"2", resumed(b"p", b"q"))
    kept.keep(b"1", resumed(b"p"))  # once more
    kept.keep(b"3", resumed(b"p"))
    assert len(kept) == 2
    assert [may_send(kept, id) for id in (b"1", b"2", b"3")] == [False, True, False]


def test_a_dropped_model_leaves_nothing() -> None:
    kept = Resumed()
    kept.keep(b"1", resumed(b"p"))
    kept.forget(b"1")
    assert (len(kept), may_send(kept, b"1")) == (0, True)
