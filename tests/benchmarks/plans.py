"""How PostgreSQL answers what `history` asks: EXPLAIN of each question, on a filled store.

uv run python -m tests.benchmarks.plans DATABASE_URL
"""
# ruff: noqa: T201

import argparse
import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.storage.database import Database
from ntrader.storage.pages import Pages
from ntrader.storage.queries import count_statement
from ntrader.storage.summaries import summary_statement
from support.explaining import Explain

from .explained import Explained
from .filling import LAST

WEEK = LAST - timedelta(days=100)
BY_SHARPE = RunOrder("sharpe_ratio")
EXPRESSION = parse_expression("sharpe_ratio > 1.5 and parameters.fast_period = 10")
LISTS = {
    "20 newest": (RunFilter(), RunOrder()),
    "strategy, by Sharpe": (RunFilter(strategy="sma"), BY_SHARPE),
    "rare strategy, by Sharpe": (RunFilter(strategy="rare"), BY_SHARPE),
    "parameter, by Sharpe": (RunFilter(parameters={"fast_period": 10}), BY_SHARPE),
    "one week, by Sharpe": (RunFilter(since=WEEK, until=WEEK + timedelta(days=7)), BY_SHARPE),
    "rare symbol, by Sharpe": (RunFilter(symbol="SYM099"), BY_SHARPE),
    "rare symbol, by Sortino": (RunFilter(symbol="SYM099"), RunOrder("sortino_ratio")),
    "strategy and parameter, by Sortino": (
        RunFilter(strategy="own_3", parameters={"fast_period": 10}),
        RunOrder("sortino_ratio"),
    ),
    "by Sortino ratio, lowest first": (RunFilter(), RunOrder("sortino_ratio", ascending=True)),
    "by trades": (RunFilter(), RunOrder("total_trades")),
    "timeframe, newest": (RunFilter(timeframe="1m"), RunOrder()),
    "tag, newest": (RunFilter(tag="keep"), RunOrder()),
    "failed, newest": (RunFilter(status=RunStatus.FAILED), RunOrder()),
    "--where, by Sharpe": (RunFilter(expression=EXPRESSION), BY_SHARPE),
    "--where, by the lowest Sortino ratio": (
        RunFilter(expression=EXPRESSION),
        RunOrder("sortino_ratio", ascending=True),
    ),
}


OPTIONS = "ANALYZE, COSTS OFF, TIMING OFF, BUFFERS"


async def print_plans(url: str) -> None:
    """Print the plan of every question."""
    async with Database.open(url) as database:
        asked: dict[str, Sequence[Any]] = {}
        for name, (where, order) in LISTS.items():
            explained = Explained(database)
            await Pages(explained).rows(where, order, limit=21)
            asked[name] = explained.statements
        asked["count of a strategy, capped"] = [
            count_statement(RunFilter(strategy="sma"), cap=1_000)
        ]
        asked["summary by strategy"] = [summary_statement(RunFilter())]
        for name, statements in asked.items():
            print(f"### {name}\n")
            for statement in statements:
                plan = await database.fetch(Explain(statement, OPTIONS))
                print(*(row[0] for row in plan), sep="\n", end="\n\n")


def main() -> None:
    """Print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    asyncio.run(print_plans(parser.parse_args().url))


if __name__ == "__main__":
    main()
