"""Every filter with every sort, on a filled store: which lists read too much, or take too long.

    uv run python -m tests.benchmarks.grid DATABASE_URL [--json FILE]

Each list is explained as the product asks for it, statement by statement: its first page, and the
one that begins in the middle of the order. A list is odd that reads more than `BUFFERS` pages of
8 kB or takes more than `MILLISECONDS`, twice in a row. `command_timeout=SECONDS` in the URL ends
what lasts longer.
"""
# ruff: noqa: T201

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from math import inf
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select

from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import CREATED_AT, ORDERS, Cursor, RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.errors import DatabaseBusyError
from ntrader.storage.database import Database
from ntrader.storage.pages import Pages
from ntrader.storage.rows import order_text
from ntrader.storage.store import Store
from ntrader.storage.tables import metrics_table, runs_table

from .explained import Explained
from .filling import LAST
from .timing import print_table

BUFFERS = 5_000
MILLISECONDS = 50.0
LIMIT = 20
WEEK = LAST - timedelta(days=100)

EXPRESSIONS = {
    "where a metric and a parameter": "sharpe_ratio > 1.5 and parameters.fast_period = 10",
    "where a parameter is above": "parameters.fast_period > 53",
    "where a metric is high": "sharpe_ratio > 3",
    "where a metric is null": "sharpe_ratio is null",
    "where a column is small": "duration_seconds < 1",
    "where failed": "status = 'failed'",
    "where one of two symbols": "symbol in ('SYM001', 'SYM090')",
    "where either strategy or tag": "strategy = 'rare' or tag = 'keep'",
    "where there is no tag": "not tag = 'keep' and tag is null",
}


def filters(strategy_id: UUID, fingerprint: str) -> dict[str, RunFilter]:
    """Return what is asked for: common and rare, alone and together."""
    week = RunFilter(since=WEEK, until=WEEK + timedelta(days=7))
    return {
        "all": RunFilter(),
        "common strategy": RunFilter(strategy="sma"),
        "rare strategy": RunFilter(strategy="rare"),
        "configuration": RunFilter(strategy_id=strategy_id),
        "type": RunFilter(strategy_type="sma"),
        "no such type": RunFilter(strategy_type="none"),
        "common symbol": RunFilter(symbol="SYM000"),
        "rare symbol": RunFilter(symbol="SYM099"),
        "common timeframe": RunFilter(timeframe="1d"),
        "rare timeframe": RunFilter(timeframe="1m"),
        "successful": RunFilter(status=RunStatus.SUCCESS),
        "failed": RunFilter(status=RunStatus.FAILED),
        "since a week": RunFilter(since=LAST - timedelta(days=7)),
        "one week": week,
        "fingerprint": RunFilter(fingerprint=fingerprint),
        "tag": RunFilter(tag="keep"),
        "no such tag": RunFilter(tag="none"),
        "path": RunFilter(strategy_path="/none.py:None"),
        "parameter": RunFilter(parameters={"fast_period": 10}),
        "two parameters": RunFilter(parameters={"fast_period": 10, "slow_period": 100}),
        "no such parameter": RunFilter(parameters={"fast_period": -1}),
        "rare strategy, one week": replace(week, strategy="rare"),
        "strategy, rare symbol": RunFilter(strategy="sma", symbol="SYM099"),
        "strategy, failed": RunFilter(strategy="sma", status=RunStatus.FAILED),
        "strategy, parameter": RunFilter(strategy="own_3", parameters={"fast_period": 10}),
        "strategy, tag": RunFilter(strategy="rsi", tag="keep"),
        **{name: RunFilter(expression=parse_expression(e)) for name, e in EXPRESSIONS.items()},
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What one list took: pages of 8 kB, and milliseconds in the server."""

    filter: str
    order: str
    page: str
    buffers: int
    planning: float
    execution: float

    @property
    def is_odd(self) -> bool:
        """Whether it is worth a look."""
        return self.buffers > BUFFERS or self.milliseconds > MILLISECONDS

    @property
    def milliseconds(self) -> float:
        """What it takes on the server, and to ask the planner before."""
        return self.planning + self.execution


def orders(names: Sequence[str]) -> Iterator[RunOrder]:
    """Give both directions of each order."""
    for by in names:
        yield RunOrder(by)
        yield RunOrder(by, ascending=True)


async def middle_of(database: Database, by: str) -> tuple[str | None, int]:
    """Return the value and the id of a run in the middle of an order."""
    newest = (await database.fetch(select(func.max(runs_table.c.id))))[0][0]
    column, key = (
        (runs_table.c.created_at, runs_table.c.id)
        if by == CREATED_AT
        else (metrics_table.c[by], metrics_table.c.backtest_run_id)
    )
    some = select(column.label("value"), key.label("id")).where(
        column.is_not(None), key.between(newest // 2, newest // 2 + 1_000)
    )
    values = sorted((row.value, row.id) for row in await database.fetch(some))
    value, run = values[len(values) // 2]
    return order_text(value), run


async def answer(
    database: Database,
    name: str,
    where: RunFilter,
    order: RunOrder,
    page: str,
    after: Cursor | None,
) -> Answer:
    """Ask for one page, again where the first answer is odd: its pages may have been cold."""
    for _ in range(2):
        explained = Explained(database)
        try:
            await Pages(explained).rows(where, order, limit=LIMIT + 1, after=after)
        except DatabaseBusyError:
            return Answer(name, str(order), page, 0, 0, inf)
        answered = Answer(
            name,
            str(order),
            page,
            explained.buffers,
            explained.planning,
            explained.execution,
        )
        if not answered.is_odd:
            break
    return answered


async def answers(url: str, *, by: Sequence[str], only: str | None = None) -> list[Answer]:
    """Ask for everything."""
    found = []
    async with Database.open(url) as database:
        store = Store.of(database)
        (newest,) = (await store.runs.page(RunFilter(), RunOrder(), limit=1)).items
        configuration = (await database.fetch(select(runs_table.c.strategy_id).limit(1)))[0][0]
        middles = {name: await middle_of(database, name) for name in by}
        for name, where in filters(configuration, newest.fingerprint).items():
            for order in orders(by):
                if only is not None and only not in f"{name} | {order}":
                    continue
                deep = Cursor(Cursor.scope_of(where, order), *middles[order.by])
                for page, after in (("first", None), ("deep", deep)):
                    found.append(await answer(database, name, where, order, page, after))
                    if found[-1].is_odd:
                        print(found[-1], file=sys.stderr, flush=True)
    return found


def print_odd(found: list[Answer]) -> None:
    """Print the odd ones, the worst first, and how the others did."""
    odd = sorted((each for each in found if each.is_odd), key=lambda each: -each.execution)
    print_table(
        ("filter", "order", "page", "buffers", "planning ms", "execution ms"),
        [
            (
                each.filter,
                each.order,
                each.page,
                f"{each.buffers:,}",
                f"{each.planning:.1f}",
                f"{each.execution:.1f}",
            )
            for each in odd
        ],
    )
    times = sorted(each.milliseconds for each in found)
    print(f"\n{len(found)} lists, {len(odd)} odd; half take {times[len(times) // 2]:.2f} ms")


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--by", nargs="+", default=list(ORDERS), metavar="ORDER")
    parser.add_argument("--only", help="lists whose `filter | order` has this text")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all answers here")
    given = parser.parse_args()
    found = asyncio.run(answers(given.url, by=given.by, only=given.only))
    print_odd(found)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
