"""Timeframes: how long a bar lasts."""

import re
from dataclasses import dataclass
from typing import Self

from ntrader.errors import UsageError

_PATTERN = re.compile(r"([1-9][0-9]*)([mhdw])")
# Steps that divide the next larger unit, so that bars never straddle it.
_STEPS = {
    "m": (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30),
    "h": (1, 2, 3, 4, 6, 8, 12),
    "d": (1,),
    "w": (1,),
}
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Timeframe:
    """The length of a bar: a step and a unit (`m`inute, `h`our, `d`ay, `w`eek)."""

    step: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1d`, `15m`, `4h` or `1w`.

        Raises:
            UsageError: `text` is not a timeframe that ntrader runs.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None or int(match[1]) not in _STEPS[match[2]]:
            allowed = "; ".join(
                ", ".join(f"{step}{unit}" for step in steps) for unit, steps in _STEPS.items()
            )
            raise UsageError(f"{text!r} is not a timeframe.", hint=f"Use one of {allowed}.")
        return cls(int(match[1]), match[2])

    @property
    def seconds(self) -> int:
        """The length of a bar in seconds."""
        return self.step * _SECONDS[self.unit]

    @property
    def nanoseconds(self) -> int:
        """The length of a bar in nanoseconds."""
        return self.seconds * 1_000_000_000

    def __str__(self) -> str:
        return f"{self.step}{self.unit}"
