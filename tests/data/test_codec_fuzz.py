"""The compiled decoder against the Python one: one result or one error, for any bytes.

The mutations know msgpack: they exchange, drop, double, retype and cut whole objects as well as
bytes, so that most bodies are nearly right. ONLINESVM_FUZZ=N makes N times as many.
"""

from __future__ import annotations

import os
import random
import struct
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits
from onlinesvm import kernel as kernels
from onlinesvm.errors import OnlineSVMError
from onlinesvm.kernel.contract import Kernel
from tests.columns import labels_of
from tests.strategies import bodies, damaged, samples

ROUNDS = int(os.environ.get("ONLINESVM_FUZZ", "1"))
LIMITS = (
    Limits(),
    Limits(max_features_per_sample=3, max_samples_per_batch=4, max_name_bytes=5),
    Limits(max_features_per_sample=1, max_samples_per_batch=1, max_name_bytes=1),
    Limits(max_features_per_sample=40, max_samples_per_batch=2, max_name_bytes=19),
)


@pytest.fixture(scope="module", params=["native"])
def native(request: pytest.FixtureRequest) -> Kernel:
    return kernels.load(request.param)


def decoded(
    kernel: Kernel, body: bytes, limits: Limits, labelled: bool, pairs: bool = False
) -> Any:
    """All that a decoder says about a body."""
    decode = partial(kernel.decode, labelled=labelled, pairs=pairs)
    try:
        batch = decode(body, limits)
    except OnlineSVMError as error:
        code, path = getattr(error, "code", None), getattr(error, "path", None)
        return type(error), code, path, str(error)
    return (
        labels_of(batch), [label.written for label in batch.label_table],
        [float(x).hex() for x in batch.importances],
        list(batch.indptr), list(batch.names), [float(x).hex() for x in batch.values],
    )  # fmt: skip


def agree(native: Kernel, body: bytes, limits: Limits) -> bool:
    """True if both decoders take `body`; that they agree is asserted."""
    taken = False
    for mode in ((True, False), (True, True), (False, False)):
        expected = decoded(kernels.load("python"), body, limits, *mode)
        got = decoded(native, memoryview(body), limits, *mode)  # type: ignore[arg-type]
        assert got == expected, (body.hex(), limits, mode)
        taken |= len(expected) == 6
    return taken


@settings(max_examples=400)
@given(body=st.binary(max_size=60), limits=st.sampled_from(LIMITS))
def test_any_bytes(native: Kernel, body: bytes, limits: Limits) -> None:
    agree(native, body, limits)


@settings(max_examples=200)
@given(data=st.data(), rows=st.lists(samples(), max_size=4), limits=st.sampled_from(LIMITS))
def test_bodies_and_damaged_bodies(
    native: Kernel, data: st.DataObject, rows: list[tuple[Any, ...]], limits: Limits
) -> None:
    body = data.draw(bodies(rows))
    agree(native, body, limits)
    agree(native, data.draw(damaged(body)), limits)


class Writer:
    """Bodies as lists of objects, each in a random form of msgpack, some of them wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def body(self) -> bytes:
        pick = self.random
        make = pick.choice((self.sample, self.sample, self.pair, self.features))
        n = pick.choice((0, 1, 1, 2, 3, 5))
        parts = [self.container(n, 0x90)]
        parts += [make() for _ in range(n)]
        for _ in range(pick.choice((0, 0, 0, 1, 1, 2))):
            self.mutate(parts)
        body = bytearray(b"".join(parts))
        for _ in range(pick.choice((0, 0, 0, 1, 2))):
            self.damage(body)
        return bytes(body)

    def mutate(self, parts: list[bytes]) -> None:
        """Exchange, drop, double or add a whole object."""
        i, j = (self.random.randrange(len(parts)) for _ in range(2))
        way = self.random.randrange(4)
        if way == 0:
            parts[i], parts[j] = parts[j], parts[i]
        elif way == 1:
            parts.insert(i, parts[j])
        elif way == 2 and len(parts) > 1:
            del parts[i]
        else:
            parts.insert(i, self.anything(2))

    def damage(self, body: bytearray) -> None:
        at = self.random.randrange(len(body) + 1)
        way = self.random.randrange(5)
        if way == 0 and at < len(body):
            body[at] ^= 1 << self.random.randrange(8)
        elif way == 1 and at < len(body):
            body[at] = self.random.randrange(256)
        elif way == 2:
            del body[at:]
        elif way == 3:
            del body[at : at + self.random.randrange(4)]
        else:
            body[at:at] = self.random.randbytes(self.random.randrange(4))

    def sample(self) -> bytes:
        pick = self.random
        n = pick.choice((2, 2, 2, 3, 3)) if pick.random() < 0.98 else pick.randrange(6)
        parts = [
            self.label(),
            self.features(),
            self.importance(),
            self.anything(1),
            self.anything(1),
        ]
        if pick.random() < 0.02:
            parts[pick.randrange(3)] = self.anything(2)
        return self.container(n, 0x90) + b"".join(parts[:n])

    def label(self) -> bytes:
        """A label, or a set of them."""
        pick = self.random
        way = pick.random()
        if way < 0.6:
            return self.number(pick.choice((1, -1, 1.0, -1.0)))
        if way < 0.75:
            return self.name()
        n = pick.choice((0, 1, 2, 3, 17, 64, 65))
        equal = pick.choice((b"\xa1a", b"\x01", b"\xa11", b"\xc3", b"\xcb?\xf0" + b"\0" * 6))
        names = (equal if pick.random() < 0.3 else self.name() for _ in range(n))
        return self.container(n, 0x90) + b"".join(names)

    def pair(self) -> bytes:
        n = self.random.choice((2, 2, 3, 3)) if self.random.random() < 0.98 else 4
        parts = [self.features(), self.features(), self.importance(), self.anything(1)]
        return self.container(n, 0x90) + b"".join(parts[:n])

    def importance(self) -> bytes:
        return self.number(self.random.choice((1, 0, 2, 0.5, -0.0, 1e-51, 1e50, 2**64 - 1)))

    def features(self) -> bytes:
        pick = self.random
        n = pick.choice((0, 1, 2, 3, 4, 16, 33))
        if pick.random() < 0.5:
            return self.container(n, 0x90) + b"".join(self.name() for _ in range(n))
        pairs = (self.name() + self.value() for _ in range(n))
        return self.container(n, 0x80) + b"".join(pairs)

    def container(self, n: int, small: int) -> bytes:
        way = self.random.randrange(4)
        if n < 16 and way < 2:
            return bytes([small | n])
        wide = 0xDC if small == 0x90 else 0xDE
        if way == 2:
            return bytes([wide]) + n.to_bytes(2, "big")
        return bytes([wide + 1]) + n.to_bytes(4, "big")

    def name(self) -> bytes:
        pick = self.random
        if pick.random() < 0.01:
            return self.anything(2)
        if pick.random() < 0.25:
            return self.number(
                pick.choice((0, 5, -1, -33, 127, 128, 300, 2**31, -(2**63), 2**64 - 1))
            )
        raw = pick.randbytes(pick.choice((0, 1, 2, 5, 6, 17, 31, 32, 40)))
        way = pick.randrange(8)
        if len(raw) < 32 and way < 2:
            return bytes([0xA0 | len(raw)]) + raw
        width = 1 << way % 3
        return bytes([(0xC4, 0xD9)[way % 2] + way % 3]) + len(raw).to_bytes(width, "big") + raw

    def value(self) -> bytes:
        pick = self.random
        if pick.random() < 0.01:
            return self.anything(2)
        return self.number(
            pick.choice((
                0, 1, -1, 7, 200, -200, 2**53 + 1, 2**64 - 1, -(2**63), 0.0, -0.0, 0.1, -2.5, 1e-50,
                9e-51, -1e-50, 1e50, -1e50, 5e-324, pick.uniform(-9, 9),
                pick.choice((1e51, float("nan"), float("inf"))) if pick.random() < 0.05 else 1.5,
            ))
        )  # fmt: skip

    def number(self, value: float) -> bytes:
        if isinstance(value, float):
            narrow = (self.random.random() < 0.3 and abs(value) < 1e30) or value != value
            return (
                b"\xca" + struct.pack(">f", value) if narrow else b"\xcb" + struct.pack(">d", value)
            )
        forms = [struct.pack("b", value)] if -32 <= value <= 127 else []
        for head, form in zip(range(0xCC, 0xD4), "BHIQbhiq", strict=True):
            try:
                forms.append(bytes([head]) + struct.pack(">" + form, value))
            except struct.error:
                continue
        return self.random.choice(forms)

    def anything(self, depth: int) -> bytes:
        """An object that most likely does not belong where it stands."""
        pick = self.random
        inner = b"".join(self.anything(depth - 1) for _ in range(2)) if depth else b"\x01\x90"
        return pick.choice((
            b"\xc0", b"\xc2", b"\xc3", b"\xc1", b"\x92" + inner, b"\x81" + inner, b"\xd4\x05a",
            b"\xd8\xff" + b"x" * 16, b"\xd6\xff\0\0\0\1", b"\xd7\xff" + b"\xff" * 8,
            b"\xc7\x03\x01abc", b"\xc7\x0c\xff" + b"\xff" * 12, b"\xc9\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xa1a", b"\x05",
            b"\xcb" + b"\x7f\xf0" + b"\0" * 6,
        ))  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_bodies_that_are_nearly_right(native: Kernel, seed: int) -> None:
    writer = Writer(seed)
    taken = 0
    rounds = 1500 * ROUNDS
    for i in range(rounds):
        taken += agree(native, writer.body(), LIMITS[i % len(LIMITS)])
    assert rounds / 20 < taken < rounds  # neither side of the border is left out


def test_a_body_cut_at_every_byte(native: Kernel) -> None:
    writer = Writer(99)
    for _ in range(20):
        body = b"\x92" + writer.sample() + writer.sample()
        for end in range(len(body)):
            agree(native, body[:end], LIMITS[0])


def test_every_byte_in_every_place_of_a_sample(native: Kernel) -> None:
    for body in (
        bytes.fromhex("91 93 01 92 a1 61 05 02"),
        bytes.fromhex("91 93 ff 81 a2 61 62 cb 3ff0000000000000 01"),
        bytes.fromhex("92 91 a1 61 81 07 d0 ff"),
        bytes.fromhex("91 93 81 a1 61 05 92 a1 61 07 02"),
        bytes.fromhex("91 92 93 01 a1 61 a1 61 91 a1 62"),
    ):
        for at in range(len(body)):
            for byte in range(256):
                agree(native, body[:at] + bytes([byte]) + body[at + 1 :], LIMITS[1])
