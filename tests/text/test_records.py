"""Records to features: the specification by example, and both kernels on any record."""

from __future__ import annotations

import struct
from itertools import chain
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onlinesvm import Limits
from onlinesvm import kernel as kernels
from onlinesvm.errors import ConfigError, LimitError, OnlineSVMError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.text.constants import OF_TEXT
from onlinesvm.text.options import TextOptions
from onlinesvm.text.records import MOST_BYTES
from tests.strategies import damaged

PLAIN = Limits()
AMPLE = 65_536


def pack(record: Any) -> bytes:
    packed: bytes = msgpack.packb(record, unicode_errors="surrogateescape")
    return packed


def features(
    kernel: Kernel, record: Any, most_bytes: int = AMPLE, **options: Any
) -> dict[int, list[str]]:
    """The names by view, in order."""
    found = kernel.Extractor(TextOptions(**options), PLAIN, most_bytes).extract(pack(record))
    assert len(found.names) == len(found.values) == len(found.views)
    by_view: dict[int, list[str]] = {0: [], 1: [], 2: [], 3: []}
    for name, view in zip(found.names, found.views, strict=True):
        by_view[view % OF_TEXT].append(name.decode("utf-8", "surrogateescape"))
    return by_view


def words(kernel: Kernel, text: str) -> list[str]:
    """The tokens of a text, without its style."""
    return [name for name in features(kernel, text)[0] if not name.startswith("^")]


def style(kernel: Kernel, text: str) -> list[str]:
    return [name for name in features(kernel, text)[0] if name.startswith("^")]


# Tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n\x1c\x85\xa0\u2028\u3000", []),
        ("Free PRIZE: call 0800 now!!", ["free", "prize", ":", "call", "0800", "now", "!!"]),
        ("a!!!a ...?!", ["a", "!!!", "...", "?", "!"]),
        ("snake_case don't 2nd", ["snake_case", "don", "'", "t", "2nd"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs are marks
        ("cafe\u0301 café CAFÉ", ["cafe\u0301", "café"]),
        ("İstanbul ISTANBUL", ["istanbul"]),  # one character for one
        ("ΟΔΟΣ οδος ὈΔΌΣ", ["οδοσ", "ὀδόσ"]),  # a final ς is σ
        ("中文abc漢字", ["中", "文", "abc", "漢", "字"]),
        ("ひらがな カタナー", ["ひ", "ら", "が", "な", "カ", "タ", "ナ", "ー"]),
        ("か\u3099き", ["か\u3099", "き"]),  # a mark belongs to what it follows
        ("ภาษาไทย", ["ภ", "า", "ษ", "ไ", "ท", "ย"]),
        ("กี่", ["กี่"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("مرحبا بالعالم، ١٢٣", ["مرحبا", "بالعالم", "،", "١٢٣"]),
        ("می\u200cخواهم", ["میخواهم"]),  # ZWNJ is left out
        ("fr\u200bee fr\u00adee", ["free"]),
        ("👨\u200d👩\u200d👧", ["👨", "👩", "👧"]),
        ("❤\ufe0f❤\ufe0f❤ 👍🏽", ["❤❤❤", "👍", "🏽"]),
        ("🇨🇭", ["🇨", "🇭"]),
        ("Ⅷ ½ x²", ["ⅷ", "½", "x²"]),
        ("\udcff\udcff\udcfe", ["\udcff\udcff", "\udcfe"]),  # bytes that are not UTF-8
        ("a\x00\x00b", ["a", "\x00\x00", "b"]),
    ],
)
def test_tokens(kernel: Kernel, text: str, expected: list[str]) -> None:
    assert words(kernel, text) == expected


def test_names_are_bounded(kernel: Kernel) -> None:
    long = features(kernel, "x" * 1000 + " " + "!" * 1000 + " " + "aB1" * 500)
    assert long[0][:3] == ["x" * 64, "!" * 64, ("ab1" * 22)[:64]]
    assert long[0][3:5] == ["^shape=x+", "^shape=xXdxXdxXdxXdxXdx"]
    assert long[1][1] == "x" * 64 + " " + "!" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["chars=0", "words=0", "upper=0", "digits=0", "symbols=0"]),
        ("Free", ["shape=Xx+", "chars=4", "words=2", "upper=2", "digits=0", "symbols=0"]),
        ("A a 1_1 ½ 漢 !", ["shape=X", "shape=x", "shape=d_d", "shape=o", "chars=7", "words=5",
                            "upper=3", "digits=1", "symbols=0"]),
        ("FREE!!", ["shape=X+", "chars=5", "words=3", "upper=10", "digits=0", "symbols=3"]),
        ("e\u0301E\u0301 éÉ", ["shape=xX", "chars=6", "words=3", "upper=5", "digits=0",
                               "symbols=0"]),
        ("\u0301", ["shape=", "chars=2", "words=2", "upper=0", "digits=0", "symbols=0"]),
    ],
)  # fmt: skip
def test_style(kernel: Kernel, text: str, expected: list[str]) -> None:
    assert style(kernel, text) == ["^" + name for name in expected]


def test_n_grams_of_words_and_characters(kernel: Kernel) -> None:
    found = features(kernel, "Free  prize!\tI")
    assert found[1] == [" free", "free prize", "prize !", "! i", "i "]
    assert found[2] == [
        "^~ fre", "^~free", "^~ree ", "^~ pri", "^~priz", "^~rize", "^~ize!", "^~ze! ", "^~ i ",
    ]  # fmt: skip
    trigrams = features(kernel, "a b", ngrams=3, chars=(2, 3))
    assert trigrams[1] == [" a", "a b", "b ", " a b", "a b "]
    assert trigrams[2] == ["^~ a", "^~a ", "^~ b", "^~b ", "^~ a ", "^~ b "]
    assert features(kernel, "a b", ngrams=1, chars=())[1] == []
    assert features(kernel, "a b", ngrams=1, chars=())[2] == []
    assert features(kernel, " ")[1] == features(kernel, " ")[2] == []


def test_words_alone(kernel: Kernel) -> None:
    found = features(kernel, "Free free PRIZE!! 漢字", text="words")
    assert found == {0: ["free", "prize", "漢", "字"], 1: [], 2: [], 3: []}
    assert features(kernel, {"s": "two words"}, text="words")[0] == ["s^two", "s^words"]


def test_long_texts_are_cut_between_characters_and_counted(kernel: Kernel) -> None:
    extractor = kernel.Extractor(TextOptions(text="words"), PLAIN, 4)
    for text, expected, cut in [
        ("abcd", ["abcd"], 0), ("abcde", ["abcd"], 1), ("abcé", ["abc"], 1), ("abé", ["abé"], 0),
        ("a日", ["a", "日"], 0), ("ab日", ["ab"], 1), ("日日", ["日"], 1), ("a🎉", ["a"], 1),
        ("\udce3\udc81\udc81\udce3\udc81", ["ぁ"], 1), ("abc\udce3\udc81", ["abc"], 1),
    ]:  # fmt: skip
        found = extractor.extract(pack(text))
        names = [name.decode("utf-8", "surrogateescape") for name in found.names]
        assert (names, found.cut) == (expected, cut), text


def test_the_texts_of_a_record_share_the_bytes_they_may_have(kernel: Kernel) -> None:
    record = {"a": "one two", "b": "three four", "c": "five six", "d": "red"}
    found = kernel.Extractor(TextOptions(text="words"), PLAIN, 12).extract(pack(record))
    assert found.names == [b"a^one", b"a^two", b"b^three", b"d=red"]
    assert found.cut == 2


# Fields ---------------------------------------------------------------------------------------


def test_fields_of_every_kind(kernel: Kernel) -> None:
    record = {
        "carrier": "UA", "subject": "Hi there", "delay": -0.7, "zero": 0, "new": True, "old": False,
        "gate": None, "tags": ["x", 5, "b c"], 7: 2,
    }  # fmt: skip
    found = kernel.Extractor(TextOptions(chars=()), PLAIN, AMPLE).extract(pack(record))
    assert dict(zip(found.names, found.values, strict=True)) == {
        b"carrier=UA": 1.0, b"subject^hi": 1.0, b"subject^there": 1.0, b"subject^shape=Xx": 1.0,
        b"subject^shape=x+": 1.0, b"subject^chars=6": 1.0, b"subject^words=3": 1.0,
        b"subject^upper=1": 1.0, b"subject^digits=0": 1.0, b"subject^symbols=0": 1.0,
        b"subject^ hi": 1.0, b"subject^hi there": 1.0, b"subject^there ": 1.0, b"delay": -0.7,
        b"new=true": 1.0, b"old=false": 1.0, b"gate=": 1.0, b"tags=x": 1.0, b"tags=5": 1.0,
        b"tags=b c": 1.0, b"7": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "category"),
    [("UA", True), ("", True), ("snake_2", True), ("日", True), ("か\u3099", True), ("हिन्दी", True),
     ("日本", False), ("a日", False), ("日a", False), ("A/5", False), ("two words", False),
     (" UA", False), ("x" * 64, True), ("x" * 65, False), ("\u200bUA", True), ("\u200b", False),
     ("\u200b" * 340 + "UAUA", True), ("http://a.b", False), ("\udcff", False)],
)  # fmt: skip
def test_one_word_is_a_category(kernel: Kernel, text: str, category: bool) -> None:
    names = [*chain(*features(kernel, {"f": text}).values())]
    assert (names == [f"f={text}"]) == category
    assert all(name.startswith("f^") for name in names) != category
    declared = {"fields": {"f": "category"}}
    assert features(kernel, {"f": text}, **declared)[0] == [f"f={text}"]
    assert features(kernel, {"f": text}, text="off")[0] == [f"f={text}"]
    names = features(kernel, {"f": text}, fields={"f": "text"})[0]
    assert all(name.startswith("f^") for name in names)


def test_a_category_has_up_to_1024_bytes(kernel: Kernel) -> None:
    assert features(kernel, {"f": "\u200b" * 340 + "UAUAU"})[0][0] == "f^uauau"


def test_declared_fields(kernel: Kernel) -> None:
    fields = {"t": "date", "s": "text", "zip": "category"}
    record = {"t": None, "s": None, "zip": None}
    assert features(kernel, record, fields=fields)[0] == ["zip="]
    assert features(kernel, {"zip": -8001.0}, fields=fields)[0] == ["zip=-8001"]
    assert features(kernel, {"zip": True, "t": ""}, fields=fields)[0] == ["zip=true"]
    long = "é" * 600
    assert features(kernel, {"zip": long}, fields=fields)[0] == ["zip=" + long[:512]]
    assert features(kernel, {"zip": "x" + long}, fields=fields)[0] == ["zip=x" + long[:511]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-28", ["t.dow=6", "t.month=11"]),
        ("2026-11-28T09:30", ["t.hour=9", "t.dow=6", "t.month=11"]),
        ("2024-02-29 23:59:60.25+01:00", ["t.hour=23", "t.dow=4", "t.month=2"]),
        ("2000-01-01t00Z", ["t.hour=0", "t.dow=6", "t.month=1"]),
        ("2026-11-29T00:00:00,5-0330", ["t.hour=0", "t.dow=7", "t.month=11"]),
        ("0000-03-01", ["t.dow=3", "t.month=3"]),
    ],
)
def test_dates(kernel: Kernel, text: str, expected: list[str]) -> None:
    assert features(kernel, {"t": text}, fields={"t": "date"})[0] == expected


@pytest.mark.parametrize(
    "text",
    ["2026-11-28 ", "2026-11", "2026-13-01", "2026-00-01", "2026-04-31", "2023-02-29", "1900-02-29",
     "2026-11-28T24", "2026-11-28T9", "2026-11-28T09:60", "2026-11-28T09:30:61", "20261128",
     "2026-11-28T09:30:15.", "2026-11-28T09+24", "2026-11-28T09+01:", "2026-11-28TZ", "yesterday",
     "+026-11-28", "2026-11-28T09:30:15Z1", "２０26-11-28"],
)  # fmt: skip
def test_what_is_no_date_is_refused(kernel: Kernel, text: str) -> None:
    extractor = kernel.Extractor(TextOptions(fields={"t": "date"}), PLAIN, AMPLE)
    with pytest.raises(OnlineSVMError, match=r'expected a date as 2026-11-28 or .* at \$\["t"\]$'):
        extractor.extract(pack({"t": text}))


def test_prefixes_of_numbers(kernel: Kernel) -> None:
    def names(number: float) -> list[str]:
        return features(kernel, {"n": number}, numbers="prefixes")[3]

    assert names(0.7) == ["n@0:0.5", "n@1:0.5", "n@2:0.625", "n@3:0.6875", "n@4:0.6875"]
    assert names(-13) == ["n@0:-8", "n@1:-12", "n@2:-12", "n@3:-13", "n@4:-13"]
    assert names(0) == names(-0.0) == names(1e-60) == ["n@0:0"]
    assert names(1e50)[0] == "n@0:9.35361e+49"
    assert names(-1e-50)[4] == "n@4:-9.68877e-51"
    assert features(kernel, {"n": 0.7})[3] == []


def test_crosses(kernel: Kernel) -> None:
    record = {"b": "y", "a": "x", "n": 1.5, "s": "two words", "c": None}
    every = ["a=x&b=y", "a=x&c=", "b=y&c="]
    off = {"chars": (), "ngrams": 1}
    assert features(kernel, record, **off)[1] == []
    assert features(kernel, record, crosses="*", **off)[1] == every
    assert features(kernel, record, crosses=(("c", "a"), ("a", "n")), **off)[1] == ["a=x&c="]
    found = kernel.Extractor(TextOptions(crosses="*", **off), PLAIN, AMPLE).extract(pack(record))
    assert found.crosses == 3
    assert [name.decode() for name in found.names[-3:]] == every
    # However the fields are ordered; 64 categories at most; a field not with itself.
    many = {f"f{i:03}": "v" for i in range(99)}
    turned = dict(reversed(many.items()))
    assert features(kernel, many, crosses="*")[1] == features(kernel, turned, crosses="*")[1]
    assert len(features(kernel, many, crosses="*")[1]) == 64 * 63 // 2
    assert features(kernel, many, crosses=(("f098", "f097"),))[1] == ["f097=v&f098=v"]


def test_names_are_as_they_are_in_every_model(kernel: Kernel) -> None:
    names = ["free prize", "^~x", 5, b"\xff", ""]
    for text in ("default", "words", "off"):
        extractor = kernel.Extractor(TextOptions(text=text, numbers="prefixes"), PLAIN, AMPLE)
        found = extractor.extract(pack(names))
        assert list(found.names) == [b"free prize", b"^~x", b"5", b"\xff", b""]
        assert set(found.views) == {0}
        assert found.values == [1.0] * 5


def test_features_of_texts_are_marked(kernel: Kernel) -> None:
    record = {"s": "two words", "c": "red", "n": 1.5, "t": ["x"]}
    options = TextOptions(chars=(2,), numbers="prefixes", crosses="*")
    found = kernel.Extractor(options, PLAIN, AMPLE).extract(pack({**record, "d": "blue"}))
    of_text = {n for n, view in zip(found.names, found.views, strict=True) if view >= OF_TEXT}
    assert of_text == {name for name in found.names if name.startswith(b"s^")}
    assert {view for view in found.views if view >= OF_TEXT} == {4, 5, 6}
    assert {view for view in found.views if view < OF_TEXT} == {0, 1, 3}


# Faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (5, r"expected text, an array of names or a map from name to value, got 5 at \$$"),
        (None, "got nil"),
        (["a", 1.5], r"expected a feature name .* got 1.5 at \$\[1\]$"),
        ({True: 1}, r"expected a feature name .* got true at \$$"),
        ({"a": {"b": 1}}, r'null or an array of names, got a map at \$\["a"\]$'),
        ({"a": ["b", None]}, r'expected a feature name .* got nil at \$\["a"\]\[1\]$'),
        ({"a": float("nan")}, r'expected a finite number .* got nan at \$\["a"\]$'),
        ({"a": 1e51}, r'magnitude at most 1e\+50, got 1e\+51 at \$\["a"\]$'),
        ({"s": 5}, r'expected text \(the field is declared as text\), got 5 at \$\["s"\]$'),
        ({"t": 5}, r'expected a date as .*, got 5 at \$\["t"\]$'),
        ({"t": [1]}, r'expected a date as .*, got an array at \$\["t"\]$'),
        ({"c": 1.5}, r"expected text or an integer below 2\*\*53 as a category, got 1.5 at"),
        ({"c": 2**53}, "as a category, got 9007199254740992 at"),
        ({"x" * 99: 1}, r"expected at most 90 bytes a feature name, got 99 at \$$"),
        (["x" * 99], r"expected at most 90 bytes a feature name, got 99 at \$\[0\]$"),
        (list("abcdef"), r"expected at most 5 features a sample, got 6 at \$$"),
        ({"a": list("abcdef")}, r'expected at most 5 features a sample, got 6 at \$\["a"\]$'),
        (msgpack.ExtType(3, b"x"), "got an extension"),
        ({"a": msgpack.Timestamp(1)}, "got an extension"),
    ],
)
def test_faults_say_expected_got_and_where(kernel: Kernel, record: Any, message: str) -> None:
    limits = Limits(max_features_per_sample=5, max_name_bytes=90)
    options = TextOptions(fields={"s": "text", "t": "date", "c": "category"})
    with pytest.raises(OnlineSVMError, match=message):
        kernel.Extractor(options, limits, AMPLE).extract(pack(record))


def test_fields_of_more_than_numbers_have_short_names(kernel: Kernel) -> None:
    extractor = kernel.Extractor(TextOptions(numbers="prefixes"), PLAIN, AMPLE)
    assert len(extractor.extract(pack({"f" * 257: 1.5})).names) == 6
    for value in ("red", "two words", None, True, ["a"]):
        extractor.extract(pack({"f" * 256: value}))
        with pytest.raises(LimitError, match="expected at most 256 bytes a field, got 257 at"):
            extractor.extract(pack({"f" * 257: value}))


def test_a_bare_text_is_refused_where_text_is_off(kernel: Kernel) -> None:
    with pytest.raises(OnlineSVMError, match=r'got text "free" \(the model reads no text'):
        kernel.Extractor(TextOptions(text="off"), PLAIN, AMPLE).extract(pack("free"))


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\xa5abc", b"\x92\xa1a", pack("a") + b"\xa1b"])
def test_what_is_not_one_object_is_refused(kernel: Kernel, packed: bytes) -> None:
    with pytest.raises(OnlineSVMError, match="expected a record of one msgpack object, got other"):
        kernel.Extractor(TextOptions(), PLAIN, AMPLE).extract(packed)


@pytest.mark.parametrize("most", [0, -1, MOST_BYTES + 1])
def test_the_bytes_of_text_are_bounded(kernel: Kernel, most: int) -> None:
    with pytest.raises(ValueError, match=f"most_bytes: expected 1 to {MOST_BYTES}, got {most}"):
        kernel.Extractor(TextOptions(), PLAIN, most)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "stem"}, "text: expected one of default, words, off, got 'stem'"),
        ({"ngrams": 4}, "ngrams: expected an integer from 1 to 3, got 4"),
        ({"chars": (9,)}, "chars: expected an integer from 1 to 8, got 9"),
        ({"chars": (1, 2, 3, 4, 5)}, "chars: expected up to 4 sizes"),
        ({"chars": (3, 3)}, "chars: expected different sizes"),
        ({"numbers": "bins"}, "numbers: expected one of raw, prefixes, got 'bins'"),
        ({"fields": {"t": "time"}}, "fields: t: expected one of text, category, date, got 'time'"),
        ({"text": "off", "fields": {"t": "text"}}, "fields: t: expected one of category, date"),
        ({"crosses": "all"}, "crosses: expected \\* or pairs of fields, got 'all'"),
        ({"crosses": (("a", "a"),)}, "crosses: expected pairs of two fields"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TextOptions(**options)


# Both kernels on anything ---------------------------------------------------------------------

HARD = [
    "हिन्दी में", "ภาษาไทย", "中文字", "日本語のテキスト", "مرحبا", "می\u200cخواهم",
    "👨\u200d👩\u200d👧", "❤\ufe0f", "👍🏽", "🇨🇭", "cafe\u0301", "İ", "ΟΔΟΣ", "ǅ", "ẞß", "Ⓐⓐ",
    "ﬁ", "\u0301", "\ufeff", "\u200b", "\x85", "\u3000", "_", "!!", "^~",
    "=", "&", "a", "B", "1", " ", "\n", "\udc80", "\udcff", "\x00", "Ⱥⱥ\u212a", "x" * 70,
    "!" * 70, "\U0010ffff", "\ue000", "\U000e0100", "ᲀᏸ", "①²½",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(HARD) | st.text(max_size=5), max_size=12).map("".join)
RAW = st.binary(max_size=30) | TEXTS.map(lambda text: text.encode("utf-8", "replace"))
DATES = st.from_regex(
    r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]"
    r"([T ][0-2][0-9](:[0-6][0-9]){0,2}(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?\Z"
)
NAMES = st.sampled_from(["a", "b", "c", "date", "text", 5, "é"]) | st.text(max_size=3)
NUMBERS = st.one_of(
    st.floats(-1e51, 1e51), st.floats(), st.integers(-(2**63), 2**64 - 1), st.integers(-20, 20),
    st.builds(lambda m, e: m * 2.0**e, st.integers(-64, 64), st.integers(-170, 160)),
)  # fmt: skip
VALUES = st.one_of(
    TEXTS, RAW, NUMBERS, st.booleans(), st.none(), DATES, st.lists(NAMES | TEXTS, max_size=3),
    st.sampled_from(["red", "UA", "x y"]),
)  # fmt: skip
RECORDS = st.one_of(
    TEXTS, RAW, st.lists(NAMES, max_size=5), st.dictionaries(NAMES, VALUES, max_size=6)
)
OPTIONS = st.builds(
    lambda **given: given,
    text=st.sampled_from(["default", "default", "words", "off"]),
    ngrams=st.integers(1, 3),
    chars=st.sampled_from([(4,), (), (1, 8), (3, 4, 5)]),
    numbers=st.sampled_from(["raw", "prefixes"]),
    fields=st.sampled_from(
        [{}, {"date": "date", "a": "category"}, {"text": "text", "date": "date"}]
    ),
    crosses=st.sampled_from([(), "*", (("b", "a"), ("date.dow", "a")), (("c", "é"),)]),
)


def outcome(kernel: Kernel, packed: bytes, options: TextOptions, limits: Limits, most: int) -> Any:
    try:
        found = kernel.Extractor(options, limits, most).extract(packed)
    except OnlineSVMError as error:
        return type(error), str(error)
    values = [value.hex() for value in found.values]
    return list(found.names), values, list(found.views), found.cut, found.crosses


def agree(packed: bytes, given: dict[str, Any], limits: Limits = PLAIN, most: int = AMPLE) -> None:
    if given["text"] == "off" and "text" in given["fields"].values():
        given = {**given, "fields": {}}
    options = TextOptions(**given)
    expected, got = (
        outcome(kernels.load(name), packed, options, limits, most) for name in ("python", "native")
    )
    assert got == expected


@settings(max_examples=600)
@given(record=RECORDS, options=OPTIONS, most=st.sampled_from([1, 2, 3, 7, 20, AMPLE]))
@example(record="ȺȺȺ", options={"text": "default", "fields": {}}, most=3)
def test_the_native_kernel_gives_the_same_features(
    record: Any, options: dict[str, Any], most: int
) -> None:
    agree(pack(record), options, most=most)


@settings(max_examples=400)
@given(data=st.data(), record=RECORDS, options=OPTIONS)
def test_the_native_kernel_refuses_the_same_records(
    data: st.DataObject, record: Any, options: dict[str, Any]
) -> None:
    packed = data.draw(damaged(pack(record)))
    agree(packed, options, Limits(max_features_per_sample=4, max_name_bytes=9))


@settings(max_examples=300)
@given(raw=st.binary(max_size=40), most=st.integers(1, 40), options=OPTIONS)
def test_the_native_kernel_reads_the_same_characters_in_any_bytes(
    raw: bytes, most: int, options: dict[str, Any]
) -> None:
    agree(pack(raw), {**options, "text": "default"}, most=most)


def test_the_native_kernel_knows_every_character() -> None:
    options = {"text": "default", "fields": {}, "chars": (2,)}
    for start in range(0, 0x110000, 0x800):
        codes = [code for code in range(start, start + 0x800) if not 0xD800 <= code < 0xE000]
        agree(pack(" ".join(map(chr, codes))), options)


def test_the_native_kernel_names_every_prefix() -> None:
    options = {"text": "default", "fields": {}, "numbers": "prefixes"}
    for exponent in range(-166, 166):
        numbers = [(1 + k / 16 + 1 / 64) * 2.0**exponent * (-1) ** k for k in range(16)]
        agree(pack({str(i): number for i, number in enumerate(numbers)}), options)


def test_the_native_kernel_gives_a_long_text_the_same_features() -> None:
    words = " ".join(f"Word{i % 97}!{chr(0x4E00 + i % 50)}" for i in range(3000))
    agree(pack(words), {"text": "default", "fields": {}}, most=20_000)
    agree(pack({"a": words, "b": words}), {"text": "default", "fields": {}}, most=20_000)


def test_an_extractor_is_used_again(kernel: Kernel) -> None:
    extractor = kernel.Extractor(TextOptions(), PLAIN, AMPLE)
    first = extractor.extract(pack("free prize"))
    with pytest.raises(OnlineSVMError):
        extractor.extract(struct.pack("B", 0xC1))
    second = extractor.extract(pack({"a": "long text " * 500, "b": "red"}))
    assert list(first.names) == list(extractor.extract(pack("free prize")).names)
    assert list(second.names)[-1] == b"b=red"
