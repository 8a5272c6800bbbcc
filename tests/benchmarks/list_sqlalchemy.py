"""`ntrader history` by hand with SQLAlchemy's ORM: one class with the columns that are shown.

python list_sqlalchemy.py DATABASE_URL
"""

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Run(Base):
    __tablename__ = "backtest_runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[UUID]
    created_at: Mapped[datetime]
    strategy_name: Mapped[str]
    instrument_symbol: Mapped[str]
    timeframe: Mapped[str]
    metrics: Mapped["Metrics"] = relationship()


class Metrics(Base):
    __tablename__ = "performance_metrics"
    id: Mapped[int] = mapped_column(primary_key=True)
    backtest_run_id: Mapped[int] = mapped_column(ForeignKey("backtest_runs.id"))
    total_return: Mapped[Decimal]
    sharpe_ratio: Mapped[Decimal]
    max_drawdown: Mapped[Decimal]
    total_trades: Mapped[int]


async def read(url: str, limit: int) -> list[Any]:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with AsyncSession(engine) as session:
        newest = select(Run).order_by(Run.created_at.desc(), Run.id.desc()).limit(limit)
        found = await session.scalars(newest.options(joinedload(Run.metrics)))
        rows = list(found)
    await engine.dispose()
    return rows


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
    for run in asyncio.run(read(url, limit)):
        table.add_row(
            Text(str(run.run_id)[:8], style="cyan"),
            f"{run.created_at:%Y-%m-%d %H:%M}",
            run.strategy_name,
            f"{run.instrument_symbol} {run.timeframe}",
            f"{run.metrics.total_return * 100:,.2f}%",
            f"{run.metrics.sharpe_ratio:,.2f}",
            f"{run.metrics.max_drawdown * 100:,.2f}%",
            f"{run.metrics.total_trades:,}",
        )
    Console(width=100, highlight=False).print(table)


if __name__ == "__main__":
    history()
