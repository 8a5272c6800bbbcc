"""Bars as arrays: exact integers, their checks, their identity and their gaps."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from ntrader.domain.datasets import Gap, Gaps, Instrument, InstrumentKind
from ntrader.domain.identity import canonical_json
from ntrader.domain.timeframes import Timeframe

HASH_FORMAT = "ntrader-bars-1"
"""Names the content hash's recipe; another recipe must carry another name."""

COLUMNS = ("times", "open", "high", "low", "close", "volume")

type Integers = NDArray[np.int64]
type Floats = NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = 3_600_000_000_000
_DAY = 24 * _HOUR


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """A series of bars, one array of int64 for each column, all of one length.

    `times` are labels, the instants at which the bars open, in nanoseconds since 1970 (UTC). Prices
    are scaled by 10**`price_precision`, volumes by 10**`size_precision`. These integers are the
    truth; floats are derived from them.
    """

    times: Integers
    open: Integers
    high: Integers
    low: Integers
    close: Integers
    volume: Integers
    price_precision: int
    size_precision: int

    def __len__(self) -> int:
        return len(self.times)

    def opens(self) -> Floats:
        """Return the opening prices, each the float nearest to the exact value."""
        return self.open / 10.0**self.price_precision

    def highs(self) -> Floats:
        """Return the highest prices."""
        return self.high / 10.0**self.price_precision

    def lows(self) -> Floats:
        """Return the lowest prices."""
        return self.low / 10.0**self.price_precision

    def closes(self) -> Floats:
        """Return the closing prices."""
        return self.close / 10.0**self.price_precision

    def volumes(self) -> Floats:
        """Return the volumes, in units of the instrument."""
        return self.volume / 10.0**self.size_precision

    def close_times(self, timeframe: Timeframe) -> Integers:
        """Return the instants at which the bars close: one timeframe after their labels."""
        return self.times + timeframe.nanoseconds

    def slice(self, first: int, last: int) -> "Bars":
        """Return the bars with index `first` up to and without `last`, as views."""
        return replace(self, **{name: getattr(self, name)[first:last] for name in COLUMNS})


def instant(nanoseconds: int) -> datetime:
    """Return a label as a datetime in UTC, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=int(nanoseconds) // 1_000)


def nanoseconds(value: datetime) -> int:
    """Return an aware datetime as nanoseconds since 1970, without a float in between."""
    return (value - _EPOCH) // timedelta(microseconds=1) * 1_000


def content_hash(bars: Bars, instrument: Instrument, timeframe: Timeframe) -> str:
    """Return the sha256, in hex, over every value of every bar and over what the bars are of.

    A header in canonical JSON (recipe, instrument, timeframe), a newline, then `times`, `open`,
    `high`, `low`, `close` and `volume` as little-endian int64. The instrument is a part of it
    because a dataset is the bars *of something*: without it, importing the same numbers under a
    second symbol would give back the first symbol's dataset. File layout, chunks and writer are no
    part of it.
    """
    digest = hashlib.sha256(header(instrument, timeframe).encode())
    digest.update(b"\n")
    for name in COLUMNS:
        digest.update(np.ascontiguousarray(getattr(bars, name), dtype="<i8").data)
    return digest.hexdigest()


def header(instrument: Instrument, timeframe: Timeframe) -> str:
    """Return the canonical JSON that says what bars are of."""
    return canonical_json(
        {
            "format": HASH_FORMAT,
            "instrument": instrument.to_dict(),
            "timeframe": str(timeframe),
        }
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one row (counted from 0)."""

    row: int
    text: str


def find_faults(bars: Bars, *, now: int, limit: int) -> list[Fault]:
    """Return the first faults of a series; `now` is in nanoseconds since 1970.

    Times before 1970 (the engine counts from there) or in the future, not strictly ascending;
    prices of zero or below; a high below the low; an open or a close outside of low to high; a
    negative volume. At most `limit`, in the order of the rows, one for each row.
    """
    checks = list(_checks(bars, now))
    faulty = np.zeros(len(bars), dtype=bool)
    for mask, _ in checks:
        faulty |= mask
    found: list[Fault] = []
    for row in np.flatnonzero(faulty)[:limit].tolist():
        text = next(text for mask, text in checks if mask[row])
        found.append(Fault(row, text + _evidence(bars, row, text)))
    return found


def _checks(bars: Bars, now: int) -> Iterator[tuple[NDArray[np.bool_], str]]:
    steps = np.diff(bars.times, prepend=bars.times[:1] - 1)
    yield bars.times < 0, "time before 1970"
    yield bars.times > now, "time in the future"
    yield steps == 0, "duplicate time"
    yield steps < 0, "time before that of the row above"
    for name in ("open", "high", "low", "close"):
        yield getattr(bars, name) <= 0, f"{name} not above zero"
    yield bars.high < bars.low, "high below low"
    for name in ("open", "close"):
        prices = getattr(bars, name)
        yield (prices < bars.low) | (prices > bars.high), f"{name} outside of low to high"
    yield bars.volume < 0, "negative volume"


def _evidence(bars: Bars, row: int, text: str) -> str:
    if "time" in text:
        return f" ({instant(bars.times[row]):%Y-%m-%d %H:%M:%S})"
    if "volume" in text:
        return f" ({_decimal(bars.volume[row], bars.size_precision)})"
    prices = (
        f"{name} {_decimal(getattr(bars, name)[row], bars.price_precision)}"
        for name in ("open", "high", "low", "close")
    )
    return f" ({', '.join(prices)})"


def _decimal(value: int, precision: int) -> Decimal:
    return Decimal(int(value)).scaleb(-precision)


def is_descending(bars: Bars) -> bool:
    """Say whether the series runs from the newest bar to the oldest."""
    return len(bars) > 1 and bool((np.diff(bars.times) < 0).all())


def find_gaps(bars: Bars, timeframe: Timeframe, kind: InstrumentKind, *, largest: int = 5) -> Gaps:
    """Return the stretches in which bars are missing, as far as that is known without a calendar.

    Crypto never closes: every step beyond the timeframe is a gap. Where markets close:

    - daily: a step of more than 4 days (a weekend and a holiday take 4);
    - weekly: a step of two weeks or more;
    - intraday equity: a step beyond the timeframe and below 6 hours (a longer one is the night), or
      of more than 4 days;
    - intraday FX: a step beyond the timeframe, unless it spans a Saturday and lasts at most 4 days.

    Missing bars are counted in steps of the timeframe, for daily bars in weekdays; in a gap over a
    closed market the count is therefore an upper bound.
    """
    if len(bars) < 2:
        return Gaps(0, 0, ())
    left, right = bars.times[:-1], bars.times[1:]
    is_gap = _gap_mask(left, right, timeframe, kind)
    starts, ends = left[is_gap], right[is_gap]
    missing = _missing(starts, ends, timeframe, kind)
    longest = np.argsort(starts - ends, kind="stable")[:largest].tolist()
    return Gaps(
        len(starts),
        int(missing.sum()),
        tuple(Gap(instant(starts[i]), instant(ends[i]), int(missing[i])) for i in longest),
    )


def _gap_mask(
    left: Integers, right: Integers, timeframe: Timeframe, kind: InstrumentKind
) -> NDArray[np.bool_]:
    step = right - left
    beyond = step > timeframe.nanoseconds
    long = step > 4 * _DAY
    if kind is InstrumentKind.CRYPTO:
        return beyond
    if timeframe.unit == "w":
        return step >= 2 * timeframe.nanoseconds
    if timeframe.unit == "d":
        return long
    if kind is InstrumentKind.EQUITY:
        return (beyond & (step < 6 * _HOUR)) | long
    # 1970-01-01 was a Thursday, so the noons of Saturdays lie 2.5 days after multiples of 7.
    saturday = 5 * _HOUR * 12
    week = 7 * _DAY
    spans_saturday = (left - saturday) // week < (right - saturday) // week
    return beyond & (~spans_saturday | long)


def _missing(
    starts: Integers, ends: Integers, timeframe: Timeframe, kind: InstrumentKind
) -> Integers:
    if timeframe.unit == "d" and kind is not InstrumentKind.CRYPTO:
        days = [times.astype("datetime64[ns]").astype("datetime64[D]") for times in (starts, ends)]
        weekdays: Integers = np.busday_count(days[0], days[1]).astype(np.int64)
        return weekdays - 1
    steps: Integers = np.maximum((ends - starts) // timeframe.nanoseconds - 1, 1)
    return steps
