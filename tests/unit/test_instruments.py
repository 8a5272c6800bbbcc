"""Instruments: what a symbol means."""

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from ntrader.domain.datasets import Instrument, InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.instruments import bar_type_text, parse_instrument, to_bar_type, to_nautilus
from ntrader.errors import UsageError

EQUITY, FX, CRYPTO = InstrumentKind.EQUITY, InstrumentKind.FX, InstrumentKind.CRYPTO


def test_an_equity_is_priced_in_dollars_and_traded_in_whole_units() -> None:
    assert parse_instrument("BRK.B", "NYSE", EQUITY, price_precision=2) == Instrument(
        symbol="BRK.B",
        venue="NYSE",
        kind=EQUITY,
        currency="USD",
        base_currency=None,
        price_precision=2,
        size_precision=0,
    )


def test_an_equity_may_be_priced_in_another_currency() -> None:
    assert (
        parse_instrument("SAP", "XETRA", EQUITY, currency="eur", price_precision=2).currency
        == "EUR"
    )


@pytest.mark.parametrize(
    ("symbol", "kind", "base", "quote", "size_precision"),
    [
        ("EUR/USD", FX, "EUR", "USD", 2),
        ("EURUSD", FX, "EUR", "USD", 2),
        ("eur-usd", FX, "EUR", "USD", 2),
        ("BTC/USDT", CRYPTO, "BTC", "USDT", 8),
        ("BTCUSDT", CRYPTO, "BTC", "USDT", 8),
        ("BTC-USD", CRYPTO, "BTC", "USD", 8),
        ("1000PEPEFDUSD", CRYPTO, "1000PEPE", "FDUSD", 8),
        ("ETHBTC", CRYPTO, "ETH", "BTC", 8),
    ],
)
def test_a_pair_names_both_its_currencies(
    symbol: str, kind: InstrumentKind, base: str, quote: str, size_precision: int
) -> None:
    pair = parse_instrument(symbol, "SIM", kind, price_precision=5)

    assert (pair.symbol, pair.base_currency, pair.currency) == (symbol, base, quote)
    assert pair.size_precision == size_precision


def test_the_currency_takes_apart_a_pair_that_is_not_known() -> None:
    pair = parse_instrument("ABCXYZ", "DEX", CRYPTO, currency="xyz", price_precision=4)

    assert (pair.base_currency, pair.currency) == ("ABC", "XYZ")


@pytest.mark.parametrize(
    ("symbol", "venue", "kind", "options", "told"),
    [
        ("", "NYSE", EQUITY, {}, "'' is not a symbol"),
        ("I BM", "NYSE", EQUITY, {}, "'I BM' is not a symbol"),
        ("IBM\n", "NYSE", EQUITY, {}, "is not a symbol"),
        ("../IBM", "NYSE", EQUITY, {}, "is not a symbol"),
        ("I" * 65, "NYSE", EQUITY, {}, "is not a symbol"),
        ("IBM", "N.Y", EQUITY, {}, "'N.Y' is not a venue"),
        ("IBM", "", EQUITY, {}, "'' is not a venue"),
        ("IBM", "NYSE", EQUITY, {"currency": "US$"}, "'US$' is not a currency"),
        ("IBM", "NYSE", EQUITY, {"currency": "USDT"}, "'USDT' is not the currency of an equity"),
        ("IBM", "NYSE", EQUITY, {"size_precision": 2}, "whole units"),
        ("IBM", "NYSE", EQUITY, {"price_precision": 9}, "price precision of 9"),
        ("EUR/USD", "SIM", FX, {"size_precision": -1}, "size precision of -1"),
        ("EURUSDT", "SIM", FX, {}, "does not name two currencies"),
        ("USD/USD", "SIM", FX, {}, "does not name two currencies"),
        ("A/B/C", "SIM", CRYPTO, {}, "does not name two currencies"),
        ("ABCXYZ", "SIM", CRYPTO, {}, "does not name two currencies"),
        ("EUR/USD", "SIM", FX, {"currency": "GBP"}, "priced in USD, not in GBP"),
    ],
)
def test_what_is_not_an_instrument_is_refused(
    symbol: str, venue: str, kind: InstrumentKind, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_instrument(symbol, venue, kind, **{"price_precision": 2, **options})

    assert told in caught.value.message


@pytest.mark.parametrize(
    ("timeframe", "text"),
    [
        ("1d", "EUR/USD.SIM-1-DAY-LAST-EXTERNAL"),
        ("15m", "EUR/USD.SIM-15-MINUTE-LAST-EXTERNAL"),
        ("4h", "EUR/USD.SIM-4-HOUR-LAST-EXTERNAL"),
        ("1w", "EUR/USD.SIM-1-WEEK-LAST-EXTERNAL"),
    ],
)
def test_the_bar_type_is_written_as_the_engine_reads_it(timeframe: str, text: str) -> None:
    pair = parse_instrument("EUR/USD", "SIM", FX, price_precision=5)

    assert bar_type_text(pair, Timeframe.parse(timeframe)) == text
    assert str(to_bar_type(pair, Timeframe.parse(timeframe))) == text


def test_the_engine_gets_precisions_currencies_and_fee() -> None:
    equity = to_nautilus(
        parse_instrument("BRK.B", "X-NYSE", EQUITY, price_precision=4), fee=Decimal("0.001")
    )
    pair = to_nautilus(
        parse_instrument("BTC-USDT", "OKX", CRYPTO, price_precision=1, size_precision=6),
        fee=Decimal("0.002"),
    )

    assert (str(equity.id), str(equity.id.venue)) == ("BRK.B.X-NYSE", "X-NYSE")
    assert (str(equity.price_increment), str(equity.size_increment)) == ("0.0001", "1")
    assert (equity.maker_fee, equity.taker_fee) == (Decimal("0.001"), Decimal("0.001"))
    assert (pair.base_currency.code, pair.quote_currency.code) == ("BTC", "USDT")
    assert (str(pair.price_increment), str(pair.size_increment)) == ("0.1", "0.000001")
    assert pair.taker_fee == Decimal("0.002")
    assert equity.quote_currency.precision == 2


def test_a_currency_that_the_engine_does_not_know_is_registered() -> None:
    pair = to_nautilus(
        parse_instrument("NEWCOIN/USDT", "DEX", CRYPTO, price_precision=4), fee=Decimal(0)
    )

    assert (pair.base_currency.code, pair.base_currency.precision) == ("NEWCOIN", 8)


def test_parsing_does_not_load_the_engine() -> None:
    code = (
        "import sys\nfrom ntrader.engine.instruments import *\n"
        "parse_instrument('IBM', 'NYSE', InstrumentKind.EQUITY, price_precision=2)\n"
        "print('nautilus_trader' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "False\n"
