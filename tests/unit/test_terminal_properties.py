"""Text from outside, for terminals, programs and spreadsheets."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from ntrader.cli.terminal import csv_cell, json_text, plain
from support.hostile import HOSTILE, assert_harmless

ANY_TEXT = st.text(st.characters(exclude_categories=[]))


@given(text=ANY_TEXT)
@example(text=HOSTILE)
def test_plain_text_cannot_drive_a_terminal_and_keeps_its_places(text: str) -> None:
    shown = plain(text)
    assert_harmless(shown)
    assert len(shown) == len(text)
    assert plain(shown) == shown


@given(text=st.text(st.characters(categories=["L", "M", "N", "P", "S"])))
def test_what_can_be_seen_stays_in_every_script(text: str) -> None:
    assert plain(text) == text


@given(text=ANY_TEXT, key=ANY_TEXT)
@example(text=HOSTILE, key="\x9b\u2028\U000e0041")
@example(text="\udcff", key="\n")
def test_json_is_harmless_and_loses_nothing(text: str, key: str) -> None:
    document = {key: text, "list": [text, 1, None]}
    written = json_text(document)
    assert_harmless(written)
    assert json.loads(written) == document


@given(text=st.text())
def test_a_cell_begins_with_no_formula_and_only_gains_an_apostrophe(text: str) -> None:
    cell = csv_cell(text)
    assert cell in (text, f"'{text}")
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(number=st.integers() | st.floats() | st.none() | st.booleans())
def test_a_number_stays_a_number(number: object) -> None:
    assert csv_cell(number) is number
