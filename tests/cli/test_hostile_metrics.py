"""Absurd numbers: each is stored as it is, or as undefined; no run is lost for one."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.commands import Command
from support.hostile import assert_harmless, assert_told
from support.saving import SaveRun

RATIOS = ("total_return", "cagr", "sharpe_ratio", "sortino_ratio", "calmar_ratio", "volatility")
MONEY = ("final_balance", "expectancy", "total_fees")
ABSURD = [
    *(math.nan, math.inf, -math.inf, -0.0, 0.0, 1e308, -1e308, 5e-324, -5e-324, 2.2e-308),
    *(1e10, -1e10, 9_999_999_999.999999, 9_999_999_999.99999999, 1e-9, 5e-9, 123456789.123456789),
]
LARGEST_RATIO, LARGEST_MONEY = 10**10, 10**14


def kept(value: float) -> float | None:
    """Return what a ratio of the store is for a value: 8 decimals, undefined beyond its room."""
    if not math.isfinite(value) or abs(value) >= LARGEST_RATIO:
        return None
    return float(round(Decimal(value), 8))


@pytest.mark.parametrize("value", ABSURD, ids=repr)
def test_an_absurd_ratio_is_stored_or_undefined(
    ntrader: Command, save_run: SaveRun, value: float
) -> None:
    run = save_run(**dict.fromkeys(RATIOS, value), profit_factor=value)
    shown = ntrader("show", run, "--json").json["metrics"]
    expected = kept(value)
    for name in RATIOS:
        if expected is None:
            assert shown[name] is None
        else:
            assert shown[name] == pytest.approx(expected, rel=1e-12, abs=1e-8)
            assert not (shown[name] == 0 and math.copysign(1, shown[name]) < 0)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "-0", "1E+308", "1E-400", "99999999999999.99995"]
)
def test_an_absurd_amount_is_stored_or_undefined(
    ntrader: Command, save_run: SaveRun, value: str
) -> None:
    amount = Decimal(value)
    run = save_run(**dict.fromkeys(MONEY, amount))
    shown = ntrader("show", run, "--json").json["metrics"]
    for name in MONEY:
        fits = amount.is_finite() and abs(amount) < LARGEST_MONEY - 1
        assert shown[name] == (float(round(amount, 4)) if fits else None)


@given(
    values=st.fixed_dictionaries(
        {name: st.floats() | st.sampled_from(ABSURD) | st.none() for name in RATIOS}
        | {
            "max_drawdown": st.floats(-1, 0),
            "win_rate": st.floats(0, 1),
            "total_fees": st.decimals(places=4, min_value=0, max_value=10**13) | st.none(),
            "exposure": st.floats(0, 1) | st.none(),
        }
    )
)
def test_any_metrics_are_listed_sorted_compared_and_shown(
    ntrader: Command, save_run: SaveRun, values: dict[str, Any]
) -> None:
    run = str(save_run(**values))
    other = str(save_run())

    shown = ntrader("show", run, "--json").json["metrics"]
    for name in RATIOS:
        expected = None if values[name] is None else kept(values[name])
        assert shown[name] == (None if expected is None else pytest.approx(expected, abs=1e-8))
    for arguments in (
        ("show", run),
        ("history", "--sort", "sharpe_ratio", "--limit", "2"),
        ("history", "--sort", "total_return:asc", "--limit", "2"),
        ("compare", run, other),
        ("compare", run, other, "--json"),
    ):
        done = ntrader(*arguments)
        assert_told(done)
        assert done.exit_code == 0
    assert_harmless(ntrader("history", "--csv", "--limit", "2").stdout)


@given(values=st.lists(st.floats(-1e9, 1e9) | st.sampled_from(ABSURD), min_size=3, max_size=8))
def test_pages_of_absurd_metrics_have_every_run_once(
    ntrader: Command, save_run: SaveRun, values: list[float]
) -> None:
    name = f"pages{len(ntrader('history', '--limit', '1000', '--json').json['runs'])}"
    saved = {str(save_run(strategy=name, sharpe_ratio=value)) for value in values}
    found: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        page = ntrader(
            *("history", "--strategy", name, "--sort", "sharpe_ratio:asc", "--limit", "2"),
            *("--json", *after),
        ).json
        found += [run["run_id"] for run in page["runs"]]
        if page["next"] is None:
            break
        after = ("--after", page["next"])
    assert len(found) == len(saved)
    assert set(found) == saved
