"""The compiled line reader against the Python one: one result or one error, for any bytes.

The mutations know the formats: they exchange, drop, double and cut words, lines and single bytes,
so that most lines are nearly right. ONLINESVM_FUZZ=N makes N times as many.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import sys
import threading
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.errors import FormatError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.readers.csv import CSVParser, Header
from onlinesvm.readers.fasttext import FastTextParser
from onlinesvm.readers.jsonl import JSONParser
from onlinesvm.readers.labelled_text import TextParser
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import LineParser, Room
from onlinesvm.readers.reader import Reader
from onlinesvm.readers.svmlight import SvmlightParser
from onlinesvm.readers.tokens import LineError
from onlinesvm.readers.vw import VWParser
from onlinesvm.text.options import TextOptions
from tests.columns import labels_of

ROUNDS = int(os.environ.get("ONLINESVM_FUZZ", "1"))
HEADER = Header((None, b"a", b"b", None, b"c"), label=0, id=3, delimiter=",")


def csv_parser(labels: Labels, limits: Limits, **how: Any) -> CSVParser:
    return CSVParser(labels, limits, HEADER, **how)


PARSERS: dict[str, Callable[..., LineParser]] = {
    "svmlight": SvmlightParser, "vw": VWParser, "text": TextParser, "json": JSONParser,
    "fasttext": FastTextParser, "csv": csv_parser,
}  # fmt: skip
PLAIN = Limits()
LONGEST = 60  # bytes of a text
TIGHT = Limits(max_features_per_sample=3, max_name_bytes=6)
LIMITS = (PLAIN, TIGHT, Limits(max_features_per_sample=1, max_name_bytes=1))
LABELS: tuple[dict[str, Any], ...] = (
    {}, {"labelled": False}, {"positive": ["spam", "1", "é"]}, {"positive": [">0", "yes"]},
    {"positive": [">0"], "labelled": False}, {"sets": True}, {"sets": True, "labelled": False},
)  # fmt: skip
# How the model reads text; None: names and numbers alone.
TEXTS = (
    None, TextOptions(), TextOptions(text="words"), TextOptions(text="off"),
    TextOptions(numbers="prefixes", fields={"a": "category", "b": "date", "n": "text"}),
)  # fmt: skip
AMPLE = Room(1024, 2**18, 2**22)
ROOMS = (AMPLE, Room(1, 99, 99), Room(3, 2, 99), Room(9, 99, 7))


@pytest.fixture(scope="module", params=["native"])
def native(request: pytest.FixtureRequest) -> Kernel:
    return kernels.load(request.param)


def steps(
    kernel: Kernel, parser: LineParser, block: bytes, room: Room, skip_bad: bool
) -> list[Any]:
    """All that a kernel says about a block, on the way from its start to its end."""
    found: list[Any] = []
    start = 0
    while start < len(block):
        batch, end, lines, fault, skipped, first, ids = kernel.parse_block(
            parser, block, start, room, skip_bad=skip_bad
        )
        assert start < end <= len(block)
        assert len(batch) == len(batch.label_ids)
        assert ids is None or len(ids) == len(batch)
        found.append((
            labels_of(batch), list(batch.tags), batch.cut, dict(batch.records),
            [float(x).hex() for x in batch.importances],
            list(batch.indptr), list(batch.names), [float(x).hex() for x in batch.values],
            end, lines, list(skipped), first and (first[0], type(first[1]), str(first[1])),
            None if ids is None else list(ids), fault and (type(fault), str(fault)),
        ))  # fmt: skip
        start = end
    return found


def agree(
    native: Kernel,
    kind: str,
    block: bytes,
    limits: Limits = PLAIN,
    room: Room = AMPLE,
    skip_bad: bool = False,
    labels: dict[str, Any] | None = None,
    ids: bool = False,
    text: TextOptions | None = None,
    keeps: bool = False,
) -> list[Any]:
    """The outcome of a block, asserted to be the same in both kernels."""
    outcomes = []
    for kernel in (kernels.load("python"), native):
        extractor = kernel.Extractor(text, limits, LONGEST) if text else None
        parser = PARSERS[kind](
            Labels(**labels or {}), limits, ids=ids, extractor=extractor, keeps=keeps and text
        )
        outcomes.append(steps(kernel, parser, block, room, skip_bad))
    expected, got = outcomes
    assert got == expected, (kind, block, limits, room, skip_bad, labels, text, keeps)
    return got


class Refusing:
    """Stands where a parser's `parse` stood: for lines that are not to come there."""

    def __call__(self, line: bytes) -> None:
        raise LineError(f"not read by the compiled kernel: {line!r}")


def read_by(
    native: Kernel, kind: str, block: bytes, text: TextOptions | None = None, **options: Any
) -> bool:
    """True if the compiled kernel reads all lines of `block` by itself."""
    extractor = native.Extractor(text, PLAIN, LONGEST) if text else None
    parser = PARSERS[kind](Labels(**options), PLAIN, extractor=extractor)
    parser.parse = Refusing()  # type: ignore[method-assign, assignment]
    return native.parse_block(parser, block, 0, AMPLE).fault is None


# Lines ----------------------------------------------------------------------------------------

ALPHABET = b"01.5-+e:|#'^\t \n\r\x0b\x00a\xc3\xa9_Zq,"
PIECES = [bytes([byte]) for byte in ALPHABET] * 2 + [b"__label__", b"\n1 ", b"'t| ", b'"', b"{"]
TEXT = st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=150).map(b"".join)
OPTIONS = {
    "kind": st.sampled_from(list(PARSERS)),
    "limits": st.sampled_from(LIMITS),
    "room": st.sampled_from(ROOMS),
    "skip_bad": st.booleans(),
    "labels": st.sampled_from(LABELS),
    "ids": st.booleans(),
    "text": st.sampled_from(TEXTS),
    "keeps": st.booleans(),
}


@settings(max_examples=1500)
@given(block=TEXT, options=st.fixed_dictionaries(OPTIONS))
@example(b"1 a:1#\n", {"kind": "svmlight"})
@example(b"1\n", {"kind": "vw"})
@example(b"1 |", {"kind": "vw"})
@example(b'{"label":1,"features":[""]}\n', {"kind": "json"})
def test_any_bytes(native: Kernel, block: bytes, options: dict[str, Any]) -> None:
    agree(native, block=block, **options)


class Writer:
    """Lines of all formats, some of them wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def block(self, kind: str) -> bytes:
        pick = self.random
        lines = [self.line(kind) for _ in range(pick.choice((1, 1, 2, 3, 5, 9)))]
        for _ in range(pick.choice((0, 0, 0, 1, 1, 3))):
            at = pick.randrange(len(lines))
            lines[at] = pick.choice((self.mixed, self.damaged))(lines[at])
        text = b"".join(line + pick.choice((b"\n",) * 6 + (b"\r\n", b"\n\n")) for line in lines)
        return text.removesuffix(b"\n") if pick.random() < 0.3 else text

    def mixed(self, line: bytes) -> bytes:
        """`line` with words exchanged, dropped or doubled."""
        words = line.split(b" ")
        i, j = (self.random.randrange(len(words)) for _ in range(2))
        way = self.random.randrange(3)
        if way == 0:
            words[i], words[j] = words[j], words[i]
        elif way == 1:
            del words[i]
        else:
            words.insert(i, words[j])
        return b" ".join(words)

    def damaged(self, line: bytes) -> bytes:
        """`line` with a few bytes changed, dropped or put in."""
        pick, text = self.random, bytearray(line)
        for _ in range(pick.choice((1, 1, 2))):
            at = pick.randrange(len(text) + 1)
            way = pick.randrange(4)
            if way == 0 and at < len(text):
                text[at] = pick.choice((pick.randrange(256), pick.choice(ALPHABET)))
            elif way == 1:
                del text[at : at + pick.choice((1, 1, 2, 9))]
            elif way == 2:
                text[at:at] = bytes([pick.choice(ALPHABET)])
            else:
                text[at:at] = pick.choice(
                    (
                        b"qid:3 ",
                        b" qid:",
                        b"# ",
                        b"|",
                        b" | ",
                        b"'x",
                        b":1",
                        b",",
                        b" __label__",
                        b'"',
                        b".",
                    )
                )
        return bytes(text)

    def line(self, kind: str) -> bytes:
        pick = self.random
        label = pick.choice(
            (b"1", b"-1", b"0", b"+1", b"1.0", b"-1e0", b"2", b"spam", b"yes", b"\xc3\xa9", b"-0")
            if pick.random() < 0.2
            else (b"1", b"-1")
        )
        n = pick.choice((0, 1, 2, 3, 3, 4, 9, 40))
        if kind == "svmlight":
            words = [b"%b:%b" % (self.name(), self.number()) for _ in range(n)]
            if pick.random() < 0.1:
                words.insert(0, b"qid:7")
            return self.joined([label, *words]) + (b" # said: so" if pick.random() < 0.1 else b"")
        if kind == "text":
            return label + b"\t" + self.joined([self.word() for _ in range(n)])
        if kind == "fasttext":
            more = [b"__label__2"] if pick.random() < 0.05 else []
            text = self.joined([self.word() for _ in range(n)] + more)
            return (b"__label__" + label if pick.random() < 0.95 else b"") + b" " + text
        if kind == "csv":
            cells = [label, *(self.cell() for _ in range(4))]
            return b",".join(b'"%b"' % c if pick.random() < 0.1 else c for c in cells)
        if kind == "json":
            more = pick.choice((b"", b"", b',"id":"a"', b',"id":1.50', b',"x":[]', b',"id":[]'))
            return b'{"label":%b,"features":%b%b}' % (label, self.features(n), more)
        head = [label]
        if pick.random() < 0.2:
            head.append(self.number())
        if pick.random() < 0.2:
            head.append(pick.choice((b"'tag", b"tag")))
        sections = b""
        for _ in range(pick.choice((1, 1, 1, 2, 3))):
            space = pick.choice((b"", b"n", b"name", b"n:2", b"n:%b" % self.number()))
            words = [
                self.name() if pick.random() < 0.5 else b"%b:%b" % (self.name(), self.number())
                for _ in range(n)
            ]
            sections += b"|" + self.joined([space, *words]) + pick.choice((b"", b" "))
        return b" ".join(head) + pick.choice((b" ", b" ", b" ", b"")) + sections

    def cell(self) -> bytes:
        pick = self.random
        if pick.random() < 0.1:
            return pick.choice((b"free prize", b"Ann", b" spam ", b"2026-11-28", b"true"))
        return self.number() if pick.random() < 0.8 else b""

    def features(self, n: int) -> bytes:
        """A JSON value: names, a text or fields."""
        pick = self.random
        names = [self.name().decode("latin-1") for _ in range(n)]
        if pick.random() < 0.1:
            return json.dumps(" ".join(names)).encode()
        if pick.random() < 0.5:
            return json.dumps(names, ensure_ascii=False).encode()
        values: tuple[Any, ...] = (
            1, 0, 2.5, True, None, "word", "Two words!", names[:2], "2026-11-28", 1e-60, 2**70,
            1e60, {}, [1, True],
        )  # fmt: skip
        good = values[:-3] if pick.random() < 0.9 else values
        fields = {name: pick.choice(good) for name in (*names[:3], "a", "b")}
        return json.dumps(fields, ensure_ascii=False).encode()

    def joined(self, words: list[bytes]) -> bytes:
        gap = self.random.choice((b" ", b" ", b" ", b"  ", b"\t", b" \x0b"))
        return gap.join(words)

    def name(self) -> bytes:
        pick = self.random
        length = pick.choice((1, 2, 5, 6, 7, 8, 15, 16, 17, 31, 32, 33, 70))
        if pick.random() < 0.2:
            return bytes(pick.choice(b"a\x80\xff\x00'^=-!~") for _ in range(length))
        return b"%0*d" % (length, pick.randrange(1000))

    def word(self) -> bytes:
        pick = self.random
        if pick.random() < 0.02:
            return pick.choice(("Größe", "İ", "ǅ", "\xa0", "٣", "\x1c")).encode()
        return pick.choice(
            (b"free", b"Free", b"a", b"B_2", b"x" * 40, b"a-b", b"7", b"!!", b"FREE")
        )

    def number(self) -> bytes:
        pick = self.random
        if pick.random() < 0.05:
            return pick.choice((
                b"nan", b"inf", b"1_0", b".", b"-.", b"01.0.", b"1e", b"0x1", b"", b"-", b"1e51",
                b"1e999", b"-1e51", b"+-1", b"1e+", b"\xd9\xa3", b".e1",
            ))  # fmt: skip
        return pick.choice((
            b"1", b"0", b"2", b"-1", b"+3", b"0.5", b"-0", b"1e3", b"2.50", b"1e-50", b"9e-51",
            b".5", b"5.", b"-.25e1", b"007", b"1.e2",
            b"1E50", b"1e-400", b"0e999", b"%d" % pick.randrange(10**pick.choice((3, 17, 19, 25))),
            repr(pick.uniform(-9, 9)).encode(), b"%.6f" % pick.uniform(-9, 9),
            b"%de%d" % (pick.randrange(10**9), pick.randrange(-70, 50)),
        ))  # fmt: skip


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("seed", range(3))
def test_lines_that_are_nearly_right(native: Kernel, kind: str, seed: int) -> None:
    writer = Writer(seed)
    faults = samples = 0
    rounds = 500 * ROUNDS
    for i in range(rounds):
        skip_bad, labels = i % 5 == 0, LABELS[i % 7 if i % 7 < len(LABELS) else 0]
        found = agree(
            native, kind, writer.block(kind), LIMITS[(0, 0, 0, 1, 2)[i % 5]], ROOMS[i % len(ROOMS)],
            skip_bad, labels, ids=i % 2 == 0, text=TEXTS[i % 11 % len(TEXTS)], keeps=i % 3 == 0,
        )  # fmt: skip
        samples += sum(len(step[0]) for step in found)
        faults += sum(step[-1] is not None for step in found)
    assert min(faults, samples) > rounds / 20  # neither side of the border is left out


@pytest.mark.parametrize("kind", PARSERS)
def test_a_block_cut_at_every_byte(native: Kernel, kind: str) -> None:
    writer = Writer(99)
    for _ in range(3):
        block = (writer.block(kind) + writer.block(kind))[:300]
        for end in range(len(block)):
            agree(native, kind, block[:end])


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("svmlight", b"1 qid:1 a:1 # b\n"),
        ("vw", b"1 2 't|n:2 a b:1 | c\n"),
        ("text", b" 1\tA b,a\n"),
        ("fasttext", b" __label__1 A b,a\n"),
    ],
)
def test_every_byte_in_every_place_of_a_line(native: Kernel, kind: str, line: bytes) -> None:
    for at in range(len(line)):
        for byte in range(256):
            block = line[:at] + bytes([byte]) + line[at + 1 :]
            agree(
                native, kind, block, TIGHT, labels=LABELS[byte % 2], ids=byte % 3 == 0,
                text=TEXTS[byte % 5 % len(TEXTS)], keeps=byte % 7 == 0,
            )  # fmt: skip


@pytest.mark.parametrize("kind", PARSERS)
def test_words_across_every_place_of_the_64_bytes_walked_at_once(native: Kernel, kind: str) -> None:
    for pad in range(140):
        space = b" " * pad
        line = {
            "svmlight": b"1" + space + b" ab:1 c:2.5 # d\n-1 e:1\n",
            "vw": b"1 " + space + b"|n a bc:2 |m:2" + space + b" d\n-1 | e\n",
            "text": b"1\t" + space + b"Ab c\n-1\te\n",
            "fasttext": b"__label__1" + space + b" Ab c\n__label__-1 e\n",
            "csv": b"1," + space + b"1,2,x,3\n-1,,,,5\n",
            "json": b'{"label":1,"features":["a",'
            + space
            + b'"b"]}\n{"label":1,"features":["e"]}\n',
        }[kind]
        (found,) = agree(native, kind, line)
        assert len(found[0]) == 2
        assert found[6][-1] == (b"c" if kind == "csv" else b"e")


def test_common_lines_are_read_without_the_python_parser(native: Kernel) -> None:
    assert read_by(native, "svmlight", b"1 qid:3 5:0.25 a:1 # x\n\n-1\n+1 b:-3e-7\r\n# c\n0 b:0\n")
    assert read_by(native, "vw", b"1 | a b\n-1 2.5 'tag|n:3 a:1 b |m c\n\n1.0 tag| a:0\n+1 |f\n")
    assert read_by(native, "text", b"1\tFree, PRIZE! a_b\n-1\t\n 0 \ta\tb\r\n")
    assert read_by(native, "text", b"spam\ta\nham\tb\n", positive=["spam"])
    assert read_by(native, "svmlight", b"3 a:1\n-2.0 b:1\n", positive=[">0"])
    assert read_by(native, "svmlight", b"a:1\n??\n", labelled=False)
    assert read_by(native, "vw", b"| a\nham | b\n", labelled=False)
    assert read_by(
        native, "fasttext", b"__label__1 Free, PRIZE!\n  __label__-1\tx_y\r\n__label__0\n"
    )
    assert read_by(native, "fasttext", b"free prize\n__label__spam a_\n", labelled=False)
    assert read_by(native, "svmlight", b"1. a:.5 b:5. c:-.5e3 d:007\n")
    assert not read_by(native, "fasttext", b"__label__1 a __label__2\n")
    assert not read_by(native, "text", "1\tGröße\n".encode())
    assert not read_by(native, "svmlight", b"1 a\n")
    assert read_by(native, "text", "1\tGröße\r\n".encode(), TextOptions())
    assert read_by(native, "fasttext", "__label__1 Größe\n".encode(), TextOptions())


def test_tags_are_the_bytes_that_were_sent(native: Kernel) -> None:
    parser = VWParser(Labels(labelled=False), PLAIN, ids=True)
    block = b"1 'a\xff| x\n| y\n1 2 tag| z\n\n1 't | x:nan_\n1 '\xc3|f " + b"1 'last| a"
    for kernel in (native, kernels.load("python")):
        parsed = kernel.parse_block(parser, block, 0, AMPLE, skip_bad=True)
        assert parsed.ids == [b"a\xff", b"", b"tag", b"\xc3"]
        assert (parsed.lines, list(parsed.skipped)) == (6, [3])
        assert parsed.first_fault is not None
        assert parsed.first_fault[0] == 5


def test_wide_lines_and_limits(native: Kernel) -> None:
    for count in (65_535, 65_536, 65_537):
        names = b" ".join(b"%d:1" % i for i in range(count))
        for kind, line in (
            ("svmlight", b"1 " + names), ("vw", b"1 |" + b" a" * count),
            ("vw", b"1 |n" + b" a" * count), ("text", b"1\t" + names.replace(b":1", b"")),
            ("text", b"1\t" + b"a " * count),
        ):  # fmt: skip
            (found,) = agree(native, kind, line + b"\n")
            assert (found[-1] is not None) == (count > 65_536 and not line.endswith(b"a a "))
    for length in (4_093, 4_094, 4_095, 4_096, 4_097):
        for kind, line in (
            ("svmlight", b"1 %b:1"), ("vw", b"1 | %b"), ("vw", b"1 |n %b"), ("text", b"1\t%b"),
        ):  # fmt: skip
            agree(native, kind, line % (b"x" * length) + b"\n")


def test_arguments_out_of_range(native: Kernel) -> None:
    parser = SvmlightParser(Labels(), PLAIN)
    with pytest.raises(ValueError, match="expected an offset up to 6, got 7"):
        native.parse_block(parser, b"1 a:1\n", 7, AMPLE)
    with pytest.raises(TypeError):
        native.parse_block(parser, memoryview(b"1 a:1\n"), 0, AMPLE)  # type: ignore[arg-type]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_memory_does_not_grow(native: Kernel) -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    writer = Writer(5)
    blocks = {kind: b"\n".join(writer.block(kind) for _ in range(40)) for kind in PARSERS}

    def turn() -> None:
        for kind, block in blocks.items():
            parser = PARSERS[kind](Labels(positive=["1"]), PLAIN)
            for batch, *_ in (
                native.parse_block(parser, block, 0, AMPLE),
                native.parse_block(parser, block, 0, AMPLE, skip_bad=True),
            ):
                assert len(batch.names) == len(batch.values)

    for _ in range(20):
        turn()
    gc.collect()
    before = resident_bytes()
    for _ in range(200):
        turn()
    gc.collect()
    assert resident_bytes() - before < 2 * 2**20  # batches that leak take more


# Numbers --------------------------------------------------------------------------------------


def values_agree(native: Kernel, numbers: list[str]) -> list[float]:
    """The values of `numbers`, as features, read by both kernels."""
    block = b"".join(b"1 a:%b\n" % number.encode() for number in numbers)
    return [
        float.fromhex(x)
        for x in agree(native, "svmlight", block, room=Room(10**6, 10**6, 10**7))[0][7]
    ]


def plain(number: float | Fraction) -> str:
    """All digits of a binary fraction."""
    fraction = Fraction(number)
    return f"{Decimal(fraction.numerator) / Decimal(fraction.denominator):f}"


def hard_numbers(pick: random.Random) -> list[str]:
    value = np.ldexp(pick.getrandbits(53) | 2**52, pick.randrange(-100, 60))
    middle = (Fraction(value) + Fraction(np.nextafter(value, np.inf))) / 2
    whole = pick.getrandbits(64)
    tie = f"{(2**53 + 2 * pick.getrandbits(52) + 1) * 2 ** pick.randrange(3)}"
    found = [
        repr(float(value)),
        f"{value:.17e}",
        f"{value:.18e}",
        f"{value:.25e}",
        f"{value:.40e}",
        tie,
    ]
    found += [f"{whole}e{pick.randrange(-70, 30)}", f"{whole / 10**19:.19f}"]
    found += [
        f"{tie}e{pick.randrange(-5, 24)}",
        f"{tie}.000",
        f"{tie}00e-2",
        f"{tie}.0000000000000000001",
    ]
    # A tie, and what lies just beside it, in all its digits and in the first of them.
    digits = f"{Decimal(middle.numerator) / Decimal(middle.denominator):.200e}"
    mantissa, _, exponent = digits.partition("e")
    mantissa = mantissa.rstrip("0") + "0"
    found += [
        f"{mantissa[:n]}e{exponent}" for n in (19, 20, 21, 22, 30) if not mantissa[:n].endswith(".")
    ]
    found += [f"{mantissa}e{exponent}", f"{mantissa}1e{exponent}", f"-{mantissa}1E{exponent}"]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_numbers_round_as_in_python(native: Kernel, seed: int) -> None:
    pick = random.Random(seed)
    with localcontext() as context:
        context.prec = 400
        numbers = [text for _ in range(400 * ROUNDS) for text in hard_numbers(pick)]
    numbers = [text for text in numbers if 1e-50 <= abs(float(text)) <= 1e50]
    assert len(numbers) > 4000
    values = values_agree(native, numbers)
    assert values == [float(text) for text in numbers]


def test_numbers_at_the_borders(native: Kernel) -> None:
    numbers = [
        f"{digits}e{q}"
        for digits in (
            "1",
            "9007199254740993",
            "0.1",
            "123456789012345678901",
            "18446744073709551615",
        )
        for q in range(-130, 131)
    ]
    numbers += [
        "1e50",
        "1.0000000000000000000000001e50",
        "100000000000000007629769841091887003294964970946560",
        "1" + "0" * 50,
        "1" + "0" * 51,
    ]
    numbers += [
        "1e-50",
        "0." + "0" * 49 + "1",
        "0." + "0" * 50 + "1",
        "9.99999999999999999999999e-51",
        "5e-324",
        "2.4e-324",
        "1e-999999999999999999999",
        "0e99999999999999999999999",
    ]
    numbers += (
        ["0." + "0" * n + "1" * 25 for n in range(60)]
        + ["1" * n for n in range(1, 60)]
        + ["1." + "1" * n for n in range(1, 60)]
    )
    numbers += [
        "1" + "0" * 400 + "e-400",
        "0." + "0" * 400 + "1e401",
        "-0",
        "+0.0",
        "-0e5",
        "+7",
        "00",
        "-01",
        "1.",
        ".1",
        "1e",
        "1e+",
        "e1",
        "+",
        "--1",
        "1.e1",
        "1.0.0",
        "1e1e1",
        "0x10",
        "1_000",
        "٣",
        "nan",
        "inf",
        "-inf",
    ]
    block = b"".join(b"1 a:%b\n" % number.encode() for number in numbers)
    for labels in LABELS:
        agree(native, "svmlight", block, labels=labels)
        agree(
            native,
            "svmlight",
            b"".join(number.encode() + b" a:1\n" for number in numbers),
            labels=labels,
        )
        agree(
            native,
            "vw",
            b"".join(
                b"1 %b | a\n1 |n:%b a:1e25 b\n" % (2 * (number.encode(),)) for number in numbers
            ),
            labels=labels,
        )


@settings(max_examples=300)
@given(st.from_regex(r"[+-]?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_any_number(native: Kernel, text: str) -> None:
    agree(native, "svmlight", b"1 a:%b\n" % text.encode())


# Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PARSERS)
def test_files_in_blocks_of_every_size(native: Kernel, tmp_path: Path, kind: str) -> None:
    """The same batches of both kernels, and the same model."""
    writer, path = Writer(7), tmp_path / "input"
    header = b"y,a,b,id,c\n" if kind == "csv" else b""
    blocks = [writer.block(kind).removesuffix(b"\n") + b"\n" for _ in range(40)]
    path.write_bytes(header + b"".join(blocks))
    expected = None
    for block_bytes in (1, 7, 64, 100, 1000, 2**20):
        found = []
        for name in ("native", "python"):
            model, ends = OnlineSVM(kernel=name, positive=("1",)), []
            with Reader(
                path,
                format=kind,
                label_column="y" if kind == "csv" else None,
                skip_bad=True,
                batch_samples=5,
                kernel=name,
                extractor=model.extractor,
                _block_bytes=block_bytes,
            ) as reader:
                for batch in reader:
                    model.learn_batch(batch)
                    ends.append((model.position, reader.lines, reader.skipped))
            found.append((ends, reader.lines, reader.skipped, model.snapshot().digest()))
        assert found[0] == found[1]
        expected = expected or found[0][1:]
        assert found[0][1:] == expected


def test_a_bad_line_far_into_a_file(native: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"1 a:1 b:2\n" * 100_000 + b"1 a:b\n" + b"1 a:1\n" * 10)
    for name, ahead in (("native", False), ("python", False), ("native", True), ("python", True)):
        with Reader(path, kernel=name, ahead=ahead) as reader:
            samples = 0
            with pytest.raises(FormatError) as caught:
                for batch in reader:
                    samples += len(batch)
                    assert samples == reader.samples == reader.lines or samples == 100_000
        assert samples == 100_000
        assert caught.value.line == reader.lines == 100_001
        assert caught.value.message == (
            'expected a number, got "b" in "a:b" (read as svmlight; --format names another)'
        )


def test_a_reader_that_is_closed_early_leaves_no_thread(native: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"1 a:1 b:2\n" * 100_000)
    before = threading.active_count()
    with Reader(path, kernel="native", ahead=True) as reader:
        assert len(next(iter(reader))) == 1024
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert list(reader) == []
