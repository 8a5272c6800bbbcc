"""Layout: tables and facts that fit into any terminal. Nothing is cut; what does not fit is folded.

A table that is too wide becomes a record for each row, one named cell a line; facts in a terminal
that is narrower still have their names above their values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from ntrader.cli.formats import plain_text

_GAP = 2
# A column that folds gets at least as much of its text in a line, and a fact's value.
_FOLDED = 16


class FittingTable(Table):
    """A table without a frame; see the module."""

    def __init__(self) -> None:
        super().__init__(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the table, or its rows as records."""
        self.show_header = any(column.header for column in self.columns)
        needed = sum(map(_width, self.columns)) + _GAP * (len(self.columns) - 1)
        if needed <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._records()

    def _records(self) -> RenderResult:
        names = [str(column.header) for column in self.columns]
        for index, cells in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            if index:
                yield Text()
            yield Facts(*zip(names, cells, strict=True))


class Facts:
    """Named facts, one a line."""

    def __init__(self, *facts: tuple[str, Any]) -> None:
        self._facts = [(name, _text(value)) for name, value in facts]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the facts side by side with their names, or below them."""
        names = max((len(name) for name, _ in self._facts), default=0) + _GAP
        values = max((value.cell_len for _, value in self._facts), default=0)
        if names + min(values, _FOLDED) <= options.max_width:
            yield self._beside()
            return
        for name, value in self._facts:
            yield Text(name, "dim", overflow="fold")
            value.overflow = "fold"
            yield Padding(value, (0, 0, 0, _GAP if options.max_width > _FOLDED else 0))

    def _beside(self) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in self._facts:
            table.add_row(name, value)
        return table


class FirstThatFits:
    """The first of some renderables that fits, or else the last."""

    def __init__(self, *choices: RenderableType) -> None:
        self._choices = choices

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the one that fits."""
        unlimited = options.update(max_width=10_000)
        for choice in self._choices[:-1]:
            if Measurement.get(console, unlimited, choice).maximum <= options.max_width:
                yield choice
                return
        yield self._choices[-1]


def plain_table(*left: str, right: Sequence[str] = ()) -> FittingTable:
    """Return an empty table; columns named in `right` are aligned to the right."""
    table = FittingTable()
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def folded(text: Text) -> Text:
    """Return text that is folded within a word where it must be."""
    text.overflow = "fold"
    return text


def lines(text: str) -> Group:
    """Return text of several lines as it is."""
    return Group(*(folded(plain_text(line.expandtabs(4))) for line in text.rstrip().splitlines()))


def _width(column: Column) -> int:
    """Return how much room a column needs."""
    natural = max(_text(cell).cell_len for cell in (column.header, *column.cells))
    if column.no_wrap:
        return natural
    return min(natural, max(column.min_width or _FOLDED, len(str(column.header))))


def _text(value: Any) -> Text:
    return value if isinstance(value, Text) else plain_text(str(value))
