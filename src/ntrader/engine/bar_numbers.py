"""Columns of numbers, a block at a time: what cannot be read, and what is known of the rest."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ntrader.engine import decimals
from ntrader.engine.bar_roles import PRICES, TICK_VOLUME
from ntrader.engine.bar_spools import NumberSpool
from ntrader.engine.bar_times import bad_rows
from ntrader.engine.bars import Fault
from ntrader.engine.instruments import MAX_PRECISION

_LEAST_PRICE_PRECISION = 2
_LONGEST_VALUE = 40
_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"
_THOUSANDS = r"^[+-]?\d{1,3},\d{3}$"


@dataclass(slots=True)
class NumberColumn:
    """What is known of a column after its blocks.

    `bad` are the first rows that hold no number, with what they hold. `highest` is the greatest
    number, `furthest` the one furthest from zero. `places` are the decimals that they need.
    """

    role: str
    bad: list[tuple[int, str]] = field(default_factory=list)
    highest: Decimal = Decimal("-Infinity")
    furthest: Decimal = Decimal(0)
    places: int = _LEAST_PRICE_PRECISION

    @property
    def is_zero(self) -> bool:
        """Whether every number is zero, as far as they are numbers."""
        return not self.bad and not self.furthest

    def read(self, column: pa.Array, above: int, limit: int) -> pa.Array | None:
        """Take the next block, below `above` rows, and return its decimals if all are numbers."""
        text = pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(""))
        written = text
        if self.role in PRICES and pc.any(pc.starts_with(text, "$")).as_py():
            text = pc.replace_substring_regex(text, r"^\$", "")
        rows = bad_rows(text, decimals.parse, limit - len(self.bad)) if self.bad else None
        if rows is None:
            try:
                return self._noted(decimals.parse(text))
            except pa.ArrowInvalid:
                rows = bad_rows(text, decimals.parse, limit)
        self.bad += [(above + row, written[row].as_py()) for row in rows]
        return None

    def _noted(self, numbers: pa.Array) -> pa.Array:
        bounds = pc.min_max(numbers).as_py()
        self.highest = max(self.highest, bounds["max"])
        self.furthest = max(self.furthest, bounds["max"].copy_abs(), bounds["min"].copy_abs())
        if self.role in PRICES:
            self.places = decimals.places(numbers, least=self.places, most=MAX_PRECISION)
        return numbers

    def has_decimal_commas(self) -> bool:
        """Say whether what cannot be read are numbers with a decimal comma."""
        values = [value for _, value in self.bad]
        return (
            bool(values)
            and all(re.match(_DECIMAL_COMMA, value) for value in values)
            and not all(re.match(_THOUSANDS, value) for value in values)
        )

    def faults(self) -> Iterator[Fault]:
        """Say of each bad row what is wrong with it."""
        for row, value in self.bad:
            told = "is out of range" if decimals.is_number(value) else "is not a number"
            shown = f"{self.role} {value[:_LONGEST_VALUE]!r} {told}"
            yield Fault(row, shown if value else f"{self.role} is empty")


class NumberColumns:
    """The columns of prices and volumes; the numbers themselves wait in a spool.

    Attributes:
        by_role: What is known of each column.
    """

    def __init__(self, *, limit: int, directory: Path | None) -> None:
        self.by_role: dict[str, NumberColumn] = {}
        self._limit = limit
        self._spool = NumberSpool(directory)
        self._rows = 0

    def read(self, block: Mapping[str, pa.Array]) -> None:
        """Take the next block of all columns."""
        above, self._rows = self._rows, self._rows + len(block["time"])
        read = {}
        for role in (*PRICES, "volume", TICK_VOLUME):
            if role not in block:
                continue
            known = self.by_role.setdefault(role, NumberColumn(role))
            if len(known.bad) < self._limit:
                read[role] = known.read(block[role], above, self._limit)
        # With a bad number there will be no second walk.
        if not any(known.bad for known in self.by_role.values() if known.role != TICK_VOLUME):
            self._spool.add({role: found for role, found in read.items() if found is not None})

    def blocks(self) -> Iterator[Mapping[str, pa.Array]]:
        """Yield the decimals of all roles without bad numbers, block by block."""
        return self._spool.blocks()

    def volume_role(self) -> tuple[str | None, bool]:
        """Return which column is the volume, and whether the ticks stand in for it."""
        if "volume" not in self.by_role:
            return None, False
        ticks = self.by_role.get(TICK_VOLUME)
        if ticks is None or not self.by_role["volume"].is_zero:
            return "volume", False
        stands_in = not ticks.bad and not ticks.is_zero
        return (TICK_VOLUME if stands_in else "volume"), stands_in

    def to_judge(self) -> list[NumberColumn]:
        """Return the columns whose bad numbers count, in order: ticks only without a volume."""
        judged = [known for role, known in self.by_role.items() if role != TICK_VOLUME]
        volume, ticks = self.by_role.get("volume"), self.by_role.get(TICK_VOLUME)
        if ticks is not None and volume is not None and volume.is_zero:
            judged.append(ticks)
        return judged

    def price_precision(self) -> int:
        """Return how many decimals the prices have, fewer where they are too large for them."""
        prices = [self.by_role[role] for role in PRICES]
        places = max(known.places for known in prices)
        return min(decimals.fitting(known.highest, places) for known in prices)
