"""Reading expressions. The grammar is in `ntrader.domain.expressions`.

A parser by hand of one function for each rule: a caret under the very character, no dependency, and
nothing to load for commands that take no expression.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal
from difflib import get_close_matches
from typing import Never
from uuid import UUID

from ntrader.domain.expressions import (
    CHOICES,
    DOCUMENTS,
    FIELDS,
    And,
    Comparison,
    Expression,
    Field,
    IsNull,
    Kind,
    Membership,
    Not,
    Or,
    Value,
)
from ntrader.domain.strategies import built_in_name
from ntrader.errors import UsageError

MAX_LENGTH = 10_000
MAX_DEPTH = 50
MAX_DIGITS = 30

_EXACT = Context(prec=MAX_LENGTH)
_TOKEN = re.compile(
    r"""
    (?P<space> \s+ )
    | (?P<id> [0-9a-f]{8} (?: -[0-9a-f]{4} ){3} -[0-9a-f]{12} (?! \w ) )
    | (?P<date> \d{4}-\d\d-\d\d (?: T\d\d:\d\d (?: :\d\d (?: \.\d{1,6} )? )?
                                    (?: Z | [+-]\d\d:\d\d )? )? (?! [\w.] ) )
    | (?P<number> [+-]? (?: \d[\d_]* (?: \.\d* )? | \.\d+ ) (?: e[+-]?\d{1,3} )? %? (?! [\w.] ) )
    | (?P<text> '(?: [^'] | '' )*' | "(?: [^"] | "" )*" )
    | (?P<word> [^\W\d]\w* (?: -\w+ )* )
    | (?P<symbol> <= | >= | == | != | <> | [=<>(),.] )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})
_OPERATORS = {"==": "=", "<>": "!=", **{each: each for each in ("=", "!=", "<", "<=", ">", ">=")}}
_WINDOW = 72
_EXAMPLE = "For example: sharpe_ratio > 1 and parameters.fast_period in (5, 10)"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_expression(text: str) -> Expression:
    """Read an expression.

    Raises:
        UsageError: it is none; the message points at the character.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError(f"An expression has at most {MAX_LENGTH:,} characters, not {len(text):,}.")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self._depth = 0

    def whole(self) -> Expression:
        found = self._expression()
        if self._token.kind != "end":
            self._refuse("Expected `and`, `or` or the end", self._token.at)
        return found

    def _expression(self) -> Expression:
        operands = [self._conjunction()]
        while self._take_word("or"):
            operands.append(self._conjunction())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _conjunction(self) -> Expression:
        operands = [self._negation()]
        while self._take_word("and"):
            operands.append(self._negation())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _negation(self) -> Expression:
        at = self._token.at
        if self._take_word("not"):
            return Not(self._deeper(self._negation, at))
        if self._take_symbol("("):
            inner = self._deeper(self._expression, at)
            self._expect_symbol(")")
            return inner
        return self._test()

    def _deeper(self, rule: Callable[[], Expression], at: int) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"More than {MAX_DEPTH} levels", at)
        found = rule()
        self._depth -= 1
        return found

    def _test(self) -> Expression:
        field = self._field()
        if self._take_word("is"):
            negated = self._take_word("not")
            if not self._take_word("null"):
                self._refuse("Expected `null`", self._token.at)
            return Not(IsNull(field)) if negated else IsNull(field)
        negated = self._take_word("not")
        if self._take_word("in"):
            found = Membership(field, self._values(field))
            return Not(found) if negated else found
        if negated:
            self._refuse("Expected `in`", self._token.at)
        return self._comparison(field)

    def _comparison(self, field: Field) -> Comparison:
        token = self._token
        operator = _OPERATORS.get(token.text) if token.kind == "symbol" else None
        if operator is None:
            self._refuse("Expected a comparison, `in` or `is`", token.at)
        self._next += 1
        if operator not in ("=", "!=") and field.kind in (Kind.TAG, Kind.STATUS, Kind.MODE):
            self._refuse(f"{field} takes = and != only", token.at)
        at = self._token.at
        value = self._value(field)
        if isinstance(value, bool) and operator not in ("=", "!="):
            self._refuse("true and false have no order", at)
        return Comparison(field, operator, value)

    def _values(self, field: Field) -> tuple[Value, ...]:
        self._expect_symbol("(")
        values = [self._value(field)]
        while self._take_symbol(","):
            values.append(self._value(field))
        self._expect_symbol(")")
        return tuple(values)

    def _field(self) -> Field:
        token = self._token
        if token.kind != "word" or token.text.lower() in _KEYWORDS:
            self._refuse("Expected the name of a metric or another field", token.at, _EXAMPLE)
        self._next += 1
        name = token.text
        if name in DOCUMENTS:
            return self._path(name)
        if name not in FIELDS:
            self._refuse(f"There is no field {name}", token.at, _similar(name))
        return Field(name, FIELDS[name])

    def _path(self, document: str) -> Field:
        keys = []
        while self._take_symbol("."):
            token = self._token
            if token.kind not in ("word", "text"):
                self._refuse("Expected a name after the point", token.at)
            self._next += 1
            keys.append(_unquoted(token.text) if token.kind == "text" else token.text)
        if not keys:
            self._refuse(
                f"{document} needs a path",
                self._token.at,
                "For example: parameters.fast_period, config.fill, metadata.environment.host",
            )
        name = "config" if document == "parameters" else document
        return Field(name, Kind.JSON, (*DOCUMENTS[document], *keys))

    def _value(self, field: Field) -> Value:
        token = self._token
        self._next += 1
        value = self._literal(token)
        try:
            value = _READERS[field.kind](value)
        except ValueError as error:
            self._refuse(str(error) or f"{field} is {field.kind.value}", token.at)
        # Runs keep a strategy's name, whichever alias was used.
        return (built_in_name(str(value)) or value) if field.name == "strategy" else value

    def _literal(self, token: _Token) -> Value:
        word = token.text.lower() if token.kind == "word" else ""
        if word == "null":
            self._refuse("Nothing is equal to null", token.at, "Write `is null`.")
        if token.kind in ("symbol", "end") or word in _KEYWORDS - {"true", "false"}:
            self._refuse("Expected a value", token.at)
        match token.kind:
            case "text":
                return _unquoted(token.text)
            case "date":
                return self._instant(token)
            case "number":
                return self._number(token)
        return word == "true" if word in _KEYWORDS else token.text

    def _instant(self, token: _Token) -> datetime:
        try:
            return _instant(token.text)
        except ValueError:
            self._refuse("There is no such date", token.at)

    def _number(self, token: _Token) -> Decimal:
        number = Decimal(token.text.rstrip("%").replace("_", ""))
        if token.text.endswith("%"):
            number = number.scaleb(-2, _EXACT)
        digits = number.as_tuple()
        if number and not -MAX_DIGITS < number.adjusted() < MAX_DIGITS:
            self._refuse("A number beyond all that is stored", token.at)
        if len(digits.digits) > MAX_DIGITS:
            self._refuse(f"A number of more than {MAX_DIGITS} digits", token.at)
        return number

    @property
    def _token(self) -> _Token:
        return self._tokens[min(self._next, len(self._tokens) - 1)]

    def _take_word(self, word: str) -> bool:
        token = self._token
        taken = token.kind == "word" and token.text.lower() == word
        self._next += taken
        return taken

    def _take_symbol(self, symbol: str) -> bool:
        taken = self._token.kind == "symbol" and self._token.text == symbol
        self._next += taken
        return taken

    def _expect_symbol(self, symbol: str) -> None:
        if not self._take_symbol(symbol):
            self._refuse(f"Expected `{symbol}`", self._token.at)

    def _split(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                quote = self._text[at] in "'\""
                self._refuse("The text has no end" if quote else "Not understood", at, _EXAMPLE)
            kind = str(found.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, found.group(), at))
            at = found.end()
        return [*tokens, _Token("end", "", len(self._text))]

    def _refuse(self, reason: str, at: int, hint: str | None = None) -> Never:
        # Long expressions are shown around the place.
        first = max(0, min(at - _WINDOW // 2, len(self._text) - _WINDOW))
        shown = "".join(
            char if char.isprintable() else " " for char in self._text[first : first + _WINDOW]
        )
        raise UsageError(f"{reason}:\n  {shown}\n  {' ' * (at - first)}^", hint=hint)


def _similar(name: str) -> str:
    close = get_close_matches(name.lower(), [*FIELDS, *DOCUMENTS], n=3)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return "A parameter is parameters.NAME; the metrics are those of `ntrader show`."


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)


def _instant(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError from None


class _WrongKindError(ValueError):
    """The field holds values of another kind."""


def _read_number(value: Value) -> Value:
    if not isinstance(value, Decimal):
        raise _WrongKindError
    return value


def _read_instant(value: Value) -> Value:
    if isinstance(value, str):
        try:
            return _instant(value)
        except ValueError:
            raise ValueError from None
    if not isinstance(value, datetime):
        raise _WrongKindError
    return value


def _read_text(value: Value) -> Value:
    if not isinstance(value, str):
        raise _WrongKindError
    if "\0" in value or (not value.isascii() and value != value.encode(errors="replace").decode()):
        raise ValueError("No run has a text with such a character")
    return value


def _read_choice(kind: Kind) -> Callable[[Value], Value]:
    def read(value: Value) -> Value:
        if value not in CHOICES[kind]:
            raise ValueError(f"Expected {' or '.join(CHOICES[kind])}")
        return value

    return read


def _read_run(value: Value) -> Value:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise ValueError from None


def _read_json(value: Value) -> Value:
    return _read_text(value) if isinstance(value, str) else value


_READERS: dict[Kind, Callable[[Value], Value]] = {
    Kind.NUMBER: _read_number,
    Kind.INSTANT: _read_instant,
    Kind.TEXT: _read_text,
    Kind.TAG: _read_text,
    Kind.STATUS: _read_choice(Kind.STATUS),
    Kind.MODE: _read_choice(Kind.MODE),
    Kind.RUN: _read_run,
    Kind.JSON: _read_json,
}
