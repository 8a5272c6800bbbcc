"""Reading bars from people's files: CSV and Parquet in the shapes that exist.

A file is taken whole or refused whole. A refusal names the first bad lines as an editor numbers
them, so that they can be looked at.
"""

import time
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ntrader.domain.datasets import InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine import decimals
from ntrader.engine.bar_columns import PRICES, Table, read_table
from ntrader.engine.bar_times import FaultyTimesError, bad_rows, find_zone, label, parse_times
from ntrader.engine.bars import Bars, Fault, Integers, find_faults, is_descending
from ntrader.engine.instruments import MAX_PRECISION, SIZE_PRECISIONS
from ntrader.errors import InvalidDataError, UsageError

_LEAST_PRICE_PRECISION = 2
_SHOWN = 5
_COMMON = ("1m", "5m", "15m", "30m", "1h", "4h", "12h", "1d", "1w")


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
    now: int | None = None,
) -> BarsFile:
    """Read a CSV or Parquet file of bars and check every value of it.

    Precisions are numbers of decimals. By default prices keep what the file has, 2 to 8; volumes
    have 0 for an equity, 2 for FX and 8 for crypto; both have fewer where the numbers are so large
    that the engine could not hold them exactly. `timezone` names the zone of times without an
    offset, by default UTC. `now`, in nanoseconds since 1970, is the instant after which a bar lies
    in the future.

    Raises:
        NotFoundError: there is no such file.
        InvalidDataError: the file is not clean market data; the message names the first bad lines.
        UsageError: a precision or the time zone is not possible.
    """
    for what, precision in (("price", price_precision), ("size", size_precision)):
        if precision is not None and not 0 <= precision <= MAX_PRECISION:
            raise UsageError(
                f"A {what} precision of {precision} is not possible.",
                hint=f"Give 0 to {MAX_PRECISION} decimals.",
            )
    zone = None if timezone is None else find_zone(timezone)
    table = read_table(path)
    reader = _Reader(table)
    reader.read_times(timeframe, zone)
    reader.read_numbers()
    reader.stop_at_faults()
    reader.check_steps(timeframe)
    bars = reader.scale(price_precision, size_precision, kind)
    _check(bars, table, time.time_ns() if now is None else now)
    return BarsFile(bars, (*reader.warnings, *_told_steps(bars, timeframe)))


class _Reader:
    """Turns the columns of one table into numbers, collecting what cannot be read."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.warnings: list[str] = list(table.warnings)
        self._faults: list[Fault] = []
        self._hint: str | None = None
        self._numbers: dict[str, pa.Array] = {}
        self._times: Integers = np.empty(0, dtype=np.int64)

    def read_times(self, timeframe: Timeframe, zone: tzinfo | None) -> None:
        column = self.table.columns["time"]
        try:
            empty = pc.is_null(column, nan_is_null=True)
            if pc.any(empty).as_py():
                rows = np.flatnonzero(empty.to_numpy(zero_copy_only=False))[: _SHOWN + 1]
                raise FaultyTimesError([Fault(row, "time is empty") for row in rows.tolist()])
            self._times = parse_times(column, timeframe, zone, limit=_SHOWN + 1)
        except FaultyTimesError as error:
            self._faults += error.faults
            self._hint = error.hint

    def read_numbers(self) -> None:
        for role in (*PRICES, "volume"):
            if role in self.table.columns:
                self._read_number(role)

    def _read_number(self, role: str) -> None:
        text = pc.utf8_trim_whitespace(self.table.columns[role].cast(pa.string()).fill_null(""))
        rows = bad_rows(text, decimals.parse, _SHOWN + 1)
        if not rows:
            self._numbers[role] = decimals.parse(text)
            return
        for row in rows:
            value = text[row].as_py()
            told = "is out of range" if decimals.is_number(value) else "is not a number"
            shown = f"{role} {value[:40]!r} {told}" if value else f"{role} is empty"
            self._faults.append(Fault(row, shown))
            if "," in value and self._hint is None:
                self._hint = "Write numbers with a decimal point and without separators."

    def stop_at_faults(self) -> None:
        if self._faults:
            raise refusal(self.table, self._faults, self._hint)

    def check_steps(self, timeframe: Timeframe) -> None:
        """Refuse bars of a finer timeframe, then label those of days and weeks by their date."""
        steps = np.abs(np.diff(self._times))
        steps = steps[steps > 0]
        closer = int((steps < timeframe.nanoseconds).sum())
        if closer * 2 > len(steps):
            fits = _fitting(steps)
            raise InvalidDataError(
                f"{self.table.name} does not hold {timeframe} bars: {closer:,} of {len(steps):,}"
                " follow sooner than that on the one before.",
                hint=f"Import it with --timeframe {fits}." if fits else "Give its own timeframe.",
            )
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
        self._tell_rounding("price", price_precision, rounded)
        volume = np.zeros(len(self._times), dtype=np.int64)
        if "volume" in self._numbers:
            volume, changed = self._scale("volume", size_precision)
            self._tell_rounding("volume", size_precision, changed)
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

    def _tell_rounding(self, what: str, precision: int, changed: int) -> None:
        if changed:
            are = "value was" if changed == 1 else "values were"
            self.warnings.append(
                f"{changed:,} {what} {are} rounded to {precision} decimals"
                f" (--{'size' if what == 'volume' else 'price'}-precision sets how many)."
            )


def refusal(table: Table, faults: list[Fault], hint: str | None) -> InvalidDataError:
    """Return the error that names the first faults by their lines."""
    rows: dict[int, list[str]] = {}
    for fault in sorted(faults, key=lambda fault: fault.row):
        rows.setdefault(fault.row, []).append(fault.text)
    lines = [f"{table.place(row)}: {', '.join(rows[row])}" for row in list(rows)[:_SHOWN]]
    if len(rows) > _SHOWN:
        lines.append("and more")
    told = "; ".join(lines)
    return InvalidDataError(
        f"{table.name} is not clean market data. {told[0].upper()}{told[1:]}.",
        hint=hint or "Correct the file and import it again; nothing was stored.",
    )


def _check(bars: Bars, table: Table, now: int) -> None:
    faults = find_faults(bars, now=now, limit=_SHOWN + 1)
    if not faults:
        return
    hint = None
    if is_descending(bars):
        hint = "The file runs from the newest bar to the oldest: sort it by time, oldest first."
    raise refusal(table, faults, hint)


def _told_steps(bars: Bars, timeframe: Timeframe) -> list[str]:
    """Say where the distances between bars are not what the timeframe promises."""
    steps = np.diff(bars.times)
    told = []
    if closer := int((steps < timeframe.nanoseconds).sum()):
        are = "bar is" if closer == 1 else "bars are"
        told.append(f"{closer:,} {are} closer than {timeframe} to the one before.")
    if steps.size and steps.min() > timeframe.nanoseconds:
        fits = _fitting(steps)
        asked = f" (is --timeframe {fits} meant?)" if fits else ""
        told.append(f"No two bars are {timeframe} apart{asked}.")
    return told


def _fitting(steps: Integers) -> Timeframe | None:
    median = int(np.median(steps))
    frames = [Timeframe.parse(text) for text in _COMMON]
    return next((frame for frame in frames if frame.nanoseconds == median), None)
