"""`ntrader tag`, and finding runs by tag."""

import json

import pytest

from support.commands import Command
from support.saving import SaveRun

HOSTILE = ["", "x" * 65, "two words", "a\tb", "a\nb", "a\0b", "\x1b[31mred", "\u202eevil", "\udcff"]


def tags_of(ntrader: Command, run: object) -> list[str]:
    tags: list[str] = ntrader("show", run, "--json").json["tags"]
    return tags


def test_tags_are_put_on_a_run_and_taken_off(ntrader: Command, save_run: SaveRun) -> None:
    run_id = save_run()

    tagged = ntrader("tag", "@", "baseline", "2026-q1", "baseline")
    untagged = ntrader("tag", str(run_id)[:8], "2026-q1", "never", "--remove")

    assert tagged.stdout == f"Run {str(run_id)[:8]} has the tags 2026-q1 baseline.\n"
    assert untagged.stdout == f"Run {str(run_id)[:8]} has the tags baseline.\n"
    assert tags_of(ntrader, run_id) == ["baseline"]
    assert "has no tags" in ntrader("tag", "@", "baseline", "--remove").stdout


def test_tag_json_is_one_object(ntrader: Command, save_run: SaveRun) -> None:
    run_id = save_run()

    assert ntrader("tag", "@", "b", "a", "--json").json == {
        "run_id": str(run_id),
        "tags": ["a", "b"],
        "note": None,
    }


def test_history_finds_runs_by_tag(ntrader: Command, save_run: SaveRun) -> None:
    tagged, other = save_run(), save_run(failed=True)
    ntrader("tag", tagged, "keep")
    ntrader("tag", other, "Keep")

    found = ntrader("history", "--tag", "keep", "--json").json["runs"]

    assert [(run["run_id"], run["tags"]) for run in found] == [(str(tagged), ["keep"])]
    assert ntrader("history", "--tag", "nobody", "--json").json["runs"] == []
    assert ntrader("history", "--tag", "two words").exit_code == 2


def test_a_cursor_belongs_to_its_tag(ntrader: Command, save_run: SaveRun) -> None:
    for _ in range(2):
        ntrader("tag", save_run(), "a", "b")
    cursor = ntrader("history", "--tag", "a", "--limit", "1", "--json").json["next"]

    assert ntrader("history", "--tag", "a", "--after", cursor).exit_code == 0
    assert ntrader("history", "--tag", "b", "--after", cursor).exit_code == 2


def test_run_saves_its_tags_and_its_note(ntrader: Command) -> None:
    run = ntrader(
        *("run", "--strategy", "sma", "--start", "2012-01-01", "--json"),
        *("--tag", "b", "--tag", "a", "--note", "Before the new fees."),
    ).json

    assert (run["tags"], run["note"]) == (["a", "b"], "Before the new fees.")
    shown = ntrader("show", "@", "--json").json
    assert (shown["tags"], shown["note"]) == (run["tags"], run["note"])


def test_a_run_that_is_reused_takes_the_tags_too(ntrader: Command) -> None:
    question = ["run", "--strategy", "sma", "--start", "2012-01-01", "--json"]
    first = ntrader(*question, "--tag", "a", "--note", "Kept.").json

    reused = ntrader(*question, "--tag", "b", "--reuse").json

    assert (reused["run_id"], reused["tags"]) == (first["run_id"], ["a", "b"])
    assert reused["note"] == "Kept."


@pytest.mark.parametrize("options", [["--tag", "a"], ["--note", "b"]])
def test_a_run_that_is_not_saved_takes_none(ntrader: Command, options: list[str]) -> None:
    refused = ntrader("run", "--strategy", "sma", "--no-save", *options)

    assert refused.exit_code == 2
    assert "not saved" in refused.stderr


@pytest.mark.parametrize("tag", HOSTILE, ids=repr)
def test_a_tag_that_is_no_word_is_refused(ntrader: Command, save_run: SaveRun, tag: str) -> None:
    run_id = save_run()

    refused = ntrader("tag", "@", "--", "fine", tag)
    at_once = ntrader("run", "--strategy", "sma", f"--tag={tag}")

    for result in (refused, at_once):
        assert (result.exit_code, result.stdout) == (2, "")
        assert "\x1b" not in result.stderr
        assert "Traceback" not in result.stderr
    assert tags_of(ntrader, run_id) == []
    assert len(ntrader("history", "--json").json["runs"]) == 1


def test_markup_in_a_tag_is_shown_as_it_is(ntrader: Command, save_run: SaveRun) -> None:
    save_run()

    assert "[bold]x[/]" in ntrader("tag", "@", "[bold]x[/]").stdout
    assert "[bold]x[/]" in ntrader("show", "@").stdout


@pytest.mark.parametrize(
    ("reference", "exit_code"), [("cccc", 3), ("@~7", 3), ("aa", 2), ("", 2)], ids=str
)
def test_what_names_no_run_is_refused(
    ntrader: Command, save_run: SaveRun, reference: str, exit_code: int
) -> None:
    save_run()

    refused = ntrader("tag", reference, "a", "--json")

    assert refused.exit_code == exit_code
    assert set(json.loads(refused.stdout)["error"]) == {"code", "message", "hint"}


def test_a_tag_is_needed(ntrader: Command, save_run: SaveRun) -> None:
    save_run()

    assert ntrader("tag", "@").exit_code == 2
