"""A hundred events for each of many runs: what they take, and whether anybody else notices.

    uv run python -m tests.benchmarks.events DATABASE_URL [--runs 100000] [--each 100]

The store must be filled; the events are added to its first runs that have none, within the
database. Lists are asked before and after.
"""
# ruff: noqa: T201

import argparse
import asyncio
import time
from collections.abc import Mapping
from uuid import UUID

import asyncpg

from ntrader.domain.queries import RunFilter, RunOrder
from ntrader.storage.database import Database
from ntrader.storage.store import Store

from .measuring import Ask, alternate
from .timing import print_table

LISTS: Mapping[str, tuple[RunFilter, RunOrder]] = {
    "list 20 newest": (RunFilter(), RunOrder()),
    "strategy, by Sharpe": (RunFilter(strategy="sma"), RunOrder("sharpe_ratio")),
    "by trades": (RunFilter(), RunOrder("total_trades")),
    "tag, newest": (RunFilter(tag="keep"), RunOrder()),
}
# As a run records them: its beginning, its closed trades by market time, and its end.
ADD = """
    INSERT INTO events (run_id, event_type, timestamp, payload)
    SELECT run_id,
        CASE number WHEN 1 THEN 'started' WHEN $3 THEN 'finished' ELSE 'trade_closed' END,
        CASE WHEN number IN (1, $3) THEN created_at
            ELSE timestamptz '2012-01-01Z' + number * interval '1 day' END,
        CASE number WHEN 1 THEN jsonb_build_object('fingerprint', fingerprint)
            WHEN $3 THEN jsonb_build_object('fills', $3, 'result_digest', result_digest)
            ELSE jsonb_build_object(
                'side', 'LONG', 'opened_at', '2012-01-01T00:00:00.000000Z',
                'entry_price', (random() * 100)::numeric(8, 4)::text,
                'exit_price', (random() * 100)::numeric(8, 4)::text,
                'quantity', (random() * 1000)::int::text,
                'profit', (random() * 100 - 50)::numeric(8, 4)::text, 'fees', '1.2500'
            ) END
    FROM (
        SELECT run_id, created_at, fingerprint, result_digest, id FROM backtest_runs
        WHERE id > $1 ORDER BY id LIMIT $2
    ) AS run
    CROSS JOIN generate_series(1, $3::int) AS number
    ORDER BY id, number
"""
STEP = 10_000
SIZES = """
    SELECT relname, pg_relation_size(oid) AS size FROM pg_class
    WHERE oid = 'events'::regclass
        OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'events'::regclass)
    ORDER BY size DESC
"""


async def add_events(connection: asyncpg.Connection, *, runs: int, each: int) -> float:
    """Add `each` events to each of so many runs; return events a second."""
    last = 0
    started = time.perf_counter()
    for _ in range(0, runs, STEP):
        await connection.execute(ADD, last, STEP, each)
        last = await connection.fetchval(
            "SELECT max(id) FROM (SELECT id FROM backtest_runs WHERE id > $1"
            " ORDER BY id LIMIT $2) AS run",
            last,
            STEP,
        )
    return runs * each / (time.perf_counter() - started)


async def ask_lists(store: Store, rounds: int) -> dict[str, float]:
    """Return the best time of each list, in ms."""

    def page(where: RunFilter, order: RunOrder) -> Ask:
        return lambda: store.runs.page(where, order, limit=20)

    times = await alternate({name: page(*about) for name, about in LISTS.items()}, rounds)
    return {name: each.best * 1e3 for name, each in times.items()}


async def measure(url: str, *, runs: int, each: int, rounds: int) -> None:
    """Add, ask and print."""
    connection = await asyncpg.connect(url)
    async with Database.open(url) as database:
        store = Store.of(database)
        before = await ask_lists(store, rounds)
        speed = await add_events(connection, runs=runs, each=each)
        await connection.execute("VACUUM ANALYZE events")
        sizes = await connection.fetch(SIZES)
        after = await ask_lists(store, rounds)
        ids = [row[0] for row in await connection.fetch("SELECT run_id FROM events LIMIT 1000")]
        own = await of_one_run(store, sorted(set(ids)), rounds)
        deleted = await deletions(store, connection, rounds)
    await connection.close()
    count = runs * each
    print(f"{count:,} events added at {speed:,.0f} a second")
    print_table(("", "bytes an event"), [(row[0], f"{row[1] / count:.1f}") for row in sizes])
    print_table(
        ("", "ms before", "ms after"),
        [(name, f"{before[name]:.2f}", f"{after[name]:.2f}") for name in LISTS],
    )
    print(f"events of one run: {own:.2f} ms; one run deleted with its events: {deleted:.2f} ms")


async def of_one_run(store: Store, run_ids: list[UUID], rounds: int) -> float:
    """Return what it takes to read the events of one run, in ms."""
    return (await alternate({"": lambda: store.runs.events(run_ids[0])}, rounds))[""].best * 1e3


async def deletions(store: Store, connection: asyncpg.Connection, rounds: int) -> float:
    """Return what it takes to delete a run that has events, in ms."""
    found = await connection.fetch(
        "SELECT run_id FROM backtest_runs AS run WHERE EXISTS"
        " (SELECT FROM events WHERE events.run_id = run.run_id) ORDER BY id LIMIT $1",
        rounds + 1,
    )
    doomed = iter(found)
    times = await alternate({"": lambda: store.runs.delete([next(doomed)["run_id"]])}, rounds)
    return times[""].best * 1e3


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    asyncio.run(measure(given.url, runs=given.runs, each=given.each, rounds=given.rounds))


if __name__ == "__main__":
    main()
