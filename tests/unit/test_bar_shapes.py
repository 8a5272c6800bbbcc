"""The shapes in which vendors write their files, and the options for those that say too little."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ntrader.domain.datasets import InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bar_columns import BLOCK_BYTES
from ntrader.engine.bars import instant
from ntrader.errors import InvalidDataError, NtraderError, UsageError
from support.bar_reading import WholeFile, read_whole

type Read = Callable[..., WholeFile]
type Refused = Callable[..., NtraderError]


@pytest.fixture(params=[BLOCK_BYTES, 40], ids=["whole", "in blocks"])
def read(tmp_path: Path, request: pytest.FixtureRequest) -> Read:
    """Read bars from a file with this text."""

    def read(
        text: str,
        timeframe: str = "1d",
        kind: InstrumentKind = InstrumentKind.EQUITY,
        **options: Any,
    ) -> WholeFile:
        path = tmp_path / "bars.csv"
        path.write_text(text)
        options = {"block_bytes": request.param, **options}
        return read_whole(path, timeframe=Timeframe.parse(timeframe), kind=kind, **options)

    return read


@pytest.fixture
def refused(read: Read) -> Refused:
    """Return the error with which such a file is refused."""

    def refused(*arguments: Any, **options: Any) -> NtraderError:
        with pytest.raises(UsageError) as caught:
            read(*arguments, **options)
        return caught.value

    return refused


def labels(file: WholeFile) -> list[str]:
    return [f"{instant(time):%Y-%m-%d %H:%M}" for time in file.bars.times.tolist()]


def values(file: WholeFile) -> list[list[int]]:
    """Return open, high, low, close and volume of each bar, scaled."""
    bars = file.bars
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return [[int(column[row]) for column in columns] for row in range(len(bars))]


BAR = [1000, 1200, 900, 1100, 50]

# Several lines of header.

YFINANCE = (
    "Price,Close,High,Low,Open,Volume\n"
    "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL\n"
    "Date,,,,,\n"
    "2020-01-02,11,12,9,10,50\n"
)


def test_the_three_header_lines_of_yfinance_are_read(read: Read) -> None:
    file = read(YFINANCE)

    assert labels(file) == ["2020-01-02 00:00"]
    assert values(file) == [BAR]
    assert file.warnings == ()


def test_the_tickers_of_yfinance_may_stand_above_the_prices(read: Read) -> None:
    first, second, rest = YFINANCE.split("\n", 2)

    assert values(read(f"{second}\n{first}\n{rest}")) == [BAR]


def test_intraday_bars_of_yfinance_have_a_datetime(read: Read) -> None:
    text = YFINANCE.replace("Date,", "Datetime,").replace("2020-01-02", "2020-01-02 14:30:00+00:00")

    assert labels(read(text, "1h")) == ["2020-01-02 14:30"]


def test_lines_below_three_header_lines_keep_their_numbers(refused: Refused) -> None:
    error = refused("\n" + YFINANCE + "\n2020-01-03,11,12,9,x,50\n")

    assert "Line 7: open 'x' is not a number." in error.message


def test_a_short_line_below_three_header_lines_is_the_one_that_is_named(refused: Refused) -> None:
    assert "but line 5 has 2." in refused(YFINANCE + "2020-01-03,11\n").message


def test_three_header_lines_without_bars_are_no_bars(refused: Refused) -> None:
    header = YFINANCE[: YFINANCE.index("2020")]

    assert refused(header).message == "bars.csv has a header and no bars."


def test_several_tickers_in_one_file_are_refused_by_name(refused: Refused) -> None:
    error = refused(
        "Price,Close,Close,High,High\nTicker,AAPL,MSFT,AAPL,MSFT\nDate,,,,\n2020-01-02,1,1,1,1\n"
    )

    assert "AAPL, MSFT" in error.message


DOWNLOADED = (
    "https://www.CryptoDataDownload.com\n"
    "unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount\n"
    "1577923200000,2020-01-02 00:00:00,BTC/USDT,10,12,9,11,50,550,7\n"
)


def test_a_line_of_one_cell_above_the_header_is_passed_over(read: Read) -> None:
    file = read("https://www.CryptoDataDownload.com\n" + "date,open,high,low,close,volume\n"
                "2020-01-02,10,12,9,11,50\n")  # fmt: skip

    assert values(file) == [BAR]
    assert file.warnings == ()


def test_of_two_volumes_the_one_in_units_of_the_symbol_is_taken(read: Read) -> None:
    file = read(DOWNLOADED, kind=InstrumentKind.CRYPTO, size_precision=0)

    assert labels(file) == ["2020-01-02 00:00"]
    assert values(file) == [BAR]


def test_two_volumes_without_a_symbol_are_refused_with_the_way_out(refused: Refused) -> None:
    error = refused(DOWNLOADED.replace("symbol", "pair"), kind=InstrumentKind.CRYPTO)

    assert "several columns of volume" in error.message
    assert "--columns" in (error.hint or "")


def test_lines_below_a_title_keep_their_numbers(refused: Refused) -> None:
    error = refused("title\n\ndate,open,high,low,close\n2020-01-02,x,12,9,11\n")

    assert "Line 4: open 'x' is not a number." in error.message


def test_only_one_line_may_stand_above_the_header(refused: Refused) -> None:
    error = refused("one\ntwo\ndate,open,high,low,close\n2020-01-02,10,12,9,11\n")

    assert "its first line is 'one'" in error.message


# Prices with a currency sign, newest first.

NASDAQ = "Date,Close/Last,Volume,Open,High,Low\n01/31/2020,$11.00,50,$10.00,$12.00,$9.00\n"


def test_a_dollar_sign_before_a_price_is_passed_over(read: Read) -> None:
    file = read(NASDAQ)

    assert labels(file) == ["2020-01-31 00:00"]
    assert values(file) == [BAR]


def test_a_dollar_sign_elsewhere_is_no_number(refused: Refused) -> None:
    assert "'$$10.00' is not a number" in refused(NASDAQ.replace("$10", "$$10")).message
    assert "'10.00$' is not a number" in refused(NASDAQ.replace("$10.00", "10.00$")).message
    assert "'$50' is not a number" in refused(NASDAQ.replace("50,", "$50,")).message


def days(*times: str, header: str = "date,open,high,low,close,volume\n") -> str:
    return header + "".join(f"{time},10,12,9,11,50\n" for time in times)


def test_a_file_from_the_newest_to_the_oldest_tells_how_to_turn_it_around(refused: Refused) -> None:
    newest_first = ("2020-01-06", "2020-01-03", "2020-01-02")

    assert "(head -n 1 FILE; tail -n +2 FILE" in (refused(days(*newest_first)).hint or "")
    titled = "title\ndate,open,high,low,close,volume\n"
    assert "(head -n 2 FILE; tail -n +3" in (refused(days(*newest_first, header=titled)).hint or "")


def test_two_bars_in_the_wrong_order_are_not_taken_for_a_reversed_file(refused: Refused) -> None:
    assert "newest" not in (refused(days("2020-01-03", "2020-01-02")).hint or "")


# No header.

KLINE = "{},10,12,9,11,50,{},5000.5,308,20.5,2000.1,0\n"


@pytest.mark.parametrize(
    ("opened", "closed"),
    [("1577923200000", "1578009599999"), ("1577923200000000", "1578009599999999")],
)
def test_the_klines_of_binance_are_recognised(read: Read, opened: str, closed: str) -> None:
    file = read(KLINE.format(opened, closed), kind=InstrumentKind.CRYPTO, size_precision=0)

    assert labels(file) == ["2020-01-02 00:00"]
    assert values(file) == [BAR]
    (warning,) = file.warnings
    assert "Binance" in warning


def test_the_lines_of_metatrader_4_are_recognised(read: Read) -> None:
    file = read("2020.01.02,09:30,10,12,9,11,50\n2020.01.02,10:30,10,12,9,11,50\n", "1h")

    assert labels(file) == ["2020-01-02 09:30", "2020-01-02 10:30"]
    assert values(file) == [BAR, BAR]
    (warning,) = file.warnings
    assert "MetaTrader" in warning


@pytest.mark.parametrize(
    "line",
    [
        "2020-01-02,10,12,9,11,50\n",
        KLINE.format("1577923200000", "5000"),
        KLINE.format("1577923200000", "1577923199999"),
        KLINE.format("1577923200000", "1578009599999000"),
        KLINE.format("1577923200", "1578009599"),
        KLINE.format("1577923200000", "1578009599999").replace("308,", ""),
        "2020.01.02,09:30,10,12,9,11\n",
        "2020.01.02,930,10,12,9,11,50\n",
        "02.01.2020,09:30,10,12,9,11,50\n",
    ],
)
def test_other_files_without_a_header_are_refused_with_the_option(
    refused: Refused, line: str
) -> None:
    error = refused(line)

    assert "has no column for time" in error.message
    assert "--columns time,open,high,low,close,volume" in (error.hint or "")


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("2020-01-02,10,12,9,11,50", "time,open,high,low,close,volume"),
        ("IBM;2020-01-02;11;10;9;12;x;50", "-, Time, CLOSE, open, low, high, -, volume"),
        ("20200102 000000;10;12;9;11;50", "time,open,high,low,close,volume"),
        ("2020.01.02\t00:00\t10\t12\t9\t11\t50", "date,time,open,high,low,close,volume"),
    ],
)
def test_columns_without_a_header_have_the_names_that_are_given(
    read: Read, line: str, columns: str
) -> None:
    file = read(f"\n{line}\n", columns=columns)

    assert labels(file) == ["2020-01-02 00:00"]
    assert values(file) == [BAR]
    assert file.warnings == ()


def test_given_names_count_more_than_a_header_and_that_is_told(read: Read) -> None:
    text = "date,open,high,low,close,Volume BTC,Volume USD\n2020-01-02,10,12,9,11,50,550\n"

    file = read(text, columns="time,open,high,low,close,volume,-")

    assert values(file) == [BAR]
    assert file.warnings == ("The header line is not used: --columns names the columns.",)


def test_lines_of_a_file_without_a_header_keep_their_numbers(refused: Refused) -> None:
    text = "2020-01-02,10,12,9,11\n\n2020-01-03,10,12,9,x\n"

    error = refused(text, columns="time,open,high,low,close")

    assert "Line 3: close 'x' is not a number." in error.message


def test_a_first_bar_that_is_bad_is_not_taken_for_a_header(refused: Refused) -> None:
    text = "2020-01-02,,,,\n2020-01-03,10,12,9,11\n"

    assert "Line 1: open is empty" in refused(text, columns="time,open,high,low,close").message


def test_a_ragged_file_without_a_header_does_not_speak_of_one(refused: Refused) -> None:
    error = refused("2020-01-02,10,12,9,11\n2020-01-03,1\n", columns="time,open,high,low,close")

    assert "the first line has 5 columns, but line 2 has 2." in error.message


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("time,open,high,low,close", "names 5 columns, but the first line of bars.csv has 6"),
        ("time,open,high,low,close,volum", "'volum' is no column"),
        ("time,open,high,low,-,volume", "names no column for close"),
        ("open,open,high,low,close,volume", "names 'open' twice"),
        ("", "'' is no column"),
    ],
)
def test_names_of_columns_that_cannot_be_meant_are_a_wrong_use(
    refused: Refused, columns: str, told: str
) -> None:
    error = refused("2020-01-02,10,12,9,11,50\n", columns=columns)

    assert not isinstance(error, InvalidDataError)
    assert told in error.message


# Day and month.


@pytest.mark.parametrize("time", ["02.01.2020", "2.1.2020"])
def test_dates_with_dots_have_the_day_first(read: Read, time: str) -> None:
    assert labels(read(days(time))) == ["2020-01-02 00:00"]


@pytest.mark.parametrize(
    ("day_first", "label"), [(True, "2020-02-01 00:00"), (False, "2020-01-02 00:00")]
)
@pytest.mark.parametrize("time", ["01/02/2020", "01-02-2020", "1.2.2020"])
def test_day_or_month_first_can_be_said(read: Read, time: str, day_first: bool, label: str) -> None:
    assert labels(read(days(time), day_first=day_first)) == [label]


def test_what_the_file_leaves_open_is_refused_with_the_options(refused: Refused) -> None:
    error = refused(days("01/02/2020", "01/03/2020"))

    assert "day or month first cannot be told" in error.message
    assert "--dayfirst" in (error.hint or "")
    assert "--monthfirst" in (error.hint or "")


@pytest.mark.parametrize(
    ("time", "day_first"), [("01/13/2020", True), ("13/01/2020", False), ("01.13.2020", None)]
)
def test_a_thirteenth_month_is_refused(refused: Refused, time: str, day_first: bool | None) -> None:
    error = refused(days("01.01.2020" if "." in time else "01/01/2020", time), day_first=day_first)

    assert f"Line 3: time {time!r} has no month 13." in error.message


# Numbers and messages.


def test_decimal_commas_are_told_in_one_sentence(refused: Refused) -> None:
    line = ";10,5;12,25;9,75;11,0;50\n"
    text = "date;open;high;low;close;volume\n" + "".join(f"2020-01-0{d}{line}" for d in (2, 3, 6))

    error = refused(text)

    assert error.message == "bars.csv has decimal commas; line 2: open '10,5' is not a number."
    assert "decimal point" in (error.hint or "")


def test_separators_of_thousands_are_not_taken_for_decimal_commas(refused: Refused) -> None:
    text = "date;open;high;low;close\n2020-01-02;1,000.5;1,200;900;1,100\n"

    assert "open '1,000.5' is not a number" in refused(text).message


def test_of_one_line_at_most_three_faults_are_told(refused: Refused) -> None:
    error = refused("date,open,high,low,close,volume\n2020-01-02,a,b,c,d,e\n")

    assert error.message.endswith(
        "Line 2: open 'a' is not a number, high 'b' is not a number, low 'c' is not a number"
        " and 2 more."
    )


def test_a_message_stays_short(refused: Refused) -> None:
    line = ",".join(["x" * 60] * 5)
    text = "date,open,high,low,close,volume\n" + f"2020-01-02,{line}\n" * 9

    message = refused(text).message

    assert len(message) <= 400
    assert message.endswith("; and more.")


@pytest.mark.parametrize(
    ("times", "timeframe", "hint"),
    [
        (("2020-01-02", "2020-01-03", "2020-01-06"), "1h", "Import it with --timeframe 1d."),
        (("2020-01-02", "2020-01-09", "2020-01-16"), "1d", "Import it with --timeframe 1w."),
        (
            ("2020-01-02 00:00", "2020-01-02 02:00", "2020-01-02 04:00"),
            "1h",
            "Import it with --timeframe 2h.",
        ),
        (("2020-01-31", "2020-02-29", "2020-03-31"), "1d", "Give its own timeframe."),
    ],
)
def test_bars_of_a_coarser_timeframe_are_refused_with_the_one_that_fits(
    refused: Refused, times: tuple[str, ...], timeframe: str, hint: str
) -> None:
    error = refused(days(*times), timeframe)

    assert f"does not hold {timeframe} bars: no two are {timeframe} apart" in error.message
    assert error.hint == hint


MT5 = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"


def test_tick_volume_stands_in_for_a_volume_of_zero_and_is_told(read: Read) -> None:
    file = read(MT5 + "2020.01.02\t10\t12\t9\t11\t50\t0\t3\n")

    assert values(file) == [BAR]
    assert file.warnings == ("Every volume is 0: the tick volume is used instead.",)


def test_tick_volume_is_not_used_beside_a_volume(read: Read) -> None:
    file = read(MT5 + "2020.01.02\t10\t12\t9\t11\tmany\t50\t3\n")

    assert values(file) == [BAR]
    assert file.warnings == ()


def test_the_rounding_of_an_equitys_volume_names_no_option(read: Read) -> None:
    text = "date,open,high,low,close,volume\n2020-01-02,10,12,9,11,50.5\n"

    assert read(text).warnings == (
        "1 volume value was rounded to 0 decimals (an equity trades in whole units).",
    )
