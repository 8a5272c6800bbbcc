"""Expressions in any spelling that means the same, made up with a seed."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from support.list_oracle import PARAMETERS, Absent, Asked, Compare, Every, Name, No, OneOf, Some

_ALIASES = {
    "sma": ("sma", "sma_crossover", "'SMA'", '"Sma Crossover"', "sma-crossover"),
    "rsi": ("rsi", "RSI", "'rsi_mean_reversion'", "RSI-Mean-Reversion"),
}
_KEYWORDS = {"and", "or", "not", "in", "is", "null", "true", "false"}


class Speller:
    """Writes expressions down, each time in another of the spellings that mean the same."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def expression(self, asked: Asked) -> str:
        match asked:
            case Some(operands):
                text = self._word("or").join(map(self._operand_of_or, operands))
            case Every(operands):
                text = self._word("and").join(map(self._operand_of_and, operands))
            case No(OneOf(name, values)) if self._chance.random() < 0.5:
                text = f"{self.field(name)}{self._word('not')}{self._in(name, values)}"
            case No(Absent(name)) if self._chance.random() < 0.5:
                text = f"{self.field(name)}{self._word('is')}{self._word('not')}{self._null()}"
            case No(operand):
                text = f"{self._case('not')} {self._operand_of_and(operand)}"
            case OneOf(name, values):
                text = f"{self.field(name)} {self._in(name, values)}"
            case Absent(name):
                text = f"{self.field(name)}{self._word('is')}{self._null()}"
            case Compare(name, sign, value):
                text = self._comparison(name, sign, value)
        return f"({text})" if self._chance.random() < 0.1 else text

    def _operand_of_or(self, asked: Asked) -> str:
        text = self.expression(asked)
        return f"({text})" if isinstance(asked, Some) else text

    def _operand_of_and(self, asked: Asked) -> str:
        text = self.expression(asked)
        return f"( {text})" if isinstance(asked, Some | Every) else text

    def _comparison(self, name: Name, sign: str, value: Any) -> str:
        shown = self._chance.choice({"=": ("=", "=="), "!=": ("!=", "<>")}.get(sign, (sign,)))
        space = self._space() if self._chance.random() < 0.7 else ""
        return f"{self.field(name)}{space}{shown}{space}{self.value(name, value)}"

    def _in(self, name: Name, values: Sequence[Any]) -> str:
        shown = self._chance.choice((",", ", ", " , ")).join(self.value(name, v) for v in values)
        return f"{self._case('in')} ({shown})"

    def _word(self, word: str) -> str:
        return f"{self._space()}{self._case(word)}{self._space()}"

    def _case(self, word: str) -> str:
        return self._chance.choice((word, word, word.upper(), word.capitalize()))

    def _null(self) -> str:
        return self._case("null")

    def _space(self) -> str:
        return self._chance.choice((" ", " ", "  ", "\n", "\t"))

    def field(self, name: Name) -> str:
        first, path = name.name, name.path
        if path[:2] == PARAMETERS and len(path) > 2 and self._chance.random() < 0.7:
            first, path = "parameters", path[2:]
        return ".".join((first, *map(self._key, path)))

    def _key(self, key: str) -> str:
        if re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) and self._chance.random() < 0.7:
            return key
        return self._quoted(key)

    def value(self, name: Name, value: Any) -> str:
        match value:
            case bool():
                return self._case(str(value).lower())
            case Decimal():
                return self._number(value)
            case datetime():
                return self._instant(value, quotable=not name.path)
            case UUID():
                return self._chance.choice((str(value), str(value).upper(), f"'{value}'"))
        if name.name == "strategy" and value in _ALIASES:
            return self._chance.choice(_ALIASES[value])
        return self._text(value)

    def _text(self, value: str) -> str:
        plain = re.fullmatch(r"[a-z_]\w*(-\w+)*", value, re.ASCII | re.IGNORECASE)
        # A word cannot begin with an underscore.
        if plain and value[0] != "_" and value.lower() not in _KEYWORDS:
            return self._chance.choice((value, self._quoted(value)))
        return self._quoted(value)

    def _quoted(self, text: str) -> str:
        quote = self._chance.choice("'\"")
        return quote + text.replace(quote, quote * 2) + quote

    def _number(self, value: Decimal) -> str:
        plain = f"{value:f}"
        spellings = [plain, plain, f"{value:e}", f"{value:E}", f"{value.scaleb(2):f}%"]
        if value >= 0:
            spellings.append(f"+{plain}")
        if value == value.to_integral_value():
            spellings += [f"{int(value):_}", f"{int(value)}.", f"{int(value)}.0"]
        if plain.startswith("0."):
            spellings.append(plain[1:])
        return self._chance.choice(spellings)

    def _instant(self, value: datetime, *, quotable: bool) -> str:
        zone = timezone(timedelta(hours=self._chance.choice((-8, 2, 5)), minutes=30))
        spellings = [
            f"{value:%Y-%m-%dT%H:%M:%S.%f}Z",
            f"{value:%Y-%m-%dT%H:%M:%S.%f}",
            value.astimezone(zone).isoformat(),
        ]
        if value.microsecond == 0:
            spellings.append(f"{value:%Y-%m-%dT%H:%M:%S}Z")
        if (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0):
            spellings += [f"{value:%Y-%m-%d}"] * 3
        shown = self._chance.choice(spellings)
        return self._quoted(shown) if quotable and self._chance.random() < 0.3 else shown
