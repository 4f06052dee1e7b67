"""Names that somebody else chose do nothing where noah writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.files.foreign_text import csv_text, from_csv_text, is_utf8, markdown_text, printable


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''-1"])  # noqa: RUF001
def test_a_cell_that_begins_as_a_formula_does_is_text(text: str) -> None:
    assert csv_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "dog", "a=b", "photos/-1.jpg", "'", "'dog'", "'a=1", "café", "0.5"])
def test_any_other_cell_is_left_as_it_is(text: str) -> None:
    assert csv_text(text) == text
    assert from_csv_text(text) == text


texts = st.text() | st.text("'=+-@\t\r\n＝＋－＠a", max_size=6)  # noqa: RUF001


@given(texts)
def test_no_cell_begins_as_a_formula(text: str) -> None:
    assert not csv_text(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(texts)
def test_a_text_is_read_as_it_was_before_it_was_written(text: str) -> None:
    assert from_csv_text(csv_text(text)) == text


@given(texts)
def test_a_cell_that_somebody_else_wrote_loses_at_most_an_apostrophe(text: str) -> None:
    assert from_csv_text(text) in (text, text[1:])
    assert csv_text(from_csv_text(text)) in (text, f"'{text}")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("dog", "dog"),
        ("golden_retriever", "golden_retriever"),
        ("_dog_", r"\_dog\_"),
        ("a|b", r"a\|b"),
        ("[x](http://a)", r"\[x\](http://a)"),
        ("<img src=x>", r"\<img src=x\>"),
        ("`a` *b* ~c~ &lt; $d$ !e #f \\g", r"\`a\` \*b\* \~c\~ \&lt; \$d\$ \!e \#f \\g"),
        ("a\nb\r\n# c", r"a b \# c"),
    ],
)
def test_markdown_shows_a_name_as_it_is(text: str, written: str) -> None:
    assert markdown_text(text) == written


def test_bytes_that_are_no_utf_8_are_shown_as_bytes() -> None:
    name = os.fsdecode(b"caf\xe9")
    assert (printable(name), printable(Path("a") / name)) == (r"caf\xe9", r"a/caf\xe9")
    assert not is_utf8(name)
    assert printable("café/鳥") == "café/鳥"
    assert is_utf8("café/鳥")
