"""How PostgreSQL answers what `history` asks: EXPLAIN of each question, on a filled store.

uv run python -m tests.benchmarks.plans DATABASE_URL
"""
# ruff: noqa: T201

import argparse
import asyncio
from datetime import timedelta
from typing import Any

from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.storage.database import Database
from ntrader.storage.queries import count_statement, page_statement
from ntrader.storage.summaries import summary_statement
from support.explaining import Explain

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
    "by Sortino ratio, lowest first": (RunFilter(), RunOrder("sortino_ratio", ascending=True)),
    "by trades": (RunFilter(), RunOrder("total_trades")),
    "timeframe, newest": (RunFilter(timeframe="1m"), RunOrder()),
    "tag, newest": (RunFilter(tag="keep"), RunOrder()),
    "failed, newest": (RunFilter(status=RunStatus.FAILED), RunOrder()),
    "--where, by Sharpe": (RunFilter(expression=EXPRESSION), BY_SHARPE),
}


OPTIONS = "ANALYZE, COSTS OFF, TIMING OFF, BUFFERS"


async def print_plans(url: str) -> None:
    """Print the plan of every question."""
    asked: dict[str, Any] = {
        name: page_statement(where, order, limit=21, after=None)
        for name, (where, order) in LISTS.items()
    }
    asked["count of a strategy, capped"] = count_statement(RunFilter(strategy="sma"), cap=1_000)
    asked["summary by strategy"] = summary_statement(RunFilter())
    async with Database.open(url) as database:
        for name, statement in asked.items():
            plan = await database.fetch(Explain(statement, OPTIONS))
            print(f"### {name}\n")
            print(*(row[0] for row in plan), sep="\n", end="\n\n")


def main() -> None:
    """Print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    asyncio.run(print_plans(parser.parse_args().url))


if __name__ == "__main__":
    main()
