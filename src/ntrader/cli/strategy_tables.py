"""Tables of strategies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntrader.cli.formats import UNDEFINED, plain_text
from ntrader.cli.layout import Facts, plain_table
from ntrader.domain.strategies import ParameterSpec, StrategySpec


def strategies_table(specs: Iterable[StrategySpec]) -> Table:
    """List strategies."""
    table = plain_table("STRATEGY", "VERSION", "TYPE")
    table.add_column("DESCRIPTION")
    for spec in specs:
        table.add_row(
            Text(spec.name, style="cyan"), spec.version, spec.type, plain_text(spec.description)
        )
    return table


def strategy_view(spec: StrategySpec) -> RenderableType:
    """Show one strategy with its parameters."""
    facts = Facts(
        ("Strategy", Text(f"{spec.name} {spec.version}", style="cyan")),
        ("Type", spec.type),
        ("Also called", ", ".join(spec.aliases) or UNDEFINED),
        ("Code", plain_text(spec.path.removeprefix(f"{Path.cwd()}/"))),
    )
    table = plain_table("PARAMETER", "TYPE", "DEFAULT", "BOUNDS")
    table.add_column("MEANING")
    for parameter in spec.parameters:
        table.add_row(
            Text(parameter.name, style="cyan"),
            parameter.type,
            UNDEFINED if parameter.default is None else str(parameter.default),
            bounds(parameter),
            plain_text(parameter.description),
        )
    return Group(plain_text(spec.description), Text(), facts, Text(), table)


def bounds(parameter: ParameterSpec) -> str:
    """Return the bounds of a parameter as an interval."""
    if parameter.choices is not None:
        return ", ".join(map(str, parameter.choices))
    low, high = parameter.minimum, parameter.maximum
    above, below = parameter.exclusive_minimum, parameter.exclusive_maximum
    left = f"[{low:g}" if low is not None else f"({above:g}" if above is not None else None
    right = f"{high:g}]" if high is not None else f"{below:g})" if below is not None else None
    if left is None and right is None:
        return UNDEFINED
    return f"{left or '(-inf'}, {right or 'inf)'}"
