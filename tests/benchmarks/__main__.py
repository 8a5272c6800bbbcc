"""All benchmarks of the store: what it is asked, what it is told, and what it takes on disk.

    uv run python -m tests.benchmarks [--runs 10000 100000 1000000] [--rounds 25] [--json FILE]
        [--peer ENVIRONMENT/bin/python]

Each store is filled by the product's bulk path, on an embedded server of its own. Beside it
stands the floor: plain asyncpg by hand, in turn, in the same process, on the same rows. With the
Python of an environment that has tests/benchmarks/peers/requirements.txt, MLflow does the same work
on the same server. The other benchmarks are modules of their own: `commands` and `run_overhead`.
"""
# ruff: noqa: T201

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from ntrader.domain.queries import Page
from ntrader.services.workspace import Workspace
from ntrader.storage.embedded import EmbeddedServer
from support.database import execute

from .filling import fill, multiply
from .measuring import Times, alternate
from .questions import LIMIT, Question, questions, sample
from .saving import measure_saving
from .timing import Subject, environment, ntrader, print_table, time_in_turn

SIZES = (10_000, 100_000, 1_000_000)
BYTES_AIM = 1_600
PEER = Path(__file__).parent / "peers" / "mlflow_runs.py"
TABLES = ("backtest_runs", "performance_metrics", "run_statistics")


async def measure_store(
    url: str, home: Path, *, runs: int, rounds: int, filled: int | None = None
) -> dict[str, Any]:
    """Fill an empty database and measure; with `filled`, the runs beyond so many are copies."""
    async with Workspace(home, database_url=url) as workspace:
        store = await workspace.store()
        copies = max(runs // filled - 1, 0) if filled else 0
        filling = await fill(store, runs // (copies + 1))
        connection = await asyncpg.connect(url)
        try:
            await multiply(connection, copies)
            await connection.execute("SET plan_cache_mode = force_custom_plan")
            await connection.execute("VACUUM ANALYZE")
            sizes = await table_sizes(connection, runs)
            about = await sample(connection)
            found = {}
            for question in questions(connection, workspace, store, about):
                await check_agreement(question)
                ways = {"floor": question.floor, "store": question.store}
                if question.service is not None:
                    ways["service"] = question.service
                found[question.name] = _row(await alternate(ways, rounds), question.aim)
            saving = await measure_saving(connection, store, rounds=rounds, bulk=min(runs, 5_000))
        finally:
            await connection.close()
    for name, times in saving.items():
        found[name] = _row(times, 2 if "runs" in name else 3 if "save" in name else None)
    return {
        "runs": runs,
        "filled_runs_per_second": round(filling.runs_per_second),
        "bytes_per_run": sizes,
        "seconds": found,
        "commands": measure_commands(url, home, rounds=min(rounds, 3)),
    }


async def check_agreement(question: Question) -> None:
    """Make sure that a list by hand is the product's; that has runs without the metric after it.

    Raises:
        RuntimeError: it is another.
    """
    by_hand, ours = await question.floor(), await question.store()
    if isinstance(ours, Page):
        expected = [row["run_id"] for row in by_hand[:LIMIT]]
        if [run.run_id for run in ours.items[: len(expected)]] != expected:
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
    row: dict[str, Any] = {
        way: {"median": each.median, "best": each.best} for way, each in times.items()
    }
    return {**row, "ratio": times["store"].best / times["floor"].best, "aim": aim}


def measure_commands(url: str, home: Path, *, rounds: int) -> dict[str, float]:
    """Return what whole commands take, as multiples of `python -c pass`."""
    subjects = [
        Subject("bare", [sys.executable, "-c", "pass"]),
        Subject("history", ntrader("history")),
        Subject("history --sort sharpe_ratio", ntrader("history", "--sort", "sharpe_ratio")),
        Subject("history --summary", ntrader("history", "--summary")),
        Subject("show @", ntrader("show", "@")),
    ]
    served = environment(NTRADER_HOME=str(home), DATABASE_URL=url)
    timings = time_in_turn(subjects, served, rounds=rounds)
    bare = min(timings.pop("bare").wall)
    return {name: round(min(timing.wall) / bare, 1) for name, timing in timings.items()}


def measure_peer(python: str, url: str, *, runs: int, rounds: int) -> dict[str, Any]:
    """Return what MLflow takes, as its script says."""
    command = [python, str(PEER), url, "--runs", str(runs), "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the peer failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(
    home: Path,
    *,
    sizes: list[int],
    rounds: int,
    filled: int | None = None,
    peer: str | None = None,
    peer_runs: int = 10_000,
) -> dict[str, Any]:
    """Measure stores of all sizes on one server."""
    stores, beside = [], None
    with EmbeddedServer(home) as address:
        for runs in sizes:
            url = _new_database(address.dsn, f"bench_{runs}")
            store = measure_store(url, home, runs=runs, rounds=rounds, filled=filled)
            stores.append(asyncio.run(store))
            print_store(stores[-1], stores[0])
        if peer is not None:
            url = _new_database(address.dsn, "bench_mlflow")
            beside = measure_peer(peer, url, runs=peer_runs, rounds=rounds)
            print_peer(beside, stores[0])
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "rounds": rounds,
        "stores": stores,
        "mlflow": beside,
    }


def _new_database(dsn: str, name: str) -> str:
    asyncio.run(execute(dsn, f"CREATE DATABASE {name}"))
    return dsn.replace("/ntrader?", f"/{name}?")


def print_store(store: dict[str, Any], smallest: dict[str, Any]) -> None:
    """Print one store's table: ratios are of the least disturbed rounds."""
    print(
        f"\n{store['runs']:,} runs, filled at {store['filled_runs_per_second']:,} runs/s,"
        f" {store['bytes_per_run']['all']:,.0f} bytes a run (aim {BYTES_AIM:,})"
    )
    rows = []
    for name, row in store["seconds"].items():
        before = smallest["seconds"].get(name)
        growth = "" if before is None else f"{row['store']['best'] / before['store']['best']:.1f}"
        service = f"{row['service']['best'] * 1e3:.2f}" if "service" in row else ""
        floor, ours = (f"{row[way]['best'] * 1e3:.2f}" for way in ("floor", "store"))
        rows.append((name, floor, ours, service, f"{row['ratio']:.1f}", row["aim"] or "", growth))
    print_table(("", "floor ms", "store ms", "service ms", "x floor", "aim", "growth"), rows)
    for name, multiple in store["commands"].items():
        print(f"ntrader {name}: {multiple} times `python -c pass`")


def print_peer(peer: dict[str, Any], store: dict[str, Any]) -> None:
    """Print MLflow beside the store that is nearest in size, the smallest."""
    print(
        f"\nMLflow, {peer['runs']:,} runs: {peer['runs_per_second']:.0f} runs/s one by one,"
        f" {peer['bytes_per_run']:,.0f} bytes a run"
    )
    rows = []
    for name, times in peer["seconds"].items():
        ours = store["seconds"].get(name)
        if ours is not None:
            best = ours["store"]["best"]
            cells = (f"{times['best'] * 1e3:.2f}", f"{best * 1e3:.2f}")
            rows.append((name, *cells, f"{times['best'] / best:.0f}"))
    print_table(("", "MLflow ms", "ntrader ms", "times as fast"), rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=list(SIZES), metavar="COUNT")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument(
        "--fill", type=int, metavar="COUNT", help="make up so many, and copy them for larger stores"
    )
    parser.add_argument("--peer", metavar="PYTHON", help="a Python that has MLflow")
    parser.add_argument("--peer-runs", type=int, default=10_000)
    parser.add_argument("--directory", type=Path, help="where the server keeps its data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ntrader-benchmark-", dir=given.directory) as home:
        Path(home).chmod(0o711)  # root's server runs as another user
        figures = measure(
            Path(home),
            sizes=given.runs,
            rounds=given.rounds,
            filled=given.fill,
            peer=given.peer,
            peer_runs=given.peer_runs,
        )
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
