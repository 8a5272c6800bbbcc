"""Errors under `--json`: one object on stdout, where the user asked for one and only there."""

import pytest

from support.commands import Command


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "zzzz", "--json"],
        ["show", "--json", "zzzz"],
        ["show", "--json"],
        ["show", "zzzz", "--bogus", "--json"],
        ["history", "--json", "--sort"],
        ["history", "--limit", "no", "--json"],
        ["history", "--tag", "--json", "--json", "--limit", "no"],
        ["run", "--strategy", "nobody", "--json"],
        ["data", "show", "nothing", "--json"],
        ["data", "bogus", "--json"],
        ["bogus", "--json"],
        ["--json", "history", "--bogus"],
    ],
    ids=" ".join,
)
def test_an_error_is_one_object_where_json_is_asked_for(
    ntrader: Command, arguments: list[str]
) -> None:
    refused = ntrader(*arguments)

    assert refused.exit_code in (2, 3)
    assert set(refused.json) == {"error"}
    assert set(refused.json["error"]) == {"code", "message", "hint"}
    assert refused.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "zzzz"],
        ["show", "--", "--json"],
        ["show", "zzzz", "--js"],
        ["history", "--sort", "--json"],
        ["run", "--strategy", "nobody", "--note", "--json"],
        ["run", "-p", "--json", "--strategy", "sma"],
        ["data", "show", "--", "--json"],
        ["bogus", "--", "--json"],
        [],
    ],
    ids=" ".join,
)
def test_an_error_is_in_words_where_json_is_something_else(
    ntrader: Command, arguments: list[str]
) -> None:
    refused = ntrader(*arguments)

    assert refused.exit_code in (2, 3)
    assert not refused.stdout.lstrip().startswith("{")
    assert refused.stderr.startswith(("Error: ", "Usage: "))
