"""Saving many runs at once."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from ntrader.domain.annotations import Annotations
from ntrader.domain.queries import RunFilter, RunOrder
from ntrader.domain.results import Outcome
from ntrader.errors import ConflictError, DatabaseError
from ntrader.storage.bulk import BATCH
from ntrader.storage.saving import NewRun
from ntrader.storage.store import Store
from support.outcomes import (
    make_artifact,
    make_dataset,
    make_events,
    make_failure,
    make_result,
    make_spec,
)


@pytest.fixture
async def foundations(store: Store) -> dict[str, Any]:
    dataset = await store.datasets.add(make_dataset("IBM"))
    strategy = await store.strategies.ensure(make_spec("sma"))
    return {"dataset_id": dataset.id, "strategy_id": strategy.id, "data_source": "IBM.csv"}


async def test_runs_saved_at_once_are_the_runs_that_are_saved_one_by_one(
    store: Store, foundations: dict[str, Any]
) -> None:
    """Every column, every child, whatever it holds."""
    outcomes: list[Outcome] = [
        make_result(sharpe_ratio=None, undefined={"sharpe_ratio": "no variance"}),
        make_result(parameters={"text": 'it\'s\t\\N "x" \0', "number": 0.1, "on": True}),
        make_failure(message="tab\t newline\n NUL \0", traceback="back\\slash"),
    ]
    for number, outcome in enumerate(outcomes):
        run_id = outcome.metadata.run_id
        about: dict[str, Any] = {
            **foundations,
            "artifacts": ()
            if number == 2
            else (make_artifact(run_id), make_artifact(run_id, "b.csv")),
            "events": make_events(number),
            "annotations": Annotations(tags=("a", "b"), note="n") if number else Annotations(),
        }
        assert await store.runs.add(outcome, **about)
        one = await everything(store, run_id)
        await store.runs.delete([run_id])
        assert await store.runs.add_many([NewRun(outcome=outcome, **about)]) == 1
        assert await everything(store, run_id) == one


async def everything(store: Store, run_id: UUID) -> Any:
    return (
        replace(await store.runs.get(run_id), id=0),
        await store.runs.artifacts(run_id),
        await store.runs.events(run_id),
        [(s.strategy, s.runs, s.failed) for s in await store.runs.summaries(RunFilter())],
    )


async def test_saving_again_changes_nothing_and_adds_what_is_missing(
    store: Store, foundations: dict[str, Any]
) -> None:
    runs = [NewRun(outcome=make_result(), **foundations) for _ in range(5)]
    assert await store.runs.add_many(runs[:3]) == 3
    before = await store.runs.get(runs[0].run_id)

    assert await store.runs.add_many([*runs, runs[4]]) == 2

    assert await store.runs.get(runs[0].run_id) == before
    assert (await store.runs.count(RunFilter())).value == 5


async def test_an_original_in_the_same_batch_is_kept_and_one_that_is_gone_is_forgotten(
    store: Store, foundations: dict[str, Any]
) -> None:
    first = make_result()
    original = first.metadata.run_id
    copy, stray = make_result(), make_result()
    runs = [
        NewRun(outcome=copy, reproduced_from=original, **foundations),
        NewRun(outcome=first, **foundations),
        NewRun(outcome=stray, reproduced_from=uuid4(), **foundations),
    ]
    assert await store.runs.add_many(runs) == 3
    assert (await store.runs.get(copy.metadata.run_id)).reproduced_from == original
    assert (await store.runs.get(stray.metadata.run_id)).reproduced_from is None


async def test_a_batch_that_breaks_a_rule_is_not_half_saved(
    store: Store, foundations: dict[str, Any]
) -> None:
    good = NewRun(outcome=make_result(), **foundations)
    bad = NewRun(outcome=make_result(win_rate=2.0), **foundations)
    with pytest.raises(DatabaseError):
        await store.runs.add_many([good, bad])
    assert (await store.runs.count(RunFilter())).value == 0


async def test_a_run_whose_dataset_is_gone_is_refused(
    store: Store, foundations: dict[str, Any]
) -> None:
    run = NewRun(outcome=make_result(), **{**foundations, "dataset_id": uuid4()})
    with pytest.raises(ConflictError):
        await store.runs.add_many([run])


async def test_more_runs_than_a_batch_are_all_saved_in_their_order(
    store: Store, foundations: dict[str, Any]
) -> None:
    runs = [NewRun(outcome=make_result(), **foundations) for _ in range(BATCH + 1)]
    assert await store.runs.add_many(runs) == BATCH + 1
    page = await store.runs.page(RunFilter(), RunOrder(), limit=1_000)
    assert [run.run_id for run in reversed(page.items)] == [run.run_id for run in runs]


async def test_runs_that_two_save_at_once_are_saved_once(
    store: Store, foundations: dict[str, Any]
) -> None:
    runs = [NewRun(outcome=make_result(), **foundations) for _ in range(100)]
    counts = await asyncio.gather(
        store.runs.add_many(runs), store.runs.add_many(list(reversed(runs)))
    )
    assert sum(counts) == 100
    assert (await store.runs.count(RunFilter())).value == 100
    (summary,) = await store.runs.summaries(RunFilter())
    assert summary.runs == 100
