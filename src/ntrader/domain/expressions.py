"""Expressions over runs: what `history --where` takes.

    expression  = conjunction, { "or", conjunction } ;
    conjunction = negation, { "and", negation } ;
    negation    = "not", negation | "(", expression, ")" | test ;
    test        = field, ( operator, value
                         | [ "not" ], "in", "(", value, { ",", value }, ")"
                         | "is", [ "not" ], "null" ) ;
    operator    = "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ;
    value       = number, [ "%" ] | date | id | text | word | "true" | "false" ;
    field       = word, { ".", ( word | text ) } ;

A text stands in single or double quotes, a quote within it twice. A comparison with a value that is
not there is neither true nor false, as in SQL, so that `not` does not find it either: `is null`
does. A text that is a number counts as one, but where `=`, `!=` or `in` ask for a parameter, which
keeps its type. `str` of an expression is its one spelling, which reads back as the same expression.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from types import MappingProxyType

from ntrader.domain.identity import decimal_text, instant_text
from ntrader.domain.results import METRICS
from ntrader.domain.runs import RunMode, RunStatus

type Value = Decimal | datetime | bool | str


class Kind(Enum):
    """What a field holds."""

    NUMBER = "a number"
    INSTANT = "a date"
    TEXT = "a text"
    STATUS = "a status"
    MODE = "a mode"
    RUN = "the id of a run"
    TAG = "a tag"
    JSON = "any value"


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or with a `path` a value within a JSON document: `config` or `metadata`."""

    name: str
    kind: Kind
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.name, *map(_key_text, self.path)))


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`; the operator is one of = != < <= > >=."""

    field: Field
    operator: str
    value: Value

    def __str__(self) -> str:
        return f"{self.field} {self.operator} {_value_text(self.value)}"


@dataclass(frozen=True, slots=True)
class Membership:
    """`field in (values)`."""

    field: Field
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.field} in ({', '.join(map(_value_text, self.values))})"


@dataclass(frozen=True, slots=True)
class IsNull:
    """`field is null`: a run has no such value."""

    field: Field

    def __str__(self) -> str:
        return f"{self.field} is null"


@dataclass(frozen=True, slots=True)
class Not:
    """`not operand`."""

    operand: "Expression"

    def __str__(self) -> str:
        return f"not {_grouped(self.operand, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """All operands hold."""

    operands: "tuple[Expression, ...]"

    def __str__(self) -> str:
        return " and ".join(_grouped(operand, And, Or) for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one operand holds."""

    operands: "tuple[Expression, ...]"

    def __str__(self) -> str:
        return " or ".join(_grouped(operand, Or) for operand in self.operands)


type Expression = Comparison | Membership | IsNull | Not | And | Or

FIELDS = MappingProxyType(
    {
        **dict.fromkeys(METRICS, Kind.NUMBER),
        "max_drawdown_at": Kind.INSTANT,
        "strategy": Kind.TEXT,
        "type": Kind.TEXT,
        "symbol": Kind.TEXT,
        "timeframe": Kind.TEXT,
        "data_source": Kind.TEXT,
        "fingerprint": Kind.TEXT,
        "result_digest": Kind.TEXT,
        "error": Kind.TEXT,
        "note": Kind.TEXT,
        "tag": Kind.TAG,
        "status": Kind.STATUS,
        "mode": Kind.MODE,
        "reproduced_from": Kind.RUN,
        "created_at": Kind.INSTANT,
        "start": Kind.INSTANT,
        "end": Kind.INSTANT,
        "initial_capital": Kind.NUMBER,
        "duration_seconds": Kind.NUMBER,
    }
)
"""The fields that are columns."""

DOCUMENTS = MappingProxyType(
    {"config": (), "parameters": ("strategy", "parameters"), "metadata": ()}
)
"""The documents that a path may begin with; `parameters` is a part of `config`."""

CHOICES = MappingProxyType({Kind.STATUS: tuple(RunStatus), Kind.MODE: tuple(RunMode)})


def fields_of(expression: Expression) -> Iterator[Field]:
    """Give every field that an expression asks for."""
    match expression:
        case Comparison() | Membership() | IsNull():
            yield expression.field
        case Not():
            yield from fields_of(expression.operand)
        case And() | Or():
            for operand in expression.operands:
                yield from fields_of(operand)


def _grouped(operand: Expression, *looser: type[Expression]) -> str:
    """Return an operand, within parentheses only where it is one of the `looser` ones.

    One pair too many, and what may be as deep as can be read could not be read back.
    """
    return f"({operand})" if isinstance(operand, looser) else str(operand)


def _value_text(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return decimal_text(value)
        case datetime():
            return instant_text(value)
    return _quoted(value)


def _key_text(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else _quoted(key)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
