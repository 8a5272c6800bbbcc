"""Pauses between attempts."""

import random
import time
from collections.abc import Iterator

FIRST_SECONDS = 0.02
LONGEST_SECONDS = 1.0


def backoff(seconds: float) -> Iterator[float]:
    """Yield how long to pause before each further attempt, until `seconds` have passed.

    The time counts from the first pause. The pauses double from 20 ms up to a second; each is
    shortened at random by up to a half, so that those who lost one server together do not all
    come back together.
    """
    end = time.monotonic() + seconds
    pause = FIRST_SECONDS
    while (left := end - time.monotonic()) > 0:
        yield min(pause * random.uniform(0.5, 1), left)  # noqa: S311 - nothing secret
        pause = min(2 * pause, LONGEST_SECONDS)
