"""Reading people's files: the shapes that are taken, and what is refused with which words."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ntrader
from ntrader.domain.datasets import InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bar_columns import BLOCK_BYTES
from ntrader.engine.bar_files import read_bars
from ntrader.engine.bars import instant
from ntrader.errors import InvalidDataError, NotFoundError, NtraderError, UsageError
from support.bar_reading import WholeFile, read_whole

SAMPLES = Path(ntrader.__file__).parent / "samples"
HEADER = "date,open,high,low,close,volume\n"
REST = ",10,12,9,11,50"

type Read = Callable[..., WholeFile]


@pytest.fixture(params=[BLOCK_BYTES, 40], ids=["whole", "in blocks"])
def read(tmp_path: Path, request: pytest.FixtureRequest) -> Read:
    """Read bars from a file with this content (text, bytes or a table)."""

    def read(
        content: str | bytes | pa.Table,
        timeframe: str = "1d",
        kind: InstrumentKind = InstrumentKind.EQUITY,
        **options: Any,
    ) -> WholeFile:
        path = tmp_path / "bars.csv"
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        options = {"block_bytes": request.param, **options}
        return read_whole(path, timeframe=Timeframe.parse(timeframe), kind=kind, **options)

    return read


@pytest.fixture
def refused(read: Read) -> Callable[..., NtraderError]:
    """Return the error with which such a file is refused."""

    def refused(*arguments: Any, **options: Any) -> NtraderError:
        with pytest.raises(InvalidDataError) as caught:
            read(*arguments, **options)
        return caught.value

    return refused


def at(*times: str) -> str:
    """Return a file of equal bars at these times."""
    return HEADER + "".join(f"{time}{REST}\n" for time in times)


def labels(file: WholeFile) -> list[str]:
    return [f"{instant(time):%Y-%m-%d %H:%M}" for time in file.bars.times.tolist()]


# Shapes of files.


@pytest.mark.parametrize(("sample", "rows"), [("IBM.csv", 3_270), ("GOOG.csv", 2_148)])
def test_the_samples_are_clean(sample: str, rows: int) -> None:
    file = read_whole(SAMPLES / sample, timeframe=Timeframe.parse("1d"), kind=InstrumentKind.EQUITY)

    assert len(file.bars) == rows
    assert (file.bars.price_precision, file.bars.size_precision) == (2, 0)
    assert file.warnings == ()


def test_every_column_of_a_bar_is_read(read: Read) -> None:
    bars = read(HEADER + "2020-01-02,10.5,12.25,9.75,11,50\n").bars

    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0]) == (1050, 1225, 975, 1100)
    assert bars.volume[0] == 50


@pytest.mark.parametrize(
    "content",
    [
        "Close,Low,Date,High,Adj Close,Open,Volume\n11,9,2020-01-02,12,3,10,50\n",
        "<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>\n20200102,10,12,9,11,50\n",
        "timestamp|o|h|l|c|v\n2020-01-02|10|12|9|11|50\n",
        "TIME;OPEN;HIGH;LOW;CLOSE;VOLUME\n2020-01-02;10;12;9;11;50\n",
        "Open time\tOpen\tHigh\tLow\tClose\tVolume\n2020-01-02\t10\t12\t9\t11\t50\n",
        '"Date","Open","High","Low","Close","Volume"\n"2020-01-02","10","12","9","11","50"\n',
        ",open,high,low,close,volume\n2020-01-02,10,12,9,11,50\n",
        "unix,date,open,high,low,close,Volume IBM\n1,2020-01-02,10,12,9,11,50\n",
        "\ufeff" + at("2020-01-02"),
        at("2020-01-02").replace("\n", "\r\n"),
        "\n\n" + HEADER + "\n2020-01-02" + REST + "\n\n",
        at("2020-01-02").encode("utf-16"),
        gzip.compress(at("2020-01-02").encode(), mtime=0),
        at(" 2020-01-02 ").replace(",10,", ", 10 ,").rstrip(),
    ],
)
def test_a_bar_is_the_same_in_every_shape_of_file(read: Read, content: str | bytes) -> None:
    file = read(content)

    assert labels(file) == ["2020-01-02 00:00"]
    bars = file.bars
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0]) == (1000, 1200, 900, 1100)
    assert bars.volume[0] == 50
    assert file.warnings == ()


@pytest.mark.parametrize("clock", ["09:30", "09:30:00", "9:30", "093000", "0930"])
def test_date_and_time_may_be_in_two_columns(read: Read, clock: str) -> None:
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\n"

    file = read(f"{header}2020.01.02\t{clock}\t10\t12\t9\t11\t50\n", "1h")

    assert labels(file) == ["2020-01-02 09:30"]


def parquet(times: pa.Array, name: str = "date") -> pa.Table:
    rows = len(times)
    return pa.table(
        {
            "Open": pa.array([10.1] * rows, pa.float32()),
            "High": [12.25] * rows,
            "Low": [9] * rows,
            "Close": pa.array([Decimal("11.50")] * rows),
            "Volume": [50] * rows,
            name: times,
        }
    )


@pytest.mark.parametrize(
    "times",
    [
        pa.array([date(2020, 1, 2), date(2020, 1, 3)]).cast(pa.timestamp("us")),
        pa.array([1_577_923_200, 1_578_009_600]).cast(pa.timestamp("s", "UTC")),
        pa.array(
            [datetime(2020, 1, 2, 5, tzinfo=UTC), datetime(2020, 1, 3, 5, tzinfo=UTC)],
            pa.timestamp("ns", "America/New_York"),
        ),
        pa.array([date(2020, 1, 2), date(2020, 1, 3)]),
        pa.array(["2020-01-02", "2020-01-03"]).dictionary_encode(),
        pa.array([20200102, 20200103]),
        pa.array([1_577_923_200.0, 1_578_009_600.0]),
    ],
    ids=lambda times: str(times.type),
)
@pytest.mark.parametrize("name", ["Date", "__index_level_0__"])
def test_parquet_holds_times_of_any_type(read: Read, times: pa.Array, name: str) -> None:
    file = read(parquet(times, name))

    assert labels(file) == ["2020-01-02 00:00", "2020-01-03 00:00"]
    assert file.bars.open.tolist() == [1010, 1010]
    assert file.bars.close.tolist() == [1150, 1150]


# Times.


@pytest.mark.parametrize(
    "time",
    [
        "2020-01-31",
        "2020-01-31 00:00:00",
        "2020-01-31 00:00:00-05:00",
        "2020-01-31 00:00:00+0900",
        "2020-01-31T05:00:00Z",
        "2020-01-31 16:00",
        "20200131",
        "2020.01.31",
        "2020/1/31",
        "31.01.2020",
        "31/1/2020",
        "1/31/2020",
        "1580428800",
        "1580428800.0",
        "1580428800000",
        "1580428800000000",
        "1580428800000000000",
    ],
)
def test_a_daily_bar_is_labelled_with_midnight_utc_of_its_date_as_written(
    read: Read, time: str
) -> None:
    assert labels(read(at(time))) == ["2020-01-31 00:00"]


def test_a_daily_instant_is_labelled_with_the_date_in_the_named_zone(read: Read) -> None:
    file = read(at("2020-01-01T23:00:00Z"), timezone="Europe/Berlin")

    assert labels(file) == ["2020-01-02 00:00"]


@pytest.mark.parametrize(
    "time",
    [
        "2020-01-31 14:30",
        "2020-01-31T14:30:00",
        "2020-01-31T14:30:00.000Z",
        "2020-01-31 14:30:00 UTC",
        "2020-01-31 09:30:00-05:00",
        "2020-01-31T23:30:00+0900",
        "31.01.2020 14:30:00.000",
        "1/31/2020 14:30",
        "20200131 143000",
        "1580481000",
        "1580481000000",
    ],
)
def test_an_intraday_bar_is_labelled_with_its_instant(read: Read, time: str) -> None:
    assert labels(read(at(time), "1h")) == ["2020-01-31 14:30"]


def test_times_without_offset_are_taken_in_the_named_zone(read: Read) -> None:
    file = read(at("2020-01-31 09:30", "2020-07-31 09:30"), "1h", timezone="America/New_York")

    assert labels(file) == ["2020-01-31 14:30", "2020-07-31 13:30"]


def test_an_hour_passed_twice_is_read_in_the_order_of_the_file(read: Read) -> None:
    clock = ("00:30", "01:00", "01:30", "01:00", "01:30", "02:00")
    file = read(at(*(f"2020-11-01 {time}" for time in clock)), "30m", timezone="America/New_York")

    expected = ("04:30", "05:00", "05:30", "06:00", "06:30", "07:00")
    assert labels(file) == [f"2020-11-01 {time}" for time in expected]


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (("2020-11-01 00:00", "2020-11-01 01:00", "2020-11-01 02:00"), "exists twice"),
        (("2020-03-08 01:00", "2020-03-08 02:00", "2020-03-08 03:00"), "does not exist"),
    ],
)
def test_a_clock_time_that_is_not_one_instant_is_refused(
    refused: Callable[..., NtraderError], times: tuple[str, ...], told: str
) -> None:
    error = refused(at(*times), "1h", timezone="America/New_York")

    assert "Line 3: " in error.message
    assert f"{told} in America/New_York" in error.message


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/New_York", date(2019, 3, 10)),
        ("America/New_York", date(2019, 11, 3)),
        ("Europe/Berlin", date(2020, 3, 29)),
        ("Europe/Berlin", date(2020, 10, 25)),
        ("Australia/Lord_Howe", date(2019, 4, 7)),
        ("Australia/Lord_Howe", date(2019, 10, 6)),
        ("Asia/Kolkata", date(2019, 10, 6)),
    ],
)
def test_times_by_the_clock_and_with_offset_mean_the_same_instants(
    read: Read, zone: str, day: date
) -> None:
    """Around the day on which the clock is changed, a bar every five minutes."""
    noon = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp())
    instants = range(noon - 2 * 86_400, noon + 2 * 86_400, 300)
    clocks = [datetime.fromtimestamp(seconds, ZoneInfo(zone)) for seconds in instants]

    with_offset = read(at(*(clock.isoformat() for clock in clocks)), "5m")
    by_clock = read(at(*(f"{clock:%Y-%m-%d %H:%M}" for clock in clocks)), "5m", timezone=zone)

    assert with_offset.bars.times.tolist() == [seconds * 10**9 for seconds in instants]
    assert by_clock.bars.times.tolist() == with_offset.bars.times.tolist()


def test_a_zone_that_does_not_exist_is_a_wrong_use(read: Read) -> None:
    with pytest.raises(UsageError, match="Mars/Olympus"):
        read(at("2020-01-02"), timezone="Mars/Olympus")


# Numbers.


@pytest.mark.parametrize(
    ("close", "scaled", "precision"),
    [
        ("11", 1_100, 2),
        ("11.5", 1_150, 2),
        ("11.125", 11_125, 3),
        ("11.12500", 11_125, 3),
        ("1.1e1", 1_100, 2),
        ("11.00000001", 1_100_000_001, 8),
        ("+11.", 1_100, 2),
    ],
)
def test_prices_keep_the_decimals_of_the_file(
    read: Read, close: str, scaled: int, precision: int
) -> None:
    file = read(f"{HEADER}2020-01-02,10,12,9,{close},50\n")

    assert (file.bars.close[0], file.bars.price_precision) == (scaled, precision)
    assert file.warnings == ()


def test_large_prices_have_the_decimals_that_the_engine_holds_exactly(read: Read) -> None:
    large = "1543210000.12345678"
    file = read(f"{HEADER}2020-01-02,{large},{large},{large},{large},50\n")

    assert (file.bars.close[0], file.bars.price_precision) == (154_321_000_012_346, 5)
    assert file.warnings == (
        "4 price values were rounded to 5 decimals (--price-precision sets how many).",
    )


@given(
    st.from_regex(r"[0-9]{0,10}[1-9](\.[0-9]{0,20})?([eE]-?[0-9])?", fullmatch=True).filter(
        lambda text: Decimal("0.01") <= Decimal(text) < Decimal(10) ** 10
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_numbers_mean_what_decimal_arithmetic_says(read: Read, text: str) -> None:
    bars = read(f"{HEADER}2020-01-02,{text},{text},{text},{text},1\n").bars

    exact = Decimal(text).quantize(Decimal(1).scaleb(-bars.price_precision))
    assert bars.close[0] == int(exact.scaleb(bars.price_precision))


@given(st.lists(st.decimals("0.0001", "99999999", places=4), min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_text_and_parquet_floats_give_the_same_exact_prices(
    read: Read, prices: list[Decimal]
) -> None:
    days = [date.fromordinal(date(2010, 1, 4).toordinal() + n) for n in range(len(prices))]
    text = HEADER + "".join(
        f"{day},{p},{p},{p},{p},1\n" for day, p in zip(days, prices, strict=True)
    )
    floats = pa.array([float(price) for price in prices])
    names = ("open", "high", "low", "close")
    table = pa.table({"date": days, **dict.fromkeys(names, floats), "volume": [1] * len(days)})

    from_text = read(text, price_precision=4).bars
    from_floats = read(table, price_precision=4).bars

    assert from_text.close.tolist() == [int(price.scaleb(4)) for price in prices]
    assert from_floats.close.tolist() == from_text.close.tolist()


def test_decimals_beyond_the_precision_are_rounded_and_told(read: Read) -> None:
    file = read(HEADER + "2020-01-02,10,12,9,11.52000427246094,50.5\n")

    assert (file.bars.close[0], file.bars.price_precision) == (1_152_000_427, 8)
    assert file.bars.volume[0] == 50
    assert file.warnings == (
        "1 price value was rounded to 8 decimals (--price-precision sets how many).",
        "1 volume value was rounded to 0 decimals (an equity trades in whole units).",
    )


def test_a_given_precision_counts(read: Read) -> None:
    file = read(
        HEADER + "2020-01-02,10,12,9,11.529,1.25\n",
        kind=InstrumentKind.CRYPTO,
        price_precision=2,
        size_precision=1,
    )

    assert (file.bars.close[0], file.bars.price_precision) == (1_153, 2)
    assert (file.bars.volume[0], file.bars.size_precision) == (12, 1)


def test_a_given_precision_that_cannot_hold_the_prices_is_refused(
    refused: Callable[..., NtraderError],
) -> None:
    error = refused(HEADER + "2020-01-02,10,99999999,9,11,1\n", price_precision=8)

    assert "high 99999999 is above 11,258,999, the most with 8 decimals" in error.message
    assert error.hint == "Give a smaller --price-precision."


@pytest.mark.parametrize("option", ["price_precision", "size_precision"])
def test_a_precision_out_of_range_is_a_wrong_use(read: Read, option: str) -> None:
    with pytest.raises(UsageError, match="precision of 9"):
        read(at("2020-01-02"), **{option: 9})


@pytest.mark.parametrize(
    ("kind", "precision"),
    [(InstrumentKind.EQUITY, 0), (InstrumentKind.FX, 2), (InstrumentKind.CRYPTO, 8)],
)
def test_volumes_have_the_decimals_of_their_kind(
    read: Read, kind: InstrumentKind, precision: int
) -> None:
    assert read(at("2020-01-02"), kind=kind).bars.size_precision == precision


def test_large_crypto_volumes_have_fewer_decimals(read: Read) -> None:
    file = read(HEADER + "2020-01-02,10,12,9,11,123456789012.5\n", kind=InstrumentKind.CRYPTO)

    assert (file.bars.volume[0], file.bars.size_precision) == (123_456_789_012_500, 3)


def test_a_missing_volume_is_zero_and_told(read: Read) -> None:
    file = read("date,open,high,low,close\n2020-01-02,10,12,9,11\n")

    assert file.bars.volume.tolist() == [0]
    assert file.warnings == ("There is no volume column: every volume is 0.",)


def test_volumes_of_zero_are_told(read: Read) -> None:
    assert read(HEADER + "2020-01-02,10,12,9,11,0\n").warnings == ("Every volume is 0.",)


# Refusals.

TWO = "2020-01-02,10,12,9,11,50\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "bars.csv is empty."),
        ("\n \n", "bars.csv is empty."),
        (HEADER, "bars.csv has a header and no bars."),
        (TWO, "bars.csv has no column for time, open, high, low, close; its first line is"),
        ("date,open,high,close\n", "no column for low; its first line is 'date', 'open', 'high'"),
        ("date,open,open,high,low,close\n", "several columns named 'open'"),
        ("x" * 20_000, "bars.csv has no header line."),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "neither text in UTF-8 nor Parquet"),
        (b"date,open\x00,high,low,close\n", "neither text in UTF-8 nor Parquet"),
        (b"PAR1 and nothing of it", "bars.csv is a damaged Parquet file."),
        (
            gzip.compress(at("2020-01-02").encode(), mtime=0)[:-9],
            "bars.csv is a damaged gzip file.",
        ),
        (HEADER + TWO + "2020-01-03,10\n", "the header has 6 columns, but line 3 has 2."),
        (at("2020-01-02", "soon"), "Line 3: time 'soon' cannot be read."),
        (at("2020-01-02", ""), "Line 3: time is empty."),
        (at("2020-02-30"), "Line 2: time '2020-02-30' is no time between 1970 and 2262."),
        (at("2999-01-01"), "Line 2: time '2999-01-01' is no time between 1970 and 2262."),
        (at("1969-12-31"), "Line 2: time before 1970 (1969-12-31 00:00:00)."),
        (at("2250-01-01"), "Line 2: time in the future (2250-01-01 00:00:00)."),
        (at("2020-01-02", "2020-01-02"), "Line 3: duplicate time (2020-01-02 00:00:00)."),
        (at("2020-01-02", "2020-01-06", "2020-01-03"), "Line 4: time before that of the row above"),
        (at("01/02/2020", "01/03/2020"), "day or month first cannot be told"),
        (at("13/01/2020", "01/13/2020"), "day and month change places"),
        (at("1577923200", "1578009600000"), "Line 3: time 1578009600000 is not in the unit"),
        (at("2020-01-02T00:00Z", "2020-01-03T00:00"), "Line 3: time '2020-01-03T00:00' has no off"),
        (HEADER + "2020-01-02,,12,9,11,50\n", "Line 2: open is empty."),
        (HEADER + "2020-01-02,10,NaN,9,11,50\n", "Line 2: high 'NaN' is not a number."),
        (HEADER + "2020-01-02,10,12,-inf,11,50\n", "Line 2: low '-inf' is not a number."),
        (HEADER + "2020-01-02,10,12,9,1_1,50\n", "Line 2: close '1_1' is not a number."),
        (HEADER + "2020-01-02,10,12,9,11,many\n", "Line 2: volume 'many' is not a number."),
        (HEADER + "2020-01-02,10,12,9,11,-1\n", "Line 2: negative volume (-1)."),
        (HEADER + "2020-01-02,10,12,0,11,1\n", "Line 2: low not above zero (open 10.00, high"),
        (HEADER + "2020-01-02,10,8,9,11,1\n", "Line 2: high below low"),
        (HEADER + "2020-01-02,10,12,9,13,1\n", "Line 2: close outside of low to high"),
        (HEADER + "2020-01-02,10,12,9,11,1e14\n", "Line 2: volume 100000000000000 is above 10,000"),
        (HEADER + "2020-01-02,10,1e30,9,11,1\n", "Line 2: high '1e30' is out of range."),
        (HEADER + "2020-01-02,10,12,9,11,1e-400\n", "Line 2: volume '1e-400' is out of range."),
        (HEADER + "2020-01-02,10,12,9,11,7.38e-275\n", "volume '7.38e-275' is out of range."),
    ],
)
def test_a_file_that_is_not_clean_is_refused_with_the_reason(
    refused: Callable[..., NtraderError], content: str | bytes, told: str
) -> None:
    assert told in refused(content).message


def test_nulls_and_nans_of_parquet_are_empty_cells(
    refused: Callable[..., NtraderError],
) -> None:
    table = parquet(pa.array([date(2020, 1, 2), None, date(2020, 1, 6)]))
    table = table.set_column(0, "Open", pa.array([None, 10.0, float("nan")]))

    assert refused(table).message.endswith(
        "Row 1: open is empty; row 2: time is empty; row 3: open 'nan' is not a number."
    )


def test_a_nan_in_place_of_a_time_is_an_empty_cell(refused: Callable[..., NtraderError]) -> None:
    error = refused(parquet(pa.array([1_577_923_200.0, float("nan")])))

    assert "Row 2: time is empty." in error.message


def test_a_parquet_column_of_another_type_is_refused(
    refused: Callable[..., NtraderError],
) -> None:
    assert "the column for time holds bool values" in refused(parquet(pa.array([True]))).message


def test_lines_are_numbered_as_an_editor_does(refused: Callable[..., NtraderError]) -> None:
    error = refused("\n" + HEADER + "\n\n" + TWO + "\n2020-01-03,10,12,9,x,50\n")

    assert "Line 7: close 'x' is not a number." in error.message


def test_one_line_tells_all_that_cannot_be_read_in_it(
    refused: Callable[..., NtraderError],
) -> None:
    error = refused(HEADER + "soon,x,12,,11,50\n")

    assert "Line 2: time 'soon' cannot be read, open 'x' is not a number, low is empty." in (
        error.message
    )


def test_five_lines_are_named_and_more_are_hinted_at(
    refused: Callable[..., NtraderError],
) -> None:
    error = refused(HEADER + TWO + "".join(f"2020-01-0{day},10,8,9,11,1\n" for day in range(3, 9)))

    assert [f"ine {line}: " in error.message for line in range(2, 9)] == [
        *(False, True, True, True, True, True, False)
    ]
    assert error.message.endswith("; and more.")


def test_a_descending_file_is_refused_with_the_way_out(
    refused: Callable[..., NtraderError],
) -> None:
    error = refused(at("2020-01-06", "2020-01-03", "2020-01-02"))

    assert "Line 3: time before that of the row above" in error.message
    assert "oldest first" in (error.hint or "")


def test_a_decimal_comma_is_refused_with_the_way_out(
    refused: Callable[..., NtraderError],
) -> None:
    error = refused(HEADER.replace(",", ";") + "2020-01-02;10,5;12;9;11;50\n")

    assert "open '10,5' is not a number" in error.message
    assert "decimal point" in (error.hint or "")


def test_bars_of_a_finer_timeframe_are_refused_with_the_one_that_fits(
    refused: Callable[..., NtraderError],
) -> None:
    error = refused(at(*(f"2020-01-02 {hour:02}:00" for hour in range(9, 16))), "1d")

    assert "does not hold 1d bars: 6 of 6" in error.message
    assert error.hint == "Import it with --timeframe 1h."


def test_bars_of_a_coarser_timeframe_are_told(read: Read) -> None:
    file = read(at("2020-01-02", "2020-01-03"), "1h")

    assert file.warnings == ("No two bars are 1h apart (is --timeframe 1d meant?).",)


def test_the_bar_of_this_moment_is_not_in_the_future(read: Read) -> None:
    now = 1_577_923_200_000_000_000

    assert len(read(at("2020-01-02"), now=now).bars) == 1
    with pytest.raises(InvalidDataError, match="future"):
        read(at("2020-01-02"), now=now - 1)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="is a directory"):
        read_bars(tmp_path, timeframe=Timeframe.parse("1d"), kind=InstrumentKind.FX)


def test_a_file_may_come_through_a_pipe(tmp_path: Path) -> None:
    """As in `ntrader data import <(zcat bars.csv.gz)`: it can be read once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    days = [f"2020-01-{day:02}" for day in range(1, 32)]
    content = gzip.compress(at(*days).encode(), mtime=0)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()

    file = read_whole(pipe, timeframe=Timeframe.parse("1d"), kind=InstrumentKind.CRYPTO)

    writer.join()
    assert len(file.bars) == 31


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(at("2020-01-02") + "x" * 3_000_000)

    with pytest.raises(InvalidDataError, match=r"line 3 is longer than 1,.* bytes"):
        read_whole(
            path, timeframe=Timeframe.parse("1d"), kind=InstrumentKind.CRYPTO, block_bytes=100
        )


def test_faults_far_apart_are_told_by_their_lines(refused: Callable[..., NtraderError]) -> None:
    """Across blocks, below blank lines."""
    lines = [f"{2000 + year}-01-03{REST}" for year in range(12)]
    lines[2] = "soon" + REST
    lines[7] = lines[7].replace(",9,", ",?,")
    lines[11] = ""
    lines += ["", f"2030-01-x{REST}"]

    error = refused(HEADER + "\n".join(lines) + "\n", "1w")

    assert "Line 4: time 'soon' cannot be read" in error.message
    assert "line 9: low '?' is not a number" in error.message
    assert "line 15: time '2030-01-x' cannot be read" in error.message


def test_a_label_below_one_of_an_earlier_block_is_refused(
    refused: Callable[..., NtraderError],
) -> None:
    years = [f"{2000 + year}-01-03" for year in range(10)]

    assert "Line 12: duplicate time (2009-01-03" in refused(at(*years, years[-1])).message
    assert "Line 12: time before that of the row above (2003-01-03" in (
        refused(at(*years, years[3])).message
    )


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file .*none\.csv"):
        read_bars(tmp_path / "none.csv", timeframe=Timeframe.parse("1d"), kind=InstrumentKind.FX)


def test_importing_the_reader_loads_neither_the_engine_nor_pandas() -> None:
    code = (
        "import sys, ntrader.engine.bar_files, ntrader.engine.catalog\n"
        "print([name for name in ('nautilus_trader', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "[]\n"
