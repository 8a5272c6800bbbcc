"""Measuring in one process: the ways of doing one thing take turns, so that noise hits all alike."""

import time
from collections.abc import Mapping
from statistics import median

from .questions import Ask


async def in_turn(ways: Mapping[str, Ask], *, rounds: int) -> dict[str, float]:
    """Return the median seconds of each way over `rounds`, after one that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, ask in ways.items():
            started = time.perf_counter()
            await ask()
            if round_:
                taken[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in taken.items()}
