"""What saving a run promises: all of it, once, as it was, and nothing lost."""

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, cast
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from ntrader.domain.events import Event, EventType
from ntrader.domain.queries import RunFilter, RunOrder
from ntrader.domain.results import METRICS, Outcome, PerformanceMetrics
from ntrader.domain.runs import RunMode, RunStatus
from ntrader.domain.snapshot import ConfigSnapshot
from ntrader.errors import ConflictError, DatabaseError
from ntrader.storage.store import Store
from ntrader.storage.tables import SCHEMA, TABLES
from support.outcomes import (
    NOW,
    make_artifact,
    make_dataset,
    make_events,
    make_failure,
    make_metrics,
    make_result,
    make_spec,
)

RATIOS = (
    "total_return",
    "cagr",
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "volatility",
    "profit_factor",
    "exposure",
)


@pytest.fixture
async def used(store: Store) -> dict[str, Any]:
    """Return what runs refer to."""
    dataset = await store.datasets.add(make_dataset())
    strategy = await store.strategies.ensure(make_spec())
    return {"dataset_id": dataset.id, "strategy_id": strategy.id, "data_source": "IBM.csv"}


async def metrics_of(store: Store, outcome: Outcome) -> PerformanceMetrics:
    metrics = (await store.runs.get(outcome.metadata.run_id)).metrics
    assert metrics is not None
    return metrics


# The database takes objects only.
NOT_STORABLE: Any = [Event(type=EventType.WARNING, timestamp=NOW, payload=cast("Any", []))]


async def contents(store: Store) -> dict[str, Any]:
    """Return every row of every table."""
    return {
        name: await store.database.fetch(select(SCHEMA.tables[name]).order_by(text("1")))
        for name in sorted(TABLES)
    }


async def test_a_result_comes_back_as_it_was_saved(store: Store, used: dict[str, Any]) -> None:
    outcome = make_result()
    assert await store.runs.add(outcome, **used)

    run = await store.runs.get(outcome.metadata.run_id)

    config = outcome.metadata.snapshot.config
    assert run.metrics == outcome.metrics
    assert ConfigSnapshot.model_validate(run.snapshot) == outcome.metadata.snapshot
    assert run.metadata["environment"] == outcome.metadata.environment
    assert (run.mode, run.status, run.error) == (RunMode.BACKTEST, RunStatus.SUCCESS, None)
    assert (run.strategy_name, run.strategy_type) == ("sma", "trend_following")
    assert (run.symbol, run.timeframe, run.data_source) == ("IBM", "1d", "IBM.csv")
    assert (run.start, run.end, run.created_at) == (config.start, config.end, NOW)
    assert run.initial_capital == config.initial_capital
    assert run.duration_seconds == outcome.duration_seconds
    assert run.fingerprint == outcome.metadata.fingerprint
    assert run.result_digest == outcome.result_digest
    assert run.dataset is not None
    assert run.dataset.id == used["dataset_id"]
    assert run.reproduced_from is None


async def test_a_stored_snapshot_asks_the_same_question_again(
    store: Store, used: dict[str, Any]
) -> None:
    outcome = make_result(fee="0.00000001", initial_capital="99999999999999.9999")
    await store.runs.add(outcome, **used)
    run = await store.runs.get(outcome.metadata.run_id)
    again = ConfigSnapshot.model_validate(run.snapshot)
    asked = again.fingerprint(engine="nautilus_trader", engine_version="1.231.0")
    assert asked == outcome.metadata.fingerprint == run.fingerprint


async def test_a_failure_comes_back_with_message_and_traceback(
    store: Store, used: dict[str, Any]
) -> None:
    outcome = make_failure(bars_done=42)
    await store.runs.add(outcome, **used)

    run = await store.runs.get(outcome.metadata.run_id)

    assert (run.status, run.metrics, run.result_digest) == (RunStatus.FAILED, None, None)
    assert run.error is not None
    assert (run.error.message, run.error.traceback) == (outcome.message, outcome.traceback)
    assert run.metadata["bars_done"] == 42


async def test_events_come_back_in_the_order_in_which_they_happened(
    store: Store, used: dict[str, Any]
) -> None:
    outcome, events = make_result(), make_events(trades=300)
    await store.runs.add(outcome, **used, events=events)
    assert await store.runs.events(outcome.metadata.run_id) == events


async def test_files_come_back_by_name(store: Store, used: dict[str, Any]) -> None:
    outcome = make_result()
    run_id = outcome.metadata.run_id
    files = [make_artifact(run_id, name) for name in ("trades.parquet", "equity.parquet")]
    await store.runs.add(outcome, **used, artifacts=files)
    assert await store.runs.artifacts(run_id) == tuple(reversed(files))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
async def test_a_metric_that_is_no_number_is_undefined(
    store: Store, used: dict[str, Any], value: Any
) -> None:
    outcome = make_result(**dict.fromkeys(RATIOS, value), undefined={"cagr": "no trades"})
    await store.runs.add(outcome, **used)

    metrics = await metrics_of(store, outcome)

    assert {name: getattr(metrics, name) for name in RATIOS} == dict.fromkeys(RATIOS)
    assert metrics.undefined == {"cagr": "no trades"}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (0.1 + 0.2, 0.3),
        (1e-8, 1e-8),
        (-4e-9, 0.0),
        (123456789.12345678, 123456789.12345678),
        (-9_999_999_999.0, -9_999_999_999.0),
        (1e-300, 0.0),
    ],
)
async def test_ratios_keep_eight_decimals(
    store: Store, used: dict[str, Any], given: Any, stored: Any
) -> None:
    outcome = make_result(**dict.fromkeys(RATIOS, given))
    await store.runs.add(outcome, **used)
    metrics = await metrics_of(store, outcome)
    assert {getattr(metrics, name) for name in RATIOS} == {stored}


async def test_money_keeps_four_decimals(store: Store, used: dict[str, Any]) -> None:
    outcome = make_result(
        final_balance=Decimal("99999999999999.9999"), total_fees=Decimal("0.00005000001")
    )
    await store.runs.add(outcome, **used)
    metrics = await metrics_of(store, outcome)
    assert metrics.final_balance == Decimal("99999999999999.9999")
    assert metrics.total_fees == Decimal("0.0001")


async def test_every_metric_has_a_column() -> None:
    columns = SCHEMA.tables["performance_metrics"].columns.keys()
    own = {"id", "backtest_run_id", "strategy_name", "instrument_symbol", "created_at"}
    assert set(columns) - own == set(METRICS)


async def test_saving_again_changes_nothing(store: Store, used: dict[str, Any]) -> None:
    outcome = make_result()
    run_id = outcome.metadata.run_id
    extras: dict[str, Any] = {"artifacts": [make_artifact(run_id)], "events": make_events()}
    assert await store.runs.add(outcome, **used, **extras)
    before = await contents(store)

    changed = replace(outcome, metrics=make_metrics(sharpe_ratio=9.0))
    assert not await store.runs.add(changed, **used, **extras)
    failure = replace(make_failure(), metadata=outcome.metadata)
    assert not await store.runs.add(failure, **used)

    assert await contents(store) == before


async def test_of_eight_who_save_the_same_run_one_does(store: Store, used: dict[str, Any]) -> None:
    outcome, events = make_result(), make_events()
    answers = await asyncio.gather(
        *(store.runs.add(outcome, **used, events=events) for _ in range(8))
    )
    assert sorted(answers) == [False] * 7 + [True]
    assert len(await store.runs.events(outcome.metadata.run_id)) == len(events)


async def test_eight_different_runs_at_once_are_all_saved(
    store: Store, used: dict[str, Any]
) -> None:
    outcomes = [make_result() for _ in range(8)]
    await asyncio.gather(*(store.runs.add(outcome, **used) for outcome in outcomes))
    assert (await store.runs.count(RunFilter())).value == 8


async def test_eight_who_need_the_same_dataset_and_strategy_share_one(store: Store) -> None:
    datasets = await asyncio.gather(*(store.datasets.add(make_dataset()) for _ in range(8)))
    strategies = await asyncio.gather(*(store.strategies.ensure(make_spec()) for _ in range(8)))
    assert len({dataset.id for dataset in datasets}) == 1
    assert len({strategy.id for strategy in strategies}) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"artifacts": [make_artifact(uuid4())]},
        {"events": [*make_events(), *NOT_STORABLE]},
    ],
    ids=["artifact", "event"],
)
async def test_a_run_is_saved_whole_or_not_at_all(
    store: Store, used: dict[str, Any], broken: dict[str, Any]
) -> None:
    before = await contents(store)
    with pytest.raises((DatabaseError, ConflictError)):
        await store.runs.add(make_result(), **used, **broken)
    assert await contents(store) == before


async def test_a_run_needs_its_dataset(store: Store, used: dict[str, Any]) -> None:
    with pytest.raises(ConflictError):
        await store.runs.add(make_result(), **{**used, "dataset_id": uuid4()})


async def test_a_reproduction_knows_its_original(store: Store, used: dict[str, Any]) -> None:
    original, again = make_result(), make_result()
    await store.runs.add(original, **used)
    await store.runs.add(again, **used, reproduced_from=original.metadata.run_id)
    run = await store.runs.get(again.metadata.run_id)
    assert run.reproduced_from == original.metadata.run_id


async def test_a_reproduction_whose_original_is_gone_is_saved_all_the_same(
    store: Store, used: dict[str, Any]
) -> None:
    outcome = make_result()
    assert await store.runs.add(outcome, **used, reproduced_from=uuid4())
    assert (await store.runs.get(outcome.metadata.run_id)).reproduced_from is None


async def test_text_that_postgresql_cannot_hold_does_not_lose_the_run(
    store: Store, used: dict[str, Any]
) -> None:
    outcome = make_failure(
        message="nul \0, half a pair \ud800, \N{ROCKET}",
        traceback="\0",
        environment={"argv": ["a\0b"], "load": math.nan, "deep": {"\0": [math.inf]}},
    )
    event = Event(type=EventType.WARNING, timestamp=NOW, payload={"text": "\0", "n": math.nan})
    await store.runs.add(outcome, **used, events=[event])

    run = await store.runs.get(outcome.metadata.run_id)

    assert run.error is not None
    assert run.error.message == "nul \ufffd, half a pair ?, \N{ROCKET}"
    assert run.metadata["environment"] == {
        "argv": ["a\ufffdb"],
        "load": None,
        "deep": {"\ufffd": [None]},
    }
    (read,) = await store.runs.events(outcome.metadata.run_id)
    assert read.payload == {"text": "\ufffd", "n": None}


async def test_instants_come_back_in_utc(store: Store, used: dict[str, Any]) -> None:
    started = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
    outcome = make_result(started_at=started)
    await store.runs.add(outcome, **used)
    run = await store.runs.get(outcome.metadata.run_id)
    assert run.created_at == started
    assert run.created_at.tzinfo is UTC


async def test_what_was_saved_is_listed(store: Store, used: dict[str, Any]) -> None:
    outcome = make_result()
    await store.runs.add(outcome, **used)
    page = await store.runs.page(RunFilter(), RunOrder("sharpe_ratio"), limit=5)
    assert page.items == (await store.runs.get(outcome.metadata.run_id),)
