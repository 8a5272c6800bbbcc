"""Bars as arrays: identity, faults, gaps."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntrader.domain.datasets import Instrument, InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bar_gaps import find_gaps
from ntrader.engine.bars import (
    COLUMNS,
    Bars,
    content_hash,
    find_faults,
    instant,
    is_descending,
    nanoseconds,
)

DAY = Timeframe.parse("1d")
HOUR = Timeframe.parse("1h")
MINUTE = Timeframe.parse("1m")
IBM = Instrument(
    symbol="IBM",
    venue="NYSE",
    kind=InstrumentKind.EQUITY,
    currency="USD",
    base_currency=None,
    price_precision=2,
    size_precision=0,
)
NOW = nanoseconds(datetime(2024, 1, 1, tzinfo=UTC))


def bars_at(times: list[datetime]) -> Bars:
    labels = np.array([nanoseconds(time) for time in times], dtype=np.int64)
    return Bars(
        times=labels,
        open=np.full(len(times), 1_000),
        high=np.full(len(times), 1_200),
        low=np.full(len(times), 900),
        close=np.full(len(times), 1_100),
        volume=np.full(len(times), 50),
        price_precision=2,
        size_precision=0,
    )


def days(*texts: str) -> list[datetime]:
    return [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts]


@pytest.fixture
def week() -> Bars:
    return bars_at([datetime(2023, 1, 2, tzinfo=UTC) + timedelta(days=n) for n in range(5)])


def with_value(bars: Bars, column: str, row: int, value: int) -> Bars:
    values = getattr(bars, column).copy()
    values[row] = value
    return replace(bars, **{column: values})


# Identity.


def test_content_hash_is_sha256_of_the_header_and_the_little_endian_columns() -> None:
    """The recipe is a promise: another program can compute it from this description."""
    bars = bars_at(days("2023-01-02"))
    header = (
        '{"format":"ntrader-bars-1","instrument":{"base_currency":null,"currency":"USD",'
        '"kind":"equity","price_precision":2,"size_precision":0,"symbol":"IBM","venue":"NYSE"},'
        '"timeframe":"1d"}\n'
    )
    columns = (1_672_617_600_000_000_000, 1_000, 1_200, 900, 1_100, 50)
    packed = b"".join(value.to_bytes(8, "little") for value in columns)
    expected = hashlib.sha256(header.encode() + packed).hexdigest()

    assert content_hash(bars, IBM, DAY) == expected


@given(
    column=st.sampled_from(COLUMNS),
    row=st.integers(0, 4),
    by=st.integers(-(2**40), 2**40).filter(bool),
)
def test_content_hash_changes_with_any_single_value(column: str, row: int, by: int) -> None:
    bars = bars_at([datetime(2023, 1, 2, tzinfo=UTC) + timedelta(days=n) for n in range(5)])
    changed = with_value(bars, column, row, int(getattr(bars, column)[row]) + by)

    assert content_hash(changed, IBM, DAY) != content_hash(bars, IBM, DAY)


@pytest.mark.parametrize(
    "other",
    [
        replace(IBM, symbol="GOOG"),
        replace(IBM, venue="NASDAQ"),
        replace(IBM, currency="EUR"),
        replace(IBM, price_precision=3),
    ],
)
def test_content_hash_says_what_the_bars_are_of(week: Bars, other: Instrument) -> None:
    assert content_hash(week, other, DAY) != content_hash(week, IBM, DAY)


def test_content_hash_says_how_long_the_bars_are(week: Bars) -> None:
    assert content_hash(week, IBM, HOUR) != content_hash(week, IBM, DAY)


def test_content_hash_does_not_depend_on_memory_layout_or_byte_order(week: Bars) -> None:
    strided = replace(week, close=np.repeat(week.close, 2)[::2])
    swapped = replace(week, open=week.open.astype(">i8"))

    assert content_hash(strided, IBM, DAY) == content_hash(week, IBM, DAY)
    assert content_hash(swapped, IBM, DAY) == content_hash(week, IBM, DAY)


# Values.


def test_prices_as_floats_are_the_floats_nearest_to_the_exact_values() -> None:
    bars = with_value(bars_at(days("2023-01-02")), "close", 0, 110_01)

    assert bars.closes().tolist() == [110.01]
    assert bars.volumes().tolist() == [50.0]


def test_bars_close_one_timeframe_after_their_label() -> None:
    bars = bars_at(days("2023-01-02"))

    assert instant(int(bars.close_times(HOUR)[0])) == datetime(2023, 1, 2, 1, tzinfo=UTC)


@given(st.datetimes(timezones=st.just(UTC)))
def test_instants_survive_the_way_through_nanoseconds(value: datetime) -> None:
    assert instant(nanoseconds(value)) == value


# Faults.


def test_clean_bars_have_no_faults(week: Bars) -> None:
    assert find_faults(week, now=NOW, limit=5) == []


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("times", -1, "time before 1970"),
        ("times", NOW + 1, "time in the future"),
        ("times", nanoseconds(datetime(2023, 1, 3, tzinfo=UTC)), "duplicate time"),
        ("times", nanoseconds(datetime(2023, 1, 1, tzinfo=UTC)), "time before that of the row"),
        ("open", 0, "open not above zero"),
        ("high", -1, "high not above zero"),
        ("low", -900, "low not above zero"),
        ("close", 0, "close not above zero"),
        ("high", 899, "high below low"),
        ("open", 1_201, "open outside of low to high"),
        ("open", 899, "open outside of low to high"),
        ("close", 1_201, "close outside of low to high"),
        ("close", 899, "close outside of low to high"),
        ("volume", -1, "negative volume"),
    ],
)
def test_a_fault_is_found_in_its_row(week: Bars, column: str, value: int, told: str) -> None:
    faults = find_faults(with_value(week, column, 2, value), now=NOW, limit=5)

    assert faults[0].row == 2
    assert faults[0].text.startswith(told)


def test_bars_at_their_bounds_are_clean(week: Bars) -> None:
    flat = replace(week, open=week.low, close=week.high, volume=np.zeros(5, dtype=np.int64))

    assert find_faults(flat, now=int(week.times[-1]), limit=5) == []


def test_a_fault_shows_the_values(week: Bars) -> None:
    (fault,) = find_faults(with_value(week, "high", 1, 850), now=NOW, limit=5)

    assert fault.text == "high below low (open 10.00, high 8.50, low 9.00, close 11.00)"


def test_faults_are_told_in_the_order_of_rows_up_to_the_limit(week: Bars) -> None:
    bad = with_value(replace(week, volume=week.volume - 51), "close", 0, 0)

    assert [fault.row for fault in find_faults(bad, now=NOW, limit=3)] == [0, 1, 2]


def test_a_series_from_new_to_old_is_descending(week: Bars) -> None:
    assert is_descending(week.times[::-1])
    assert not is_descending(week.times)
    assert not is_descending(week.times[:1])


# Gaps.


def test_weekends_and_long_weekends_are_no_gaps_of_daily_equities() -> None:
    bars = bars_at(days("2023-01-12", "2023-01-13", "2023-01-17", "2023-01-18", "2023-01-20"))

    assert find_gaps([bars.times], DAY, InstrumentKind.EQUITY).count == 0


def test_five_days_without_a_daily_bar_are_a_gap_and_its_weekdays_are_missing() -> None:
    bars = bars_at(days("2001-09-10", "2001-09-17", "2001-09-18"))

    gaps = find_gaps([bars.times], DAY, InstrumentKind.EQUITY)

    assert gaps.count == 1
    assert gaps.missing == 4
    assert [gaps.largest[0].after, gaps.largest[0].before] == days("2001-09-10", "2001-09-17")


def test_every_missing_day_is_a_gap_of_crypto() -> None:
    bars = bars_at(days("2023-01-01", "2023-01-02", "2023-01-04"))

    gaps = find_gaps([bars.times], DAY, InstrumentKind.CRYPTO)

    assert (gaps.count, gaps.missing) == (1, 1)


def test_nights_are_no_gaps_of_intraday_equities_but_missing_hours_are() -> None:
    bars = bars_at(
        days("2023-01-05T19:00", "2023-01-05T20:00", "2023-01-06T14:00", "2023-01-06T17:00")
    )

    gaps = find_gaps([bars.times], HOUR, InstrumentKind.EQUITY)

    assert (gaps.count, gaps.missing) == (1, 2)
    assert gaps.largest[0].before == datetime(2023, 1, 6, 17, tzinfo=UTC)


def test_weekends_are_no_gaps_of_intraday_fx_but_nights_are() -> None:
    weekend = bars_at(days("2023-01-06T21:00", "2023-01-08T22:00"))
    night = bars_at(days("2023-01-03T21:00", "2023-01-04T06:00"))

    assert find_gaps([weekend.times], HOUR, InstrumentKind.FX).count == 0
    assert find_gaps([night.times], HOUR, InstrumentKind.FX).missing == 8


def test_a_skipped_week_is_a_gap_of_weekly_bars_and_a_shifted_label_is_not() -> None:
    week = Timeframe.parse("1w")
    shifted = bars_at(days("2023-01-02", "2023-01-10", "2023-01-16"))
    skipped = bars_at(days("2023-01-02", "2023-01-16"))

    assert find_gaps([shifted.times], week, InstrumentKind.EQUITY).count == 0
    assert find_gaps([skipped.times], week, InstrumentKind.EQUITY).missing == 1


def test_gaps_are_told_longest_first_up_to_the_limit() -> None:
    minutes = np.cumsum([0, 1, 3, 2, 9, 1, 4])
    start = datetime(2023, 1, 2, tzinfo=UTC)
    bars = bars_at([start + timedelta(minutes=int(minute)) for minute in minutes])

    gaps = find_gaps([bars.times], MINUTE, InstrumentKind.CRYPTO, largest=2)

    assert gaps.count == 4
    assert [gap.missing for gap in gaps.largest] == [8, 3]


def test_a_single_bar_has_no_gaps(week: Bars) -> None:
    assert find_gaps([week.slice(0, 1).times], DAY, InstrumentKind.CRYPTO).count == 0
