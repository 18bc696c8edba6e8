"""One line, one sample: every format, every fault."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.config import Limits
from onlinesvm.data.label import label_of
from onlinesvm.errors import format_text
from onlinesvm.readers.csv import CSVParser, Header
from onlinesvm.readers.fasttext import FastTextParser
from onlinesvm.readers.jsonl import JSONParser, Keys
from onlinesvm.readers.labelled_text import TextParser
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import Row
from onlinesvm.readers.svmlight import SvmlightParser
from onlinesvm.readers.tokens import LineError
from onlinesvm.readers.vw import VWParser
from onlinesvm.text.tokenize import tokens

HEADER = Header((None, b"a", b"b", b"c"), label=0, id=None, delimiter=",")
PARSERS: dict[str, Callable[..., Any]] = {
    "svmlight": SvmlightParser,
    "vw": VWParser,
    "json": JSONParser,
    "text": TextParser,
    "fasttext": FastTextParser,
    "csv": lambda labels, limits, **options: CSVParser(labels, limits, HEADER, **options),
}
LIMITS = Limits(max_features_per_sample=4, max_name_bytes=8)


def parse(
    kind: str,
    line: bytes,
    *,
    positive: tuple[str, ...] = (),
    labelled: bool = True,
    limits: Limits = LIMITS,
) -> Any:
    row = PARSERS[kind](Labels(positive, labelled=labelled), limits).parse(line)
    return row and (row[0] and row[0].text, row[1], list(zip(row[2], row[3], strict=True)))


# Round trips ----------------------------------------------------------------------------------

LABELS = st.sampled_from([1, -1])
VALUES = st.one_of(
    st.just(1.0),
    st.floats(-1e50, 1e50),
    st.sampled_from([0.0, -0.0, 1e-50, -1e-50, 1e-51, 1e50, -1e50]),
)
IMPORTANCES = st.floats(0, 1e50)


def names_without(forbidden: bytes) -> st.SearchStrategy[bytes]:
    return (
        st.binary(min_size=1, max_size=8)
        .map(lambda name: name.translate(None, forbidden + b" \t\n\r\x0b\x0c"))
        .filter(bool)
    )


def samples(names: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[tuple[bytes, float]]]:
    return st.lists(st.tuples(names, VALUES), max_size=8)


def written(value: float, draw: Any) -> bytes:
    forms = [repr(value), f"{value:.17e}"] + ["+" + repr(value)] * (value > 0)
    forms += ["1"] * (value == 1)
    return str(draw(st.sampled_from(forms))).encode()


def read_as(importance: float) -> float:
    return importance if importance >= 1e-50 else 0.0


def kept(features: list[tuple[bytes, float]]) -> list[tuple[bytes, float]]:
    return [(name, value) for name, value in features if abs(value) >= 1e-50]


SPACES = st.sampled_from([b" ", b"  ", b"\t", b" \t "])


@given(LABELS, samples(names_without(b":#").filter(lambda name: name != b"qid")), st.data())
def test_svmlight_round_trip(label: int, features: Any, data: Any) -> None:
    line = b"%+d" % label
    for name, value in features:
        line += data.draw(SPACES) + name + b":" + written(value, data.draw)
    line += data.draw(st.sampled_from([b"", b" ", b" # 3:4", b"#x", b" qid:3"]))
    assert parse("svmlight", line, limits=Limits()) == (b"%d" % label, 1.0, kept(features))
    if features:
        unlabelled = parse("svmlight", line[2:], labelled=False, limits=Limits())
        assert unlabelled == (None, 1.0, kept(features))


@given(LABELS, IMPORTANCES, samples(names_without(b":|")), st.data())
def test_vw_round_trip(label: int, importance: float, features: Any, data: Any) -> None:
    line = b"%d %r " % (label, importance)
    line += data.draw(st.sampled_from([b"", b"tag", b"'tag ", b"'tag"]))
    expected = []
    for name, value in features:
        namespace = data.draw(st.none() | names_without(b":|"))
        line += b"|" + (namespace or b"") + data.draw(SPACES) + name
        if value != 1 or data.draw(st.booleans()):
            line += b":" + written(value, data.draw)
        line += data.draw(SPACES | st.just(b""))
        expected.append((namespace + b"^" + name if namespace else name, value))
    line += b"" if features else b"|"
    assert parse("vw", line, limits=Limits()) == (
        b"%d" % label,
        read_as(importance),
        kept(expected),
    )


@given(LABELS, IMPORTANCES, samples(st.binary(max_size=8)), st.booleans(), st.data())
def test_json_round_trip(
    label: int, importance: float, features: Any, ascii_only: bool, data: Any
) -> None:
    def shown(value: object) -> str:
        return json.dumps(value, ensure_ascii=ascii_only)

    pairs = [
        f"{shown(name.decode('utf-8', 'surrogateescape'))}:{value!r}" for name, value in features
    ]
    parts = [f'"label": {label!r}', f'"features": {{{", ".join(pairs)}}}']
    if importance != 1 or data.draw(st.booleans()):
        parts.append(f'"importance": {importance!r}')
    line = f" {{{', '.join(data.draw(st.permutations(parts)))}}} "
    row = parse("json", line.encode("utf-8", "surrogateescape"), limits=Limits())
    assert row == (b"%d" % label, read_as(importance), kept(features))


@given(LABELS, st.lists(st.text() | st.integers(-(2**63), 2**64 - 1), max_size=8))
def test_json_names_round_trip(label: int, names: list[str | int]) -> None:
    line = json.dumps({"label": label, "features": names})
    expected = [(str(name).encode(), 1.0) for name in names]
    assert parse("json", line.encode(), limits=Limits()) == (b"%d" % label, 1.0, expected)


@given(LABELS, st.text())
def test_text_round_trip(label: int, text: str) -> None:
    expected = [(token.encode(), 1.0) for token in tokens(text)]
    line = b"%d\t%s" % (label, text.encode())
    assert parse("text", line, limits=Limits()) == (b"%d" % label, 1.0, expected)
    if "\t" not in text:
        row = parse("text", text.encode(), labelled=False, limits=Limits())
        assert row == (None, 1.0, expected)


# The meaning of lines -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "line", "expected"),
    [
        ("svmlight", b"+1", (b"1", 1.0, [])),
        ("svmlight", b" 1  a:1 a:2 ", (b"1", 1.0, [(b"a", 1.0), (b"a", 2.0)])),
        ("svmlight", b"0 01:1", (b"0", 1.0, [(b"01", 1.0)])),
        ("svmlight", b"1 qid:7 2:1 #3:1", (b"1", 1.0, [(b"2", 1.0)])),
        ("svmlight", b"1 xqid:7", (b"1", 1.0, [(b"xqid", 7.0)])),
        ("svmlight", b"1. a:.5 b:5. c:-.5e1 d:+007",
         (b"1", 1.0, [(b"a", 0.5), (b"b", 5.0), (b"c", -5.0), (b"d", 7.0)])),
        ("vw", b"1. .5 |n:5. a:.5", (b"1", 0.5, [(b"n^a", 2.5)])),
        ("csv", b"1.,.5,5.,", (b"1", 1.0, [(b"a", 0.5), (b"b", 5.0)])),
        ("csv", b'"1", 2 ,"0","3"', (b"1", 1.0, [(b"a", 2.0), (b"c", 3.0)])),
        ("csv", b"0,,,", (b"0", 1.0, [])),
        ("svmlight", b"1 a:0 b:1e-51 c:-0.0 d:1", (b"1", 1.0, [(b"d", 1.0)])),
        ("svmlight", b"1 a:1 b:1 c:1 qid:1 d:1 qid:2 ", (b"1", 1.0, [(c, 1.0) for c in
         (b"a", b"b", b"c", b"d")])),
        ("svmlight", b"# a comment", None),
        ("svmlight", b"#", None),
        ("vw", b"1 | a b", (b"1", 1.0, [(b"a", 1.0), (b"b", 1.0)])),
        ("vw", b"1 |n a |m a", (b"1", 1.0, [(b"n^a", 1.0), (b"m^a", 1.0)])),
        ("vw", b"1 |n a|m b", (b"1", 1.0, [(b"n^a", 1.0), (b"m^b", 1.0)])),
        ("vw", b"1 | a|m b | c", (b"1", 1.0, [(b"a", 1.0), (b"m^b", 1.0), (b"c", 1.0)])),
        ("vw", b"1 ||n a||", (b"1", 1.0, [(b"n^a", 1.0)])),
        ("vw", b"1 |", (b"1", 1.0, [])),
        ("vw", b"1 |n", (b"1", 1.0, [])),
        ("vw", b"1\t|n a", (b"1", 1.0, [(b"n^a", 1.0)])),
        ("vw", b"1 |n:2 a b:3 |m c:3", (b"1", 1.0, [(b"n^a", 2.0), (b"n^b", 6.0), (b"m^c", 3.0)])),
        ("vw", b"1 |n:0 a b:3", (b"1", 1.0, [])),
        ("vw", b"1 |n:1e-30 a b:1e-30", (b"1", 1.0, [(b"n^a", 1e-30)])),
        ("vw", b"1 |n:-1e30 a:1e20", (b"1", 1.0, [(b"n^a", -1e50)])),
        ("vw", b"0 2.5 | a", (b"0", 2.5, [(b"a", 1.0)])),
        ("vw", b"1 2 tag| a", (b"1", 2.0, [(b"a", 1.0)])),
        ("vw", b"1 2 'tag | a", (b"1", 2.0, [(b"a", 1.0)])),
        ("vw", b"1 'tag | a", (b"1", 1.0, [(b"a", 1.0)])),
        ("vw", b"1 2| a", (b"1", 1.0, [(b"a", 1.0)])),
        ("vw", b"1 |n a b c d", (b"1", 1.0, [(b"n^" + c, 1.0) for c in (b"a", b"b", b"c", b"d")])),
        ("json", b'{"label":1,"features":[]}', (b"1", 1.0, [])),
        ("json", b'{"label":"+1","features":{}}', (b"1", 1.0, [])),
        ("json", b'{"label":0,"features":["a",5,"5",-3]}',
         (b"0", 1.0, [(b"a", 1.0), (b"5", 1.0), (b"5", 1.0), (b"-3", 1.0)])),
        ("json", b'{"label":1,"features":{"a":1,"a":2.5,"b":0,"":3}}',
         (b"1", 1.0, [(b"a", 1.0), (b"a", 2.5), (b"", 3.0)])),
        ("json", b'{"label":1.0,"features":["\\udcff"],"importance":0}',
         (b"1", 0.0, [(b"\xff", 1.0)])),
        ("json", b'{"label":1,"features":["\xff"]}', (b"1", 1.0, [(b"\xff", 1.0)])),
        ("json", b'{"label":1,"features":{"a":2},"more":[NaN, {}],"x":1,"x":2}',
         (b"1", 1.0, [(b"a", 2.0)])),
        ("fasttext", b"__label__1 Free free prize", (b"1", 1.0, [(b"free", 1.0), (b"prize", 1.0)])),
        ("fasttext", b" __label__-1\ta", (b"-1", 1.0, [(b"a", 1.0)])),
        ("fasttext", b"__label__0", (b"0", 1.0, [])),
        ("fasttext", b"__label__1 a __labe__ ", (b"1", 1.0, [(b"a", 1.0), (b"__labe__", 1.0)])),
        ("text", b"1\tFree free prize", (b"1", 1.0, [(b"free", 1.0), (b"prize", 1.0)])),
        ("text", b" 1 \ta\tb", (b"1", 1.0, [(b"a", 1.0), (b"b", 1.0)])),
        ("text", b"1\t", (b"1", 1.0, [])),
        ("text", b"1\ta\xffb", (b"1", 1.0, [(b"a", 1.0), (b"b", 1.0)])),
        ("text", "1\tGrö".encode(), (b"1", 1.0, [("grö".encode(), 1.0)])),
    ],
)  # fmt: skip
def test_samples(kind: str, line: bytes, expected: object) -> None:
    assert parse(kind, line) == expected


@pytest.mark.parametrize(
    ("kind", "line", "label"),
    [
        ("svmlight", b"a:1", None),
        ("svmlight", b"1 a:1", b"1"),
        ("svmlight", b"spam a:1", b"spam"),
        ("vw", b"| a", None),
        ("vw", b"tag| a", None),
        ("vw", b"0 | a", b"0"),
        ("vw", b"3.5 | a", None),
        ("json", b'{"features":["a"]}', None),
        ("json", b'{"features":["a"],"label":-1}', b"-1"),
        ("json", b'{"features":["a"],"label":null}', None),
        ("json", b'{"features":["a"],"label":true}', b"1"),
        ("json", b'{"features":["a"],"label":[1]}', None),
        ("json", b'{"features":["a"],"label":"spam"}', b"spam"),
        ("json", b'{"features":["a"],"label":NaN}', None),
        ("json", b'{"features":["a"],"label":-Infinity}', None),
        ("json", b'{"features":["a"],"label":1.5}', None),
        ("json", b'{"features":["a"],"label":"\\ud800"}', None),
        ("json", b'{"features":["a"],"label":' + b"9" * 5000 + b"}", None),
        ("svmlight", b"nan a:1", b"nan"),
        ("svmlight", b"1,2 a:1", b"1,2"),
        ("vw", b"nan | a", b"nan"),
        ("vw", b"0x1 | a", b"0x1"),
        ("fasttext", b"a", None),
        ("fasttext", b"__label__spam a", b"spam"),
        ("fasttext", b"__label__1 __label__2 a", None),
        ("fasttext", b"a __label__1", None),
        ("fasttext", b"__label__ a", None),
        ("csv", b"nan,1,,", b"nan"),
        ("csv", b",1,,", None),
        ("csv", b"1,1,,", b"1"),
        ("text", b"a", None),
        ("text", b"\ta", None),
        ("text", b"spam\ta", b"spam"),
        ("text", b"1\ta", b"1"),
    ],
)
def test_labels_to_predict_are_optional(kind: str, line: bytes, label: bytes | None) -> None:
    row = parse(kind, line, labelled=False)
    assert row == (label, 1.0, [(b"a", 1.0)])


@pytest.mark.parametrize(
    ("written", "label"),
    [('"7"', b"7"), ("7", b"7"), ("7.0", b"7"), ("1e2", b"100"), ('"1e2"', b"100"), ("true", b"1")],
)
def test_json_labels_are_compared_by_their_text(written: str, label: bytes) -> None:
    line = f'{{"features":{{"label":7}},"label":{written}}}'.encode()
    assert parse("json", line)[0] == label


def test_json_number_labels_above_zero() -> None:
    for written, label in (("3", b"3"), ("1e999", b"1"), ("-0.5", b"-1"), ('"2"', b"2")):
        line = f'{{"features":[],"label":{written}}}'.encode()
        assert parse("json", line, positive=(">0",))[0] == label


# Faults ---------------------------------------------------------------------------------------

NAME = "expected at most 8 bytes a feature name, got 9"
MANY = "expected at most 4 features a sample, got {}"
LARGE = "expected a number of magnitude at most 1e+50, got {}"
IMPORTANCE = "expected an importance from 0 to 1e+50, got {}"
SIGN = " (--positive '>0' reads numbers by their sign)"
LABEL = "expected a label as text, integer or boolean, got {}" + SIGN


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"2.5 a:1", LABEL.format('"2.5"')),
        (b"a:1", 'expected a label before the features, got "a:1"'),
        (b"1 abc", 'expected id:value, got "abc"'),
        (b"1 :5", 'expected id:value, got ":5"'),
        (b"1 a:", 'expected id:value, got "a:"'),
        (b"1 a:x", 'expected a number, got "x" in "a:x"'),
        (b"1 a:1:2", 'expected a number, got "1:2" in "a:1:2"'),
        (b"1 a:nan", 'expected a number, got "nan" in "a:nan"'),
        (b"1 a:inf", 'expected a number, got "inf" in "a:inf"'),
        (b"1 a:0x10", 'expected a number, got "0x10" in "a:0x10"'),
        (b"1 a:.", 'expected a number, got "." in "a:."'),
        (b"1 a:1_0", 'expected a number, got "1_0" in "a:1_0"'),
        (b"1 a:1e51", LARGE.format('"1e51" in "a:1e51"')),
        (b"1 a:-1e999", LARGE.format('"-1e999" in "a:-1e999"')),
        (b"1 123456789:1", NAME),
        (b"1 123456789:2", NAME),
        (b"1 a:1 b:1 c:1 d:1 e:1 f:1", MANY.format(6)),
        (b"1 a:1 b:1 c:1 d:1 e:1 qid:1", MANY.format(5)),
        (b"1 a:1 b:1 c:1 d:0 e:2", MANY.format(5)),
        # In reading order.
        (b"1.5 y", LABEL.format('"1.5"')),
        (b"1 a:x b c:1 d:1 e:1", 'expected a number, got "x" in "a:x"'),
        (b"1 123456789:1 b", NAME),
        (b"1 b 123456789:1", 'expected id:value, got "b"'),
        (b"1 a:1 b:1 c:1 d:1 e f", MANY.format(6)),
    ],
)
def test_svmlight_faults(line: bytes, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse("svmlight", line)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1 a b", 'expected "|" before the features, got "1 a b"'),
        (b"| a", 'expected a label before "|", got none'),
        (b"1| a", 'expected a label before "|", got only the tag "1" (a word touching the bar)'),
        (b".5 | a", LABEL.format('".5"')),
        (b"1 -1 | a", IMPORTANCE.format('"-1"')),
        (b"1 x | a", IMPORTANCE.format('"x"')),
        (
            b"1 2 0.5 | a",
            'expected at most a label, an importance and a tag before "|" (a base is not'
            ' supported), got "0.5"',
        ),
        (b"1 |:2 a", 'expected namespace or namespace:weight after "|", got ":2"'),
        (b"1 |n: a", 'expected namespace or namespace:weight after "|", got "n:"'),
        (b"1 |n:x a", 'expected a number, got "x" in "n:x"'),
        (b"1 |n:1e51 a", LARGE.format('"1e51" in "n:1e51"')),
        (b"1 | a:", 'expected name or name:value, got "a:"'),
        (b"1 | :3", 'expected name or name:value, got ":3"'),
        (b"1 | a:paris", 'expected a number, got "paris" in "a:paris"'),
        (b"1 | a:1:2", 'expected a number, got "1:2" in "a:1:2"'),
        (b"1 | a:1e51", LARGE.format('"1e51" in "a:1e51"')),
        (
            b"1 |n:1e30 a:-1e21",
            "expected a number of magnitude at most 1e+50 after the namespace's weight,"
            ' got -1e+51 in "a:-1e21"',
        ),
        (b"1 | 123456789", NAME),
        (b"1 | 123456789:1", NAME),
        (b"1 |n 1234567", NAME),
        (b"1 |n a |m 1234567:2", NAME),
        (b"1 | a b c d e", MANY.format(5)),
        (b"1 |n a b |m c d e f |", MANY.format(6)),
        (b"1 |n a b |m c d |k e |x:2 f:0", MANY.format(6)),
        (b"1 |n a b c d e", MANY.format(5)),
        (b"1 | a: b c d e", 'expected name or name:value, got "a:"'),
        (b"1 | a b c d :", MANY.format(5)),
    ],
)
def test_vw_faults(line: bytes, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse("vw", line)
    assert str(caught.value) == message


ARRAY = "its elements are made lines by: jq -c '.[]' FILE"
OPEN = (
    "expected one JSON object a line, got one that does not end on its line (objects over several"
    " lines are made lines by: jq -c . FILE)"
)


def features(text: str) -> bytes:
    return b'{"label":1,"features":%s}' % text.encode()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1]", f"expected one JSON object, got an array ({ARRAY})"),
        (b"[", f"expected one JSON object a line, got the start of an array ({ARRAY})"),
        (
            b'[{"label":1,"features":[]},',
            f"expected one JSON object a line, got the start of an array ({ARRAY})",
        ),
        (b"{", OPEN),
        (b'{"label": 1,', OPEN),
        (b'{"label": "sp', OPEN),
        (b"5", "expected one JSON object, got 5"),
        (b'"a\xff"', 'expected one JSON object, got text "a\\xff"'),
        (b'{"features":[]}', 'expected a key "label" (--label-key names another), got "features"'),
        (
            b'{"label":1,"b":2,"c":3,"d":4,"e":5,"f":6}',
            'expected a key "features" (--features-key names another),'
            ' got "label", "b", "c", "d", "e", …',
        ),
        (b"{}", 'expected a key "label" (--label-key names another), got none'),
        (b'{"id":1,"id":2}', 'expected each key once, got text "id" twice'),
        (
            b'{"label":1,"label":1,"features":[]}',
            'expected each key once, got text "label" twice',
        ),
        (b'{"label":1.5,"features":[]}', LABEL.format("1.5")),
        (b'{"label":"1.5","features":[]}', LABEL.format('"1.5"')),
        (b'{"label":"","features":[]}', "expected a label, got none"),
        (b'{"label":null,"features":[]}', "expected a label as text, integer or boolean, got null"),
        (
            b'{"label":{},"features":[]}',
            "expected a label as text, integer or boolean, got an object",
        ),
        (
            features('"abc"'),
            "expected features as an array of names or an object from name to value,"
            ' got text "abc"',
        ),
        (
            features('["a", 1.5]'),
            'expected a feature name (text or an integer), got 1.5 at $["features"][1]',
        ),
        (
            features("[true]"),
            'expected a feature name (text or an integer), got true at $["features"][0]',
        ),
        (
            features('["a", "b", null]'),
            'expected a feature name (text or an integer), got null at $["features"][2]',
        ),
        (
            features("[[]]"),
            'expected a feature name (text or an integer), got an array at $["features"][0]',
        ),
        (
            features("[18446744073709551616]"),
            "expected an integer name from -2**63 to 2**64 - 1, got 18446744073709551616"
            ' at $["features"][0]',
        ),
        (
            features(f"[-{10**60}]"),
            "expected an integer name from -2**63 to 2**64 - 1, got an integer of 200 bits"
            ' at $["features"][0]',
        ),
        (features('{"a":true}'), 'expected a number, got true at $["features"]["a"]'),
        (features('{"a":"1"}'), 'expected a number, got text "1" at $["features"]["a"]'),
        (features('{"a":{}}'), 'expected a number, got an object at $["features"]["a"]'),
        (features('{"a":1e51}'), LARGE.format('1e+51 at $["features"]["a"]')),
        (features('{"a":1e999}'), LARGE.format('inf at $["features"]["a"]')),
        (
            features(f'{{"a":{10**51}}}'),
            LARGE.format('an integer of 170 bits at $["features"]["a"]'),
        ),
        (features('{"a":NaN}'), 'expected a finite number, got NaN at $["features"]["a"]'),
        (features('{"a":-Infinity}'), LARGE.format('-inf at $["features"]["a"]')),
        (b'{"label":NaN,"features":[]}', LABEL.format("nan")),
        (b'{"label":1,"features":[],"importance":NaN}', IMPORTANCE.format("nan")),
        (
            features('["\\ud800"]'),
            'expected text of Unicode characters, got a lone surrogate in text "\\ud800"',
        ),
        (features('["123456789"]'), NAME),
        (features('{"123456789":1}'), NAME),
        (features('["a","b","c","d","e"]'), MANY.format(5)),
        (features('{"a":1,"b":1,"c":1,"d":1,"e":0}'), MANY.format(5)),
        (b'{"label":1,"features":[],"importance":-1}', IMPORTANCE.format("-1")),
        (b'{"label":1,"features":[],"importance":1e51}', IMPORTANCE.format("1e+51")),
        (b'{"label":1,"features":[],"importance":true}', IMPORTANCE.format("true")),
        (b'{"label":1,"features":[],"importance":null}', IMPORTANCE.format("null")),
    ],
)
def test_json_faults(line: bytes, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse("json", line)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "line", [b'{"label":1,}', b'{"label":01}', b"{} {}", b'{"a":"\x01"}', b"\xff", b"{'a':1}"]
)
def test_json_syntax_faults_name_the_column(line: bytes) -> None:
    with pytest.raises(LineError, match=r"got a fault at column [0-9]+: "):
        parse("json", line)


def test_deeply_nested_json_is_a_line_error() -> None:
    for opening in (b"[", b'{"features":'):
        with pytest.raises(LineError, match="got one nested too deeply"):
            parse("json", opening * 200_000)


def test_an_integer_of_very_many_digits_is_a_line_error() -> None:
    digits = "9" * (sys.get_int_max_str_digits() + 1)
    with pytest.raises(LineError, match="magnitude at most 1e\\+50, got inf"):
        parse("json", features(f'{{"a":{digits}}}'))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"no tab", 'expected label<TAB>text, got "no tab"'),
        (b"\ttext", "expected a label, got none"),
        (b"0.1\ttext", LABEL.format('"0.1"')),
        (b"1\ta b c d e e", MANY.format(5)),
        (b"1\ta 123456789", NAME),
        ("1\tččččč".encode(), NAME.replace("got 9", "got 10")),
    ],
)
def test_text_faults(line: bytes, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse("text", line)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"a", 'expected __label__ and a label as the first word, got "a"'),
        (b"a __label__1", 'expected __label__ and a label as the first word, got "a __label__1"'),
        (b"__label__ a", "expected a label, got none"),
        (b"__label__0.1 a", LABEL.format('"0.1"')),
        (
            b"__label__1 a __label__2",
            'expected one label a line, got "__label__1" and "__label__2"',
        ),
        (b"__label__1 a b c d e", MANY.format(5)),
        (b"__label__1 123456789", NAME),
    ],
)
def test_fasttext_faults(line: bytes, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse("fasttext", line)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1,2", "expected 4 cells, as in the header, got 2"),
        (b"1,2,3,4,5", "expected 4 cells, as in the header, got 5"),
        (b",2,3,4", "expected a label, got none"),
        (b"0.1,2,3,4", LABEL.format('"0.1"')),
        (
            b"1,2,red,4",
            'expected a number, got "red" in the column "b" (data frames take text)',
        ),
        (
            b"1,2,nan,4",
            'expected a number, got "nan" in the column "b" (data frames take text)',
        ),
        (b"1,2,1e51,4", LARGE.format('"1e51" in the column "b"')),
        (
            b'1,"2,3,4',
            'expected cells separated by ",", each quote closed on its line, got a fault:'
            " unexpected end of data",
        ),
    ],
)
def test_csv_faults(line: bytes, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse("csv", line)
    assert str(caught.value) == message


def test_csv_counts_features_not_columns() -> None:
    header = Header((None, *(b"%d" % i for i in range(6))), 0, None, ",")
    parser = CSVParser(Labels(), LIMITS, header)
    assert parser.parse(b"1,1,,2,,3,4")[2] == [b"0", b"2", b"4", b"5"]
    with pytest.raises(LineError, match=MANY.format(5)):
        parser.parse(b"1,1,2,3,4,5,")


# Keys and ids ---------------------------------------------------------------------------------


def test_json_keys_are_renamed() -> None:
    keys = Keys(label="y", features="x", importance="w", id="name")
    line = b'{"y":1,"x":{"a":2},"w":3,"name":"n","label":"?","features":7}'
    assert JSONParser(Labels(), LIMITS, keys, ids=True).parse(line) == Row(
        label_of(1), 3.0, [b"a"], [2.0], b"n"
    )
    with pytest.raises(LineError, match=r'got true at \$\["x"\]\["a"\]'):
        JSONParser(Labels(), LIMITS, keys).parse(b'{"y":1,"x":{"a":true}}')


@pytest.mark.parametrize(
    ("kind", "line", "id"),
    [
        ("vw", b"1 'a\xff| a", b"a\xff"),
        ("vw", b"1 'a | a", b"a"),
        ("vw", b"1 2 tag| a", b"tag"),
        ("vw", b"tag| a", b"tag"),
        ("vw", b"1 ''| a", b"'"),
        ("vw", b"1 | a", b""),
        ("json", b'{"features":[],"id":"\xff\\udcfe"}', b"\xff\xfe"),
        ("json", b'{"features":[],"id":1.50}', b"1.50"),
        ("json", b'{"features":[],"id":-7}', b"-7"),
        ("json", b'{"features":[],"id":null}', b""),
        ("json", b'{"features":[]}', b""),
        ("svmlight", b"1 a:1", b""),
        ("text", b"1\ta", b""),
        ("fasttext", b"a", b""),
        ("csv", b"1,,,", b""),
    ],
)
def test_ids(kind: str, line: bytes, id: bytes) -> None:
    assert PARSERS[kind](Labels(labelled=False), LIMITS, ids=True).parse(line)[4] == id


@pytest.mark.parametrize("id", [b"true", b"[]", b'"\\ud800"'])
def test_ids_that_are_no_text_are_refused_if_asked_for(id: bytes) -> None:
    line = b'{"label":1,"features":[],"id":%b}' % id
    assert JSONParser(Labels(), LIMITS).parse(line)[4] == b""
    with pytest.raises(LineError, match=r"expected an id as a number or text|lone surrogate"):
        JSONParser(Labels(), LIMITS, ids=True).parse(line)


# Forty characters of the line are shown, each in at most six; the words around them are few.
LONGEST = 6 * 40 + 150


@given(st.sampled_from(sorted(PARSERS)), st.booleans(), st.data())
def test_any_bytes_are_a_sample_or_a_short_line_error(kind: str, labelled: bool, data: Any) -> None:
    words = [
        b"1",
        b"-1 ",
        b"a:1",
        b" ",
        b"|",
        b":",
        b"\t",
        b"{",
        b"}",
        b"[",
        b'"',
        b"qid:",
        b"#",
        b"__label__",
    ]
    line = b"".join(data.draw(st.lists(st.sampled_from(words) | st.binary(max_size=6))))
    line = line.replace(b"\n", b"")
    if line.isspace() or not line:
        return
    try:
        row = parse(kind, line, labelled=labelled)
    except LineError as error:
        assert str(error).startswith("expected ")
        assert len(str(error)) < LONGEST
    else:
        assert row is None or len(row[2]) <= LIMITS.max_features_per_sample


@pytest.mark.parametrize("kind", ["svmlight", "vw", "text", "fasttext"])
def test_long_faults_are_cut_in_messages(kind: str) -> None:
    with pytest.raises(LineError) as caught:
        parse(kind, (b"1 " if kind == "svmlight" else b"") + b"x" * 10_000)
    assert format_text(b"x" * 10_000) in str(caught.value)
    assert len(str(caught.value)) < 250
