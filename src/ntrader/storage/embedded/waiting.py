"""Waiting for what other processes do, within a limit."""

import time
from collections.abc import Callable

_POLL_SECONDS = 0.002


def wait_until(settled: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again, for `seconds` at most; return whether it came about."""
    deadline = time.monotonic() + seconds
    while not settled():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
