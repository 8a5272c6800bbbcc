"""RSI mean reversion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from ntrader.domain.strategies import BUILT_IN_ALIASES, StrategyType
from ntrader.engine.strategies.base import LongFlatStrategy, StrategyParameters

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar


class RsiParameters(StrategyParameters):
    """Period of the index, and where it counts as oversold and overbought."""

    rsi_period: int = Field(14, ge=2, le=10_000, description="Bars in the index")
    oversold_threshold: float = Field(30.0, gt=0, lt=100, description="Enter below this RSI")
    overbought_threshold: float = Field(70.0, gt=0, lt=100, description="Exit above this RSI")

    @model_validator(mode="after")
    def _thresholds_are_ordered(self) -> Self:
        if self.oversold_threshold >= self.overbought_threshold:
            raise ValueError("oversold_threshold must be below overbought_threshold")
        return self


class WilderRsi:
    """The relative strength index with Wilder's smoothing; None until it exists.

    The first averages are the plain means of the first `period` gains and losses; each later one
    is (previous x (period - 1) + change) / period. RSI = 100 x gain / (gain + loss), and 50 where
    nothing has moved at all. Source: J. Welles Wilder, New Concepts in Technical Trading Systems
    (1978), section VI.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._previous: float | None = None
        self._changes = 0
        self._gain = 0.0
        self._loss = 0.0

    def update(self, close: float) -> float | None:
        """Add a close and return the index, between 0 and 100."""
        previous, self._previous = self._previous, close
        if previous is None:
            return None
        change = close - previous
        gain, loss = max(change, 0.0), max(-change, 0.0)
        self._changes += 1
        if self._changes <= self._period:
            self._gain += gain / self._period
            self._loss += loss / self._period
            if self._changes < self._period:
                return None
        else:
            self._gain += (gain - self._gain) / self._period
            self._loss += (loss - self._loss) / self._period
        total = self._gain + self._loss
        return 100.0 * self._gain / total if total > 0 else 50.0


class RsiMeanReversion(LongFlatStrategy[RsiParameters]):
    """Buys when the RSI says oversold, sells when it says overbought."""

    name = "rsi"
    aliases = BUILT_IN_ALIASES["rsi"]
    version = "1.0.0"
    strategy_type = StrategyType.MEAN_REVERSION
    Parameters = RsiParameters

    def prepare(self) -> None:
        """Start the index empty."""
        self._rsi = WilderRsi(self.parameters.rsi_period)

    def on_bar(self, bar: Bar) -> None:
        """Enter below the oversold threshold, exit above the overbought one."""
        rsi = self._rsi.update(float(bar.close))
        if rsi is None:
            return
        if rsi < self.parameters.oversold_threshold:
            self.enter()
        elif rsi > self.parameters.overbought_threshold:
            self.exit()
