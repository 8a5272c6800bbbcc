"""The parts of the benchmarks, each in turn; one that fails does not take the others with it."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import commands, peer, run_overhead, store
from .extent import Extent
from .findings import Finding, Findings, to_json
from .machine import ROOT, commit, load, machine, versions

SERVICE_ROUNDS = 2
WHEN = ("at rest", "a backtest in each slot", "uploads and comparisons besides")
BARE = "bare FastAPI route, one query"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where is measured, how much, and the Python that has MLflow, if any.

    `home` is the filled stores', which may be kept; `scratch` is a user's, who begins with nothing.
    """

    home: Path
    scratch: Path
    extent: Extent
    peer: str | None


def _store(bench: Bench) -> Findings:
    return asyncio.run(store.measure(bench.home, bench.extent))


def _commands(bench: Bench) -> Findings:
    extent = bench.extent
    timings = commands.measure(
        bench.scratch,
        runs=extent.listed,
        rounds=extent.command_rounds,
        server_starts=extent.server_starts,
    )
    return commands.found_in(timings)


def _run(bench: Bench) -> Findings:
    extent, home = bench.extent, bench.scratch
    found = Findings()
    for bars in extent.bars:
        rounds, starts = extent.run_rounds, extent.server_starts
        found.add(run_overhead.measure(home, bars=bars, rounds=rounds, server_starts=starts))
    return found


def _service(bench: Bench) -> Findings:
    if shutil.which("wrk") is None:
        return Findings(notes=["The service was not measured: wrk is not installed."])
    extent = bench.extent
    options = {
        "--runs": extent.service_runs,
        "--seconds": extent.service_seconds,
        "--rounds": SERVICE_ROUNDS,
    }
    command = [sys.executable, "-m", "tests.benchmarks.service_load"]
    words = [str(word) for option in options.items() for word in option]
    done = subprocess.run(
        [*command, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    # Below each table for people there is a line for programs.
    rates = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return _served(dict(zip(WHEN, rates, strict=False)), extent.service_runs)


def _served(rates: Mapping[str, dict[str, float]], runs: int) -> Findings:
    """Return how many times as many requests the bare route answers."""
    lines: list[Finding] = []
    for when, by_address in rates.items():
        part = f"the service, {runs:,} runs, {when} (floor: {BARE})"
        floor = by_address[BARE]
        lines += [
            Finding(part, name, "requests/s", rate, floor, floor / rate if rate else None)
            for name, rate in by_address.items()
            if name != BARE
        ]
    return Findings(lines, details={"service": rates})


def _peer(bench: Bench) -> Findings:
    if bench.peer is None:
        return Findings(notes=["MLflow was not measured: no Python that has it was given."])
    return asyncio.run(peer.measure(bench.peer, bench.home, bench.extent))


PARTS: dict[str, Callable[[Bench], Findings]] = {
    "store": _store,
    "commands": _commands,
    "run": _run,
    "service": _service,
    "peer": _peer,
}


def measure(
    home: Path, extent: Extent, *, only: Collection[str] = tuple(PARTS), peer: str | None = None
) -> tuple[list[Finding], dict[str, Any]]:
    """Measure the parts in `only`; return the lines of the table, and the document of all."""
    found = Findings()
    failed: dict[str, str] = {}
    at, before = datetime.now(UTC), load()
    with TemporaryDirectory(prefix="scratch-", dir=home) as scratch:
        Path(scratch).chmod(0o711)  # root's server runs as another user
        bench = Bench(home, Path(scratch), extent, peer)
        for name in only:
            started = time.perf_counter()
            try:
                found.add(PARTS[name](bench))
            except Exception as error:  # the others are measured all the same
                traceback.print_exc()
                failed[name] = (str(error) or repr(error)).partition("\n")[0]
            print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)  # noqa: T201
    lines = found.beside_peer()
    server = found.details.pop("versions", {})
    return lines, {
        "at": at.isoformat(timespec="seconds"),
        "extent": extent.name,
        "machine": {**machine(), "load_before": before, "load_after": load()},
        "versions": {**versions(), **server},
        "commit": commit(),
        "notes": found.notes,
        "failed": failed,
        "lines": to_json(lines),
        "details": found.details,
    }
