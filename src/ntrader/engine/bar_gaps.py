"""Gaps: the stretches in which bars are missing."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ntrader.domain.datasets import Gap, Gaps, InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bars import Integers, instant

_HOUR = 3_600_000_000_000
_DAY = 24 * _HOUR


def find_gaps(
    labels: Iterable[Integers], timeframe: Timeframe, kind: InstrumentKind, *, largest: int = 5
) -> Gaps:
    """Return the stretches in which bars are missing, as far as that is known without a calendar.

    `labels` are the bars' times in chunks. Crypto never closes: every step beyond the timeframe is
    a gap. Where markets close:

    - daily: a step of more than 4 days (a weekend and a holiday take 4);
    - weekly: a step of two weeks or more;
    - intraday equity: a step beyond the timeframe and below 6 hours (a longer one is the night), or
      of more than 4 days;
    - intraday FX: a step beyond the timeframe, unless it spans a Saturday and lasts at most 4 days.

    Missing bars are counted in steps of the timeframe, for daily bars in weekdays; in a gap over a
    closed market the count is therefore an upper bound.
    """
    count = missing_bars = 0
    longest: list[tuple[int, int, int]] = []
    for times in _overlapping(labels):
        left, right = times[:-1], times[1:]
        is_gap = _gap_mask(left, right, timeframe, kind)
        starts, ends = left[is_gap], right[is_gap]
        missing = _missing(starts, ends, timeframe, kind)
        count += len(starts)
        missing_bars += int(missing.sum())
        rows = np.argsort(starts - ends, kind="stable")[:largest].tolist()
        longest += [(int(starts[row]), int(ends[row]), int(missing[row])) for row in rows]
        longest = sorted(longest, key=lambda gap: gap[0] - gap[1])[:largest]
    return Gaps(
        count,
        missing_bars,
        tuple(Gap(instant(start), instant(end), missing) for start, end, missing in longest),
    )


def _overlapping(chunks: Iterable[Integers]) -> Iterator[Integers]:
    """Yield each chunk below the last label of the one before: no step is lost between two."""
    last = np.empty(0, dtype=np.int64)
    for chunk in chunks:
        times = np.concatenate((last, chunk))
        yield times
        last = times[-1:]


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
