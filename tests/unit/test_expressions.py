"""The language of `history --where`."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntrader.domain.expression_parser import MAX_DEPTH, MAX_LENGTH, parse_expression
from ntrader.domain.expressions import (
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
    fields_of,
)
from ntrader.errors import UsageError

SHARPE = Field("sharpe_ratio", Kind.NUMBER)
STATUS = Field("status", Kind.STATUS)
FAST = Field("config", Kind.JSON, ("strategy", "parameters", "fast_period"))
ABOVE_ONE = Comparison(SHARPE, ">", Decimal(1))


def refusal(text: str) -> tuple[str, str]:
    """Return what the message says, and what stands from the caret on."""
    with pytest.raises(UsageError) as refused:
        parse_expression(text)
    reason, shown, caret = refused.value.message.split("\n")
    return reason.removesuffix(":"), shown[caret.index("^") :]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sharpe_ratio > 1", ABOVE_ONE),
        ("sharpe_ratio>1", ABOVE_ONE),
        ("sharpe_ratio == 1.50", Comparison(SHARPE, "=", Decimal("1.5"))),
        ("sharpe_ratio <> -1e-2", Comparison(SHARPE, "!=", Decimal("-0.01"))),
        ("sharpe_ratio >= 12.5%", Comparison(SHARPE, ">=", Decimal("0.125"))),
        (
            "total_trades < 1_000",
            Comparison(Field("total_trades", Kind.NUMBER), "<", Decimal(1000)),
        ),
        ("status = failed", Comparison(STATUS, "=", "failed")),
        ("parameters.fast_period = 10", Comparison(FAST, "=", Decimal(10))),
        ("config.strategy.parameters.fast_period = 10", Comparison(FAST, "=", Decimal(10))),
        (
            "config.fill = next-open",
            Comparison(Field("config", Kind.JSON, ("fill",)), "=", "next-open"),
        ),
        (
            "parameters.'my key' = TRUE",
            Comparison(Field("config", Kind.JSON, ("strategy", "parameters", "my key")), "=", True),
        ),
        ("symbol = 'it''s'", Comparison(Field("symbol", Kind.TEXT), "=", "it's")),
        ('symbol = "say ""so"""', Comparison(Field("symbol", Kind.TEXT), "=", 'say "so"')),
        ("strategy = sma_crossover", Comparison(Field("strategy", Kind.TEXT), "=", "sma")),
        (
            "created_at >= 2026-01-02",
            Comparison(Field("created_at", Kind.INSTANT), ">=", datetime(2026, 1, 2, tzinfo=UTC)),
        ),
        (
            "created_at < 2026-01-02T12:30+02:00",
            Comparison(
                Field("created_at", Kind.INSTANT), "<", datetime(2026, 1, 2, 10, 30, tzinfo=UTC)
            ),
        ),
        (
            "created_at < '2026-01-02 10:30'",
            Comparison(
                Field("created_at", Kind.INSTANT), "<", datetime(2026, 1, 2, 10, 30, tzinfo=UTC)
            ),
        ),
        ("note is null", IsNull(Field("note", Kind.TEXT))),
        ("note IS NOT NULL", Not(IsNull(Field("note", Kind.TEXT)))),
        (
            "tag in (a, 'b c')",
            Membership(Field("tag", Kind.TAG), ("a", "b c")),
        ),
        ("tag not in (a)", Not(Membership(Field("tag", Kind.TAG), ("a",)))),
    ],
)
def test_each_form_is_read_as_what_it_means(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


def test_and_binds_tighter_than_or_and_not_tightest() -> None:
    failed = Comparison(STATUS, "=", "failed")
    null = IsNull(SHARPE)
    read = parse_expression("status = failed or not sharpe_ratio > 1 and sharpe_ratio is null")
    assert read == Or((failed, And((Not(ABOVE_ONE), null))))
    read = parse_expression("(status = failed or not sharpe_ratio > 1) and sharpe_ratio is null")
    assert read == And((Or((failed, Not(ABOVE_ONE))), null))


@pytest.mark.parametrize(
    ("text", "reason", "from_caret"),
    [
        ("", "Expected the name of a metric or another field", ""),
        ("sharpe_ratio", "Expected a comparison, `in` or `is`", ""),
        ("sharpe_ratio >", "Expected a value", ""),
        ("sharpe_ratio > ;", "Not understood", ";"),
        ("sharpe_ratio > 1 or", "Expected the name of a metric or another field", ""),
        ("sharpe_ratio > 1 symbol = x", "Expected `and`, `or` or the end", "symbol = x"),
        ("(sharpe_ratio > 1", "Expected `)`", ""),
        ("sharpe_ratio > 1)", "Expected `and`, `or` or the end", ")"),
        ("sharp > 1", "There is no field sharp", "sharp > 1"),
        ("symbol = x and sharpe_ratio > y", "sharpe_ratio is a number", "y"),
        ("sharpe_ratio = true", "sharpe_ratio is a number", "true"),
        ("symbol = 3", "symbol is a text", "3"),
        ("created_at > 3", "created_at is a date", "3"),
        ("created_at > soon", "created_at is a date", "soon"),
        ("created_at > 2026-02-30", "There is no such date", "2026-02-30"),
        ("created_at > 0001-01-01T00:00+14:00", "There is no such date", "0001-01-01T00:00+14:00"),
        ("status = broken", "Expected success or failed", "broken"),
        ("status < failed", "status takes = and != only", "< failed"),
        ("config.x > true", "true and false have no order", "true"),
        ("symbol = 'IBM", "The text has no end", "'IBM"),
        ("symbol = null", "Nothing is equal to null", "null"),
        ("symbol is 3", "Expected `null`", "3"),
        ("symbol not = 3", "Expected `in`", "= 3"),
        ("tag in ()", "Expected a value", ")"),
        ("tag in (a b)", "Expected `)`", "b)"),
        ("parameters > 3", "parameters needs a path", "> 3"),
        ("config. > 3", "Expected a name after the point", "> 3"),
        ("sharpe_ratio > 1e999", "A number beyond all that is stored", "1e999"),
        ("sharpe_ratio > 0." + "1" * 31, "A number of more than 30 digits", "0." + "1" * 31),
        ("sharpe_ratio > 0." + "1" * 31 + "%", "A number of more than 30 digits", f"0.{'1' * 31}%"),
        ("reproduced_from = abc", "reproduced_from is the id of a run", "abc"),
        ("symbol = '\udcff'", "No run has a text with such a character", "' '"),
        ("1 < sharpe_ratio", "Expected the name of a metric or another field", "1 < sharpe_ratio"),
    ],
)
def test_a_refusal_points_at_the_character(text: str, reason: str, from_caret: str) -> None:
    assert refusal(text) == (reason, from_caret)


def test_percent_keeps_every_digit() -> None:
    digits = "123456789012345678901234567891"
    read = parse_expression(f"sharpe_ratio > {digits}%")
    assert read == Comparison(SHARPE, ">", Decimal(f"{digits[:-2]}.{digits[-2:]}"))


def test_a_misspelt_field_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as refused:
        parse_expression("sharp_ratio > 1")
    assert "sharpe_ratio" in (refused.value.hint or "")


def test_a_long_expression_is_shown_around_the_place() -> None:
    text = " or ".join(["sharpe_ratio > 1"] * 40 + ["wrong > 1"] + ["sharpe_ratio > 1"] * 40)
    reason, rest = refusal(text)
    assert reason == "There is no field wrong"
    assert rest.startswith("wrong > 1 or")
    with pytest.raises(UsageError) as refused:
        parse_expression(text)
    assert max(map(len, refused.value.message.split("\n"))) <= 80


def test_depth_and_length_are_bounded() -> None:
    deep = "(" * MAX_DEPTH + "sharpe_ratio > 1" + ")" * MAX_DEPTH
    assert parse_expression(deep) == ABOVE_ONE
    assert refusal(f"({deep})")[0] == f"More than {MAX_DEPTH} levels"
    assert refusal("not " * 100 + "sharpe_ratio > 1")[0] == f"More than {MAX_DEPTH} levels"
    with pytest.raises(UsageError, match="at most"):
        parse_expression("x" * (MAX_LENGTH + 1))


numbers = st.decimals(
    allow_nan=False, allow_infinity=False, places=8, min_value=-(10**9), max_value=10**9
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
instants = st.datetimes(timezones=st.just(UTC))
json_fields = st.builds(
    lambda name, path: Field(name, Kind.JSON, tuple(path)),
    st.sampled_from(["config", "metadata"]),
    st.lists(st.one_of(texts, st.sampled_from(["a", "in", "b_2"])), min_size=1, max_size=3),
)
tests_of_values = st.one_of(
    st.builds(Comparison, st.just(SHARPE), st.sampled_from(["=", "!=", "<", ">="]), numbers),
    st.builds(Comparison, st.just(Field("symbol", Kind.TEXT)), st.just("="), texts),
    st.builds(Comparison, st.just(Field("start", Kind.INSTANT)), st.just("<"), instants),
    st.builds(
        Comparison, json_fields, st.just("="), st.one_of(numbers, texts, instants, st.booleans())
    ),
    st.builds(
        Membership,
        st.just(Field("tag", Kind.TAG)),
        st.lists(texts, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(IsNull, json_fields),
)
expressions = st.recursive(
    tests_of_values,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "text",
    [
        "not " * MAX_DEPTH + "sharpe_ratio > 1",
        "not (sharpe_ratio > 1 and " * (MAX_DEPTH // 2) + "symbol = x" + ")" * (MAX_DEPTH // 2),
    ],
)
def test_the_spelling_of_the_deepest_expression_reads_back_too(text: str) -> None:
    deepest = parse_expression(text)
    assert parse_expression(str(deepest)) == deepest


def test_a_spelling_has_the_parentheses_that_it_needs_and_no_others() -> None:
    text = "not (symbol = 'a' or symbol = 'b') and (symbol = 'c' or not not symbol is null)"
    assert str(parse_expression(f"({text})")) == text
    text = "symbol = 'a' and symbol = 'b' or not symbol in ('c')"
    assert str(parse_expression(text.replace("'a' and symbol = 'b'", "a and (symbol = b)"))) == text


@given(expressions)
def test_the_spelling_of_an_expression_reads_back_as_the_same(expression: Expression) -> None:
    assert parse_expression(str(expression)) == expression


def crumbles(text: str) -> bool:
    """Return whether a text is neither an expression nor refused with a caret."""
    try:
        fields = list(fields_of(parse_expression(text)))
    except UsageError as error:
        return "^" not in error.message
    return not fields


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_is_refused_in_place(text: str) -> None:
    assert not crumbles(text)


words = st.sampled_from(
    [
        *FIELDS,
        "config.",
        "parameters.x",
        "and",
        "or",
        "not",
        "in",
        "is",
        "null",
        "(",
        ")",
        ",",
        "=",
        "<",
        "!=",
        "1",
        "10%",
        "'a'",
        "2026-01-01",
        "true",
        "failed",
    ]
)


@given(st.lists(words, max_size=12).map(" ".join))
def test_any_words_are_an_expression_or_are_refused_in_place(text: str) -> None:
    assert not crumbles(text)
