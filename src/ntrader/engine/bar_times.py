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


def parse_times(
    column: pa.Array,
    timeframe: Timeframe,
    zone: tzinfo | None,
    *,
    day_first: bool | None = None,
    limit: int,
) -> Integers:
    """Return a column of strings, timestamps, dates or numbers, without nulls, as nanoseconds.

    For bars shorter than a day these are instants (UTC); times without an offset are taken in
    `zone`, by default UTC. For bars of a day or a week, whose label is a date, they are what the
    clock shows: in `zone` if the column holds instants and `zone` is given, else as it is written.
    `day_first` says whether dates that end with the year begin with the day or with the month; None
    leaves it to the dates: with dots the day is first, else some line has to tell.

    Raises:
        FaultyTimesError: with at most `limit` faults.
    """
    by_date = timeframe.unit in "dw"
    if pa.types.is_timestamp(column.type):
        times, of = _from_timestamps(column, limit)
    elif pa.types.is_date(column.type):
        times, of = _from_timestamps(column.cast(pa.timestamp("s")), limit)
    else:
        times, of = _from_text(_as_text(column), by_date and zone is None, day_first, limit)
    if by_date:
        return times if of is None else _to_local(times, zone or of)
    return times if of is not None else _to_utc(times, zone or UTC, limit)


def label(times: Integers, timeframe: Timeframe) -> Integers:
    """Return the labels of bars: midnight UTC of the date for bars of a day or a week."""
    return times // _DAY * _DAY if timeframe.unit in "dw" else times


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
    text: pa.Array, as_written: bool, day_first: bool | None, limit: int
) -> tuple[Integers, tzinfo | None]:
    """Return nanoseconds, and UTC if they are instants; `as_written` drops offsets instead."""
    if _matches(text, _EPOCH_NUMBER).all():
        return _from_epoch(text, limit), UTC
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


def _normalised(text: pa.Array, day_first: bool | None, limit: int) -> pa.Array:
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


def _year_first(text: pa.Array, day_first: bool | None, limit: int) -> pa.Array:
    """Turn day, month, year (or month, day, year) around if the order is beyond doubt."""
    parts = pc.extract_regex(text, r"^(?P<a>\d{1,2})[-./](?P<b>\d{1,2})[-./]")
    first, second = (np.array(pc.struct_field(parts, [i]).cast(pa.int64())) for i in (0, 1))
    if day_first is None:
        dotted = bool(_matches(text, _DOTTED).all())
        day_first = dotted or _is_day_first(text, first, second)
    months = second if day_first else first
    rows = np.flatnonzero(months > 12)[:limit].tolist()
    if rows:
        raise FaultyTimesError(
            [Fault(row, f"time {text[row].as_py()!r} has no month {months[row]}") for row in rows],
            _SAY_WHICH,
        )
    order = r"\3-\2-\1" if day_first else r"\3-\1-\2"
    return pc.replace_substring_regex(text, r"^(\d{1,2})[-./](\d{1,2})[-./](\d{4})", order)


def _is_day_first(text: pa.Array, first: Integers, second: Integers) -> bool:
    """Say whether the day is first, as the days beyond the 12th tell."""
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first and month_first:
        told = "day and month change places"
        raise FaultyTimesError([Fault(0, f"time {text[0].as_py()!r}: {told}")], _FORMATS)
    if day_first == month_first:
        told = "day or month first cannot be told"
        raise FaultyTimesError([Fault(0, f"time {text[0].as_py()!r}: {told}")], _SAY_WHICH)
    return day_first


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
