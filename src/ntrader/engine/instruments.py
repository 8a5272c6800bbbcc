"""Instruments: from what a user types to the domain's value, and from there to NautilusTrader's."""

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from ntrader.domain.datasets import Instrument, InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import UsageError

if TYPE_CHECKING:
    from nautilus_trader.model.data import BarType
    from nautilus_trader.model.instruments import Instrument as EngineInstrument
    from nautilus_trader.model.objects import Currency

MAX_PRECISION = 8
SIZE_PRECISIONS = {InstrumentKind.EQUITY: 0, InstrumentKind.FX: 2, InstrumentKind.CRYPTO: 8}

# What crypto is priced in, longest first, so that BTCUSDT is not taken for BTCUSD and a T.
_CRYPTO_QUOTES = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD"),
    *("USD", "EUR", "GBP", "JPY", "TRY", "BRL", "AUD", "KRW", "DAI", "BTC", "ETH", "BNB"),
)
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]{0,63}")
# NautilusTrader reads an instrument's venue after the last dot.
_VENUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_-]{0,63}")
_CURRENCY = re.compile(r"[A-Z0-9]{2,12}")
_ISO_CURRENCY = re.compile(r"[A-Z]{3}")
_UNITS = {"m": "MINUTE", "h": "HOUR", "d": "DAY", "w": "WEEK"}


def parse_instrument(
    symbol: str,
    venue: str,
    kind: InstrumentKind,
    *,
    currency: str | None = None,
    price_precision: int,
    size_precision: int | None = None,
) -> Instrument:
    """Return what `symbol` at `venue` means.

    An equity is priced in `currency`, by default USD. A pair names both its currencies: `EUR/USD`,
    `EUR-USD`, `EURUSD`, `BTC/USDT`, `BTCUSDT`; `currency` helps where its end is not known.
    `size_precision` defaults to whole units of an equity, 2 decimals for FX, 8 for crypto.

    Raises:
        UsageError: a name has characters that it must not have, the pair cannot be taken apart, or
            a precision is out of range.
    """
    _check_name("symbol", symbol, _SYMBOL, "letters, digits and . - / _")
    _check_name("venue", venue, _VENUE, "letters, digits and - / _")
    if size_precision is None:
        size_precision = SIZE_PRECISIONS[kind]
    _check_precision("price", price_precision)
    _check_precision("size", size_precision)
    if currency is not None:
        currency = currency.upper()
        _check_name("currency", currency, _CURRENCY, "letters and digits, 2 to 12")
    if kind is InstrumentKind.EQUITY:
        base, quote = None, _equity_currency(currency, size_precision)
    else:
        base, quote = _currencies(symbol, kind, currency)
    return Instrument(
        symbol=symbol,
        venue=venue,
        kind=kind,
        currency=quote,
        base_currency=base,
        price_precision=price_precision,
        size_precision=size_precision,
    )


def _check_name(what: str, text: str, pattern: re.Pattern[str], allowed: str) -> None:
    if pattern.fullmatch(text) is None:
        shown = text if len(text) <= 64 else text[:61] + "..."
        raise UsageError(
            f"{shown!r} is not a {what}.",
            hint=f"A {what} starts with a letter or digit, has at most 64 characters, "
            f"and only {allowed}.",
        )


def _check_precision(what: str, precision: int) -> None:
    if not 0 <= precision <= MAX_PRECISION:
        raise UsageError(
            f"A {what} precision of {precision} is not possible.",
            hint=f"Give 0 to {MAX_PRECISION} decimals.",
        )


def _equity_currency(currency: str | None, size_precision: int) -> str:
    if size_precision != 0:
        raise UsageError(
            "Equities trade in whole units.", hint="Leave the size precision out, or give 0."
        )
    currency = currency or "USD"
    if _ISO_CURRENCY.fullmatch(currency) is None:
        raise UsageError(
            f"{currency!r} is not the currency of an equity.",
            hint="Use an ISO code of three letters, such as USD.",
        )
    return currency


def _currencies(symbol: str, kind: InstrumentKind, currency: str | None) -> tuple[str, str]:
    base, quote = _split(symbol.upper(), kind, currency)
    pattern = _ISO_CURRENCY if kind is InstrumentKind.FX else _CURRENCY
    if not (pattern.fullmatch(base) and pattern.fullmatch(quote)) or base == quote:
        raise _not_a_pair(symbol, kind)
    if currency is not None and currency != quote:
        raise UsageError(
            f"{symbol} is priced in {quote}, not in {currency}.",
            hint="Leave the currency out, or change the symbol.",
        )
    return base, quote


def _split(symbol: str, kind: InstrumentKind, currency: str | None) -> tuple[str, str]:
    """Take a pair apart; what cannot be known is returned empty."""
    parts = re.split(r"[./_-]", symbol)
    if len(parts) == 2:
        return parts[0], parts[1]
    if len(parts) > 2:
        return "", ""
    if kind is InstrumentKind.FX:
        return symbol[:3], symbol[3:]
    quotes = _CRYPTO_QUOTES if currency is None else (currency,)
    quote = next((code for code in quotes if symbol.endswith(code)), "")
    return symbol.removesuffix(quote), quote


def _not_a_pair(symbol: str, kind: InstrumentKind) -> UsageError:
    example = "EUR/USD" if kind is InstrumentKind.FX else "BTC/USDT"
    return UsageError(
        f"{symbol!r} does not name two currencies.",
        hint=f"Write it like {example}, or name the currency of its prices with --currency.",
    )


def bar_type_text(instrument: Instrument, timeframe: Timeframe) -> str:
    """Return the bar type in NautilusTrader's notation: `IBM.NYSE-1-DAY-LAST-EXTERNAL`."""
    return f"{instrument.id}-{timeframe.step}-{_UNITS[timeframe.unit]}-LAST-EXTERNAL"


def to_bar_type(instrument: Instrument, timeframe: Timeframe) -> "BarType":
    """Return NautilusTrader's bar type."""
    from nautilus_trader.model.data import BarType

    return BarType.from_str(bar_type_text(instrument, timeframe))


def to_nautilus(instrument: Instrument, *, fee: Decimal = Decimal(0)) -> "EngineInstrument":
    """Return NautilusTrader's instrument, `fee` (a fraction of the traded value) on every fill."""
    from nautilus_trader.model.identifiers import InstrumentId, Symbol
    from nautilus_trader.model.instruments import CurrencyPair, Equity
    from nautilus_trader.model.objects import Price, Quantity

    instrument_id = InstrumentId.from_str(instrument.id)
    price_increment = Price.from_str(_smallest(instrument.price_precision))
    if instrument.kind is InstrumentKind.EQUITY:
        return Equity(
            instrument_id=instrument_id,
            raw_symbol=Symbol(instrument.symbol),
            currency=to_currency(instrument.currency),
            price_precision=instrument.price_precision,
            price_increment=price_increment,
            lot_size=Quantity.from_int(1),
            maker_fee=fee,
            taker_fee=fee,
            ts_event=0,
            ts_init=0,
        )
    if instrument.base_currency is None:
        raise ValueError(f"{instrument.id} is a pair without a base currency")
    return CurrencyPair(
        instrument_id=instrument_id,
        raw_symbol=Symbol(instrument.symbol),
        base_currency=to_currency(instrument.base_currency),
        quote_currency=to_currency(instrument.currency),
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
        price_increment=price_increment,
        size_increment=Quantity.from_str(_smallest(instrument.size_precision)),
        maker_fee=fee,
        taker_fee=fee,
        ts_event=0,
        ts_init=0,
    )


def to_currency(code: str) -> "Currency":
    """Return NautilusTrader's currency; a code that it does not know is registered as crypto."""
    from nautilus_trader.model.enums import CurrencyType
    from nautilus_trader.model.objects import Currency

    known = Currency.from_internal_map(code)
    if known is not None:
        return known
    currency = Currency(code, 8, 0, code, CurrencyType.CRYPTO)
    Currency.register(currency)
    return currency


def _smallest(precision: int) -> str:
    return format(Decimal(1).scaleb(-precision), "f")
