"""The parts of a margin by field and token: the law that they add up, and where each part goes."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm import kernel as kernels
from onlinesvm.errors import SampleError
from onlinesvm.kernel import KERNELS
from onlinesvm.model.explanation import Explanation
from onlinesvm.text.attribution import FieldPart, attributed
from onlinesvm.text.options import TextOptions
from tests.model.test_text import MESSAGES

PLAIN = Limits()
AMPLE = 65_536

texts = st.text(st.sampled_from("abA1!_ é日\u0301\u200b\t\U0001f468"), max_size=14)
values = st.one_of(
    texts, st.booleans(), st.none(), st.floats(-9, 9), st.lists(st.sampled_from("abc"), max_size=3)
)
records = st.one_of(
    texts,
    st.lists(st.sampled_from(["a", "b", "a b", "^~a"]), max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "t", "a^b", "a=b", ""]), values, max_size=4),
)
options_of = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["default", "words"]),
        "ngrams": st.integers(1, 3),
        "chars": st.sampled_from([(), (4,), (1, 3)]),
        "numbers": st.sampled_from(["raw", "prefixes"]),
        "fields": st.sampled_from([{}, {"a": "text"}, {"a": "category", "b": "text"}]),
        "crosses": st.sampled_from([(), "*", (("a", "b"),)]),
    }
)


def pack(record: Any) -> bytes:
    packed: bytes = msgpack.packb(record, unicode_errors="surrogateescape")
    return packed


def parts(
    record: Any, contributions: dict[str, float], most: int = AMPLE, **options: Any
) -> list[FieldPart]:
    given = {name.encode(): part for name, part in contributions.items()}
    return attributed(pack(record), given, TextOptions(**options), PLAIN, most)


def tokens(part: FieldPart) -> dict[str, float]:
    """What each part of a text has, those without any left out."""
    return {text: contribution for text, contribution in part.text if contribution}


def assert_adds_up(explained: Explanation) -> None:
    """The fields and the bias are the margin, and each field is its whole and its text's parts."""
    size = sum(abs(part.contribution) for part in explained.contributions)
    total = math.fsum([explained.bias, *(part.contribution for part in explained.fields)])
    assert math.isclose(total, explained.margin, rel_tol=1e-9, abs_tol=1e-9 * (1 + size))
    for field in explained.fields:
        total = math.fsum([field.whole, *(part.contribution for part in field.text)])
        assert math.isclose(total, field.contribution, rel_tol=1e-9, abs_tol=1e-9 * (1 + size))


@settings(max_examples=300)
@given(record=records, options=options_of, most=st.sampled_from([7, AMPLE]), data=st.data())
def test_every_feature_has_its_place(
    record: Any, options: dict[str, Any], most: int, data: st.DataObject
) -> None:
    given = TextOptions(**options)
    try:
        found = kernels.load("python").Extractor(given, PLAIN, most).extract(pack(record))
    except SampleError:  # of a field declared as what it does not hold
        reject()
    rates = {
        name: data.draw(st.sampled_from([-2.0, 0.5, 8.0])) for name in dict.fromkeys(found.names)
    }
    sums = dict.fromkeys(rates, 0.0)
    for name, value in zip(found.names, found.values, strict=True):
        sums[name] += value
    contributions = {name: rates[name] * total for name, total in sums.items()}
    fields = attributed(pack(record), contributions, given, PLAIN, most)
    size = 1 + sum(map(abs, contributions.values()))
    margin = math.fsum(contributions.values())
    assert math.isclose(math.fsum(f.contribution for f in fields), margin, abs_tol=1e-9 * size)
    if isinstance(record, dict):
        assert [field.field for field in fields] == list(record)
    for field in fields:
        shared = math.fsum([field.whole, *(part.contribution for part in field.text)])
        assert math.isclose(shared, field.contribution, abs_tol=1e-9 * size)
        if field.text:
            text = record[field.field] if isinstance(record, dict) else record
            joined = "".join(part.text for part in field.text)
            assert joined == text or (most == 7 and text.startswith(joined))


@settings(max_examples=40)
@given(
    stream=st.lists(st.tuples(records, st.sampled_from(["a", "b"])), max_size=8),
    asked=records,
    config=st.sampled_from(
        [{}, {"normalize": "l2"}, {"numbers": "prefixes"}, {"rule": "sgd", "text": "default"}]
    ),
)
def test_the_parts_of_a_margin_add_up_on_both_kernels(
    stream: list[Any], asked: Any, config: dict[str, Any]
) -> None:
    found = []
    for kernel in KERNELS:
        model = OnlineSVM(kernel=kernel, **config)
        model.learn(stream)
        found.append(model.explain(asked))
        assert_adds_up(found[-1])
    assert found[0] == found[1]


def test_a_word_is_shared_by_its_places_and_a_pair_by_its_words() -> None:
    (part,) = parts("Free, FREE prize", {"free": 8.0, "free prize": 4.0, "prize ": 1.0})
    assert part.text == [
        ("Free", 4.0), (",", 0.0), (" ", 0.0), ("FREE", 6.0), (" ", 0.0), ("prize", 3.0)
    ]  # fmt: skip
    assert (part.field, part.contribution, part.whole) == ("", 13.0, 0.0)


def test_a_part_of_a_word_is_shared_by_its_characters() -> None:
    (part,) = parts("free!! !", {"^~ee!!": 8.0, "^~ ! ": 1.0})
    assert tokens(part) == {"free": 4.0, "!!": 4.0, "!": 1.0}
    (part,) = parts("ab", {"^~ab": 4.0, "^~a": 2.0}, chars=(1, 3, 8))
    assert tokens(part) == {"ab": 2.0}


def test_the_style_of_a_text_is_a_whole_and_a_shape_is_its_words() -> None:
    (part,) = parts("FREE Prize NOW", {"^shape=X+": 4.0, "^words=4": 0.5, "^upper=6": 1.0})
    assert tokens(part) == {"FREE": 2.0, "NOW": 2.0}
    assert (part.whole, part.contribution) == (1.5, 5.5)


def test_a_text_is_cut_where_it_was_written() -> None:
    (part,) = parts("fr\u200bee\u00ad caf\u0301é", {"free": 1.0, "caf\u0301é": 2.0})
    assert part.text == [("fr\u200bee", 1.0), ("\u00ad ", 0.0), ("caf\u0301é", 2.0)]
    (part,) = parts("free prize", {"free": 1.0}, most=6)
    assert part.text == [("free", 1.0), (" ", 0.0), ("p", 0.0)]
    (part,) = parts("\udcffa", {})
    assert [text for text, _ in part.text] == ["\udcff", "a"]
    (part,) = parts("a, b", {"a": 1.0, ",": 2.0}, text="words")
    assert part.text == [("a", 1.0), (", ", 0.0), ("b", 0.0)]


def test_fields_have_their_own_features_and_half_of_a_cross() -> None:
    contributions = {
        "subject^free": 1.0, "n": 6.0, "n@0:2": 1.0, "from=shop": 2.0, "tags=a": 0.5,
        "t.hour=9": 0.25, "from=shop&t.hour=9": 1.0,
    }  # fmt: skip
    found = parts(
        {"subject": "free gift", "n": 3, "from": "shop", "tags": ["a"], "t": "2026-11-28T09:30"},
        contributions, numbers="prefixes", crosses="*", fields={"t": "date"},
    )  # fmt: skip
    assert [(part.field, part.contribution, part.whole) for part in found] == [
        ("subject", 1.0, 0.0), ("n", 7.0, 7.0), ("from", 2.5, 2.5), ("tags", 0.5, 0.5),
        ("t", 0.75, 0.75),
    ]  # fmt: skip
    assert tokens(found[0]) == {"free": 1.0}
    (names,) = parts(["free", "prize"], {"free": 1.0, "prize": 2.0})
    assert names == FieldPart("", 3.0, 3.0, [])


def test_a_feature_of_two_fields_is_shared_by_its_values() -> None:
    found = parts({"a": "b c", "a^b": 3.0}, {"a^b": 8.0})
    assert [part.contribution for part in found] == [2.0, 6.0]
    assert tokens(found[0]) == {"b": 2.0}


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_explanation_shows_what_speaks_for_a_label(kernel: str) -> None:
    model = OnlineSVM(kernel=kernel)
    for _ in range(5):
        model.learn(MESSAGES)
    explained = model.explain("Free prize, my dear")
    assert_adds_up(explained)
    shares = tokens(explained.fields[0])
    assert shares["prize"] < 0 < shares["dear"]  # spam was the first label
