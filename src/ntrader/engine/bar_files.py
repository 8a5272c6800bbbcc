"""Reading bars from people's files: CSV and Parquet in the shapes that exist.

A file is taken whole or refused whole. A refusal names the first bad lines as an editor numbers
them, so that they can be looked at.
"""

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ntrader.domain.datasets import InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine import decimals
from ntrader.engine.bar_columns import Table, read_table
from ntrader.engine.bar_roles import PRICES, TICK_VOLUME
from ntrader.engine.bar_times import FaultyTimesError, bad_rows, find_zone, label, parse_times
from ntrader.engine.bars import Bars, Fault, Integers, find_faults, is_descending
from ntrader.engine.instruments import MAX_PRECISION, SIZE_PRECISIONS
from ntrader.errors import InvalidDataError, UsageError

_LEAST_PRICE_PRECISION = 2
_SHOWN = 5
_SHOWN_OF_A_LINE = 3
_LONGEST_LIST = 350
_LONGEST_VALUE = 40
_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"
_THOUSANDS = r"^[+-]?\d{1,3},\d{3}$"
_MINUTE = 60_000_000_000


@dataclass(frozen=True, slots=True)
class BarsFile:
    """What a file holds, and what was done to it that its owner should know."""

    bars: Bars
    warnings: tuple[str, ...]


def read_bars(
    path: Path,
    *,
    timeframe: Timeframe,
    kind: InstrumentKind,
    price_precision: int | None = None,
    size_precision: int | None = None,
    timezone: str | None = None,
    columns: str | None = None,
    day_first: bool | None = None,
    now: int | None = None,
) -> BarsFile:
    """Read a CSV or Parquet file of bars and check every value of it.

    Precisions are numbers of decimals. By default prices keep what the file has, 2 to 8; volumes
    have 0 for an equity, 2 for FX and 8 for crypto; both have fewer where the numbers are so large
    that the engine could not hold them exactly. `timezone` names the zone of times without an
    offset, by default UTC. `columns` names the columns of a CSV file in order, separated by commas,
    `-` for one to pass over. `day_first` says whether dates that end with the year begin with the
    day; by default dotted ones do, and of others the file has to tell. `now`, in nanoseconds since
    1970, is the instant after which a bar lies in the future.

    Raises:
        NotFoundError: there is no such file.
        InvalidDataError: the file is not clean market data; the message names the first bad lines.
        UsageError: a precision or the time zone is not possible, or `columns` do not fit.
    """
    for what, precision in (("price", price_precision), ("size", size_precision)):
        if precision is not None and not 0 <= precision <= MAX_PRECISION:
            raise UsageError(
                f"A {what} precision of {precision} is not possible.",
                hint=f"Give 0 to {MAX_PRECISION} decimals.",
            )
    zone = None if timezone is None else find_zone(timezone)
    table = read_table(path, columns)
    reader = _Reader(table)
    reader.read_times(timeframe, zone, day_first)
    reader.read_numbers()
    reader.stop_at_faults()
    reader.check_steps(timeframe)
    bars = reader.scale(price_precision, size_precision, kind)
    _check(bars, table, time.time_ns() if now is None else now)
    return BarsFile(bars, (*reader.warnings, *_told_steps(table, bars, timeframe)))


class _Reader:
    """Turns the columns of one table into numbers, collecting what cannot be read."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.warnings: list[str] = list(table.warnings)
        self._faults: list[Fault] = []
        self._hint: str | None = None
        self._numbers: dict[str, pa.Array] = {}
        self._times: Integers = np.empty(0, dtype=np.int64)

    def read_times(self, timeframe: Timeframe, zone: tzinfo | None, day_first: bool | None) -> None:
        column = self.table.columns["time"]
        try:
            empty = pc.is_null(column, nan_is_null=True)
            if pc.any(empty).as_py():
                rows = np.flatnonzero(empty.to_numpy(zero_copy_only=False))[: _SHOWN + 1]
                raise FaultyTimesError([Fault(row, "time is empty") for row in rows.tolist()])
            self._times = parse_times(
                column, timeframe, zone, day_first=day_first, limit=_SHOWN + 1
            )
        except FaultyTimesError as error:
            self._faults += error.faults
            self._hint = error.hint

    def read_numbers(self) -> None:
        for role in (*PRICES, "volume"):
            if role in self.table.columns:
                self._read_number(role)
        if TICK_VOLUME in self.table.columns and self._is_zero("volume"):
            self._read_number(TICK_VOLUME)
            if TICK_VOLUME in self._numbers and not self._is_zero(TICK_VOLUME):
                self._numbers["volume"] = self._numbers[TICK_VOLUME]
                self.warnings.append("Every volume is 0: the tick volume is used instead.")

    def _is_zero(self, role: str) -> bool:
        numbers = self._numbers.get(role)
        return (
            numbers is not None and not pc.any(numbers.cast(pa.float64()).cast(pa.bool_())).as_py()
        )

    def _read_number(self, role: str) -> None:
        text = pc.utf8_trim_whitespace(self.table.columns[role].cast(pa.string()).fill_null(""))
        written = text
        if role in PRICES and pc.any(pc.starts_with(text, "$")).as_py():
            text = pc.replace_substring_regex(text, r"^\$", "")
        rows = bad_rows(text, decimals.parse, _SHOWN + 1)
        if not rows:
            self._numbers[role] = decimals.parse(text)
            return
        values = [written[row].as_py() for row in rows]
        self._refuse_decimal_commas(role, rows, values)
        for row, value in zip(rows, values, strict=True):
            told = "is out of range" if decimals.is_number(value) else "is not a number"
            shown = f"{role} {value[:_LONGEST_VALUE]!r} {told}" if value else f"{role} is empty"
            self._faults.append(Fault(row, shown))
            if "," in value and self._hint is None:
                self._hint = "Write numbers with a decimal point and without separators."

    def _refuse_decimal_commas(self, role: str, rows: list[int], values: list[str]) -> None:
        """Tell of decimal commas once, instead of every number that has one."""
        if all(re.match(_DECIMAL_COMMA, value) for value in values) and not all(
            re.match(_THOUSANDS, value) for value in values
        ):
            shown = f"{role} {values[0][:_LONGEST_VALUE]!r} is not a number"
            raise InvalidDataError(
                f"{self.table.name} has decimal commas; {self.table.place(rows[0])}: {shown}.",
                hint="Write numbers with a decimal point and import it again; nothing was stored.",
            )

    def stop_at_faults(self) -> None:
        if self._faults:
            raise refusal(self.table, self._faults, self._hint)

    def check_steps(self, timeframe: Timeframe) -> None:
        """Refuse bars of a finer timeframe, then label those of days and weeks by their date."""
        steps = np.abs(np.diff(self._times))
        steps = steps[steps > 0]
        closer = int((steps < timeframe.nanoseconds).sum())
        if closer * 2 > len(steps):
            why = f"{closer:,} of {len(steps):,} follow sooner than that on the one before"
            raise _other_timeframe(self.table, timeframe, why, _fitting(steps))
        self._times = label(self._times, timeframe)

    def scale(
        self, price_precision: int | None, size_precision: int | None, kind: InstrumentKind
    ) -> Bars:
        if price_precision is None:
            price_precision = self._price_precision()
        if size_precision is None:
            size_precision = self._size_precision(kind)
        scaled = {role: self._scale(role, price_precision) for role in PRICES}
        rounded = sum(changed for _, changed in scaled.values())
        self._tell_rounding("price", price_precision, rounded, kind)
        volume = np.zeros(len(self._times), dtype=np.int64)
        if "volume" in self._numbers:
            volume, changed = self._scale("volume", size_precision)
            self._tell_rounding("volume", size_precision, changed, kind)
            if not volume.any():
                self.warnings.append("Every volume is 0.")
        else:
            self.warnings.append("There is no volume column: every volume is 0.")
        return Bars(
            times=self._times,
            open=scaled["open"][0],
            high=scaled["high"][0],
            low=scaled["low"][0],
            close=scaled["close"][0],
            volume=volume,
            price_precision=price_precision,
            size_precision=size_precision,
        )

    def _price_precision(self) -> int:
        columns = [self._numbers[role] for role in PRICES]
        least, most = _LEAST_PRICE_PRECISION, MAX_PRECISION
        places = max(decimals.places(numbers, least=least, most=most) for numbers in columns)
        return min(decimals.fitting(numbers, places) for numbers in columns)

    def _size_precision(self, kind: InstrumentKind) -> int:
        precision = SIZE_PRECISIONS[kind]
        volume = self._numbers.get("volume")
        return precision if volume is None else decimals.fitting(volume, precision)

    def _scale(self, role: str, precision: int) -> tuple[Integers, int]:
        numbers = self._numbers[role]
        rows = decimals.too_large(numbers, precision)[: _SHOWN + 1].tolist()
        if rows:
            told = f"is above {decimals.largest(precision):,}, the most with {precision} decimals"
            what = "size" if role == "volume" else "price"
            raise refusal(
                self.table,
                [Fault(row, f"{role} {numbers[row].as_py().normalize():f} {told}") for row in rows],
                f"Give a smaller --{what}-precision." if precision else None,
            )
        return decimals.scale(numbers, precision)

    def _tell_rounding(self, what: str, precision: int, changed: int, kind: InstrumentKind) -> None:
        if not changed:
            return
        are = "value was" if changed == 1 else "values were"
        if what == "volume" and kind is InstrumentKind.EQUITY:
            why = "an equity trades in whole units"
        else:
            why = f"--{'size' if what == 'volume' else 'price'}-precision sets how many"
        self.warnings.append(f"{changed:,} {what} {are} rounded to {precision} decimals ({why}).")


def refusal(table: Table, faults: list[Fault], hint: str | None) -> InvalidDataError:
    """Return the error that names the first faults by their lines, in few words."""
    rows: dict[int, list[str]] = {}
    for fault in sorted(faults, key=lambda fault: fault.row):
        rows.setdefault(fault.row, []).append(fault.text)
    lines: list[str] = []
    for row in list(rows)[:_SHOWN]:
        line = f"{table.place(row)}: {_listed(rows[row])}"
        if lines and sum(map(len, lines)) + len(line) > _LONGEST_LIST:
            break
        lines.append(line)
    if len(rows) > len(lines):
        lines.append("and more")
    told = "; ".join(lines)
    return InvalidDataError(
        f"{table.name} is not clean market data. {told[0].upper()}{told[1:]}.",
        hint=hint or "Correct the file and import it again; nothing was stored.",
    )


def _listed(texts: list[str]) -> str:
    more = len(texts) - _SHOWN_OF_A_LINE
    return ", ".join(texts[:_SHOWN_OF_A_LINE]) + (f" and {more} more" if more > 0 else "")


def _check(bars: Bars, table: Table, now: int) -> None:
    faults = find_faults(bars, now=now, limit=_SHOWN + 1)
    if not faults:
        return
    hint = None
    # Two bars in the wrong order may be any mistake.
    if len(bars) > 2 and is_descending(bars):
        hint = (
            "The file runs from the newest bar to the oldest: sort it by time, oldest first"
            f"{_reversing(table.above)}."
        )
    raise refusal(table, faults, hint)


def _reversing(above: int | None) -> str:
    """Return the command that turns the bars of a text file around, `above` lines staying."""
    if above is None:
        return ""
    # `grep .` ends the last line, which `tac` would otherwise join with the one before.
    bars = f"tail -n +{above + 1} FILE | grep . | tac"
    head = f"head -n {above} FILE; " if above else ""
    return f", as `({head}{bars}) > sorted.csv` does"


def _told_steps(table: Table, bars: Bars, timeframe: Timeframe) -> list[str]:
    """Say where the distances between bars are not what the timeframe promises.

    Raises:
        InvalidDataError: three bars or more, and no two are one timeframe apart.
    """
    steps = np.diff(bars.times)
    told = []
    if closer := int((steps < timeframe.nanoseconds).sum()):
        are = "bar is" if closer == 1 else "bars are"
        told.append(f"{closer:,} {are} closer than {timeframe} to the one before.")
    if steps.size and steps.min() > timeframe.nanoseconds:
        if len(bars) > 2:
            raise _other_timeframe(
                table, timeframe, f"no two are {timeframe} apart", _fitting(steps)
            )
        fits = _fitting(steps)
        asked = f" (is --timeframe {fits} meant?)" if fits else ""
        told.append(f"No two bars are {timeframe} apart{asked}.")
    return told


def _other_timeframe(
    table: Table, timeframe: Timeframe, why: str, fits: Timeframe | None
) -> InvalidDataError:
    return InvalidDataError(
        f"{table.name} does not hold {timeframe} bars: {why}.",
        hint=f"Import it with --timeframe {fits}." if fits else "Give its own timeframe.",
    )


def _fitting(steps: Integers) -> Timeframe | None:
    """Return the timeframe that is the usual step between bars, if it is one."""
    minutes, rest = divmod(int(np.sort(steps)[(len(steps) - 1) // 2]), _MINUTE)
    if rest:
        return None
    for unit, length in (("w", 10_080), ("d", 1_440), ("h", 60), ("m", 1)):
        if minutes % length == 0:
            with suppress(UsageError):
                return Timeframe.parse(f"{minutes // length}{unit}")
    return None
