"""`ntrader note`."""

import pytest

from support.commands import Command
from support.saving import SaveRun


def test_a_note_is_written_printed_and_cleared(ntrader: Command, save_run: SaveRun) -> None:
    run_id = save_run()

    assert ntrader("note", "@").stderr == f"Run {str(run_id)[:8]} has no note.\n"
    assert ntrader("note", "@", "First.").stdout == "First.\n"
    assert ntrader("note", "@", "Two\n\tlines.").stdout == "Two\n    lines.\n"
    assert ntrader("note", run_id).stdout == "Two\n    lines.\n"
    assert ntrader("show", "@", "--json").json["note"] == "Two\n\tlines."
    assert ntrader("note", "@", "--clear").exit_code == 0
    assert ntrader("show", "@", "--json").json["note"] is None


def test_note_json_is_one_object(ntrader: Command, save_run: SaveRun) -> None:
    run_id = save_run()

    written = ntrader("note", "@", "A note.", "--json").json

    assert written == {"run_id": str(run_id), "tags": [], "note": "A note."}
    assert ntrader("note", "@", "--json").json == written
    assert ntrader("note", "@", "--clear", "--json").json == {**written, "note": None}


def test_show_has_every_line_of_the_note(ntrader: Command, save_run: SaveRun) -> None:
    save_run()
    ntrader("note", "@", "[bold]One[/]\ntwo \N{SNOWMAN}")

    lines = [line.strip() for line in ntrader("show", "@").stdout.splitlines()]

    assert "Note      [bold]One[/]" in lines
    assert "two \N{SNOWMAN}" in lines


def test_a_long_note_comes_back_whole(ntrader: Command, save_run: SaveRun) -> None:
    save_run()
    note = "x" * 10_000

    assert ntrader("note", "@", note).stdout == f"{note}\n"
    assert ntrader("note", "@").stdout == f"{note}\n"
    assert ntrader("show", "@").stdout.count("x") >= len(note)


@pytest.mark.parametrize(
    "note", ["", "  ", "x" * 10_001, "a\0b", "\x1b[31mred", "\x9b31m", "\udcff"], ids=len
)
def test_what_is_no_note_is_refused(ntrader: Command, save_run: SaveRun, note: str) -> None:
    save_run()
    ntrader("note", "@", "Kept.")

    refused = ntrader("note", "@", note)
    at_once = ntrader("run", "--strategy", "sma", "--note", note)

    for result in (refused, at_once):
        assert (result.exit_code, result.stdout) == (2, "")
        assert "\x1b" not in result.stderr
        assert "Traceback" not in result.stderr
    assert ntrader("note", "@").stdout == "Kept.\n"


def test_what_drives_a_terminal_is_shown_harmless(ntrader: Command, save_run: SaveRun) -> None:
    """A right-to-left override is text in some languages, and a trick in ours."""
    save_run()
    ntrader("note", "@", "a\u202eb")

    assert ntrader("note", "@").stdout == "a?b\n"
    assert "\u202e" not in ntrader("show", "@").stdout


def test_a_note_is_not_written_and_cleared_at_once(ntrader: Command, save_run: SaveRun) -> None:
    save_run()

    assert ntrader("note", "@", "A note.", "--clear").exit_code == 2
    assert ntrader("note", "cccc", "A note.").exit_code == 3
    assert ntrader("note", "@").stdout == ""
