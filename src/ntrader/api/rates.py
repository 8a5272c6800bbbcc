"""How often somebody may ask: a bucket of tokens for each, in this process.

A service of several processes would let through as many times more: each counts for itself. That
keeps the database out of every request, and a limit is there to stop what runs wild, not to bill.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60
_MOST_BUCKETS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Where somebody stands: of `limit` a minute, `remaining` now, all again in `reset_seconds`.

    `retry_seconds` is 0 where the request may pass.
    """

    limit: int
    remaining: int
    reset_seconds: int
    retry_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of it (draft-ietf-httpapi-ratelimit-headers, with one window)."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
            "RateLimit-Policy": f"{self.limit};w={WINDOW_SECONDS}",
        }


class RateLimiter:
    """Lets each pass `per_minute` times at once, and then as often as that comes to.

    The buckets of those who have not been seen for longest are forgotten when there are too many.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._per_second = per_minute / WINDOW_SECONDS
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> Rate:
        """Take a token out of somebody's bucket, if there is one."""
        tokens = self._tokens(who)
        passes = tokens >= 1
        return self._put(who, tokens - 1 if passes else tokens, passes=passes)

    def peek(self, who: str) -> Rate:
        """Return whether somebody may pass, without a token being taken."""
        tokens = self._tokens(who)
        return self._rate(tokens, passes=tokens >= 1)

    def _tokens(self, who: str) -> float:
        tokens, at = self._buckets.get(who, (float(self._limit), self._clock()))
        return min(self._limit, tokens + (self._clock() - at) * self._per_second)

    def _put(self, who: str, tokens: float, *, passes: bool) -> Rate:
        self._buckets[who] = (tokens, self._clock())
        self._buckets.move_to_end(who)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return self._rate(tokens, passes=passes)

    def _rate(self, tokens: float, *, passes: bool) -> Rate:
        return Rate(
            limit=self._limit,
            remaining=int(tokens),
            reset_seconds=math.ceil((self._limit - tokens) / self._per_second),
            retry_seconds=0 if passes else max(1, math.ceil((1 - tokens) / self._per_second)),
        )
