"""The table of keys."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.table import Table
from rich.text import Text

from ntrader.cli.formats import UNDEFINED, plain_text
from ntrader.cli.layout import plain_table
from ntrader.domain.access import ApiKey


def keys_table(keys: Iterable[ApiKey], now: datetime) -> Table:
    """List keys."""
    table = plain_table("KEY", "NAME", "SCOPE", "STATUS", "EXPIRES", "LAST USED (UTC)")
    for key in keys:
        table.add_row(
            Text(key.prefix, style="cyan"),
            plain_text(key.name),
            key.scope.value,
            key.status(now),
            _minute(key.expires_at),
            _minute(key.last_used_at),
        )
    return table


def _minute(at: datetime | None) -> str:
    return UNDEFINED if at is None else f"{at:%Y-%m-%d %H:%M}"
