"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from ntrader.errors import UsageError

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of tables."
)

csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of tables.")


def refuse_both(*, as_csv: bool, as_json: bool) -> None:
    """Refuse two formats at once.

    Raises:
        UsageError: both are asked for.
    """
    if as_csv and as_json:
        raise UsageError("Choose one of --csv and --json.")


class Word(click.ParamType[str]):
    """A word that `read` turns into the one that is stored, or refuses."""

    def __init__(self, name: str, read: Callable[[str], str]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the word."""
        return self._read(value)


class Instant(click.ParamType[datetime]):
    """An instant in ISO 8601; naive is UTC, and a bare date stands for its midnight."""

    name = "date"

    def __init__(self, *, whole_day: bool = False) -> None:
        self._whole_day = whole_day

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read the text."""
        from ntrader.services.requests import end_instant, start_instant

        read = end_instant if self._whole_day else start_instant
        try:
            instant = read(value)
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)
        if not isinstance(instant, datetime):
            self.fail(f"{value!r} is not a date", param, ctx)
        return instant


def parse_parameters(given: tuple[str, ...]) -> dict[str, str]:
    """Read `name=value` pairs.

    Raises:
        UsageError: a pair has no `=`, or a name comes twice.
    """
    parameters: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"{pair!r} is not NAME=VALUE.", hint="Write -p fast_period=10.")
        if name in parameters:
            raise UsageError(f"{name} is given twice.", hint="Give each parameter once.")
        parameters[name] = value.strip()
    return parameters


def parameter_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option -p NAME=VALUE, which may be repeated."""
    return click.option(
        "-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help=text
    )
