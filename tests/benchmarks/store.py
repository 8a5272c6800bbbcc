"""What a store is asked and told, at each size, beside plain asyncpg on the same rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg

from ntrader.domain.queries import Page
from ntrader.services.workspace import Workspace
from ntrader.storage.embedded import EmbeddedServer

from .extent import Extent
from .findings import Finding, Findings
from .measuring import Times, alternate
from .questions import Question, questions, sample
from .saving import measure_saving
from .stores import store_copy

BYTES_AIM = 1_600
GROWTH_AIM = 3
PAGE_AIM = 2
GROUPED_AIM_MS = 200
BULK = 5_000
TABLES = ("backtest_runs", "performance_metrics", "run_statistics")
NO_INDEX_HELPS = (
    "group by strategy",
    "rare symbol, order by Sortino",
    "strategy and parameter, order by Sortino",
    "Sharpe above 3, order by the lowest return",
)


async def measure(home: Path, extent: Extent) -> Findings:
    """Measure stores of all sizes on one server."""
    stores = []
    with EmbeddedServer(home) as address:
        for runs in extent.runs:
            copy = store_copy(address.dsn, home, runs=runs)
            async with copy as url:
                stores.append(await measure_store(url, home, runs=runs, rounds=extent.rounds))
    return found_in(stores)


async def measure_store(url: str, home: Path, *, runs: int, rounds: int) -> dict[str, Any]:
    """Ask and tell a filled store."""
    async with Workspace(home, database_url=url) as workspace:
        store = await workspace.store()
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET plan_cache_mode = force_custom_plan")
            sizes = await table_sizes(connection, runs)
            version = connection.get_server_version()
            asked = {}
            for question in questions(connection, workspace, store, await sample(connection)):
                await check_agreement(question)
                ways = {"floor": question.floor, "store": question.store}
                if question.service is not None:
                    ways["service"] = question.service
                asked[question.name] = _row(await alternate(ways, rounds), question.aim)
            told = await measure_saving(connection, store, rounds=rounds, bulk=min(runs, BULK))
        finally:
            await connection.close()
    return {
        "runs": runs,
        "postgresql": f"{version.major}.{version.minor}",
        "bytes_per_run": sizes,
        "asked": asked,
        "told": {name: _row(times, None) for name, times in told.items()},
    }


async def check_agreement(question: Question) -> None:
    """Make sure that a list by hand is the product's.

    Where only runs with metrics are listed by hand, those without, which the product has among the
    runs whose metric is undefined, are left out.

    Raises:
        RuntimeError: it is another.
    """
    by_hand, ours = await question.floor(), await question.store()
    if not isinstance(ours, Page):
        return
    whole = any(row["total_trades"] is None for row in by_hand)
    found = [run.run_id for run in ours.items if whole or run.metrics is not None]
    if [row["run_id"] for row in by_hand[: len(found)]] != found or len(by_hand) > len(found) == 0:
        raise RuntimeError(f"{question.name}: the lists differ")


async def table_sizes(connection: asyncpg.Connection, runs: int) -> dict[str, float]:
    """Return bytes a run: of all tables together, of each table, and of each index."""
    found = await connection.fetch(
        "SELECT relname, pg_relation_size(oid) AS size FROM pg_class WHERE oid IN"
        " (SELECT unnest(ARRAY[indrelid, indexrelid]) FROM pg_index"
        "  WHERE indrelid::regclass::text = ANY($1))",
        list(TABLES),
    )
    sizes = {row["relname"]: round(row["size"] / runs, 1) for row in found}
    return {"all": round(sum(sizes.values()), 1), **dict(sorted(sizes.items()))}


def _row(times: dict[str, Times], aim: float | None) -> dict[str, Any]:
    """Return milliseconds: of the round that other work disturbed least, and of the median one."""
    row: dict[str, Any] = {way: round(each.best * 1e3, 4) for way, each in times.items()}
    medians = {way: round(each.median * 1e3, 4) for way, each in times.items()}
    return {**row, "ratio": round(row["store"] / row["floor"], 2), "aim": aim, "medians": medians}


def found_in(stores: Sequence[dict[str, Any]]) -> Findings:
    """Return the lines of the largest store, and how they have grown from the smallest."""
    smallest, largest = stores[0], stores[-1]
    part = f"a store of {largest['runs']:,} runs"
    growths = {
        name: row["store"] / smallest["asked"][name]["store"]
        for name, row in largest["asked"].items()
        if name in smallest["asked"]
    }
    lines = [_asked(part, name, row, growths.get(name)) for name, row in largest["asked"].items()]
    lines += _pages(part, largest["asked"])
    grown = {name: growth for name, growth in growths.items() if name not in NO_INDEX_HELPS}
    worst = max(grown, key=lambda name: grown[name])
    growth = f"growth from {smallest['runs']:,} runs, the worst with an index"
    lines.append(Finding(part, growth, "times", grown[worst], aim=GROWTH_AIM, absolute=True))
    lines += _told(part, smallest, largest)
    size = largest["bytes_per_run"]["all"]
    on_disk = "bytes on disk per run, indexes included"
    lines.append(Finding(part, on_disk, "bytes", size, aim=BYTES_AIM, absolute=True))
    versions = {"postgresql": largest["postgresql"]}
    notes = [f"The worst growth is that of {worst!r}."]
    return Findings(lines, notes=notes, details={"stores": list(stores), "versions": versions})


def _asked(part: str, name: str, row: dict[str, Any], growth: float | None) -> Finding:
    grouped = name == "group by strategy"
    return Finding.timed(
        part,
        name,
        row["floor"],
        row["store"],
        aim=GROUPED_AIM_MS if grouped else row["aim"],
        absolute=grouped,
        growth=growth,
    )


def _pages(part: str, asked: dict[str, Any]) -> list[Finding]:
    """Return the deep page beside the first one, where the store is large enough."""
    first = asked["list 20 newest"]["store"]
    return [
        Finding.timed(part, f"{name}, beside page 1", first, row["store"], aim=PAGE_AIM)
        for name, row in asked.items()
        if name.startswith("page ")
    ]


def _told(part: str, smallest: dict[str, Any], largest: dict[str, Any]) -> list[Finding]:
    before, now = smallest["told"], largest["told"]
    lines = [
        Finding.timed(
            part,
            name,
            now[name]["floor"],
            now[name]["store"],
            aim=aim,
            growth=now[name]["store"] / before[name]["store"],
        )
        for name, aim in (("save one run", 3), ("delete one run", None))
    ]
    floor, ours = (_bulk_speed(largest, way) for way in ("floor", "store"))
    growth = _bulk_speed(smallest, "store") / ours
    bulk = Finding(part, "bulk, runs/s", "runs/s", ours, floor, floor / ours, aim=2, growth=growth)
    return [*lines, bulk]


def _bulk_speed(store: dict[str, Any], way: str) -> float:
    """Return runs a second."""
    runs: int = min(store["runs"], BULK)
    return runs * 1e3 / float(store["told"]["save many runs"][way])
