"""Timing whole processes, in turn, so that noise of the machine hits all of them alike."""
# ruff: noqa: T201

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Subject:
    """A command line to time."""

    name: str
    command: Sequence[str]


@dataclass(slots=True)
class Timing:
    """What the rounds of one subject took; `cpu` is user and system time of its own process."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    output: str = ""

    @property
    def median(self) -> float:
        return median(self.wall)

    @property
    def median_cpu(self) -> float:
        return median(self.cpu)


def ntrader(*arguments: str) -> list[str]:
    """Return the command line of the installed command."""
    return [str(Path(sys.executable).with_name("ntrader")), *arguments]


def environment(**variables: str) -> dict[str, str]:
    """Return this environment, with compiled modules kept and without settings of ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NTRADER_", "PG")) and name != "DATABASE_URL"
    }
    # Source without .pyc costs 5 ms for 1,000 lines at every start.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, **variables}


def run(command: Sequence[str], env: Mapping[str, str]) -> tuple[float, float, str]:
    """Run a process; return its wall time, its CPU time (both in seconds) and its stdout.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode != 0:
            errors.seek(0)
            raise RuntimeError(
                f"{' '.join(command)} gave {process.returncode}:\n{errors.read()}{output.read()}"
            )
        return wall, usage.ru_utime + usage.ru_stime, output.read()


def time_in_turn(
    subjects: Sequence[Subject], env: Mapping[str, str], *, rounds: int
) -> dict[str, Timing]:
    """Run every subject `rounds` times, one after the other; more than once, after a warming up."""
    timings = {subject.name: Timing() for subject in subjects}
    warm_up = 1 if rounds > 1 else 0
    for round_ in range(warm_up + rounds):
        for subject in subjects:
            wall, cpu, output = run(subject.command, env)
            timing = timings[subject.name]
            timing.output = output
            if round_ >= warm_up:
                timing.wall.append(wall)
                timing.cpu.append(cpu)
    return timings


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under a header; the first column is text, the others are numbers."""
    cells = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        numbers = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        print(f"{first:<{widths[0]}}", *numbers, sep="  ")
