"""The simulated market: a NautilusTrader engine, tuned, whose fills are exact.

NautilusTrader fills a market order from a bar with at most a quarter of its volume and the rest a
tick worse, and has no fill at the next open. Here a fill model names the price itself: the close of
the bar of the decision, or, with one nanosecond of latency and a hook that runs before each bar is
processed, the open of the bar after it. Orders of other types keep the engine's own simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.backtest.config import SimulationModuleConfig
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import FillModel, LatencyModel
from nautilus_trader.backtest.modules import SimulationModule
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import BookOrder
from nautilus_trader.model.enums import AccountType, BookType, OmsType, OrderSide, OrderType
from nautilus_trader.model.identifiers import TraderId, Venue
from nautilus_trader.model.objects import MONEY_MAX, Money, Price

from ntrader.domain.snapshot import FillMode, RunConfig
from ntrader.engine.ledger import RunRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_trader.common.component import Logger
    from nautilus_trader.core.data import Data
    from nautilus_trader.model.data import Bar
    from nautilus_trader.model.events import OrderEvent
    from nautilus_trader.model.instruments import Instrument
    from nautilus_trader.model.orders import Order


class BarFillModel(FillModel):
    """Fills a market order whole, at one price: the market's, or that of the `opening` in progress.

    `slippage` is the fraction of the price that each order loses, rounded to the tick against it.
    """

    def __init__(self, slippage: Decimal, seed: int) -> None:
        # Without a seed the model would reseed Python's global generator from the clock.
        super().__init__(random_seed=seed)
        self._slippage = slippage
        self.opening: Price | None = None

    def get_orderbook_for_fill_simulation(
        self, instrument: Instrument, order: Order, best_bid: Price, best_ask: Price
    ) -> OrderBook | None:
        """Return a book with exactly the order's size at the price.

        None leaves the order to the engine: any but a market order, unless it arrives at the open,
        where the price is not yet that of the engine's market.
        """
        if self.opening is None and order.order_type != OrderType.MARKET:
            return None
        buying = order.side == OrderSide.BUY
        price = self.opening or (best_ask if buying else best_bid)
        if order.order_type == OrderType.MARKET:
            price = self.slipped(price, buying=buying)
        book = OrderBook(instrument.id, BookType.L2_MBP)
        side = OrderSide.SELL if buying else OrderSide.BUY
        book.add(BookOrder(side, price, order.leaves_qty, 1), 0, 0)
        return book

    def slipped(self, price: Price, *, buying: bool) -> Price:
        """Return what a market order gets where the market is at `price`."""
        if not self._slippage:
            return price
        factor = 1 + self._slippage if buying else 1 - self._slippage
        tick = Decimal(1).scaleb(-price.precision)
        exact = price.as_decimal() * factor
        rounding = ROUND_CEILING if buying else ROUND_FLOOR
        return Price.from_decimal(max(exact.quantize(tick, rounding=rounding), tick))


class OpeningAuction(SimulationModule):
    """Fills the orders that were decided on the bar before, at this bar's open.

    Attributes:
        before_fills: Called once with the next bar, for a trader that holds an order back until
            then; it sets this anew for each order, so that a bar without one costs nothing.
    """

    def __init__(self, fill_model: BarFillModel) -> None:
        super().__init__(SimulationModuleConfig())
        self.before_fills: Callable[[Bar], None] | None = None
        self._fill_model = fill_model
        self._waiting = False

    def on_order_event(self, event: OrderEvent) -> None:
        """Note that an order has moved, so that there may be one to fill at the next open."""
        self._waiting = True

    def pre_process(self, data: Data) -> None:
        """Release the orders in flight before the engine sees the bar."""
        if self.before_fills is not None:
            send, self.before_fills = self.before_fills, None
            send(data)
        if self._waiting:
            self._fill_model.opening = data.open
            self.exchange.process(data.ts_init)
            self._fill_model.opening = None
            # What was sent at this very instant, by `on_start`, is for the next bar.
            self._waiting = self.cache.orders_inflight_count() > 0

    def process(self, ts_now: int) -> None:
        """Do nothing after the bar."""

    def log_diagnostics(self, logger: Logger) -> None:
        """Log nothing."""

    def reset(self) -> None:
        """Keep nothing between runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Market:
    """The simulated market of a run; `auction` is None where orders fill at the close."""

    engine: BacktestEngine
    fill_model: BarFillModel
    auction: OpeningAuction | None


def build_market(config: RunConfig, instrument: Instrument, *, orders_are_held: bool) -> Market:
    """Return a market with the run's venue, account, costs and instrument, and no data yet.

    `orders_are_held` says that the trader itself keeps its orders back until the next open; else a
    nanosecond of latency does. The global generators of `random` and `numpy.random` start from the
    run's seed.

    Raises:
        RunRefusedError: there is more capital than the engine can count.
    """
    if config.initial_capital > MONEY_MAX:
        raise RunRefusedError(
            f"{config.initial_capital:,} {config.instrument.currency} is more than the engine can "
            f"hold, {int(MONEY_MAX):,}."
        )
    engine = BacktestEngine(
        BacktestEngineConfig(
            trader_id=TraderId("NTRADER-001"),
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    # The analyzer appends to a pandas series for each closed position, quadratic in their number.
    setattr(engine.portfolio.analyzer, "record_trade", _ignore)  # noqa: B010
    fill_model = BarFillModel(config.slippage, config.seed)
    np.random.seed(config.seed)
    auction: OpeningAuction | None = None
    latency: LatencyModel | None = None
    if config.fill is FillMode.NEXT_OPEN:
        auction = OpeningAuction(fill_model)
        engine.kernel.msgbus.subscribe("events.order.*", auction.on_order_event)
        latency = None if orders_are_held else LatencyModel(base_latency_nanos=1)
    # Registered for the whole process; a second run at the venue would be refused.
    AccountFactory.deregister_cash_borrowing(config.instrument.venue)
    engine.add_venue(
        venue=Venue(config.instrument.venue),
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        starting_balances=[Money(config.initial_capital, instrument.quote_currency)],
        base_currency=None,
        # The ledger refuses what is not paid for, exactly; see there.
        allow_cash_borrowing=True,
        fill_model=fill_model,
        latency_model=latency,
        modules=[] if auction is None else [auction],
    )
    engine.add_instrument(instrument)
    return Market(engine=engine, fill_model=fill_model, auction=auction)


def _ignore(*_args: Any, **_kwargs: Any) -> None:
    """Take the place of a recorder that is not wanted."""
