"""How much is measured: for a look, or for the record."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extent:
    """Sizes and rounds.

    `listed` runs are what the commands list, and `bars` the lengths of the backtests.
    `server_starts` are the rounds of commands that start and stop the embedded server themselves.
    """

    name: str
    runs: tuple[int, ...]
    rounds: int
    listed: int
    command_rounds: int
    server_starts: int
    bars: tuple[int, ...]
    run_rounds: int
    service_runs: int
    service_seconds: int
    peer_runs: int


TINY = Extent(
    name="tiny",
    runs=(30, 60),
    rounds=1,
    listed=2,
    command_rounds=1,
    server_starts=0,
    bars=(2_000,),
    run_rounds=1,
    service_runs=30,
    service_seconds=1,
    peer_runs=20,
)
"""To keep the benchmarks alive; its figures say nothing."""

QUICK = Extent(
    name="quick",
    runs=(1_000, 10_000),
    rounds=5,
    listed=3,
    command_rounds=3,
    server_starts=1,
    bars=(3_000,),
    run_rounds=3,
    service_runs=1_000,
    service_seconds=2,
    peer_runs=200,
)
"""To see what a change does."""

FULL = Extent(
    name="full",
    runs=(10_000, 100_000, 1_000_000),
    rounds=25,
    listed=20,
    command_rounds=11,
    server_starts=3,
    bars=(3_000, 100_000),
    run_rounds=5,
    service_runs=20_000,
    service_seconds=4,
    peer_runs=10_000,
)
"""For the record, on a quiet machine: about 20 minutes, and as many to fill the stores once."""
