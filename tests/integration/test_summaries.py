"""What the runs of each strategy amount to, and that the database keeps it true."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import fmean, median
from typing import Any

import pytest
from sqlalchemy import text

from ntrader.domain.queries import RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.domain.summaries import MetricSummary, StrategySummary
from ntrader.storage.store import Store
from ntrader.storage.transactions import Transaction
from support.outcomes import NOW
from support.saving import Saver

EVERYTHING = RunFilter()
# Runs from before all of them: the same runs, counted one by one instead of by their statistics.
ONE_BY_ONE = RunFilter(until=datetime(2100, 1, 1, tzinfo=UTC))


def of(values: list[float | None]) -> MetricSummary:
    known = [value for value in values if value is not None]
    if not known:
        return MetricSummary(None, None, None)
    return MetricSummary(max(known), median(known), fmean(known))


def close(summary: StrategySummary) -> Any:
    """Return a summary whose numbers are compared as floats are."""
    return {
        name: pytest.approx([value.best, value.median, value.mean], abs=1e-8)
        for name in ("sharpe_ratio", "total_return")
        for value in [getattr(summary, name)]
        if value.best is not None
    }


def numbers(summary: StrategySummary) -> dict[str, list[float | None]]:
    return {
        name: [value.best, value.median, value.mean]
        for name in ("sharpe_ratio", "total_return")
        for value in [getattr(summary, name)]
        if value.best is not None
    }


async def save_random_runs(store: Store, count: int) -> None:
    """Save runs whose metrics lie beyond the buckets, on their edges, between, or nowhere."""
    chance = random.Random(3)
    saver = Saver(store.database)
    for number in range(count):
        about: dict[str, Any] = {
            "strategy": chance.choice(["sma", "rsi", "own"]),
            "started_at": NOW + timedelta(minutes=number),
        }
        if chance.random() < 0.2:
            await saver.save_new(failed=True, **about)
            continue
        any_value = round(chance.random(), 8)
        await saver.save_new(
            **about,
            sharpe_ratio=chance.choice([None, -5, 5, 0, 12.5, -7, 0.005, any_value]),
            total_return=chance.choice([None, -1.0, 4, 4.005, 250.0, any_value]),
        )


async def both(store: Store) -> tuple[list[StrategySummary], list[StrategySummary]]:
    return (
        list(await store.runs.summaries(EVERYTHING)),
        list(await store.runs.summaries(ONE_BY_ONE)),
    )


def assert_same(kept: list[StrategySummary], counted: list[StrategySummary]) -> None:
    assert [(s.strategy, s.runs, s.failed, s.newest_at) for s in kept] == [
        (s.strategy, s.runs, s.failed, s.newest_at) for s in counted
    ]
    assert [numbers(summary) for summary in kept] == [close(summary) for summary in counted]


async def test_a_summary_is_that_of_the_runs_themselves(store: Store) -> None:
    saver = Saver(store.database)
    for sharpe in (1.0, 2.0, 6.0, None):
        await saver.save_new(strategy="sma", sharpe_ratio=sharpe, total_return=0.5)
    await saver.save_new(strategy="sma", failed=True, started_at=NOW + timedelta(days=1))
    await saver.save_new(strategy="rsi", sharpe_ratio=None, total_return=None)

    rsi, sma = await store.runs.summaries(EVERYTHING)

    assert sma == StrategySummary(
        strategy="sma",
        runs=5,
        failed=1,
        newest_at=NOW + timedelta(days=1),
        sharpe_ratio=MetricSummary(6.0, 2.0, 3.0),
        total_return=MetricSummary(0.5, 0.5, 0.5),
    )
    assert (rsi.runs, rsi.failed) == (1, 0)
    assert rsi.sharpe_ratio == rsi.total_return == MetricSummary(None, None, None)


async def test_statistics_and_runs_agree_after_saving_and_deleting(store: Store) -> None:
    await save_random_runs(store, 150)
    assert_same(*await both(store))

    page = await store.runs.page(EVERYTHING, RunOrder(), limit=1_000)
    chance = random.Random(5)
    await store.runs.delete([run.run_id for run in chance.sample(page.items, 60)])

    kept, counted = await both(store)
    assert sum(summary.runs for summary in kept) == 90
    assert_same(kept, counted)


async def test_a_strategy_without_runs_is_gone(store: Store) -> None:
    run = await Saver(store.database).save_new(strategy="sma")
    await store.runs.delete([run])

    assert await store.runs.summaries(EVERYTHING) == ()


async def test_a_metric_whose_last_value_was_deleted_is_undefined(store: Store) -> None:
    saver = Saver(store.database)
    defined = await saver.save_new(strategy="sma", sharpe_ratio=1.0)
    await saver.save_new(strategy="sma", sharpe_ratio=None)
    await store.runs.delete([defined])

    (summary,) = await store.runs.summaries(EVERYTHING)

    assert summary.runs == 1
    assert summary.sharpe_ratio == MetricSummary(None, None, None)


async def test_a_summary_counts_only_what_the_filter_means(store: Store) -> None:
    saver = Saver(store.database)
    await saver.save_new(strategy="sma", symbol="IBM", sharpe_ratio=1.0)
    await saver.save_new(strategy="sma", symbol="GOOG", sharpe_ratio=3.0)
    await saver.save_new(strategy="rsi", symbol="GOOG", failed=True)

    (only,) = await store.runs.summaries(RunFilter(symbol="IBM"))
    assert (only.strategy, only.runs, only.sharpe_ratio.best) == ("sma", 1, 1.0)
    (failed,) = await store.runs.summaries(RunFilter(status=RunStatus.FAILED))
    assert (failed.strategy, failed.runs, failed.failed) == ("rsi", 1, 1)
    (one,) = await store.runs.summaries(RunFilter(strategy="sma"))
    assert (one.runs, one.sharpe_ratio.best) == (2, 3.0)
    assert await store.runs.summaries(RunFilter(strategy="none")) == ()


async def test_a_save_that_is_undone_leaves_no_trace_in_the_statistics(store: Store) -> None:
    run = await Saver(store.database).save_new(strategy="sma")
    before = await store.runs.summaries(EVERYTHING)

    async def begin_to_delete(transaction: Transaction) -> None:
        await transaction.execute(text("DELETE FROM backtest_runs"))
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError, match="undone"):
        await store.database.run(begin_to_delete)

    assert await store.runs.summaries(EVERYTHING) == before
    assert (await store.runs.get(run)).run_id == run
    assert before == (replace(before[0], runs=1),)
