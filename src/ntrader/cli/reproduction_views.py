"""Views of a reproduction: the verdict in one line, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntrader.cli.tables import plain_table, plain_text
from ntrader.domain.documents import plain
from ntrader.domain.reproduction import (
    Attribution,
    Divergence,
    PinCheck,
    PinState,
    Reproduction,
    Verdict,
)

_STATE_STYLES = {
    PinState.SAME: "green",
    PinState.CHANGED: "yellow",
    PinState.UNKNOWN: "yellow",
}


def reproduction_view(found: Reproduction) -> RenderableType:
    """Show a reproduction."""
    parts: list[RenderableType] = [_verdict_line(found), Text(), _checks_table(found.checks)]
    if found.divergence is not None:
        parts += [Text(), *_divergence_lines(found.divergence)]
    if found.differences:
        parts += [Text(), _differences_table(found)]
    for attribution in found.attributions:
        parts += [Text(), *_attribution_lines(attribution)]
    return Group(*parts)


def _verdict_line(found: Reproduction) -> Text:
    original = str(found.original.run_id)[:8]
    if found.verdict is Verdict.IDENTICAL:
        what = (
            ": it failed in the same way"
            if found.run.error is not None
            else ", to the last fill and equity point"
        )
        return Text.assemble(("IDENTICAL", "bold green"), f"  Run {original} still holds{what}.")
    changed = ", ".join(check.pin.words for check in found.changed)
    why = f"changed: {changed}" if changed else "although nothing it rests on is known to differ"
    return Text.assemble(
        ("DIFFERENT", "bold red"), f"  Run {original} gives another answer today; {why}."
    )


def _checks_table(checks: tuple[PinCheck, ...]) -> Table:
    table = plain_table()
    for check in checks:
        table.add_row(
            Text(check.pin.words.capitalize(), style="dim"),
            Text(check.state.value, style=_STATE_STYLES[check.state]),
            plain_text(check.detail),
        )
    return table


def _divergence_lines(divergence: Divergence) -> list[Text]:
    where = f"{divergence.time:%Y-%m-%d %H:%M}"
    return [
        Text(f"First difference: {divergence.kind} {divergence.index + 1}, {where} UTC", "bold"),
        plain_text(f"  original  {_side(divergence.original)}"),
        plain_text(f"  now       {_side(divergence.run)}"),
    ]


def _side(values: Mapping[str, Any] | None) -> str:
    if values is None:
        return "none"
    return ", ".join(f"{name} {plain(value)}" for name, value in values.items())


def _differences_table(found: Reproduction) -> Table:
    table = plain_table("METRIC", right=("ORIGINAL", "NOW"))
    for difference in found.differences:
        table.add_row(
            difference.name.replace("_", " "),
            str(plain(difference.original)),
            str(plain(difference.run)),
        )
    return table


def _attribution_lines(attribution: Attribution) -> list[Text]:
    name = attribution.pin.words
    if attribution.verdict is Verdict.IDENTICAL:
        return [Text(f"With today's {name} alone the answer stays the same.")]
    lines = [Text(f"Today's {name} alone moves the answer.", style="bold yellow")]
    if attribution.divergence is not None:
        lines += _divergence_lines(attribution.divergence)
    return lines
