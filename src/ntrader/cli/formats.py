"""Formats: how one value is written for a person."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.text import Text

from ntrader.domain.ranking import Unit
from ntrader.domain.runs import BacktestRun

UNDEFINED = "-"
SHORT_ID = 8


def short_id(run: BacktestRun) -> str:
    """Return the prefix that names a run in everyday use."""
    return str(run.run_id)[:SHORT_ID]


def percent(value: float | None, *, digits: int = 2) -> str:
    """Return a fraction as percent; what rounds to zero has no sign."""
    return UNDEFINED if value is None else f"{round(value * 100, digits) + 0.0:,.{digits}f}%"


def exact_percent(fraction: Decimal | str) -> str:
    """Return a fraction as percent with all of its digits."""
    return f"{(Decimal(fraction) * 100).normalize():f}%"


def ratio(value: float | None) -> str:
    """Return a ratio."""
    return UNDEFINED if value is None else f"{value:,.2f}"


def money(value: Decimal | None, currency: str) -> str:
    """Return an amount of money."""
    return UNDEFINED if value is None else f"{value:,.2f} {currency}"


def day(value: datetime | None) -> str:
    """Return a day, with the time of day where there is one."""
    if value is None:
        return UNDEFINED
    return f"{value:%Y-%m-%d}" if value.time() == value.time().min else f"{value:%Y-%m-%d %H:%M}"


def metric_text(unit: Unit, value: Any) -> str:
    """Return a metric's value as it is shown."""
    if value is None:
        return UNDEFINED
    match unit:
        case Unit.FRACTION:
            return percent(value)
        case Unit.RATIO:
            return ratio(value)
        case Unit.MONEY:
            return f"{value:,.2f}"
        case Unit.COUNT:
            return f"{value:,}"
        case Unit.INSTANT:
            return day(value)


def signed(value: float | None, text: str) -> Text:
    """Return `text` in the colour of gains or losses."""
    style = "" if not value else "green" if value > 0 else "red"
    return Text(text, style=style)


def plain_text(value: str) -> Text:
    """Return text as it is: no markup is read, and nothing in it can drive the terminal."""
    return Text("".join(char if char.isprintable() else "?" for char in value))
