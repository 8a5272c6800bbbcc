"""Where the bars of a CSV file begin, and what its columns are called."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ntrader.engine import decimals
from ntrader.engine.bar_roles import EXPECTED, missing_roles, plain_name
from ntrader.errors import InvalidDataError, UsageError

_DELIMITERS = ",;\t|"
_LONGEST_LINE = 10_000
_LINES = 4

_BARS = ("open", "high", "low", "close", "volume")
_KLINE = ("time", *_BARS, *"------")
_KLINE_CLOSE = 6
_METATRADER_4 = ("date", "time", *_BARS)
_EPOCH = re.compile(r"\d{13}|\d{16}")
_DATE = re.compile(r"\d{4}\.\d{2}\.\d{2}")
_CLOCK = re.compile(r"\d{2}:\d{2}")


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read a CSV file: its delimiter, its columns' names and what stands above its bars.

    `lines` counts the lines above the first bar, without blank ones; `start` is the first bar's
    offset in bytes; `first` has its cells.
    """

    delimiter: str
    names: tuple[str, ...]
    lines: int
    start: int
    first: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    """One of the first lines: its text, and the offsets of its begin and end."""

    text: str
    start: int
    end: int

    @property
    def delimiter(self) -> str:
        return max(_DELIMITERS, key=self.text.count)

    def cells(self, delimiter: str | None = None) -> tuple[str, ...]:
        return tuple(next(csv.reader([self.text], delimiter=delimiter or self.delimiter)))


def find_layout(name: str, data: bytes, columns: Sequence[str] | None) -> Layout:
    """Return how to read the text of a file; `columns` are the names that were given to it.

    Raises:
        InvalidDataError: the first line is too long, or names several tickers.
        UsageError: `columns` are not as many as the file has.
    """
    lines = _first_lines(name, data)
    layout = (
        _with_names(name, lines[0], tuple(columns))
        if columns is not None
        else _below_levels(name, lines)
        or _below_title(lines)
        or _of_vendor(lines[0])
        or _below_header(lines, 1)
    )
    if len(lines) > layout.lines:
        layout = replace(layout, first=lines[layout.lines].cells(layout.delimiter))
    return layout


def _first_lines(name: str, data: bytes) -> list[_Line]:
    """Return the first lines that are not blank."""
    found: list[_Line] = []
    end = 0
    for line in data[: _LINES * _LONGEST_LINE].splitlines(keepends=True):
        start, end = end, end + len(line)
        text = line.rstrip(b"\r\n")
        if text:
            found.append(_Line(text.decode(errors="replace"), start, end))
        if len(found) == _LINES:
            break
    if len(found[0].text) > _LONGEST_LINE:
        raise InvalidDataError(f"{name} has no header line.", hint=EXPECTED)
    return found


def _below_header(lines: list[_Line], count: int) -> Layout:
    header = lines[count - 1]
    return Layout(header.delimiter, header.cells(), count, header.end)


def _below_levels(name: str, lines: list[_Line]) -> Layout | None:
    """Return the layout below the header of a table with two levels of columns.

    yfinance writes prices, tickers and the name of the index into a line each.
    """
    if len(lines) < 3:
        return None
    rows = [line.cells(lines[0].delimiter) for line in lines[:3]]
    levels = {plain_name(row[0]): row[1:] for row in rows[:2]}
    index, *others = rows[2]
    if levels.keys() != {"price", "ticker"} or any(cell.strip() for cell in others):
        return None
    tickers = list(dict.fromkeys(levels["ticker"]))
    if len(tickers) > 1:
        raise InvalidDataError(
            f"{name} has bars of several tickers: {', '.join(tickers)[:200]}.",
            hint="Write one file for each.",
        )
    return Layout(lines[0].delimiter, (index, *levels["price"]), 3, lines[2].end)


def _below_title(lines: list[_Line]) -> Layout | None:
    """Return the layout if the first line is of a single cell, and the second is a header."""
    if len(lines) < 2 or sum(bool(cell.strip()) for cell in lines[0].cells()) != 1:
        return None
    layout = _below_header(lines, 2)
    return None if missing_roles(layout.names) else layout


def _of_vendor(line: _Line) -> Layout | None:
    """Return the layout of a file without a header whose first line only one vendor writes so."""
    cells = line.cells()
    if _is_kline(cells):
        return _headerless(line, _KLINE, "a kline of Binance")
    if _is_metatrader_4(cells):
        return _headerless(line, _METATRADER_4, "a bar of MetaTrader 4")
    return None


def _headerless(line: _Line, names: tuple[str, ...], known_as: str) -> Layout:
    shown = ", ".join(name for name in names if name != "-")
    warning = f"There is no header line: each line is read as {known_as} ({shown})."
    return Layout(line.delimiter, names, 0, line.start, warnings=(warning,))


def _is_kline(cells: Sequence[str]) -> bool:
    """Say whether these are the cells of a kline, whose times of open and close tell it apart."""
    return (
        len(cells) == len(_KLINE)
        and all(decimals.is_number(cell) for cell in cells)
        and all(_EPOCH.fullmatch(cells[number]) for number in (0, _KLINE_CLOSE))
        and len(cells[0]) == len(cells[_KLINE_CLOSE])
        and cells[0] < cells[_KLINE_CLOSE]
    )


def _is_metatrader_4(cells: Sequence[str]) -> bool:
    return (
        len(cells) == len(_METATRADER_4)
        and _DATE.fullmatch(cells[0]) is not None
        and _CLOCK.fullmatch(cells[1]) is not None
        and all(decimals.is_number(cell) for cell in cells[2:])
    )


def _with_names(name: str, line: _Line, columns: tuple[str, ...]) -> Layout:
    """Return the layout with the names that were given; a first line without a digit is no bar."""
    counts = {delimiter: len(line.cells(delimiter)) for delimiter in _DELIMITERS}
    delimiter = next((each for each in counts if counts[each] == len(columns)), None)
    if delimiter is None:
        raise UsageError(
            f"--columns names {len(columns)} columns, but the first line of {name} has "
            f"{counts[line.delimiter]}.",
            hint="Name every column in order; - passes one over.",
        )
    if any(char.isdigit() for cell in _named(line.cells(delimiter), columns) for char in cell):
        return Layout(delimiter, columns, 0, line.start)
    warning = "The header line is not used: --columns names the columns."
    return Layout(delimiter, columns, 1, line.end, warnings=(warning,))


def _named(cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    return [cell for cell, name in zip(cells, columns, strict=True) if name != "-"]
