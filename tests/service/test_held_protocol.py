"""The keys of a predict request with hold."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from onlinesvm import Limits
from onlinesvm.service.protocol import (
    Request,
    RequestError,
    encode_request,
    is_held,
    parse_request,
)

BODY: bytes = msgpack.packb([["k"], [["a"]]])


def parsed(op: str = "predict", **keys: Any) -> Request:
    return parse_request([encode_request(op, 7, **keys), BODY], Limits())


def test_a_request_that_holds() -> None:
    for request in (parsed(), parsed(hold=False)):
        assert not is_held(request)
    request = parsed(hold=True)
    assert is_held(request)
    assert request.options == {"ttl_ms": 3_600_000, "default": None}
    options = parsed(hold=True, ttl_s=0.25, default_label="spam").options
    assert options == {"ttl_ms": 250, "default": msgpack.packb("spam")}
    assert parsed(hold=True, ttl_s=1800, default_label=1.0).options["default"] == b"\x01"
    least = parse_request([msgpack.packb({"v": 1, "op": "predict", "hold": True}), BODY], Limits())
    assert is_held(least)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"hold": "key"}, 'expected hold as true or false, got "key"'),
        ({"ttl_s": 5}, "expected ttl_s with hold alone"),
        ({"hold": False, "default_label": 1}, "expected default_label with hold alone"),
        ({"hold": True, "ttl_s": 0}, "expected ttl_s from 0.001 to 31622400, got 0"),
        ({"hold": True, "ttl_s": True}, "expected ttl_s from 0.001 to 31622400, got true"),
        ({"hold": True, "ttl_s": float("nan")}, "expected ttl_s from 0.001 to 31622400, got nan"),
        ({"hold": True, "default_label": 1.5},
         "default_label: expected a label as text, integer or boolean, got 1.5"),
        ({"hold": True, "default_label": ""}, "default_label: expected a label, got an empty text"),
    ],
)  # fmt: skip
def test_keys_that_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parsed(**keys)
    assert (caught.value.code, caught.value.message, caught.value.id) == ("BAD_REQUEST", message, 7)


@pytest.mark.parametrize("op", ["learn", "explain", "label"])
def test_other_operations_hold_nothing(op: str) -> None:
    with pytest.raises(RequestError, match="expected no key"):
        parsed(op, hold=True)


def test_a_request_that_asks() -> None:
    assert parsed(ask=True).options == {"b": None}
    assert parsed(ask=True, b=2).options == {"b": 2}
    assert not is_held(parsed(ask=True))
    both = parsed(ask=True, hold=True).options
    assert both == {"ttl_ms": 3_600_000, "default": None, "b": None}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ask": 1}, "expected ask as true or false, got 1"),
        ({"pairs": 1}, "expected pairs as true or false, got 1"),
        ({"b": 0.5}, "expected b with ask alone"),
        ({"ask": True, "b": 0}, "expected b above 0, up to 1e+09, got 0"),
        ({"ask": True, "b": True}, "expected b above 0, up to 1e+09, got true"),
        ({"ask": True, "b": float("nan")}, "expected b above 0, up to 1e+09, got nan"),
    ],
)
def test_keys_of_asking_that_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parsed(**keys)
    assert (caught.value.code, caught.value.message) == ("BAD_REQUEST", message)
