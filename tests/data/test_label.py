"""Labels are compared by their text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.data.label import MAX_LABEL_BYTES, label_of, label_of_text


@pytest.mark.parametrize(
    ("same", "text"),
    [
        ((1, 1.0, True, "1", "+1", "1.0", "1.", np.int64(1), np.float32(1), np.bool_(True)), b"1"),
        ((0, 0.0, False, "0", "-0", "+0", "0.00", "0e5"), b"0"),
        ((-1, -1.0, "-1", "-1.0", "-10e-1", np.int8(-1)), b"-1"),
        ((1000, "1e3", "+1000", "1E+3"), b"1000"),
        (("spam", np.str_("spam")), b"spam"),
    ],
)
def test_labels_that_are_one(same: tuple[object, ...], text: bytes) -> None:
    assert {label_of(value).text for value in same} == {text}


@pytest.mark.parametrize("text", ["007", "+", ".", "1.5.2", "1x", "1e999", "0x1", "Ünï", "a b"])
def test_text_that_is_no_number_is_a_label_as_it_stands(text: str) -> None:
    assert label_of(text) == (text.encode(), text)


@pytest.mark.parametrize("value", ["0.5", ".5", "1e-3", "-2.25", 0.5, float("nan"), float("inf")])
def test_a_number_that_is_no_integer_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a label as text"):
        label_of(value)


@pytest.mark.parametrize("value", [None, 1j, [1], {}])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="expected a label as text, integer or boolean, got"):
        label_of(value)


def test_bounds() -> None:
    with pytest.raises(ValueError, match="got an empty text"):
        label_of("")
    assert label_of("x" * MAX_LABEL_BYTES).text == b"x" * MAX_LABEL_BYTES
    for long in ("x" * (MAX_LABEL_BYTES + 1), 10**MAX_LABEL_BYTES):
        with pytest.raises(ValueError, match="expected a label of at most 256 bytes, got 257"):
            label_of(long)


@pytest.mark.parametrize(
    ("raw", "written"),
    [(b"+1", 1), (b"1.0", 1), (b"-0", 0), (b"-7", -7), (b"007", "007"), (b"spam", "spam"),
     (b"1" * 30, "1" * 30)],
)  # fmt: skip
def test_integers_in_files_are_integers(raw: bytes, written: object) -> None:
    label = label_of_text(raw)
    assert (label.text, label.written) == (label_of(raw.decode()).text, written)
    assert type(label.written) is type(written)


@given(st.integers(-(10**30), 10**30))
def test_an_integer_and_its_decimal_form_are_one_label(value: int) -> None:
    assert label_of(value).text == label_of(str(value)).text == b"%d" % value


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_a_label_or_refused(raw: bytes) -> None:
    try:
        label = label_of_text(raw)
    except ValueError:
        return
    assert label_of(label.written).text == label.text
    assert label_of_text(label.text).text == label.text  # the text of the text is itself
