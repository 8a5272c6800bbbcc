"""The floor of `ntrader run`: what a good engineer writes by hand, with NautilusTrader alone.

    python tuned_script.py CATALOG next-open|close [netting|hedging]

Same bars, same SMA 10/20 crossover, same sizing and same fills as
`ntrader run --strategy sma --equity-fraction 0.9`, tuned in the same way; nothing is checked, saved
or measured. With `hedging` each round trip is a position of its own: a netted one is pickled by
NautilusTrader at every entry. It prints the number of fills and the final equity as JSON, and
imports nothing of ntrader's.
"""
# ruff: noqa: T201
# mypy: allow-subclassing-any

import json
import sys
from collections import deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from nautilus_trader.backtest.config import SimulationModuleConfig
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import FillModel, LatencyModel
from nautilus_trader.backtest.modules import SimulationModule
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType, BookOrder
from nautilus_trader.model.enums import AccountType, BookType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, PositionId
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

FAST, SLOW = 10, 20
CAPITAL = Decimal(100_000)
EQUITY_FRACTION = Decimal("0.9")


class Crossover(Strategy):
    """Long while the fast average is above the slow one."""

    def __init__(self, bar_type: BarType, instrument_id: InstrumentId, *, hedging: bool) -> None:
        super().__init__(StrategyConfig(oms_type="HEDGING") if hedging else None)
        self._hedging = hedging
        self._position_id: PositionId | None = None
        self._bar_type = bar_type
        self._instrument_id = instrument_id
        self._fast: deque[float] = deque()
        self._slow: deque[float] = deque()
        self._fast_sum = self._slow_sum = 0.0
        self._was_above: bool | None = None
        self.cash = CAPITAL
        self.position = 0
        self.fills = 0

    def on_start(self) -> None:
        self.subscribe_bars(self._bar_type)

    def on_bar(self, bar: Bar) -> None:
        close = float(bar.close)
        self._fast.append(close)
        self._slow.append(close)
        self._fast_sum += close
        self._slow_sum += close
        if len(self._fast) > FAST:
            self._fast_sum -= self._fast.popleft()
        if len(self._slow) > SLOW:
            self._slow_sum -= self._slow.popleft()
        if len(self._slow) < SLOW:
            return
        above = self._fast_sum / FAST > self._slow_sum / SLOW + 1e-6
        if self._was_above is not None and above != self._was_above:
            if above:
                price = bar.close.as_decimal()
                equity = self.cash + self.position * price
                self._send(OrderSide.BUY, int(equity * EQUITY_FRACTION / price))
            elif self.position:
                self._send(OrderSide.SELL, self.position)
        self._was_above = above

    def _send(self, side: OrderSide, units: int) -> None:
        quantity = Quantity.from_int(units)
        order = self.order_factory.market(self._instrument_id, side, quantity)
        selling = side == OrderSide.SELL
        self.submit_order(order, position_id=self._position_id if selling else None)

    def on_order_filled(self, event: Any) -> None:
        units = int(event.last_qty)
        signed = units if event.order_side == OrderSide.BUY else -units
        self.position += signed
        self.cash -= signed * event.last_px.as_decimal()
        self.fills += 1
        if self._hedging:
            self._position_id = event.position_id


class WholeFill(FillModel):
    """Fills whole at one price, not a quarter of the volume and the rest a tick worse."""

    price: Price | None = None

    def get_orderbook_for_fill_simulation(
        self, instrument: Any, order: Any, best_bid: Price, best_ask: Price
    ) -> OrderBook:
        buying = order.side == OrderSide.BUY
        book = OrderBook(instrument.id, BookType.L2_MBP)
        price = self.price or (best_ask if buying else best_bid)
        side = OrderSide.SELL if buying else OrderSide.BUY
        book.add(BookOrder(side, price, order.leaves_qty, 1), 0, 0)
        return book


class NextOpen(SimulationModule):
    """Fills what was sent on the bar before at this bar's open."""

    def __init__(self, fills: WholeFill) -> None:
        super().__init__(SimulationModuleConfig())
        self._fills = fills
        self.waiting = False

    def note(self, _event: Any) -> None:
        self.waiting = True

    def pre_process(self, data: Any) -> None:
        if self.waiting:
            self.waiting = False
            self._fills.price = data.open
            self.exchange.process(data.ts_init)
            self._fills.price = None

    def process(self, ts_now: int) -> None:
        pass

    def log_diagnostics(self, logger: Any) -> None:
        pass

    def reset(self) -> None:
        pass


def read_bars(file: Path) -> tuple[list[Bar], BarType, int]:
    """Read the catalog's bars by their buffers: faster than the catalog's own reader."""
    table = pq.read_table(file)
    described = table.schema.metadata
    bar_type = BarType.from_str(described[b"bar_type"].decode())
    precision = int(described[b"price_precision"])

    def words(name: str, kind: str) -> Any:
        return np.frombuffer(table[name].combine_chunks().buffers()[1], dtype=kind)

    # A number is a 16-byte integer, scaled by 1e16.
    numbers = [
        (pairs[:, 1].astype(np.int64) * 2.0**64 + pairs[:, 0]) / 1e16
        for pairs in (
            words(name, "<u8").reshape(-1, 2) for name in ("open", "high", "low", "close", "volume")
        )
    ]
    times = [words(name, "<u8").copy() for name in ("ts_event", "ts_init")]
    bars = Bar.from_raw_arrays_to_list(bar_type, precision, 0, *numbers, *times)
    return bars, bar_type, precision


def build_engine(instrument: Equity, *, next_open: bool) -> BacktestEngine:
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    # It would concatenate a pandas series for each closed position.
    engine.portfolio.analyzer.record_trade = lambda *_: None
    fill_model = WholeFill()
    modules = []
    if next_open:
        module = NextOpen(fill_model)
        engine.kernel.msgbus.subscribe("events.order.*", module.note)
        modules.append(module)
    engine.add_venue(
        venue=instrument.id.venue,
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        starting_balances=[Money(CAPITAL, USD)],
        fill_model=fill_model,
        latency_model=LatencyModel(base_latency_nanos=1) if next_open else None,
        modules=modules,
    )
    engine.add_instrument(instrument)
    return engine


def main() -> None:
    file = next(Path(sys.argv[1]).glob("data/bar/*/*.parquet"))
    bars, bar_type, precision = read_bars(file)
    instrument = Equity(
        instrument_id=bar_type.instrument_id,
        raw_symbol=bar_type.instrument_id.symbol,
        currency=USD,
        price_precision=precision,
        price_increment=Price(10.0**-precision, precision),
        lot_size=Quantity.from_int(1),
        ts_event=0,
        ts_init=0,
    )
    engine = build_engine(instrument, next_open=sys.argv[2] == "next-open")
    hedging = sys.argv[3:] == ["hedging"]
    strategy = Crossover(bar_type, instrument.id, hedging=hedging)
    engine.add_strategy(strategy)
    engine.add_data(bars, validate=False)
    engine.run()
    equity = strategy.cash + strategy.position * bars[-1].close.as_decimal()
    print(json.dumps({"fills": strategy.fills, "final_equity": float(equity)}))
    engine.dispose()


if __name__ == "__main__":
    main()
