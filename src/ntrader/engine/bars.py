"""Bars as arrays: exact integers, their checks and their identity."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ntrader.domain.datasets import Instrument
from ntrader.domain.identity import canonical_json
from ntrader.domain.timeframes import Timeframe

HASH_FORMAT = "ntrader-bars-1"
"""Names the content hash's recipe; another recipe must carry another name."""

COLUMNS = ("times", "open", "high", "low", "close", "volume")

type Integers = NDArray[np.int64]
type Floats = NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BarSource(Protocol):
    """A series of bars, in memory or on disk, that is gone through a chunk at a time."""

    def __len__(self) -> int:
        """Return the number of bars."""

    def chunks(self, size: int) -> Iterator["Bars"]:
        """Yield the bars in their order, at most `size` at a time."""


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

    def chunks(self, size: int) -> Iterator["Bars"]:
        """Yield the bars in their order, at most `size` at a time, as views."""
        for first in range(0, len(self), size):
            yield self.slice(first, first + size)


def joined(parts: Iterable[Bars]) -> Bars:
    """Return one series of parts of one precision, at least one.

    Raises:
        ValueError: there are no parts.
    """
    all_parts = list(parts)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in all_parts]) for name in COLUMNS
    }
    return replace(all_parts[0], **columns)


def regrouped(parts: Iterable[Bars], size: int) -> Iterator[Bars]:
    """Yield the bars of `parts` in chunks of exactly `size`, but for the last."""
    held: list[Bars] = []
    count = 0
    for part in parts:
        for piece in _pieces(part, size - count, size):
            held.append(piece)
            count += len(piece)
            if count == size:
                yield joined(held)
                held, count = [], 0
    if held:
        yield joined(held)


def _pieces(part: Bars, first: int, size: int) -> Iterator[Bars]:
    """Cut a part in pieces: `first` bars, then `size` at a time, then what remains."""
    borders = [0, *range(first, len(part), size), len(part)]
    for start, end in pairwise(borders):
        yield part.slice(start, end)


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
    columns = ([getattr(bars, name)] for name in COLUMNS)
    return hash_of_columns(columns, instrument, timeframe)


def hash_of_columns(
    columns: Iterable[Iterable[Integers]], instrument: Instrument, timeframe: Timeframe
) -> str:
    """Return the content hash of the columns, in the order of `COLUMNS`, each in chunks."""
    digest = begun_hash(instrument, timeframe)
    for chunk in chain.from_iterable(columns):
        digest.update(np.ascontiguousarray(chunk, dtype="<i8").data)
    return digest.hexdigest()


def begun_hash(instrument: Instrument, timeframe: Timeframe) -> "hashlib._Hash":
    """Return a content hash that has seen all but the bytes of the columns."""
    return hashlib.sha256(header(instrument, timeframe).encode() + b"\n")


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


def find_faults(bars: Bars, *, now: int, limit: int, before: int | None = None) -> list[Fault]:
    """Return the first faults of a series; `now` is in nanoseconds since 1970.

    `before` is the label of the bar above them, if they are a part of a series.

    Times before 1970 (the engine counts from there) or in the future, not strictly ascending;
    prices of zero or below; a high below the low; an open or a close outside of low to high; a
    negative volume. At most `limit`, in the order of the rows, one for each row.
    """
    checks = list(_checks(bars, now, before))
    faulty = np.zeros(len(bars), dtype=bool)
    for mask, _ in checks:
        faulty |= mask
    found: list[Fault] = []
    for row in np.flatnonzero(faulty)[:limit].tolist():
        text = next(text for mask, text in checks if mask[row])
        found.append(Fault(row, text + _evidence(bars, row, text)))
    return found


def _checks(bars: Bars, now: int, before: int | None) -> Iterator[tuple[NDArray[np.bool_], str]]:
    steps = np.diff(bars.times, prepend=bars.times[:1] - 1 if before is None else before)
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


def is_descending(times: Integers) -> bool:
    """Say whether labels run from the newest to the oldest."""
    return len(times) > 1 and bool((np.diff(times) < 0).all())
