"""Saving runs for tests."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import text

from ntrader.domain.results import Outcome
from ntrader.storage.database import Database
from ntrader.storage.datasets import DatasetRepository
from ntrader.storage.runs import RunRepository
from ntrader.storage.saving import NewRun
from ntrader.storage.store import Store
from ntrader.storage.strategies import StrategyRepository
from support.outcomes import make_dataset, make_failure, make_result, make_spec

type SaveRun = Callable[..., UUID]


class Saver:
    """Saves outcomes; datasets and strategies are made once."""

    def __init__(self, database: Database) -> None:
        self._runs = RunRepository(database)
        self._datasets = DatasetRepository(database)
        self._strategies = StrategyRepository(database)
        self._known: dict[str, UUID] = {}

    async def save(self, outcome: Outcome, **details: Any) -> UUID:
        config = outcome.metadata.snapshot.config
        symbol, strategy = config.instrument.symbol, config.strategy.name
        if symbol not in self._known:
            self._known[symbol] = (await self._datasets.add(make_dataset(symbol))).id
        if strategy not in self._known:
            self._known[strategy] = (await self._strategies.ensure(make_spec(strategy))).id
        await self._runs.add(
            outcome,
            **{
                "dataset_id": self._known[symbol],
                "strategy_id": self._known[strategy],
                "data_source": f"{symbol}.csv",
                **details,
            },
        )
        return outcome.metadata.run_id

    async def save_new(self, *, failed: bool = False, **changes: Any) -> UUID:
        details = {name: changes.pop(name) for name in _DETAILS & changes.keys()}
        outcome = make_failure(**changes) if failed else make_result(**changes)
        return await self.save(outcome, **details)


_DETAILS = {"artifacts", "events", "reproduced_from", "data_source", "annotations"}


async def save_many(store: Store, outcomes: Iterable[Outcome]) -> None:
    """Save outcomes by the bulk path, all of one dataset, and let the planner look at them."""
    about: dict[str, Any] = {
        "dataset_id": (await store.datasets.add(make_dataset("IBM"))).id,
        "strategy_id": (await store.strategies.ensure(make_spec("sma"))).id,
        "data_source": "x",
    }
    await store.runs.add_many([NewRun(outcome=outcome, **about) for outcome in outcomes])
    await store.database.run(lambda transaction: transaction.execute(text("ANALYZE")))
