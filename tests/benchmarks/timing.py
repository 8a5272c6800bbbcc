"""Timing whole processes, in turn, so that noise of the machine hits all of them alike."""
# ruff: noqa: T201

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

# Linux counts the peak in KiB, macOS in bytes.
_PEAK_PER_MIB = 1_024 if sys.platform != "darwin" else 1_048_576


@dataclass(frozen=True, slots=True)
class Subject:
    """A command line to time, with what it has in its environment besides what all have."""

    name: str
    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Timing:
    """What the rounds of one subject took: seconds, and MiB of memory at its peak.

    `cpu` is user and system time of the subject's own process.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    output: str = ""

    @property
    def median(self) -> float:
        return median(self.wall)

    @property
    def median_cpu(self) -> float:
        return median(self.cpu)

    @property
    def median_peak(self) -> float:
        return median(self.peaks)


@dataclass(frozen=True, slots=True)
class Done:
    """A process that ended well: seconds, MiB of memory at its peak, and what it printed."""

    wall: float
    cpu: float
    peak: float
    output: str


def unwind_when_terminated() -> None:
    """Have servers stopped and directories removed when this process is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


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


def run(command: Sequence[str], env: Mapping[str, str]) -> Done:
    """Run a process.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=output, stderr=errors)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode != 0:
            errors.seek(0)
            raise RuntimeError(
                f"{' '.join(command)} gave {process.returncode}:\n{errors.read()}{output.read()}"
            )
        cpu = usage.ru_utime + usage.ru_stime
        return Done(wall, cpu, usage.ru_maxrss / _PEAK_PER_MIB, output.read())


def time_in_turn(
    subjects: Sequence[Subject], env: Mapping[str, str], *, rounds: int
) -> dict[str, Timing]:
    """Run every subject `rounds` times, one after the other; more than once, after a warming up."""
    timings = {subject.name: Timing() for subject in subjects}
    warm_up = 1 if rounds > 1 else 0
    for round_ in range(warm_up + rounds):
        for subject in subjects:
            done = run(subject.command, {**env, **subject.variables})
            timing = timings[subject.name]
            timing.output = done.output
            if round_ >= warm_up:
                timing.wall.append(done.wall)
                timing.cpu.append(done.cpu)
                timing.peaks.append(done.peak)
    return timings


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under a header; the first column is text, the others are numbers."""
    cells = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        numbers = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        print(f"{first:<{widths[0]}}", *numbers, sep="  ")
