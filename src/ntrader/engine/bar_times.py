"""Labels of bars: from the ways in which people write times to nanoseconds in UTC."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bars import Fault, Integers
from ntrader.errors import UsageError

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
# Offsets from UTC change at multiples of this on every clock since 1970.
_QUARTER = 900 * _SECOND
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what clocks show has no zone

_NO_DATE = "is no time between 1970 and 2262"
_EPOCH_NUMBER = r"^\d{9,19}(\.0*)?$"
_ISO = r"^\d{4}-\d{2}-\d{2}($|[T ]\d{2}:)"
_YEAR_FIRST = r"^\d{4}([-./]\d{1,2}[-./]\d{1,2}|\d{4})($|[T ])"
_YEAR_LAST = r"^\d{1,2}[-./]\d{1,2}[-./]\d{4}($|[T ])"
_DOTTED = r"^\d{1,2}\.\d{1,2}\."
_OFFSET = r" ?(Z|[+-]\d{2}(:?\d{2})?)$"
_ZONED = r":\d{2}(\.\d+)?" + _OFFSET

# Numbers below these bounds count these many nanoseconds: the year 2286 of one unit is where 1970
# of the next finer one has passed.
_EPOCH_BOUNDS = np.array([10**10, 10**13, 10**16], dtype=np.uint64)
_EPOCH_UNITS = np.array([_SECOND, 1_000_000, 1_000, 1], dtype=np.uint64)


class FaultyTimesError(Exception):
    """Times that cannot be read: the first faults and what to do about them."""

    def __init__(self, faults: list[Fault], hint: str | None = None) -> None:
        self.faults = faults
        self.hint = hint
        super().__init__(f"{len(faults)} faulty times")


def find_zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name or an offset such as `+02:00`.

    Raises:
        UsageError: there is no such zone.
    """
    try:
        if name[:1] in "+-":
            return timezone(datetime.strptime(name, "%z").utcoffset() or timedelta())
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"{name!r} is not a time zone.", hint="Use a name such as America/New_York or UTC."
        ) from None


def bad_rows(column: pa.Array, parse: Callable[[pa.Array], object], limit: int) -> list[int]:
    """Return the first rows at which `parse` raises ArrowInvalid, by halving."""
    try:
        parse(column)
    except pa.ArrowInvalid:
        pass
    else:
        return []
    if len(column) == 1:
        return [0]
    half = len(column) // 2
    found = bad_rows(column[:half], parse, limit)
    if len(found) < limit:
        found += [half + row for row in bad_rows(column[half:], parse, limit - len(found))]
    return found


class TimesReader:
    """Reads a column of strings, timestamps, dates or numbers, a block at a time.

    For bars shorter than a day these are instants (UTC); times without an offset are taken in
    `zone`, by default UTC. For bars of a day or a week, whose label is a date, they are what the
    clock shows: in `zone` if the column holds instants and `zone` is given, else as it is written.
    `day_first` says whether dates that end with the year begin with the day or with the month; None
    leaves it to the dates: with dots the day is first, else some line has to tell.

    How the first time is written holds for all. Blocks in which nothing tells day from month are
    held until one does.

    Attributes:
        faults: The first of them, at most `limit`.
        hint: What to do about them.
    """

    def __init__(
        self, timeframe: Timeframe, zone: tzinfo | None, *, day_first: bool | None, limit: int
    ) -> None:
        self.faults: list[Fault] = []
        self.hint: str | None = None
        self._by_date = timeframe.unit in "dw"
        self._zone = zone
        self._day_first = day_first
        self._tells = day_first is None
        self._limit = limit
        self._first: pa.Array | None = None
        self._untold: list[tuple[int, pa.Array]] = []
        self._rows = 0
        self._of: tzinfo | None = None
        self._parts: list[Integers] = []

    def read(self, column: pa.Array) -> None:
        """Take the next block; after as many faults as are asked for, blocks are passed over."""
        if len(self.faults) >= self._limit:
            return
        above, self._rows = self._rows, self._rows + len(column)
        try:
            empty = np.flatnonzero(_is_empty(column)).tolist()
            if empty:
                raise FaultyTimesError([Fault(row, "time is empty") for row in empty])
            if pa.types.is_temporal(column.type):
                self._take(_from_timestamps(_as_timestamps(column), self._limit))
            else:
                self._read_text(_as_text(column), above)
        except FaultyTimesError as error:
            self._note(error, above)

    def finish(self) -> Integers:
        """Return the times in nanoseconds, unless there are faults."""
        if self._untold and not self.faults:
            self._note(_untold_order(self._untold[0][1]), 0)
        times = np.concatenate([np.empty(0, dtype=np.int64), *self._parts])
        self._parts = []
        if self.faults:
            return times
        try:
            return self._settled(times)
        except FaultyTimesError as error:
            self._note(error, 0)
            return times

    def _settled(self, times: Integers) -> Integers:
        if self._by_date:
            return times if self._of is None else _to_local(times, self._zone or self._of)
        if self._of is not None:
            return times
        return _to_utc(times, self._zone or UTC, self._limit)

    def _read_text(self, text: pa.Array, above: int) -> None:
        if above == 0:
            self._tells &= bool(_matches(text[:1], _YEAR_LAST)[0])
        if self._tells:
            self._hear(_told_order(text), text, above)
            if self._day_first is None:
                self._untold.append((above, text))
                return
        held, self._untold = self._untold, []
        for rows_above, each in held:
            try:
                self._take(self._parsed(each))
            except FaultyTimesError as error:
                self._note(error, rows_above)
        self._take(self._parsed(text))

    def _hear(self, told: bool | None, text: pa.Array, above: int) -> None:
        """Take what a block tells of the order of day and month."""
        if told is None:
            return
        if self._day_first is None:
            self._day_first = told
        elif self._day_first is not told:
            raise _change_of_places(text if self._first is None else self._first, -above)

    def _parsed(self, text: pa.Array) -> tuple[Integers, tzinfo | None]:
        """Return the times below the first of all, with which they have to agree."""
        as_written = self._by_date and self._zone is None
        if self._first is None:
            self._first = text[:1]
            return _from_text(text, as_written, bool(self._day_first), self._limit)
        below = pa.concat_arrays([self._first, text])
        try:
            times, of = _from_text(below, as_written, bool(self._day_first), self._limit)
        except FaultyTimesError as error:
            rows = [fault for fault in error.faults if fault.row > 0]
            raise FaultyTimesError(
                [Fault(fault.row - 1, fault.text) for fault in rows], error.hint
            ) from None
        return times[1:], of

    def _take(self, read: tuple[Integers, tzinfo | None]) -> None:
        times, self._of = read
        self._parts.append(times)

    def _note(self, error: FaultyTimesError, above: int) -> None:
        self.faults += [Fault(above + fault.row, fault.text) for fault in error.faults]
        del self.faults[self._limit :]
        self.hint = self.hint or error.hint


def label(times: Integers, timeframe: Timeframe) -> Integers:
    """Return the labels of bars: midnight UTC of the date for bars of a day or a week."""
    return times // _DAY * _DAY if timeframe.unit in "dw" else times


def _is_empty(column: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    return np.asarray(pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False))


def _as_timestamps(column: pa.Array) -> pa.Array:
    return column.cast(pa.timestamp("s")) if pa.types.is_date(column.type) else column


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        column = column.cast(pa.int64(), safe=False)
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _from_timestamps(column: pa.Array, limit: int) -> tuple[Integers, tzinfo | None]:
    """Return nanoseconds, and the zone of their type if they are instants."""
    kind = pa.timestamp("ns", column.type.tz)
    rows = bad_rows(column, lambda part: part.cast(kind), limit)
    if rows:
        counts = column.cast(pa.int64())
        unit = column.type.unit
        raise FaultyTimesError(
            [Fault(row, f"time {counts[row]} {unit} since 1970 {_NO_DATE}") for row in rows]
        )
    zone = None if column.type.tz is None else find_zone(column.type.tz)
    return np.array(column.cast(kind).cast(pa.int64())), zone


def _from_text(
    text: pa.Array, as_written: bool, day_first: bool, limit: int
) -> tuple[Integers, tzinfo | None]:
    """Return nanoseconds, and UTC if they are instants; `as_written` drops offsets instead."""
    numbers = _matches(text, _EPOCH_NUMBER)
    if numbers.all():
        return _from_epoch(text, limit), UTC
    if numbers[0]:
        rows = np.flatnonzero(~numbers)[:limit].tolist()
        raise FaultyTimesError([_unreadable(text, row) for row in rows], _FORMATS)
    text = _normalised(text, day_first, limit)
    zoned = _matches(text, _ZONED)
    if zoned.any() and not zoned.all():
        odd = np.flatnonzero(zoned != zoned[0])[:limit].tolist()
        told = "has no offset" if zoned[0] else "has an offset"
        raise FaultyTimesError(
            [Fault(row, f"time {text[row].as_py()!r} {told}, unlike the first") for row in odd]
        )
    instants = bool(zoned[0])
    if instants and as_written:
        text, instants = pc.replace_substring_regex(text, _OFFSET, ""), False
    kind = pa.timestamp("ns", "UTC" if instants else None)
    rows = bad_rows(text, lambda part: part.cast(kind), limit)
    if rows:
        raise FaultyTimesError(
            [Fault(row, f"time {text[row].as_py()[:40]!r} {_NO_DATE}") for row in rows]
        )
    return np.array(text.cast(kind).cast(pa.int64())), UTC if instants else None


def _matches(text: pa.Array, pattern: str) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    return np.asarray(pc.match_substring_regex(text, pattern).to_numpy(zero_copy_only=False))


def _from_epoch(text: pa.Array, limit: int) -> Integers:
    numbers = np.array(pc.replace_substring_regex(text, r"\..*$", "").cast(pa.uint64()))
    units = _EPOCH_UNITS[np.searchsorted(_EPOCH_BOUNDS, numbers, side="right")]
    odd = np.flatnonzero(units != units[0])[:limit].tolist()
    if odd:
        raise FaultyTimesError(
            [Fault(row, f"time {text[row].as_py()} is not in the unit of the first") for row in odd]
        )
    return (numbers * units).astype(np.int64)


def _unreadable(text: pa.Array, row: int) -> Fault:
    value = text[row].as_py()[:40]
    return Fault(row, f"time {value!r} cannot be read" if value else "time is empty")


def _normalised(text: pa.Array, day_first: bool, limit: int) -> pa.Array:
    """Return the times in ISO 8601."""
    text = pc.replace_substring_regex(text, r" ?(z|UTC|GMT|utc)$", "Z")
    year_first, year_last = _matches(text, _YEAR_FIRST), _matches(text, _YEAR_LAST)
    style = year_last if year_last[0] else year_first
    if not style.all():
        rows = np.flatnonzero(~style)[:limit].tolist()
        raise FaultyTimesError([_unreadable(text, row) for row in rows], _FORMATS)
    if _matches(text, _ISO).all():
        return text
    text = _year_first(text, day_first, limit) if year_last[0] else text
    for pattern, replacement in (
        (r"^(\d{4})(\d{2})(\d{2})", r"\1-\2-\3"),
        (r"^(\d{4})[-./](\d)([-./])", r"\1-0\2\3"),
        (r"^(\d{4})[-./](\d{2})[-./](\d)($|[T ])", r"\1-\2-0\3\4"),
        (r"^(\d{4})[-./](\d{2})[-./](\d{2})", r"\1-\2-\3"),
        (r"^(.{10})[T ]+", r"\1 "),
        (r"^(.{10}) (\d):", r"\1 0\2:"),
        (r"^(.{10}) (\d{2})(\d{2})(\d{2})", r"\1 \2:\3:\4"),
        (r"^(.{10}) (\d{2})(\d{2})$", r"\1 \2:\3"),
    ):
        text = pc.replace_substring_regex(text, pattern, replacement)
    return text


_FORMATS = (
    "Write times like 2020-01-31, 2020-01-31 09:30:00, 2020-01-31T09:30:00-05:00, 20200131, "
    "2020.01.31 or as seconds since 1970, all in one way."
)


def _year_first(text: pa.Array, day_first: bool, limit: int) -> pa.Array:
    """Turn day, month, year (or month, day, year) around."""
    months = _leading(text)[1 if day_first else 0]
    rows = np.flatnonzero(months > 12)[:limit].tolist()
    if rows:
        raise FaultyTimesError(
            [Fault(row, f"time {text[row].as_py()!r} has no month {months[row]}") for row in rows],
            _SAY_WHICH,
        )
    order = r"\3-\2-\1" if day_first else r"\3-\1-\2"
    return pc.replace_substring_regex(text, r"^(\d{1,2})[-./](\d{1,2})[-./](\d{4})", order)


def _leading(text: pa.Array) -> list[Integers]:
    """Return the first and the second number of dates that end with the year."""
    parts = pc.extract_regex(text, r"^(?P<a>\d{1,2})[-./](?P<b>\d{1,2})[-./]")
    return [np.array(pc.struct_field(parts, [i]).cast(pa.int64())) for i in (0, 1)]


def _told_order(text: pa.Array) -> bool | None:
    """Say whether the day is first in dates that end with the year, None if nothing tells.

    It is where they have dots; else the days beyond the 12th tell.
    """
    dates = text.filter(pc.match_substring_regex(text, _YEAR_LAST))
    if _matches(dates, _DOTTED).all():
        return True
    day_first, month_first = (bool((numbers > 12).any()) for numbers in _leading(dates))
    if day_first and month_first:
        raise _change_of_places(text, 0)
    return day_first if day_first or month_first else None


def _change_of_places(text: pa.Array, row: int) -> FaultyTimesError:
    told = "day and month change places"
    return FaultyTimesError([Fault(row, f"time {text[0].as_py()!r}: {told}")], _FORMATS)


def _untold_order(text: pa.Array) -> FaultyTimesError:
    told = "day or month first cannot be told"
    return FaultyTimesError([Fault(0, f"time {text[0].as_py()!r}: {told}")], _SAY_WHICH)


_SAY_WHICH = "Say which one is first with --dayfirst or --monthfirst."


def _to_local(instants: Integers, zone: tzinfo) -> Integers:
    """Return what clocks in `zone` show at instants."""
    if zone is UTC:
        return instants
    quarters, index = np.unique(instants // _QUARTER, return_inverse=True)
    clocks = [_datetime(quarter).replace(tzinfo=UTC).astimezone(zone) for quarter in quarters]
    offsets = [_offset(clock) for clock in clocks]
    return instants + np.array(offsets, dtype=np.int64)[index]


def _to_utc(local: Integers, zone: tzinfo, limit: int) -> Integers:
    """Return the instants at which clocks in `zone` show the times.

    Of an hour that the clock shows twice, the labels up to the point where they go back (or repeat)
    are the first pass, those after it the second. Where an hour is shown twice but passed once in
    the file, it cannot be told which one is meant.
    """
    if zone is UTC:
        return local
    quarters, index = np.unique(local // _QUARTER, return_inverse=True)
    clocks = [_datetime(quarter).replace(tzinfo=zone) for quarter in quarters]
    first = np.array([_offset(clock) for clock in clocks], dtype=np.int64)[index]
    second = np.array([_offset(clock.replace(fold=1)) for clock in clocks], dtype=np.int64)[index]
    if (skipped := np.flatnonzero(first < second)).size:
        raise FaultyTimesError(
            _clock_faults(local, skipped, limit, "does not exist", zone), _USE_UTC
        )
    twice = first > second
    highest = np.maximum.accumulate(local)
    again = twice & np.concatenate(([False], highest[:-1] >= local[1:]))
    days = local // _DAY
    if (unclear := np.flatnonzero(twice & ~np.isin(days, days[again]))).size:
        raise FaultyTimesError(_clock_faults(local, unclear, limit, "exists twice", zone), _USE_UTC)
    return local - np.where(again, second, first)


_USE_UTC = "Write the times in UTC or with their offset, such as 2020-01-31T09:30:00-05:00."


def _clock_faults(
    local: Integers, rows: Integers, limit: int, told: str, zone: tzinfo
) -> list[Fault]:
    shown = (
        (row, _EPOCH + timedelta(microseconds=int(local[row]) // 1000)) for row in rows[:limit]
    )
    return [Fault(int(row), f"time {clock} {told} in {zone}") for row, clock in shown]


def _datetime(quarter: np.int64) -> datetime:
    return _EPOCH + timedelta(minutes=15 * int(quarter))


def _offset(clock: datetime) -> int:
    return int((clock.utcoffset() or timedelta()).total_seconds()) * _SECOND
