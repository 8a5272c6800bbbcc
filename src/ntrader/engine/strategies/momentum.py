"""Momentum."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pydantic import Field

from ntrader.domain.strategies import BUILT_IN_ALIASES, StrategyType
from ntrader.engine.strategies.base import LongFlatStrategy, StrategyParameters

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar


class MomentumParameters(StrategyParameters):
    """How far to look back, how strong a move must be, and how long to hold at least."""

    lookback_period: int = Field(20, ge=1, le=10_000, description="Bars of the rate of change")
    momentum_threshold: float = Field(
        0.05, gt=-1, le=10, description="Enter above this rate of change (0.05 is 5%)"
    )
    holding_period: int = Field(5, ge=1, le=10_000, description="Bars to hold at least")


class Momentum(LongFlatStrategy[MomentumParameters]):
    """Buys a strong rise and holds it while it lasts, for some bars at least."""

    name = "momentum"
    aliases = BUILT_IN_ALIASES["momentum"]
    version = "1.0.0"
    strategy_type = StrategyType.MOMENTUM
    Parameters = MomentumParameters

    def prepare(self) -> None:
        """Start without history."""
        self._closes: deque[float] = deque(maxlen=self.parameters.lookback_period + 1)
        self._bars_held = 0

    def on_bar(self, bar: Bar) -> None:
        """Enter above the threshold; after the holding period, exit when no longer above it."""
        close = float(bar.close)
        self._closes.append(close)
        self._bars_held += 1
        if len(self._closes) <= self.parameters.lookback_period:
            return
        rate_of_change = close / self._closes[0] - 1.0
        strong = rate_of_change > self.parameters.momentum_threshold
        if not self.is_long and strong:
            self._bars_held = 0
            self.enter()
        elif self.is_long and not strong and self._bars_held >= self.parameters.holding_period:
            self.exit()
