"""The floor of `ntrader history`: the same list, by hand with asyncpg, click and rich.

python list_asyncpg.py DATABASE_URL
"""

import asyncio
from typing import Any

import asyncpg
import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

QUERY = """
SELECT r.run_id, r.created_at, r.strategy_name, r.instrument_symbol, r.timeframe,
       m.total_return, m.sharpe_ratio, m.max_drawdown, m.total_trades
FROM backtest_runs r LEFT JOIN performance_metrics m ON m.backtest_run_id = r.id
ORDER BY r.created_at DESC, r.id DESC LIMIT $1
"""


async def read(url: str, limit: int) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        rows: list[Any] = await connection.fetch(QUERY, limit)
        return rows
    finally:
        await connection.close()


@click.command()
@click.argument("url")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20)
def history(url: str, limit: int) -> None:
    """List saved runs, newest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("RUN", "CREATED (UTC)", "STRATEGY", "DATA"):
        table.add_column(name, no_wrap=True)
    for name in ("RETURN", "SHARPE", "MAX DD", "TRADES"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in asyncio.run(read(url, limit)):
        table.add_row(
            Text(str(row["run_id"])[:8], style="cyan"),
            f"{row['created_at']:%Y-%m-%d %H:%M}",
            row["strategy_name"],
            f"{row['instrument_symbol']} {row['timeframe']}",
            f"{row['total_return'] * 100:,.2f}%",
            f"{row['sharpe_ratio']:,.2f}",
            f"{row['max_drawdown'] * 100:,.2f}%",
            f"{row['total_trades']:,}",
        )
    Console(width=100, highlight=False).print(table)


if __name__ == "__main__":
    history()
