"""What may be said of a run."""

import pytest

from ntrader.domain.annotations import checked_note, checked_tags
from ntrader.errors import UsageError


def test_tags_are_sorted_and_each_comes_once() -> None:
    assert checked_tags(["b", "a", "b"]) == ("a", "b")


def test_a_tag_has_one_spelling() -> None:
    """An umlaut can be written in two ways that nobody can tell apart."""
    assert checked_tags(["gro\N{LATIN SMALL LETTER SHARP S}er", "u\N{COMBINING DIAERESIS}ber"]) == (
        "gro\N{LATIN SMALL LETTER SHARP S}er",
        "\N{LATIN SMALL LETTER U WITH DIAERESIS}ber",
    )


@pytest.mark.parametrize("tag", ["[bold]", "'; drop table", "-v", "x" * 64, "\N{SNOWMAN}"])
def test_any_word_is_a_tag(tag: str) -> None:
    word = tag.replace(" ", "_")
    assert checked_tags([word]) == (word,)


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "x" * 65,
        "two words",
        "a\tb",
        "a\nb",
        "a\0b",
        "\x1b[31m",
        "a\u00a0b",
        "\u202eevil",
        "\udcff",
    ],
)
def test_what_is_no_word_is_refused(tag: str) -> None:
    with pytest.raises(UsageError):
        checked_tags(["fine", tag])


def test_a_note_keeps_its_lines() -> None:
    assert checked_note("  One\r\n\ttwo \N{SNOWMAN}\n") == "One\n\ttwo \N{SNOWMAN}"
    assert checked_note("x" * 10_000)


@pytest.mark.parametrize("note", ["", " \n", "x" * 10_001, "a\0b", "\x1b[31m", "\x9b31m", "\udcff"])
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(UsageError):
        checked_note(note)
