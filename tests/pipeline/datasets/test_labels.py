"""Class names: what looks the same is the same, and what can't be seen is shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import ProbelineError
from pipeline.datasets.labels import clean_label, code_points, shown


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cat", "cat"), ("NA", "NA"), ("01", "01"), ("null", "null"), ("a b", "a b"), ("-1", "-1"),
        ("cat ", "cat"), ("\tcat\n", "cat"), ("\u00a0cat\u3000", "cat"), ("\ufeffcat", "cat"),
        ("cafe\u0301", "caf\u00e9"), ("caf\u00e9", "caf\u00e9"), ("\uac00", "\u1100\u1161"),
        ("\u212b", "\u00c5"), ("猫 と犬", "猫 と犬"), ("می‌خواهم", "می‌خواهم"), ("👩‍🌾", "👩‍🌾"),
    ],
)  # fmt: skip
def test_names_that_look_the_same_are_the_same(text, name):
    assert clean_label(text, "here") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("", "no character"), ("  ", "U+0020 SPACE"), ("\ufeff", "U+FEFF"), ("a\nb", "U+000A"),
        ("a\tb", "U+0009"), ("a\u200bb", "U+200B ZERO WIDTH SPACE"), ("a\u00adb", "SOFT HYPHEN"),
        ("a\u202eb", "U+202E"), ("a\udce9", "U+DCE9"), ("a\u2028b", "U+2028"), ("a\0", "U+0000"),
        ("\u200ba", "U+200B"),
    ],
)  # fmt: skip
def test_what_nobody_can_see_is_refused_and_shown(text, point):
    with pytest.raises(ProbelineError) as caught:
        clean_label(text, "list.csv: row 7")
    assert caught.value.place == "list.csv: row 7"
    assert point in caught.value.found
    assert caught.value.remedy
    str(caught.value).encode()  # it can be printed


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs", "M")), min_size=1))
def test_a_clean_name_stays_as_it_is(text):
    try:
        name = clean_label(text, "here")
    except ProbelineError:
        assert not text.strip()
        return
    assert clean_label(name, "here") == name
    assert clean_label(f" {unicodedata.normalize('NFD', name)}\n", "here") == name


def test_how_names_are_shown():
    assert shown("cat ") == "'cat '"
    assert shown("a\u200bb") == "'a\\u200bb'"
    assert code_points("aaaaaaaaa").endswith("…")
