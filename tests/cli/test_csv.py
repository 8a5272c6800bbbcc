"""Lists as CSV: one header, also above nothing, and a row for each thing."""

import csv
import io
import json

import pytest

from support.commands import Command


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("command", "first"),
    [
        (["history"], "run_id"),
        (["data", "list"], "id"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_an_empty_list_still_has_its_header(
    ntrader: Command, command: list[str], first: str
) -> None:
    shown = ntrader(*command, "--csv")

    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"{first},")
    assert len(shown.stdout.splitlines()) == 1


def test_a_csv_has_the_keys_and_values_of_the_json(ntrader: Command) -> None:
    ntrader("run", "--strategy", "rsi", "--symbol", "GOOG")

    for command, key in (
        (["data", "list"], "datasets"),
        (["show", "@", "--trades"], "trades"),
        (["show", "@", "--events"], "events"),
        (["strategies", "rsi"], "parameters"),
    ):
        objects = ntrader(*command, "--json").json[key]
        rows = table(ntrader(*command, "--csv").stdout)

        assert len(rows) == len(objects) > 0, command
        for row, each in zip(rows, objects, strict=True):
            for name, value in each.items():
                written = json.loads(row[name]) if isinstance(value, dict) else row[name]
                expected = value if isinstance(value, dict) else "" if value is None else str(value)
                assert written == expected or float(written) == value, (command, name)


@pytest.mark.parametrize(
    "command",
    [
        ["history", "--csv", "--json"],
        ["data", "list", "--csv", "--json"],
        ["strategies", "--csv", "--json"],
        ["show", "@", "--trades", "--csv", "--json"],
        ["show", "@", "--csv"],
    ],
    ids=" ".join,
)
def test_a_format_that_cannot_be_is_refused(ntrader: Command, command: list[str]) -> None:
    assert ntrader(*command).exit_code == 2
