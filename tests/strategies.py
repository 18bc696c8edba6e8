"""Hypothesis strategies: names, values, features, samples, and the bodies that carry them."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from onlinesvm.config import Limits

# Any legal number may be learned, whatever the rule.
WIDE = Limits(max_value=1e50, max_importance=1e50)

# Few enough that they meet again: `5`, "5" and b"5" are one feature, "\udcff" is b"\xff".
_FAMILIAR = [5, "5", b"5", -1, "-1", 0, "", "a", b"a", "b", "é", "é".encode(), "\udcff", b"\xff"]


def names() -> st.SearchStrategy[str | bytes | int]:
    return st.one_of(
        st.sampled_from(_FAMILIAR),
        st.text(max_size=6),
        st.binary(max_size=6),
        st.integers(-(2**63), 2**64 - 1),
    )


def values() -> st.SearchStrategy[float]:
    return st.one_of(
        st.sampled_from([0, 0.0, -0.0, 5e-324, -1e-51, 1e-50, -1e50, 1e50, 1, -1, 0.1, 0.2, 0.3]),
        st.integers(-100, 100),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(-10, 10),
        st.floats(-1e50, 1e50),
    )


def features() -> st.SearchStrategy[Any]:
    """Names, or names and values. Integers alone are refused as names."""
    lists = st.lists(names(), max_size=8).map(
        lambda drawn: [*drawn, "a"] if drawn and all(type(x) is int for x in drawn) else drawn
    )
    return st.one_of(lists, st.dictionaries(names(), values(), max_size=8))


def importances() -> st.SearchStrategy[float]:
    return st.one_of(st.sampled_from([1, 0, 0.0, -0.0, 1e-51, 2, 0.5, 1e50]), st.floats(0, 10))


def samples() -> st.SearchStrategy[tuple[Any, ...]]:
    """(features, label) or (features, label, importance)."""
    labels = st.sampled_from([1, -1, 1.0, -1.0])
    return st.one_of(st.tuples(features(), labels), st.tuples(features(), labels, importances()))


_RATES = [0.1, 0.5, 1.0, 0.037]


def _rule(name: str, **own: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    choices = {key: st.sampled_from(values) for key, values in own.items()}
    return st.fixed_dictionaries({"rule": st.just(name), **choices, "bias": st.booleans()})


def sgd_configurations(alpha: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """Of the rule sgd; `alpha`: shrinking ones too."""
    return _rule(
        "sgd",
        eta0=_RATES,
        schedule=["constant", "invscaling"],
        alpha=[0.0, 0.01, 0.5] if alpha else [0.0],
    )


def configurations() -> st.SearchStrategy[dict[str, Any]]:
    """Of every rule."""
    return st.one_of(
        _rule("hedge"),
        sgd_configurations(),
        _rule("sgd", eta0=_RATES, average=[True]),
        _rule("pa1", C=_RATES),
        _rule("pa2", C=_RATES),
        _rule("arow", r=_RATES),
        _rule("adagrad", eta0=_RATES, forgetting=[1.0, 0.9]),
        _rule("nag", eta0=_RATES),
    )


# msgpack by hand, in every form that the format allows and not only the shortest.

_INTEGERS = {
    0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q",
}  # fmt: skip


def number_forms(value: float) -> list[bytes]:
    """Every msgpack form of a number."""
    if isinstance(value, float):
        forms = [b"\xcb" + struct.pack(">d", value)]
        if abs(value) < 3e38 and struct.unpack(">f", struct.pack(">f", value))[0] == value:
            forms.append(b"\xca" + struct.pack(">f", value))
        return forms
    forms = [struct.pack("b", value)] if -32 <= value <= 127 else []
    for head, form in _INTEGERS.items():
        try:
            forms.append(bytes([head]) + struct.pack(">" + form, value))
        except struct.error:
            continue
    return forms


def name_forms(name: str | bytes | int) -> list[bytes]:
    """Every msgpack form of a name: as text and as bytes, with a head of any width."""
    if isinstance(name, int):
        return number_forms(name)
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    forms = [bytes([0xA0 | len(raw)]) + raw] if len(raw) < 32 else []
    for heads in (0xD9, 0xC4):  # str 8, 16, 32 and bin 8, 16, 32
        for i, width in enumerate((1, 2, 4)):
            if len(raw) < 256**width:
                forms.append(bytes([heads + i]) + len(raw).to_bytes(width, "big") + raw)
    return forms


def container_forms(n: int, kind: str) -> list[bytes]:
    """Every head of an array or a map of `n`."""
    short, long = {"array": (0x90, 0xDC), "map": (0x80, 0xDE)}[kind]
    forms = [bytes([short | n])] if n < 16 else []
    return [
        *forms, bytes([long]) + n.to_bytes(2, "big"), bytes([long + 1]) + n.to_bytes(4, "big")
    ]  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn, rows: list[tuple[Any, ...]]) -> bytes:
    """A learn body of `rows`, samples as Python has them, in any form of msgpack."""

    def pick(forms: list[bytes]) -> bytes:
        return draw(st.sampled_from(forms))

    parts = [pick(container_forms(len(rows), "array"))]
    for given, label, *importance in rows:
        parts.append(pick(container_forms(2 + len(importance), "array")))
        parts.append(pick(number_forms(label)))
        if isinstance(given, dict):
            parts.append(pick(container_forms(len(given), "map")))
            for name, value in given.items():
                parts += pick(name_forms(name)), pick(number_forms(value))
        else:
            parts.append(pick(container_forms(len(given), "array")))
            parts += [pick(name_forms(name)) for name in given]
        parts += [pick(number_forms(h)) for h in importance]
    return b"".join(parts)


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """`body` with some bytes changed, cut out or put in."""
    raw = bytearray(body)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + 3)))
        raw[start:end] = draw(st.binary(max_size=3))
    return bytes(raw)


def objects() -> st.SearchStrategy[Any]:
    """Anything that msgpack can carry, shaped roughly as a body."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.sampled_from([1, -1, 0, 2]), st.floats(), names(), values()
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(names(), inner, max_size=3)
        ),
        max_leaves=12,
    )
