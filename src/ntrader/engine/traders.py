"""The NautilusTrader strategy that trades a `LongFlatStrategy`: it sizes and sends the orders."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.objects import Quantity
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from ntrader.engine.accounting import EXACT
from ntrader.engine.strategies.base import AnyStrategy, Intent

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.events import OrderDenied, OrderRejected
    from nautilus_trader.model.instruments import Instrument

    from ntrader.engine.ledger import Ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketSetup:
    """What a trader needs to know of the run: the market and the money."""

    instrument: Instrument
    bar_type: BarType
    ledger: Ledger
    equity_fraction: Decimal


class LongFlatTrader(Strategy):
    """Turns a strategy's intents into market orders.

    An entry buys equity x equity_fraction / close units, rounded down to the instrument's size
    precision; an exit sells the whole position.
    """

    def __init__(self, logic: AnyStrategy, setup: MarketSetup) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self._logic = logic
        self._setup = setup
        self._unit = Decimal(1).scaleb(-setup.instrument.size_precision)
        self._ledger = setup.ledger
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
            self._send(OrderSide.SELL, self._ledger.position)

    def _enter(self, close: Decimal) -> None:
        with localcontext(EXACT):
            equity = self._ledger.cash + self._ledger.position * close
            quantity = equity * self._setup.equity_fraction // (close * self._unit) * self._unit
        if quantity <= 0:
            self.too_small_entries += 1
            self._logic.is_long = False
            return
        self._send(OrderSide.BUY, quantity)

    def _send(self, side: OrderSide, quantity: Decimal) -> None:
        with localcontext(EXACT):
            exact = Quantity.from_decimal(quantity.quantize(self._unit))
        self.submit_order(self.order_factory.market(self._setup.instrument.id, side, exact))

    def on_order_denied(self, event: OrderDenied) -> None:
        """Forget a decision that came to nothing."""
        self._logic.is_long = self._ledger.position > 0

    def on_order_rejected(self, event: OrderRejected) -> None:
        """Forget a decision that came to nothing."""
        self._logic.is_long = self._ledger.position > 0
