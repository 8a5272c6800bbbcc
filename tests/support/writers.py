"""Writers that run and save backtests at once, a process each: writers.py COUNT SECONDS DIRECTORY.

The database is the embedded one of NTRADER_HOME. Each writer opens a workspace for each run, as a
command does, and writes a line for it to DIRECTORY/NUMBER.
"""

import asyncio
import os
import sys
import time
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

# What every run needs is imported before the writers part: they share it.
import nautilus_trader.backtest.engine  # noqa: F401

import ntrader.engine.runner
import ntrader.services.sweeping
import ntrader.storage.copying
import ntrader.storage.store  # noqa: F401
from ntrader.domain.annotations import Annotations
from ntrader.errors import DatabaseUnavailableError
from ntrader.services.backtests import run_backtest
from ntrader.services.requests import RunRequest
from ntrader.services.workspace import Workspace

REQUEST = RunRequest(
    strategy="witnessed.py:Witnessed", dataset="base", capital=Decimal(10_000), seed=1
)


async def write_one(home: Path, tag: str) -> str:
    """Run and save once; return what became of it."""
    async with Workspace(home) as workspace:
        try:
            report = await run_backtest(workspace, REQUEST, annotations=Annotations(tags=(tag,)))
        except DatabaseUnavailableError as error:
            return f"refused {error.message.splitlines()[0]}"
    run = report.details.run.run_id
    if report.saved:
        return f"saved {run}"
    return f"waiting {run}" if report.waiting else f"lost {run} {report.save_error}"


def write(number: int, seconds: float, directory: Path) -> None:
    """Write until the time is up."""
    home = Path(os.environ["NTRADER_HOME"])
    deadline = time.monotonic() + seconds
    with (directory / f"{number}").open("w", buffering=1) as told:
        turn = 0
        while time.monotonic() < deadline:
            tag = f"writer-{number}-{turn}"
            os.environ["WITNESS"] = str(directory / tag)
            told.write(f"{tag} {asyncio.run(write_one(home, tag))}\n")
            turn += 1


def main(count: int, seconds: float, directory: Path) -> int:
    """Start the writers and wait for them; return how many of them failed."""
    children: dict[int, Any] = {}
    for number in range(count):
        child = os.fork()
        if child == 0:
            write(number, seconds, directory)
            sys.exit(0)
        children[child] = number
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    # The threads of others are idle, and nobody asks them for anything before the fork.
    warnings.filterwarnings("ignore", message=".*use of fork.*")
    # NautilusTrader's own loop came with it; commands have Python's.
    asyncio.set_event_loop_policy(None)
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
