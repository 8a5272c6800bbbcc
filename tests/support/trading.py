"""Markets made in memory, and backtests on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from ntrader.domain.datasets import Instrument, InstrumentKind
from ntrader.domain.identity import sha256_text
from ntrader.domain.results import BacktestFailure, EnhancedBacktestResult, Outcome
from ntrader.domain.snapshot import RunConfig
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bars import Bars, instant
from ntrader.engine.instruments import bar_type_text
from ntrader.engine.runner import run
from ntrader.engine.strategies import LongFlatStrategy, StrategyParameters
from ntrader.engine.strategies.definition import DeclaredStrategy, Source, StrategyDefinition
from support.outcomes import make_instrument, make_metadata

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
SOURCE = Source(path="test:Strategy", sha256=sha256_text("test"), is_file=False)


class Scripted(LongFlatStrategy[StrategyParameters]):
    """Enters and exits on given bars, counted from 0."""

    enter_on: frozenset[int] = frozenset()
    exit_on: frozenset[int] = frozenset()

    def prepare(self) -> None:
        self.bar = -1

    def on_bar(self, bar: Any) -> None:
        self.bar += 1
        if self.bar in self.enter_on:
            self.enter()
        if self.bar in self.exit_on:
            self.exit()


def scripted(enter: Sequence[int], exit_: Sequence[int] = ()) -> StrategyDefinition:
    """Return a strategy that enters and exits on given bars."""
    cls = type("Scripted", (Scripted,), {"enter_on": frozenset(enter), "exit_on": frozenset(exit_)})
    return declared(cls)


def declared(cls: type[LongFlatStrategy[Any]]) -> StrategyDefinition:
    """Return the definition of a class that a test has made."""
    return DeclaredStrategy(cls, SOURCE)


def deciding(decide: Callable[[Any, Any], None]) -> StrategyDefinition:
    """Return a strategy whose `on_bar(strategy, bar)` is given."""
    cls = type("Deciding", (LongFlatStrategy,), {"on_bar": decide})
    return declared(cls)


def forex(symbol: str = "EUR/USD", **changes: Any) -> Instrument:
    values: dict[str, Any] = {
        "symbol": symbol,
        "venue": "SIM",
        "kind": InstrumentKind.FX,
        "base_currency": symbol[:3],
        "currency": symbol[-3:],
        "price_precision": 5,
        "size_precision": 2,
    }
    return make_instrument(**{**values, **changes})


def crypto(base: str = "BTC", quote: str = "USDT", **changes: Any) -> Instrument:
    values: dict[str, Any] = {
        "symbol": f"{base}{quote}",
        "venue": "BINANCE",
        "kind": InstrumentKind.CRYPTO,
        "base_currency": base,
        "currency": quote,
        "price_precision": 2,
        "size_precision": 8,
    }
    return make_instrument(**{**values, **changes})


def make_bars(
    closes: Sequence[Any],
    *,
    opens: Sequence[Any] | None = None,
    volumes: Sequence[Any] | None = None,
    times: Sequence[datetime] | None = None,
    timeframe: str = "1d",
    instrument: Instrument | None = None,
) -> Bars:
    """Return bars with given closes; an open is the close before it unless it is given."""
    instrument = instrument or make_instrument()
    opens = [closes[0], *closes[:-1]] if opens is None else opens
    volumes = [1000] * len(closes) if volumes is None else volumes
    open_, close = (_scaled(prices, instrument.price_precision) for prices in (opens, closes))
    step = Timeframe.parse(timeframe).nanoseconds
    if times is None:
        labels = int(MONDAY.timestamp()) * 10**9 + step * np.arange(len(closes), dtype=np.int64)
    else:
        labels = np.array([int(time.timestamp()) * 10**9 for time in times], dtype=np.int64)
    return Bars(
        times=labels,
        open=open_,
        high=np.maximum(open_, close),
        low=np.minimum(open_, close),
        close=close,
        volume=_scaled(volumes, instrument.size_precision),
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
    )


def _scaled(values: Sequence[Any], precision: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(
        [int(Decimal(str(value)).scaleb(precision)) for value in values], dtype=np.int64
    )


def make_config(
    bars: Bars,
    strategy: StrategyDefinition,
    *,
    instrument: Instrument | None = None,
    timeframe: str = "1d",
    parameters: dict[str, Any] | None = None,
    **changes: Any,
) -> RunConfig:
    """Return the configuration of a run that costs nothing, fills at the close and goes all in."""
    instrument = instrument or make_instrument()
    values: dict[str, Any] = {
        "strategy": {
            "name": strategy.spec.name,
            "version": strategy.spec.version,
            "type": strategy.spec.type,
            "source_hash": strategy.spec.source_hash,
            "parameters": strategy.check(parameters or {}),
        },
        "instrument": instrument.to_dict(),
        "bar_type": bar_type_text(instrument, Timeframe.parse(timeframe)),
        "timeframe": timeframe,
        "start": instant(bars.times[0]),
        "end": instant(bars.close_times(Timeframe.parse(timeframe))[-1]),
        "initial_capital": Decimal(100_000),
        "equity_fraction": Decimal(1),
        "fee": Decimal(0),
        "fill": "close",
        "slippage": Decimal(0),
        "seed": 1,
        "dataset_hash": sha256_text("bars"),
    }
    return RunConfig.model_validate({**values, **changes})


def backtest(
    strategy: StrategyDefinition,
    bars: Bars,
    *,
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> Outcome:
    """Run a backtest; `changes` are those of `make_config`."""
    config = make_config(bars, strategy, **changes)
    return run(config, strategy, bars, make_metadata(), progress=progress)


def succeed(strategy: StrategyDefinition, bars: Bars, **changes: Any) -> EnhancedBacktestResult:
    """Run a backtest that must run to its end."""
    outcome = backtest(strategy, bars, **changes)
    assert isinstance(outcome, EnhancedBacktestResult), outcome
    return outcome


def fail(strategy: StrategyDefinition, bars: Bars, **changes: Any) -> BacktestFailure:
    """Run a backtest that must fail."""
    outcome = backtest(strategy, bars, **changes)
    assert isinstance(outcome, BacktestFailure), outcome
    return outcome
