"""The NautilusTrader strategy that trades a `LongFlatStrategy`: it sizes and sends the orders."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.objects import Quantity
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from ntrader.engine.strategies.base import AnyStrategy, Intent

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.events import OrderDenied, OrderFilled, OrderRejected
    from nautilus_trader.model.instruments import Instrument


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketSetup:
    """What a trader needs to know of the run: the market and the money."""

    instrument: Instrument
    bar_type: BarType
    initial_capital: Decimal
    equity_fraction: Decimal
    fee: Decimal


def exact_fee(event: OrderFilled, rate: Decimal) -> Decimal:
    """Return the fee of a fill, as a fraction of the traded value.

    NautilusTrader rounds its own figure to the currency's cents; over hundreds of fills that moves
    the size of later entries.
    """
    fee: Decimal = event.last_px.as_decimal() * event.last_qty.as_decimal() * rate
    return fee


class LongFlatTrader(Strategy):
    """Turns a strategy's intents into market orders.

    An entry buys floor(equity x equity_fraction / close) units, rounded down to the instrument's
    size precision; an exit sells the whole position. Cash and position are kept here, exactly,
    from the fills.
    """

    def __init__(self, logic: AnyStrategy, setup: MarketSetup) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self._logic = logic
        self._setup = setup
        self._unit = Decimal(1).scaleb(-setup.instrument.size_precision)
        self._cash = setup.initial_capital
        self._position = Decimal(0)
        self.too_small_entries = 0

    def on_start(self) -> None:
        """Ask for the bars."""
        self.subscribe_bars(self._setup.bar_type)

    def on_bar(self, bar: Bar) -> None:
        """Let the strategy decide, and carry its decision out."""
        logic = self._logic
        logic.on_bar(bar)
        if logic.intent is None:
            return
        intent, logic.intent = logic.intent, None
        if intent is Intent.ENTER:
            self._enter(bar.close.as_decimal())
        else:
            self._send(OrderSide.SELL, self._position)

    def _enter(self, close: Decimal) -> None:
        equity = self._cash + self._position * close
        units = (equity * self._setup.equity_fraction / close / self._unit).to_integral_value(
            rounding=ROUND_FLOOR
        )
        if units <= 0:
            self.too_small_entries += 1
            self._logic.is_long = False
            return
        self._send(OrderSide.BUY, units * self._unit)

    def _send(self, side: OrderSide, quantity: Decimal) -> None:
        exact = quantity.quantize(self._unit)
        order = self.order_factory.market(
            self._setup.instrument.id, side, Quantity.from_decimal(exact)
        )
        self.submit_order(order)

    def on_order_filled(self, event: OrderFilled) -> None:
        """Keep cash and position."""
        quantity = event.last_qty.as_decimal()
        signed = quantity if event.order_side == OrderSide.BUY else -quantity
        self._position += signed
        self._cash -= signed * event.last_px.as_decimal() + exact_fee(event, self._setup.fee)

    def on_order_denied(self, event: OrderDenied) -> None:
        """Forget a decision that came to nothing."""
        self._logic.is_long = self._position > 0

    def on_order_rejected(self, event: OrderRejected) -> None:
        """Forget a decision that came to nothing."""
        self._logic.is_long = self._position > 0
