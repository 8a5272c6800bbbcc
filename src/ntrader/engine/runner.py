"""The runner: one backtest, from a configuration and bars to an outcome."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
from nautilus_trader.common.component import is_backtest_force_stop
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import OrderSide, OrderType

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
from ntrader.engine.ledger import Ledger, RunRefusedError
from ntrader.engine.metrics import compute_metrics
from ntrader.engine.simulation import build_market
from ntrader.engine.traders import LongFlatTrader, MarketSetup
from ntrader.errors import DamagedError, TerminatedError

if TYPE_CHECKING:
    from nautilus_trader.backtest.engine import BacktestEngine
    from nautilus_trader.trading.strategy import Strategy
    from numpy.typing import NDArray

    from ntrader.domain.snapshot import RunConfig
    from ntrader.engine.bars import Bars, BarSource
    from ntrader.engine.strategies.definition import StrategyDefinition

CHUNK_BARS = 5_000
"""Bars that the engine gets at a time; progress is told after each chunk."""

_NUMBER = re.compile(r"[0-9][0-9_.,]*")

type Progress = Callable[[int, int], None]
type Marked = Callable[[float], None]


def run(
    config: RunConfig,
    strategy: StrategyDefinition,
    bars: BarSource,
    metadata: BacktestMetadata,
    *,
    progress: Progress | None = None,
    marked: Marked | None = None,
) -> Outcome:
    """Run a backtest and return what it gave, or why it failed.

    `bars` are those of the configured period; of them all only labels and closes are kept, the rest
    is in memory a chunk at a time. `progress` is told (bars done, bars in all) after
    each chunk, and `marked` right before it the equity at that chunk's last close. Ctrl-C and
    whatever the strategy raises make a failed run; what the strategy prints goes to stderr.
    """
    started = time.perf_counter()
    simulation = _Simulation(config, strategy, bars, progress, marked)

    def failure(message: str, trace: str = "") -> BacktestFailure:
        return BacktestFailure(
            metadata=metadata,
            message=message,
            traceback=trace,
            finished_at=datetime.now(UTC),
            duration_seconds=time.perf_counter() - started,
            bars_done=simulation.bars_done,
        )

    def so_far() -> str:
        return f"after {simulation.bars_done:,} of {len(bars):,} bars"

    try:
        with (
            _forked_children_end_here(),
            _interruptible(),
            _quiet(),
            contextlib.redirect_stdout(sys.stderr),
        ):
            notices = simulation.run()
        return _result(config, simulation, metadata, notices=notices, started=started)
    except KeyboardInterrupt:
        return replace(failure(f"Interrupted {so_far()}."), interrupted=True)
    except RunRefusedError as error:
        return failure(f"Stopped {so_far()}. {error}")
    except TerminatedError:
        return replace(failure(f"Terminated {so_far()}."), interrupted=True)
    except SystemExit as error:
        return failure(
            f"The strategy called exit({error.code}) {so_far()}.", traceback.format_exc()
        )
    except Exception as error:  # whatever a strategy raises is the run's result
        return failure(_one_line(error), traceback.format_exc())


class _Simulation:
    """Drives the engine over the bars, a chunk at a time, and says how far it came."""

    def __init__(
        self,
        config: RunConfig,
        strategy: StrategyDefinition,
        bars: BarSource,
        progress: Progress | None,
        marked: Marked | None,
    ) -> None:
        self._config = config
        self._strategy = strategy
        self._bars = bars
        self._progress = progress
        self._marked = marked
        self.ledger = Ledger(config.initial_capital, config.fee)
        self.times = np.empty(len(bars), dtype=np.int64)
        self.closes = np.empty(len(bars), dtype=np.float64)
        self.bars_done = 0

    def run(self) -> list[str]:
        """Run to the end of the bars and return what the user should know."""
        config = self._config
        instrument = to_nautilus(config.instrument.to_instrument(), fee=config.fee)
        market = build_market(config, instrument, orders_are_held=self._strategy.holds_its_orders)
        engine = market.engine
        try:
            engine.kernel.msgbus.subscribe("events.order.*", self.ledger.record)
            trader = self._strategy.trader(
                config.strategy.parameters,
                MarketSetup(
                    instrument=instrument,
                    bar_type=BarType.from_str(config.bar_type),
                    ledger=self.ledger,
                    equity_fraction=config.equity_fraction,
                    market=market,
                ),
            )
            engine.add_strategy(trader)
            self._feed(engine)
            filled = len(self.ledger.fills)
            engine.end()
            return [
                *_refusal_notices(self.ledger.refusals),
                *_last_notices(len(self.ledger.fills) - filled),
                *_trader_notices(trader),
                *_open_notices(engine, trader),
            ]
        finally:
            self.bars_done = engine.iteration
            # Without it every run leaks what it loaded.
            engine.dispose()

    def _feed(self, engine: BacktestEngine) -> None:
        instrument = self._config.instrument.to_instrument()
        timeframe = Timeframe.parse(self._config.timeframe)
        total, done = len(self._bars), 0
        for chunk in _readable(self._bars.chunks(CHUNK_BARS)):
            first, done = done, done + len(chunk)
            self.times[first:done] = chunk.times
            self.closes[first:done] = chunk.closes()
            engine.add_data(to_engine_bars(chunk, instrument, timeframe), validate=False)
            engine.run(streaming=True)
            engine.clear_data()
            if is_backtest_force_stop() or engine.iteration != done:
                raise RunRefusedError("The engine was shut down before the data ended.")
            if self._marked is not None:
                held = float(self.ledger.position) * float(self.closes[done - 1])
                self._marked(float(self.ledger.cash) + held)
            if self._progress is not None:
                self._progress(done, total)


def _readable(chunks: Iterator[Bars]) -> Iterator[Bars]:
    """Yield the chunks; data that turn out to be damaged on the way end the run."""
    try:
        yield from chunks
    except DamagedError as error:
        raise RunRefusedError(error.with_hint) from error


def _fills_of(ledger: Ledger, times: NDArray[np.int64], config: RunConfig) -> tuple[Fill, ...]:
    """Return the fills, each at the label of the bar on which it happened."""
    instants = np.array([fill.ts_event for fill in ledger.fills], dtype=np.int64)
    # A bar closes one timeframe after its label.
    labels = instants - Timeframe.parse(config.timeframe).nanoseconds
    indices = np.minimum(np.searchsorted(times, labels), len(times) - 1)
    at_close = config.fill is FillMode.CLOSE
    return tuple(
        Fill(
            time=instant(label),
            side=Side.BUY if fill.order_side == OrderSide.BUY else Side.SELL,
            quantity=fill.last_qty.as_decimal(),
            price=fill.last_px.as_decimal(),
            fee=ledger.fee_of(fill),
            at_close=at_close and fill.order_type == OrderType.MARKET,
        )
        for fill, label in zip(ledger.fills, times[indices].tolist(), strict=True)
    )


def _result(
    config: RunConfig,
    simulation: _Simulation,
    metadata: BacktestMetadata,
    *,
    notices: list[str],
    started: float,
) -> EnhancedBacktestResult:
    times = simulation.times
    fills = _fills_of(simulation.ledger, times, config)
    equity = equity_curve(times, simulation.closes, fills, config.initial_capital)
    trades = round_trips(fills)
    metrics = compute_metrics(
        equity,
        trades,
        fees_paid(fills),
        position_series(times, fills),
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
        warnings=tuple(notices),
        result_digest=result_digest_of(fills, trades, equity),
        finished_at=datetime.now(UTC),
        duration_seconds=time.perf_counter() - started,
    )


def _refusal_notices(refusals: list[str]) -> list[str]:
    """Return a line for each kind of reason: reasons that differ in their numbers are of a kind."""
    kinds = [_NUMBER.sub("0", reason) for reason in refusals]
    first = dict(zip(reversed(kinds), reversed(refusals), strict=True))
    return [
        f"{_orders(count)} refused by the simulated exchange: {first[kind]}"
        + (" (the first of them)" if count > 1 else "")
        for kind, count in Counter(kinds).items()
    ]


def _trader_notices(trader: Strategy) -> list[str]:
    if not isinstance(trader, LongFlatTrader):
        return []
    reasons = (
        (trader.too_small_entries, "the equity does not pay for one unit"),
        (
            trader.unpaid_entries,
            "at the price of the fill they cost more than the cash; a lower equity fraction leaves "
            "room for gaps and fees",
        ),
    )
    return [f"{_entries(count)} came to nothing: {reason}." for count, reason in reasons if count]


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def _last_notices(fills: int) -> list[str]:
    if not fills:
        return []
    return [f"{_orders(fills)} filled at the last close, sent when the strategy was stopped."]


def _open_notices(engine: BacktestEngine, trader: Strategy) -> list[str]:
    # An order whose cancellation is in flight is both.
    count = len(engine.cache.client_order_ids_open() | engine.cache.client_order_ids_inflight())
    if isinstance(trader, LongFlatTrader) and trader.holds_an_order:
        count += 1
    return [f"{_orders(count)} still open when the data ended."] if count else []


def _orders(count: int) -> str:
    return "1 order was" if count == 1 else f"{count} orders were"


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


@contextlib.contextmanager
def _forked_children_end_here() -> Iterator[None]:
    """End a child that a strategy forks and that comes out of it: the run is its parent's.

    It shares the parent's connections, and would go on to save the run over them.
    """
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(1)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals raise at once: an event loop would only note them until the engine is done."""
    replaced: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in _RAISING}
        # One that is ignored stays so, as in the background of a shell script and under nohup.
        replaced = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in replaced:
            signal.signal(number, _RAISING[number])
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise TerminatedError(number)


_RAISING: dict[int, Callable[[int, FrameType | None], Any]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: _terminate,
    **({signal.SIGHUP: _terminate} if sys.platform != "win32" else {}),
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the deprecations that NautilusTrader meets in pandas from the user's terminal."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Timestamp.utcnow.*")
        yield
