"""The progress bar: what is done, how much a second, time left; on stderr, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ntrader.cli.app import App

type Tell = Callable[[int, int], None]


@contextmanager
def progress_bar(
    app: App, *, wanted: bool | None = None, task: str = "Backtest", unit: str = "bars"
) -> Iterator[Tell | None]:
    """Give what is told (units done, units in all), or None where no bar is to be seen.

    `wanted` forces it on or off; else it is shown on a terminal.
    """
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield None
        return

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[rate]}}"),
        TimeRemainingColumn(compact=True),
        console=app.notes,
        transient=True,
        # The engine holds the interpreter: a refresh of its own would only wait for it.
        auto_refresh=False,
    ) as progress:
        shown = progress.add_task(task, total=None, rate="")

        def tell(done: int, total: int) -> None:
            speed = progress.tasks[0].speed
            rate = "" if speed is None else f"{speed:,.0f}/s"
            progress.update(shown, completed=done, total=total, rate=rate, refresh=True)

        yield tell
