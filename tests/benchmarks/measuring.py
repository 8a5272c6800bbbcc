"""Measuring in one process: the ways of doing one thing take turns; noise hits all alike."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

FEWEST = 3
PATIENCE_SECONDS = 20.0

type Ask = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: of the middle round, and of the one that other work disturbed least."""

    median: float
    best: float


async def alternate(
    ways: Mapping[str, Ask], rounds: int, *, patience: float = PATIENCE_SECONDS
) -> dict[str, Times]:
    """Return what each way takes over `rounds`, after one that is not counted.

    What takes long is asked less often: no more once `patience` (seconds) is over, but `FEWEST`
    times at least.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    end = time.perf_counter() + patience
    for round_ in range(rounds + 1):
        if round_ > FEWEST and time.perf_counter() > end:
            break
        for name, ask in ways.items():
            started = time.perf_counter()
            await ask()
            if round_:
                taken[name].append(time.perf_counter() - started)
    return {name: Times(median(values), min(values)) for name, values in taken.items()}
