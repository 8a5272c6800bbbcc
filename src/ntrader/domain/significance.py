"""Significance: whether two runs differ by more than chance; the method: `specs/comparison.md`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate of a difference (second run minus first), and how far it can be trusted.

    `years` is the time that the data cover, `years_needed` how much would show this difference in
    four samples of five; None where the estimate is 0.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    block_length: int
    years: float
    years_needed: float | None

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Significance:
    """Whether two runs differ by more than chance.

    `returns` is how many common daily returns there are. An interval is None where it is
    undefined, with the reason in `undefined`.
    """

    returns: int
    seed: int
    confidence: float
    resamples: int
    mean_daily_return: Interval | None = None
    sharpe_ratio: Interval | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def unavailable(cls, reason: str, *, seed: int) -> Self:
        """Return that nothing can be said, and why."""
        return cls(
            returns=0,
            seed=seed,
            confidence=0.95,
            resamples=0,
            undefined=dict.fromkeys(("mean_daily_return", "sharpe_ratio"), reason),
        )
