"""Completion: what the shell offers while a command is typed.

It is asked for by a key that people press without thinking: so it starts nothing that is not there
yet, says nothing, and offers nothing rather than fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ntrader.cli.app import App
from ntrader.errors import NtraderError

if TYPE_CHECKING:
    from ntrader.domain.runs import BacktestRun
    from ntrader.services.workspace import Workspace

OFFERED = 50


def complete_run(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the newest runs whose id begins so, each with what it is."""
    from ntrader.services.history import runs_beginning

    runs = _ask(lambda workspace: runs_beginning(workspace, incomplete, limit=OFFERED))
    length = max(8, len(incomplete))
    return [CompletionItem(str(run.run_id)[:length], help=_description(run)) for run in runs]


def complete_dataset(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the names of the datasets."""
    from ntrader.services.datasets import list_datasets

    offered = {
        dataset.name: f"{dataset.instrument.id} {dataset.timeframe}"
        for dataset in _ask(list_datasets)
    }
    return _beginning(offered, incomplete)


def complete_strategy(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the registered names, or files where what is typed is no beginning of one."""
    from ntrader.services.strategies import strategy_names

    return _beginning(dict.fromkeys(strategy_names(), ""), incomplete) or [
        CompletionItem(incomplete, type="file")
    ]


def complete_order(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer what a list can be sorted by."""
    from ntrader.domain.queries import ORDERS

    return _beginning(dict.fromkeys(ORDERS, ""), incomplete)


def _beginning(offered: dict[str, str], incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(name, help=text or None)
        for name, text in offered.items()
        if name.startswith(incomplete)
    ]


def _description(run: BacktestRun) -> str:
    gave = "failed"
    if run.metrics is not None and run.metrics.total_return is not None:
        gave = f"{run.metrics.total_return:.2%}"
    return f"{run.created_at:%Y-%m-%d %H:%M} {run.strategy_name} {run.symbol} {gave}"


def _ask[T](service: Callable[[Workspace], Awaitable[Sequence[T]]]) -> Sequence[T]:
    """Return what a service answers; nothing where there is no database yet, or none answers."""
    app = App()
    try:
        if app.settings.database_url is None and not (app.settings.home / "postgres").exists():
            return ()
        return app.call(service)
    except NtraderError:
        return ()
