"""The runner: one backtest, from a configuration and bars to an outcome."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from nautilus_trader.accounting.error import AccountError
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import OrderSide, OrderType
from nautilus_trader.model.events import OrderDenied, OrderFilled, OrderRejected

from ntrader.domain.results import (
    BacktestFailure,
    BacktestMetadata,
    EnhancedBacktestResult,
    Fill,
    Outcome,
    Side,
)
from ntrader.domain.snapshot import FillMode
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.accounting import (
    equity_curve,
    fees_paid,
    position_series,
    result_digest_of,
    round_trips,
)
from ntrader.engine.bars import instant
from ntrader.engine.catalog import to_engine_bars
from ntrader.engine.instruments import to_nautilus
from ntrader.engine.metrics import compute_metrics
from ntrader.engine.simulation import build_engine
from ntrader.engine.traders import LongFlatTrader, MarketSetup, exact_fee

if TYPE_CHECKING:
    from nautilus_trader.backtest.engine import BacktestEngine
    from nautilus_trader.model.events import OrderEvent
    from nautilus_trader.trading.strategy import Strategy

    from ntrader.domain.snapshot import RunConfig
    from ntrader.engine.bars import Bars
    from ntrader.engine.strategies.definition import StrategyDefinition

CHUNK_BARS = 5_000
"""Bars that the engine gets at a time; progress is told after each chunk."""

type Progress = Callable[[int, int], None]


@dataclass(slots=True)
class _Tape:
    """What the engine said while it ran: fills and refusals, in the order of their execution."""

    fills: list[OrderFilled] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def record(self, event: OrderEvent) -> None:
        """Take an event; the engine publishes some of them twice."""
        if isinstance(event, OrderFilled):
            if event.id.value not in self._seen:
                self._seen.add(event.id.value)
                self.fills.append(event)
        elif isinstance(event, OrderDenied | OrderRejected):
            self.refusals.append(event.reason)


class StrategyRefusedError(Exception):
    """The strategy did what ntrader does not run yet."""


def run(
    config: RunConfig,
    strategy: StrategyDefinition,
    bars: Bars,
    metadata: BacktestMetadata,
    *,
    progress: Progress | None = None,
) -> Outcome:
    """Run a backtest and return what it gave, or why it failed.

    `bars` are those of the configured period. `progress` is told (bars done, bars in all) after
    each chunk. Ctrl-C and whatever the strategy raises make a failed run; what the strategy prints
    goes to stderr.
    """
    started = time.perf_counter()
    tape = _Tape()
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done = count
        if progress is not None:
            progress(count, len(bars))

    def failure(message: str, trace: str) -> BacktestFailure:
        return BacktestFailure(
            metadata=metadata,
            message=message,
            traceback=trace,
            finished_at=datetime.now(UTC),
            duration_seconds=time.perf_counter() - started,
            bars_done=done,
        )

    try:
        with _interruptible(), _quiet(), contextlib.redirect_stdout(sys.stderr):
            notices = _simulate(config, strategy, bars, tape, tell)
        fills = _fills_of(tape, bars, config)
        return _result(
            config,
            bars,
            fills,
            metadata,
            notices=(*_refusal_notices(tape.refusals), *notices),
            started=started,
        )
    except KeyboardInterrupt:
        return failure(f"Interrupted after {done:,} of {len(bars):,} bars.", "")
    except AccountError as error:
        return failure(
            f"The account was overspent after {done:,} of {len(bars):,} bars: {error}. "
            "A lower equity fraction leaves room for gaps and fees.",
            traceback.format_exc(),
        )
    except StrategyRefusedError as error:
        return failure(str(error), "")
    except Exception as error:  # whatever a strategy raises is the run's result
        return failure(_one_line(error), traceback.format_exc())


def _simulate(
    config: RunConfig,
    strategy: StrategyDefinition,
    bars: Bars,
    tape: _Tape,
    tell: Callable[[int], None],
) -> list[str]:
    """Drive the engine over the bars in chunks and return what the user should know."""
    timeframe = Timeframe.parse(config.timeframe)
    domain_instrument = config.instrument.to_instrument()
    instrument = to_nautilus(domain_instrument, fee=config.fee)
    engine = build_engine(config, instrument)
    try:
        engine.kernel.msgbus.subscribe("events.order.*", tape.record)
        trader = strategy.trader(
            config.strategy.parameters,
            MarketSetup(
                instrument=instrument,
                bar_type=BarType.from_str(config.bar_type),
                initial_capital=config.initial_capital,
                equity_fraction=config.equity_fraction,
                fee=config.fee,
            ),
        )
        engine.add_strategy(trader)
        for first in range(0, len(bars), CHUNK_BARS):
            chunk = bars.slice(first, first + CHUNK_BARS)
            engine.add_data(to_engine_bars(chunk, domain_instrument, timeframe), validate=False)
            engine.run(streaming=True)
            engine.clear_data()
            tell(first + len(chunk))
        engine.end()
        return _notices(engine, trader)
    finally:
        # Without it every run leaks what it loaded.
        engine.dispose()


def _fills_of(tape: _Tape, bars: Bars, config: RunConfig) -> tuple[Fill, ...]:
    """Return the fills, each at the label of the bar on which it happened."""
    close_times = bars.close_times(Timeframe.parse(config.timeframe))
    at_close = config.fill is FillMode.CLOSE
    position = Decimal(0)
    fills = []
    for event in tape.fills:
        index = int(np.searchsorted(close_times, event.ts_event))
        side = Side.BUY if event.order_side == OrderSide.BUY else Side.SELL
        quantity = event.last_qty.as_decimal()
        position += quantity if side is Side.BUY else -quantity
        time_ = instant(bars.times[min(index, len(bars) - 1)])
        if position < 0:
            raise StrategyRefusedError(
                f"The strategy sold short on {time_:%Y-%m-%d %H:%M}: ntrader runs cash accounts, "
                "long or flat."
            )
        fills.append(
            Fill(
                time=time_,
                side=side,
                quantity=quantity,
                price=event.last_px.as_decimal(),
                fee=exact_fee(event, config.fee),
                at_close=at_close and event.order_type == OrderType.MARKET,
            )
        )
    return tuple(fills)


def _result(
    config: RunConfig,
    bars: Bars,
    fills: tuple[Fill, ...],
    metadata: BacktestMetadata,
    *,
    notices: tuple[str, ...],
    started: float,
) -> EnhancedBacktestResult:
    equity = equity_curve(bars.times, bars.closes(), fills, config.initial_capital)
    trades = round_trips(fills)
    metrics = compute_metrics(
        equity,
        trades,
        fees_paid(fills),
        position_series(bars.times, fills),
        config.initial_capital,
        start=config.start,
        end=config.end,
        trading_days=config.instrument.kind.trading_days,
        timeframe=Timeframe.parse(config.timeframe),
    )
    return EnhancedBacktestResult(
        metadata=metadata,
        metrics=metrics,
        equity=equity,
        fills=fills,
        trades=trades,
        warnings=notices,
        result_digest=result_digest_of(fills, trades, equity),
        finished_at=datetime.now(UTC),
        duration_seconds=time.perf_counter() - started,
    )


def _refusal_notices(refusals: list[str]) -> list[str]:
    counted = Counter(refusals)
    return [
        f"{_orders(count)} refused by the simulated exchange: {reason}"
        for reason, count in counted.items()
    ]


def _notices(engine: BacktestEngine, trader: Strategy) -> list[str]:
    found = []
    if isinstance(trader, LongFlatTrader) and trader.too_small_entries:
        found.append(
            f"{trader.too_small_entries} entries came to nothing: "
            "the equity does not pay for one unit."
        )
    unfilled = engine.cache.orders_open_count() + engine.cache.orders_inflight_count()
    if unfilled:
        found.append(f"{_orders(unfilled)} still open when the data ended.")
    return found


def _orders(count: int) -> str:
    return "1 order was" if count == 1 else f"{count} orders were"


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise at once: an event loop would only note it until the engine is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the deprecations that NautilusTrader meets in pandas from the user's terminal."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Timestamp.utcnow.*")
        yield
