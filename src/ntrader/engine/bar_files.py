"""Reading bars from people's files: CSV and Parquet in the shapes that exist.

A file is taken whole or refused whole. A refusal names the first bad lines as an editor numbers
them, so that they can be looked at. Of a file only the times of its bars are in memory at once: it
is read in blocks, and what is read waits on disk until it is known to be clean.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

import numpy as np
import pyarrow as pa

from ntrader.domain.datasets import InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine import decimals
from ntrader.engine.bar_columns import BLOCK_BYTES, Table, read_table
from ntrader.engine.bar_numbers import NumberColumns
from ntrader.engine.bar_refusals import SHOWN, check_steps, descending, refusal, told_steps
from ntrader.engine.bar_roles import PRICES
from ntrader.engine.bar_spools import SpooledBars
from ntrader.engine.bar_times import TimesReader, find_zone, label
from ntrader.engine.bars import Bars, Fault, Integers, find_faults, is_descending
from ntrader.engine.instruments import MAX_PRECISION, SIZE_PRECISIONS
from ntrader.errors import InvalidDataError, UsageError

# One more than is shown, to say that there are more.
_LOOKED_FOR = SHOWN + 1
_LONGEST_VALUE = 40


@dataclass(frozen=True, slots=True)
class BarsFile:
    """What a file holds, and what was done to it that its owner should know."""

    bars: SpooledBars
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
    spool_in: Path | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> BarsFile:
    """Read a CSV or Parquet file of bars and check every value of it.

    Precisions are numbers of decimals. By default prices keep what the file has, 2 to 8; volumes
    have 0 for an equity, 2 for FX and 8 for crypto; both have fewer where the numbers are so large
    that the engine could not hold them exactly. `timezone` names the zone of times without an
    offset, by default UTC. `columns` names the columns of a CSV file in order, separated by commas,
    `-` for one to pass over. `day_first` says whether dates that end with the year begin with the
    day; by default dotted ones do, and of others the file has to tell. `now`, in nanoseconds since
    1970, is the instant after which a bar lies in the future. `spool_in` is a directory with room
    for 130 bytes a bar, by default the system's for temporary files.

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
    table = read_table(path, columns, block_bytes=block_bytes)
    reader = _Reader(table, spool_in)
    reader.read(timeframe, zone, day_first)
    bars = reader.scale(
        price_precision, size_precision, kind, time.time_ns() if now is None else now
    )
    return BarsFile(bars, (*reader.warnings, *told_steps(table, reader.times, timeframe)))


class _Reader:
    """Turns the columns of one table into numbers, collecting what cannot be read."""

    def __init__(self, table: Table, directory: Path | None) -> None:
        self.table = table
        self.warnings: list[str] = list(table.warnings)
        self.times: Integers = np.empty(0, dtype=np.int64)
        self._numbers = NumberColumns(limit=_LOOKED_FOR, directory=directory)
        self._directory = directory
        self._volume: str | None = None

    def read(self, timeframe: Timeframe, zone: tzinfo | None, day_first: bool | None) -> None:
        """Read every block.

        Raises:
            InvalidDataError: what is written there are no bars, or none of that timeframe.
        """
        reader = TimesReader(timeframe, zone, day_first=day_first, limit=_LOOKED_FOR)
        for block in self.table.blocks:
            reader.read(block["time"])
            self._numbers.read(block)
        times = reader.finish()
        self._stop_at_faults(reader)
        check_steps(self.table, times, timeframe)
        self.times = label(times, timeframe)
        self._volume, ticks_stand_in = self._numbers.volume_role()
        if ticks_stand_in:
            self.warnings.append("Every volume is 0: the tick volume is used instead.")

    def _stop_at_faults(self, times: TimesReader) -> None:
        faults, hint = list(times.faults), times.hint
        for column in self._numbers.to_judge():
            if column.has_decimal_commas():
                row, value = column.bad[0]
                raise self._decimal_commas(row, f"{column.role} {value[:_LONGEST_VALUE]!r}")
            faults += column.faults()
            if hint is None and any("," in value for _, value in column.bad):
                hint = "Write numbers with a decimal point and without separators."
        if faults:
            raise refusal(self.table, faults, hint)

    def _decimal_commas(self, row: int, shown: str) -> InvalidDataError:
        """Return the error that tells of decimal commas once, not of every number with one."""
        return InvalidDataError(
            f"{self.table.name} has decimal commas; {self.table.place(row)}: {shown} is not a "
            "number.",
            hint="Write numbers with a decimal point and import it again; nothing was stored.",
        )

    def scale(
        self,
        price_precision: int | None,
        size_precision: int | None,
        kind: InstrumentKind,
        now: int,
    ) -> SpooledBars:
        """Scale the numbers and check the bars.

        Raises:
            InvalidDataError: numbers are too large, or do not make bars.
        """
        if price_precision is None:
            price_precision = self._numbers.price_precision()
        if size_precision is None:
            size_precision = SIZE_PRECISIONS[kind]
            if self._volume is not None:
                highest = self._numbers.by_role[self._volume].highest
                size_precision = decimals.fitting(highest, size_precision)
        precisions = dict.fromkeys(PRICES, price_precision)
        if self._volume is not None:
            precisions[self._volume] = size_precision
        self._stop_at_too_large(precisions)
        scaling = _Scaling(precisions, self._volume, price_precision, size_precision)
        bars = self._checked(scaling, now)
        self._tell_rounding("price", price_precision, scaling.rounded_prices, kind)
        self._tell_rounding("volume", size_precision, scaling.rounded_volumes, kind)
        if self._volume is None:
            self.warnings.append("There is no volume column: every volume is 0.")
        elif not scaling.has_volume:
            self.warnings.append("Every volume is 0.")
        return bars

    def _checked(self, scaling: "_Scaling", now: int) -> SpooledBars:
        """Return the bars of all blocks, if none has a fault."""
        bars = SpooledBars(scaling.empty(), self._directory)
        faults: list[Fault] = []
        done = 0
        for block in self._numbers.blocks():
            first, done = done, done + len(block["open"])
            part = scaling.bars(self.times[first:done], block)
            before = int(self.times[first - 1]) if first else None
            found = find_faults(part, now=now, limit=_LOOKED_FOR - len(faults), before=before)
            faults += [Fault(first + fault.row, fault.text) for fault in found]
            if len(faults) == _LOOKED_FOR:
                break
            bars.add(part)
        if faults:
            # Two bars in the wrong order may be any mistake.
            turned = len(self.times) > 2 and is_descending(self.times)
            raise refusal(self.table, faults, descending(self.table) if turned else None)
        return bars

    def _stop_at_too_large(self, precisions: dict[str, int]) -> None:
        for role, precision in precisions.items():
            most = decimals.largest(precision)
            if self._numbers.by_role[role].furthest <= most:
                continue
            faults: list[Fault] = []
            done = 0
            for block in self._numbers.blocks():
                numbers = block[role]
                faults += [
                    Fault(
                        done + row,
                        f"{role} {numbers[row].as_py().normalize():f} is above {most:,}, the most "
                        f"with {precision} decimals",
                    )
                    for row in decimals.too_large(numbers, precision)[:_LOOKED_FOR].tolist()
                ]
                done += len(numbers)
            what = "price" if role in PRICES else "size"
            hint = f"Give a smaller --{what}-precision." if precision else None
            raise refusal(self.table, faults, hint)

    def _tell_rounding(self, what: str, precision: int, changed: int, kind: InstrumentKind) -> None:
        if not changed:
            return
        are = "value was" if changed == 1 else "values were"
        if what == "volume" and kind is InstrumentKind.EQUITY:
            why = "an equity trades in whole units"
        else:
            why = f"--{'size' if what == 'volume' else 'price'}-precision sets how many"
        self.warnings.append(f"{changed:,} {what} {are} rounded to {precision} decimals ({why}).")


class _Scaling:
    """Makes bars of decimals, and counts what is rounded on the way."""

    def __init__(
        self,
        precisions: dict[str, int],
        volume: str | None,
        price_precision: int,
        size_precision: int,
    ) -> None:
        self._precisions = precisions
        self._volume = volume
        self._price_precision = price_precision
        self._size_precision = size_precision
        self.rounded_prices = 0
        self.rounded_volumes = 0
        self.has_volume = False

    def bars(self, times: Integers, block: Mapping[str, pa.Array]) -> Bars:
        """Return the bars of a block of decimals."""
        scaled = {
            role: decimals.scale(block[role], precision)
            for role, precision in self._precisions.items()
        }
        prices = {role: scaled[role][0] for role in PRICES}
        self.rounded_prices += sum(scaled[role][1] for role in PRICES)
        volume = np.zeros(len(times), dtype=np.int64)
        if self._volume is not None:
            volume, changed = scaled[self._volume]
            self.rounded_volumes += changed
        self.has_volume = self.has_volume or bool(volume.any())
        return self._of(times, prices, volume)

    def empty(self) -> Bars:
        """Return no bars, of the same precisions."""
        none = np.empty(0, dtype=np.int64)
        return self._of(none, dict.fromkeys(PRICES, none), none)

    def _of(self, times: Integers, prices: dict[str, Integers], volume: Integers) -> Bars:
        return Bars(
            times=times,
            **prices,
            volume=volume,
            price_precision=self._price_precision,
            size_precision=self._size_precision,
        )
