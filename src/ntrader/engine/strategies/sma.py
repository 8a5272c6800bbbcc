"""SMA crossover."""

from __future__ import annotations

from collections import deque
from math import fsum
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from ntrader.domain.strategies import BUILT_IN_ALIASES, StrategyType
from ntrader.engine.strategies.base import LongFlatStrategy, StrategyParameters

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar

# Without it, float ties decide crossings: two engines then differ by 0.6% of final equity.
_TOLERANCE = 1e-6


class SmaParameters(StrategyParameters):
    """Periods of the two averages."""

    fast_period: int = Field(10, ge=1, le=10_000, description="Bars in the fast average")
    slow_period: int = Field(20, ge=2, le=10_000, description="Bars in the slow average")

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast_period >= self.slow_period:
            raise ValueError("fast_period must be below slow_period")
        return self


class RollingMean:
    """The mean of the last `period` values; None until there are that many."""

    def __init__(self, period: int) -> None:
        self._period = period
        self._window: deque[float] = deque()
        self._sum = 0.0
        self._dropped = 0

    def update(self, value: float) -> float | None:
        """Add `value` and return the mean."""
        window, period = self._window, self._period
        window.append(value)
        self._sum += value
        if len(window) > period:
            self._sum -= window.popleft()
            self._dropped += 1
            if self._dropped == period:
                # A running sum drifts without end, and keeps the rounding of a price long gone.
                self._sum = fsum(window)
                self._dropped = 0
        return self._sum / period if len(window) == period else None


class SmaCrossover(LongFlatStrategy[SmaParameters]):
    """Long while the fast moving average of the close is above the slow one."""

    name = "sma"
    aliases = BUILT_IN_ALIASES["sma"]
    version = "1.0.0"
    strategy_type = StrategyType.TREND_FOLLOWING
    Parameters = SmaParameters

    def prepare(self) -> None:
        """Start both averages empty."""
        self._fast = RollingMean(self.parameters.fast_period)
        self._slow = RollingMean(self.parameters.slow_period)
        self._was_above: bool | None = None

    def on_bar(self, bar: Bar) -> None:
        """Enter when the fast average crosses above the slow one, exit when it crosses back."""
        close = float(bar.close)
        fast = self._fast.update(close)
        slow = self._slow.update(close)
        if fast is None or slow is None:
            return
        above = fast > slow + _TOLERANCE
        # The first comparison is no crossing: there was nothing to cross from.
        if self._was_above is not None and above != self._was_above:
            if above:
                self.enter()
            else:
                self.exit()
        self._was_above = above
