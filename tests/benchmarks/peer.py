"""MLflow, doing the same work on the same server, in an environment of its own."""

import json
import subprocess
from pathlib import Path
from typing import Any

from ntrader.storage.embedded import EmbeddedServer

from .extent import Extent
from .findings import Findings
from .stores import new_database
from .timing import Subject, environment, time_in_turn

SCRIPT = Path(__file__).parent / "peers" / "mlflow_runs.py"
COMMAND_ROUNDS = 3


async def measure(python: str, home: Path, extent: Extent) -> Findings:
    """Return what MLflow takes, by the names of the same questions to ntrader.

    Raises:
        RuntimeError: it failed.
    """
    with EmbeddedServer(home) as address:
        async with new_database(address.dsn, "mlflow") as url:
            figures = _asked(python, url, extent)
            listing = _listing(python, url)
    return found_in({**figures, "history": listing})


def _asked(python: str, url: str, extent: Extent) -> dict[str, Any]:
    options = ["--runs", str(extent.peer_runs), "--rounds", str(extent.rounds)]
    done = subprocess.run(
        [python, str(SCRIPT), url, *options], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"MLflow failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _listing(python: str, url: str) -> float:
    """Return the seconds of its own command that lists runs."""
    program = str(Path(python).with_name("mlflow"))
    listing = Subject("list", [program, "runs", "list", "--experiment-id", "1"])
    tracking = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    env = environment(MLFLOW_TRACKING_URI=tracking)
    return time_in_turn([listing], env, rounds=COMMAND_ROUNDS)["list"].median


def found_in(figures: dict[str, Any]) -> Findings:
    """Return MLflow's values in the units of ntrader's lines."""
    milliseconds = {name: times["best"] * 1e3 for name, times in figures["seconds"].items()}
    return Findings(
        peer={
            **milliseconds,
            "history": figures["history"] * 1e3,
            "bulk, runs/s": figures["runs_per_second"],
            "bytes on disk per run, indexes included": figures["bytes_per_run"],
        },
        notes=[f"MLflow {figures['version']} had {figures['runs']:,} runs, saved one by one."],
        details={"mlflow": figures},
    )
