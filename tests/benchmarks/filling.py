"""A store full of realistic runs, saved by the product's own bulk path."""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import batched
from typing import Any
from uuid import UUID

from ntrader.domain.annotations import Annotations
from ntrader.domain.results import Outcome
from ntrader.storage.saving import NewRun
from ntrader.storage.store import Store
from support.outcomes import make_dataset, make_failure, make_result, make_spec

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
LAST = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 5_000
TAGGED = 0.01
"""The share of runs that have a tag."""

STRATEGIES = {
    "sma": 40,
    "rsi": 25,
    "momentum": 15,
    **{f"own_{number}": 10 / (number + 1) for number in range(15)},
    "rare": 0.02,
}
SYMBOLS = [f"SYM{number:03d}" for number in range(100)]
TIMEFRAMES = {"1d": 60, "1h": 25, "5m": 10, "1m": 5}
ENVIRONMENT = {
    "host": "workstation",
    "engine": {"name": "nautilus_trader", "version": "1.231.0"},
    "python": "3.13.0",
    "ntrader": "0.1.0",
    "platform": "Linux-6.12.1-x86_64-with-glibc2.41",
    "libraries": {
        "numpy": "2.5.5",
        "pandas": "3.1.1",
        "msgspec": "0.22.0",
        "pyarrow": "26.0.1",
        "pydantic": "2.14.3",
    },
}


@dataclass(frozen=True, slots=True)
class Foundations:
    """What all runs rest on."""

    datasets: Mapping[str, UUID]
    strategies: Mapping[str, UUID]


async def lay_foundations(store: Store) -> Foundations:
    """Save the datasets and strategies."""
    datasets = {symbol: (await store.datasets.add(make_dataset(symbol))).id for symbol in SYMBOLS}
    strategies = {name: (await store.strategies.ensure(make_spec(name))).id for name in STRATEGIES}
    return Foundations(datasets, strategies)


def realistic_runs(foundations: Foundations, count: int, *, seed: int = 1) -> Iterator[NewRun]:
    """Give runs over two years: few strategies have most, a twentieth failed, some are tagged."""
    chance = random.Random(seed)
    step = (LAST - FIRST) / count
    names, weights = list(STRATEGIES), list(STRATEGIES.values())
    # The popular symbols have most runs.
    symbol_weights = [1 / (rank + 1) for rank in range(len(SYMBOLS))]
    for number in range(count):
        (strategy,) = chance.choices(names, weights)
        (symbol,) = chance.choices(SYMBOLS, symbol_weights)
        (timeframe,) = chance.choices(list(TIMEFRAMES), list(TIMEFRAMES.values()))
        outcome = _outcome(
            chance,
            strategy=strategy,
            symbol=symbol,
            timeframe=timeframe,
            started_at=FIRST + number * step,
            parameters={
                "fast_period": chance.randrange(5, 55),
                "slow_period": chance.randrange(60, 200),
                "threshold": round(chance.random(), 3),
            },
            environment=ENVIRONMENT,
        )
        yield NewRun(
            outcome=outcome,
            dataset_id=foundations.datasets[symbol],
            strategy_id=foundations.strategies[strategy],
            data_source=f"{symbol}.csv",
            annotations=Annotations(tags=("keep",)) if chance.random() < TAGGED else Annotations(),
        )


def _outcome(chance: random.Random, **about: Any) -> Outcome:
    about["run_id"] = UUID(int=chance.getrandbits(128), version=4)
    if chance.random() < 0.05:
        return make_failure(**about)
    sharpe = round(chance.gauss(0.4, 0.9), 8)
    gained = round(max(-0.95, chance.gauss(sharpe / 8, 0.15)), 8)
    fallen = round(min(0.95, abs(chance.gauss(0.15, 0.08)) + 0.01), 8)
    winning, losing = chance.randrange(200), chance.randrange(200)
    total = winning + losing
    return make_result(
        **about,
        total_return=gained,
        final_balance=Decimal(f"{100_000 * (1 + gained):.4f}"),
        cagr=round(gained * 0.9, 8),
        sharpe_ratio=None if chance.random() < 0.02 else sharpe,
        sortino_ratio=round(sharpe * 1.4, 8),
        max_drawdown=-fallen,
        max_drawdown_at=datetime(2012, 1, 4, tzinfo=UTC) + timedelta(days=chance.randrange(300)),
        calmar_ratio=round(gained / fallen, 8),
        volatility=round(abs(chance.gauss(0.2, 0.05)), 8),
        total_trades=total,
        winning_trades=winning,
        losing_trades=losing,
        break_even_trades=0,
        win_rate=round(winning / total, 8) if total else None,
        profit_factor=round(abs(chance.gauss(1.2, 0.4)), 8),
        expectancy=Decimal(f"{chance.gauss(50, 200):.4f}"),
        avg_win=Decimal(f"{abs(chance.gauss(500, 100)):.4f}"),
        avg_loss=Decimal(f"{-abs(chance.gauss(400, 100)):.4f}"),
        total_fees=Decimal(f"{total * 1.25:.4f}"),
        exposure=round(chance.random(), 8),
    )


@dataclass(frozen=True, slots=True)
class Filling:
    """How a store was filled; making the runs up is not counted."""

    runs: int
    seconds: float

    @property
    def runs_per_second(self) -> float:
        """The speed of the bulk path."""
        return self.runs / self.seconds


async def fill(store: Store, count: int, *, seed: int = 1) -> Filling:
    """Save `count` runs."""
    foundations = await lay_foundations(store)
    seconds = 0.0
    for batch in batched(realistic_runs(foundations, count, seed=seed), BATCH):
        started = time.perf_counter()
        await store.runs.add_many(batch)
        seconds += time.perf_counter() - started
    return Filling(count, seconds)
