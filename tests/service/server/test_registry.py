"""The models of a daemon, by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.service.protocol import RequestError
from onlinesvm.service.server.registry import Hosted, Registry

MODEL = OnlineSVM(kernel="python")

names = st.text("abc", min_size=1, max_size=2)


def refusal(registry: Registry, name: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        registry.get(name, 7)
    assert caught.value.id == 7
    return caught.value


@given(steps=st.lists(st.tuples(names, st.booleans()), max_size=20))
def test_it_serves_what_was_put_last(steps: list[tuple[str, bool]]) -> None:
    """As a dict does; a name that is expected alone is BUSY, and one never heard of NO_MODEL."""
    registry = Registry()
    known: dict[str, Hosted] = {}
    expected: set[str] = set()
    for name, is_there in steps:
        if is_there:
            known[name] = Hosted(name, MODEL)
            registry.put(known[name])
        else:
            expected.add(name)
            registry.expect(name, lambda: "not yet")
    assert len(registry) == len(known)
    assert {each.name: each for each in registry} == known
    for name in {name for name, _ in steps} | {"d"}:
        assert registry.find(name) is known.get(name)
        if name in known:
            assert registry.get(name) is known[name]
        else:
            assert refusal(registry, name).code == ("BUSY" if name in expected else "NO_MODEL")


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    registry = Registry()
    assert refusal(registry, "spam").message == "expected the name of a model (none), got spam"
    registry.expect("later", lambda: "not yet")
    registry.put(Hosted("default", MODEL))
    assert refusal(registry, "spam").message == (
        "expected the name of a model (default, later), got spam"
    )


def test_the_reason_for_waiting_is_asked_each_time() -> None:
    registry = Registry()
    reasons = iter(["the first", "the second"])
    registry.expect("default", lambda: next(reasons))
    assert refusal(registry, "default").message == "the first"
    assert refusal(registry, "default").message == "the second"
