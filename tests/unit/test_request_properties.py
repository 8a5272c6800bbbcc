"""Whatever a configuration file says, it is a request or a clear refusal."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from ntrader.engine.strategies.registry import built_in_strategies
from ntrader.errors import NtraderError, UsageError
from ntrader.services.requests import build_request, end_instant, start_instant

SETTINGS = (
    *("strategy", "parameters", "dataset", "symbol", "timeframe", "start", "end", "capital"),
    *("equity_fraction", "fee", "fill", "slippage", "seed", "unknown", ""),
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.binary(max_size=20)
    | st.sampled_from(["1d", "next-open", "sma", "2010-01-04", "1e400", "0x10", "\0", "x" * 10_000])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


def asked(path: Path, content: bytes) -> object:
    """Return the request of a file, or the refusal."""
    file = path / "run.yaml"
    file.write_bytes(content)
    refused: NtraderError
    try:
        return build_request(file, {}, {})
    except NtraderError as error:
        refused = error
    assert refused.exit_code in (2, 3)
    assert 0 < len(refused.message.strip()) < 20_000
    return refused


@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode()))
@example(content=b"\xff\xfe\x00")
@example(content=b"strategy: !!python/object/apply:os.system ['true']")
@example(content=b"? {a: 1}\n: 2")
@example(content=b"? [a]\n: 2")
@example(content=b"&a [*a]")
@example(content=b"strategy: &a {b: *a}")
@example(content=b"a: &a\n  <<: *a\n")
@example(content=b"strategy: sma\nparameters: {<<: [1, 2]}")
@example(content=b"start: 2010-13-45")
@example(content=b"start: 9999-12-31T23:59:60Z")
@example(content=b"strategy: sma\nend: 0001-01-01T00:00:00+23:59")
@example(content=b"strategy: sma\nend: 9999-12-31")
@example(content=b"seed: " + b"9" * 10_000)
@example(content=b"seed: 1:" + b"59:" * 3_000 + b"59")
@example(content=b"strategy: " + b"[" * 5_000)
@example(content=b"strategy: sma\nparameters: " + b"{a: " * 3_000)
@example(content=b"%YAML 9.9\n---\nstrategy: sma")
@example(content=b"strategy: sma\n---\nstrategy: rsi")
@example(content=b"strategy: sma\nparameters:\n  ? !!binary aGk=\n  : 1")
@example(content=b"strategy: sma\nparameters: !!set {a, b}")
@example(content=b"strategy: sma\nparameters: !!omap [a: 1]")
@example(content=b"!!timestamp x: 1")
@example(content=b"strategy: !!int ''")
@example(content=b"strategy: !!float ''")
@example(content=b"strategy: !!bool x")
@example(content=b"strategy: !!null x")
@example(content=b"strategy: !!int 0b")
@example(content=b"strategy: !!binary '\xc3\xa9'")
def test_any_file_is_a_request_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    asked(tmp_path_factory.mktemp("config"), content)


@given(values=st.dictionaries(st.sampled_from(SETTINGS), VALUES, max_size=6))
@example(values={"strategy": "sma", "capital": float("nan")})
@example(values={"strategy": "sma", "capital": 1e308})
@example(values={"strategy": "sma", "parameters": {"fast_period": float("inf")}})
@example(values={"strategy": "sma", "parameters": {"fast_period": 2**63}})
@example(values={"strategy": "sma", "symbol": "a\0b"})
def test_any_settings_are_a_request_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    asked(tmp_path_factory.mktemp("config"), yaml.safe_dump(values, allow_unicode=True).encode())


def test_references_that_grow_without_end_are_refused_at_once(tmp_path: Path) -> None:
    """Ten lines that stand for a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert isinstance(asked(tmp_path, "\n".join(lines).encode()), UsageError)
    assert isinstance(asked(tmp_path, "\n".join([*lines, "strategy: *a9"]).encode()), UsageError)
    nested = "\n".join([*lines, "strategy: sma", "parameters: {a: *a9}"])
    assert isinstance(asked(tmp_path, nested.encode()), UsageError)
    keyed = "\n".join([*lines, "? *a9", ": 1"])
    assert isinstance(asked(tmp_path, keyed.encode()), UsageError)


def test_a_large_file_of_many_names_is_refused(tmp_path: Path) -> None:
    """Each name is compared with the others once, not with each of them."""
    many = "\n".join(f"name_{n}: {n}" for n in range(50_000))
    refused = asked(tmp_path, f"strategy: sma\n{many}".encode())
    assert isinstance(refused, UsageError)


@given(
    value=st.datetimes(timezones=st.timezones() | st.none(), allow_imaginary=True)
    | st.dates()
    | st.text(max_size=30)
    | st.integers()
    | st.none()
)
@example(value=datetime.max.replace(tzinfo=UTC))
@example(value=datetime.min.replace(tzinfo=UTC))
@example(value="9999-12-31T23:59:59.999999")
def test_an_instant_is_read_or_refused_as_a_value(value: Any) -> None:
    for read in (start_instant, end_instant):
        for given_ in (value, str(value)):
            try:
                instant = read(given_)
            except ValueError:
                continue
            if isinstance(instant, datetime):
                assert instant.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Clocks go forward and back in Europe, a leap year's day, the days around a leap second.
        ("2024-03-31T02:30+01:00", datetime(2024, 3, 31, 1, 30, tzinfo=UTC)),
        ("2024-10-27T02:30+02:00", datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
        ("2024-10-27T02:30+01:00", datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2016-12-31T23:59:59Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2017-01-01T00:00:00Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31", datetime(9999, 12, 31, tzinfo=UTC)),
    ],
)
def test_an_instant_around_the_calendar_s_corners(text: str, expected: datetime) -> None:
    assert start_instant(text) == expected


@pytest.mark.parametrize(
    "text", ["2023-02-29", "2016-12-31T23:59:60Z", "0000-01-01", "10000-01-01"]
)
def test_an_instant_that_no_clock_here_shows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an ISO date"):
        start_instant(text)


@given(
    values=st.dictionaries(
        st.sampled_from(["fast_period", "slow_period", "rsi_period", "lookback", "oversold", "x"])
        | st.text(max_size=10),
        st.integers() | st.floats() | st.booleans() | st.text(max_size=20) | st.decimals(),
        max_size=4,
    )
)
@example(values={"fast_period": 10**4_000})
@example(values={"fast_period": Decimal("sNaN")})
@example(values={"fast_period": "9" * 5_000})
def test_any_parameters_are_checked_or_refused(values: dict[str, Any]) -> None:
    for strategy in built_in_strategies():
        with suppress(UsageError):
            checked = strategy.check(values)
            assert set(checked) <= {parameter.name for parameter in strategy.spec.parameters}
