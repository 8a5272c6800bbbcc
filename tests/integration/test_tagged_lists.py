"""The newest runs of a tag, which the tags list by a copy of their runs' time."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from ntrader.domain.annotations import Annotations
from ntrader.domain.queries import Cursor, RunFilter, RunOrder
from ntrader.storage.saving import NewRun
from ntrader.storage.store import Store
from support.outcomes import NOW, make_dataset, make_result, make_spec
from support.saving import Saver, SaveRun

KEEP = Annotations(tags=("keep",))


async def walk(store: Store, where: RunFilter, order: RunOrder) -> list[UUID]:
    seen: list[UUID] = []
    after: Cursor | None = None
    while True:
        page = await store.runs.page(where, order, limit=2, after=after)
        seen += [run.run_id for run in page.items]
        if page.next is None:
            return seen
        after = page.next


async def test_tagged_runs_are_listed_by_their_time_not_by_when_they_were_tagged(
    store: Store,
) -> None:
    """Three of them began at one instant: the one that was saved later comes first."""
    saver = Saver(store.database)
    minutes = [3, 1, 1, 2, 1, 5]
    runs = [
        await saver.save_new(
            started_at=NOW + timedelta(minutes=each), strategy="rsi" if each == 5 else "sma"
        )
        for each in minutes
    ]
    for run in reversed(runs):
        await store.annotations.add_tags(run, ["keep", "other"])
    await store.annotations.remove_tags(runs[3], ["keep"])
    newest_first = [runs[each] for each in (5, 0, 4, 2, 1)]
    oldest_first = [runs[each] for each in (4, 2, 1, 0, 5)]

    assert await walk(store, RunFilter(tag="keep"), RunOrder()) == newest_first
    assert await walk(store, RunFilter(tag="keep"), RunOrder(ascending=True)) == oldest_first
    assert await walk(store, RunFilter(tag="keep", strategy="sma"), RunOrder()) == newest_first[1:]
    assert await walk(store, RunFilter(tag="none"), RunOrder()) == []


async def copies_that_differ(store: Store) -> tuple[int, ...]:
    """Return how many tags there are, and how many have another time than their runs."""
    (found,) = await store.database.fetch(
        text(
            "SELECT count(*), count(*) FILTER (WHERE run_created_at <> run.created_at)"
            " FROM run_tags JOIN backtest_runs AS run USING (run_id)"
        )
    )
    return tuple(found)


async def test_a_tag_has_the_time_of_its_run_however_it_was_written(
    store: Store, save_run: SaveRun
) -> None:
    save_run(annotations=KEEP)
    await store.annotations.add_tags(save_run(), ["keep"])
    dataset = await store.datasets.add(make_dataset("IBM"))
    strategy = await store.strategies.ensure(make_spec("sma"))
    about: dict[str, Any] = {"dataset_id": dataset.id, "strategy_id": strategy.id}
    run = NewRun(outcome=make_result(), data_source="x", annotations=KEEP, **about)
    await store.runs.add_many([run])
    assert await copies_that_differ(store) == (3, 0)

    async with store.database.transaction() as transaction:
        await transaction.execute(text("UPDATE run_tags SET run_created_at = 'epoch'"))

    assert await copies_that_differ(store) == (3, 0)
