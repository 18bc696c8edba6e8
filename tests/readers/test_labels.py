"""Numbers and labels as files write them."""

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onlinesvm.data.bounds import UNBOUNDED
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.tokens import LineError, Values, read_importance, read_number

NUMBER_LIKE = st.text("0123456789+-.eE_ naifx", max_size=10) | st.floats().map(repr)


def number_by_python(text: str) -> float | None:
    """The oracle: what `float` reads, less what only Python writes."""
    if not text.isascii() or text != text.strip() or re.search("[_a-df-zA-DF-Z]", text):
        return None
    try:
        return float(text)
    except ValueError:
        return None


@given(NUMBER_LIKE)
@example("+1")
@example("+-1")
@example("01")
@example("-0")
@example("1e999")
@example("0.1e-5")
@example(".5")
@example("5.")
@example(".")
@example("-.e1")
@example("5.e1")
@example("inf")
@example("1_0")
@example("nan")
@example("0x1")
@example("\u0661")
@example("1\n")
def test_numbers_are_decimal(text: str) -> None:
    assert read_number(text.encode()) == number_by_python(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_round_as_python_rounds(number: float) -> None:
    assert read_number(repr(number).encode()) == number
    assert read_number(b"%.30e" % number) == number


@given(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e-50, 1e50, 1e-51]))
def test_values_stay_in_range(number: float) -> None:
    text = repr(number).encode()
    values = Values()
    for _ in range(2):  # at first sight, and remembered
        if abs(number) > 1e50:
            with pytest.raises(LineError, match="magnitude at most 1e\\+50"):
                values[text]
        else:
            assert values[text] == (number if abs(number) >= 1e-50 else 0.0)


def test_remembered_values_are_bounded() -> None:
    values = Values()
    for i in range(40_000):
        assert values[b"%d" % i] == i
    assert len(values) <= 16_384
    values.clear()
    assert values[b"0." + b"1" * 1000] == 1 / 9
    assert not values


@pytest.mark.parametrize(
    ("text", "importance"),
    [(b"0", 0.0), (b"-0", 0.0), (b"1", 1.0), (b"+2.5", 2.5), (b"1e50", 1e50), (b"1e-51", 0.0)],
)
def test_importances(text: bytes, importance: float) -> None:
    read = read_importance(text, UNBOUNDED)
    assert read == importance
    assert math.copysign(1, read) == 1 or text == b"-0"


@pytest.mark.parametrize("text", [b"-1", b"-1e-60", b"1e51", b"1e999", b"abc", b"nan", b""])
def test_importances_out_of_range_are_refused(text: bytes) -> None:
    with pytest.raises(LineError, match="expected an importance from 0 to 1e\\+50, got "):
        read_importance(text, UNBOUNDED)


def texts(labels: Labels, *given: bytes) -> list[bytes | None]:
    return [label and label.text for label in map(labels.read, given)]


def test_labels_are_compared_by_their_text() -> None:
    ones = (b"1", b"+1", b"1.0", b"1e0", b"0.1e1", b"+1.00")
    assert texts(Labels(), *ones) == [b"1"] * len(ones)
    zeros = (b"0", b"-0", b"+0", b"0.0")
    assert texts(Labels(), *zeros) == [b"0"] * len(zeros)
    given = (b"-1.0", b"spam", b"Spam", b"\xff", b"007", b"2", b"1,2")
    assert texts(Labels(), *given) == [b"-1", *given[1:]]


@pytest.mark.parametrize("text", [b"1.5", b"-.5", b"1e-3", b"x" * 257])
def test_what_is_no_label_is_refused_with_the_remedy(text: bytes) -> None:
    with pytest.raises(LineError, match=r"^expected a label .*--positive '>0' reads numbers by"):
        Labels().read(text)
    assert Labels(labelled=False).read(text) is None


def test_positive_above_zero_takes_numbers() -> None:
    labels = Labels([">0"])
    assert texts(labels, b"22", b"0.5", b"1e999", b"1.0") == [b"22", b"1", b"1", b"1"]
    assert texts(labels, b"0", b"-0", b"-3", b"-2.5") == [b"0", b"0", b"-3", b"-1"]
    with pytest.raises(LineError, match="expected a number as label, for --positive '>0', got"):
        labels.read(b"spam")


def test_positive_above_zero_beside_a_text() -> None:
    labels = Labels([">0", "spam"])
    assert texts(labels, b"spam", b"3", b"-3") == [b"spam", b"3", b"-3"]
    with pytest.raises(LineError):
        labels.read(b"ham")


@pytest.mark.parametrize("positive", [(), ("spam",), (">0",)])
def test_an_empty_label_is_missing(positive: tuple[str, ...]) -> None:
    with pytest.raises(LineError, match="expected a label, got none"):
        Labels(positive).read(b"")
    assert Labels(positive, labelled=False).read(b"") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, b"1"), (False, b"0"), (1.0, b"1"), (-3, b"-3"), ("spam", b"spam"), ("1.0", b"1")],
)
def test_json_values_are_labels(value: str | float, text: bytes) -> None:
    label = Labels().value(value)
    assert label is not None
    assert label.text == text


@pytest.mark.parametrize("value", [1.5, math.nan, math.inf, 10**300])
def test_json_values_that_are_no_labels(value: float) -> None:
    with pytest.raises(LineError, match="expected a label"):
        Labels().value(value)
    assert Labels(labelled=False).value(value) is None
