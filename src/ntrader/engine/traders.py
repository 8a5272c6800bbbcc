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
    from nautilus_trader.model.events import OrderDenied, OrderFilled, OrderRejected
    from nautilus_trader.model.identifiers import PositionId
    from nautilus_trader.model.instruments import Instrument
    from nautilus_trader.model.objects import Price

    from ntrader.engine.ledger import Ledger
    from ntrader.engine.simulation import Market


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketSetup:
    """What a trader needs to know of the run: the market and the money."""

    instrument: Instrument
    bar_type: BarType
    ledger: Ledger
    equity_fraction: Decimal
    market: Market


@dataclass(frozen=True, slots=True)
class _HeldOrder:
    """A decision that waits for the next open."""

    side: OrderSide
    quantity: Decimal


class LongFlatTrader(Strategy):
    """Turns a strategy's intents into market orders.

    An entry buys equity x equity_fraction / close units, rounded down to the instrument's size
    precision; an exit sells the whole position. An entry that costs more than the cash, at the
    price of its fill and with its fee, is not sent: a broker would refuse it.

    Each round trip is a position of its own ("hedging"): where all are one position ("netting"),
    NautilusTrader pickles it at every entry, which takes longer than all else that an order does.
    """

    def __init__(self, logic: AnyStrategy, setup: MarketSetup) -> None:
        super().__init__(StrategyConfig(order_id_tag="001", oms_type="HEDGING"))
        self._logic = logic
        self._setup = setup
        self._unit = Decimal(1).scaleb(-setup.instrument.size_precision)
        self._ledger = setup.ledger
        self._held: _HeldOrder | None = None
        self._position_id: PositionId | None = None
        self.too_small_entries = 0
        self.unpaid_entries = 0

    @property
    def holds_an_order(self) -> bool:
        """Whether a decision still waits for the next open."""
        return self._held is not None

    def on_start(self) -> None:
        """Ask for the bars."""
        self.subscribe_bars(self._setup.bar_type)

    def on_bar(self, bar: Bar) -> None:
        """Let the strategy decide, and carry its decision out, or hold it for the next open."""
        logic = self._logic
        logic.on_bar(bar)
        if logic.intent is None:
            return
        intent, logic.intent = logic.intent, None
        if intent is Intent.EXIT:
            order = _HeldOrder(OrderSide.SELL, self._ledger.position)
        else:
            quantity = self._units_at(bar.close.as_decimal())
            if quantity <= 0:
                self.too_small_entries += 1
                logic.is_long = False
                return
            order = _HeldOrder(OrderSide.BUY, quantity)
        auction = self._setup.market.auction
        if auction is None:
            self._send(order, bar.close)
        else:
            self._held = order
            auction.before_fills = self.on_open

    def on_open(self, bar: Bar) -> None:
        """Send what was decided on the bar before."""
        if self._held is not None:
            order, self._held = self._held, None
            self._send(order, bar.open)

    def _units_at(self, close: Decimal) -> Decimal:
        with localcontext(EXACT):
            equity = self._ledger.cash + self._ledger.position * close
            return equity * self._setup.equity_fraction // (close * self._unit) * self._unit

    def _send(self, order: _HeldOrder, market_price: Price) -> None:
        buying = order.side == OrderSide.BUY
        price = self._setup.market.fill_model.slipped(market_price, buying=buying).as_decimal()
        if not buying:
            self._ledger.refuse_uncountable(order.quantity, price)
        elif not self._ledger.can_pay(order.quantity, price):
            self.unpaid_entries += 1
            self._logic.is_long = False
            return
        with localcontext(EXACT):
            quantity = Quantity.from_decimal(order.quantity.quantize(self._unit))
        self.submit_order(
            self.order_factory.market(self._setup.instrument.id, order.side, quantity),
            position_id=None if buying else self._position_id,
        )

    def on_order_filled(self, event: OrderFilled) -> None:
        """Note which position is open: the exit must name it."""
        self._position_id = event.position_id

    def on_order_denied(self, event: OrderDenied) -> None:
        """Forget a decision that came to nothing."""
        self._logic.is_long = self._ledger.position > 0

    def on_order_rejected(self, event: OrderRejected) -> None:
        """Forget a decision that came to nothing."""
        self._logic.is_long = self._ledger.position > 0
