"""`ntrader show`: everything about one run."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from support.commands import Command

type SaveRun = Callable[..., UUID]


@pytest.fixture
def three_runs(save_run: SaveRun) -> list[str]:
    """Three runs, oldest first; two share their first four characters."""
    ids = ["aaaa1111", "aaaa2222", "bbbb3333"]
    return [
        str(
            save_run(
                run_id=UUID(f"{prefix}-0000-4000-8000-000000000000"),
                started_at=datetime(2026, 1, 1 + day, tzinfo=UTC),
            )
        )
        for day, prefix in enumerate(ids)
    ]


@pytest.mark.parametrize(
    ("reference", "index"),
    [("@", 2), ("@~0", 2), ("@~1", 1), ("@~2", 0), ("bbbb", 2), ("BBBB3", 2), ("aaaa1", 0)],
)
def test_a_run_is_found_by_reference(
    ntrader: Command, three_runs: list[str], reference: str, index: int
) -> None:
    assert ntrader("show", reference, "--json").json["run_id"] == three_runs[index]


def test_a_run_is_found_by_its_whole_id(ntrader: Command, three_runs: list[str]) -> None:
    assert ntrader("show", three_runs[1], "--json").json["run_id"] == three_runs[1]


def test_an_ambiguous_prefix_lists_its_candidates(ntrader: Command, three_runs: list[str]) -> None:
    refused = ntrader("show", "aaaa")

    assert refused.exit_code == 2
    assert "aaaa1111" in refused.stderr
    assert "aaaa2222" in refused.stderr


@pytest.mark.parametrize(
    ("reference", "exit_code"),
    [("cccc", 3), ("@~3", 3), ("aaa", 2), ("", 2), ("@~x", 2), ("'; drop table", 2), ("@~", 2)],
)
def test_what_names_no_run_is_refused(
    ntrader: Command, three_runs: list[str], reference: str, exit_code: int
) -> None:
    refused = ntrader("show", reference)

    assert refused.exit_code == exit_code
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr


def test_show_draws_the_curve_and_lists_the_files(ntrader: Command) -> None:
    ntrader("run", "--strategy", "sma")

    shown = ntrader("show", "@").stdout

    assert "224,460.06 USD" in shown
    assert "█" in shown
    assert "2000-03-01" in shown
    assert "2013-03-01" in shown
    assert "equity.parquet" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_show_tells_what_the_run_warned_of_and_what_happened(ntrader: Command) -> None:
    made = ntrader(
        *("run", "--strategy", "sma", "--capital", "50", "--end", "2001-01-10", "--json")
    ).json
    (warning,) = made["warnings"]

    shown = ntrader("show", "@")
    events = ntrader("show", "@", "--events", "--json").json["events"]

    assert "the equity does not pay for one unit" in warning
    assert "the equity does not pay for one unit" in " ".join(shown.stdout.split())
    assert [event["type"] for event in events] == ["started", "warning", "finished"]
    assert "warning" in ntrader("show", "@", "--events").stdout


def test_prices_are_shown_with_the_instruments_decimals(
    ntrader: Command, bars_csv: Callable[..., Path]
) -> None:
    path = bars_csv()
    hundredth = re.sub(r"\d+\.\d\d", lambda price: f"{float(price[0]) / 100:.4f}", path.read_text())
    path.write_text(hundredth)
    described = ["--symbol", "EUR/USD", "--venue", "SIM", "--kind", "fx", "--timeframe", "1d"]
    ntrader("data", "import", path, *described)
    ntrader(
        *("run", "--strategy", "sma", "--symbol", "EUR/USD", "--fill", "close"),
        *("-p", "fast_period=2", "-p", "slow_period=5"),
    )

    trades = ntrader("show", "@", "--trades")

    first = ntrader("show", "@", "--trades", "--json").json["trades"][0]
    assert f"{first['entry_price']:.3f}" in trades.stdout


def test_show_trades_lists_the_round_trips(ntrader: Command) -> None:
    ntrader("run", "--strategy", "sma", "--fill", "close")

    trades = ntrader("show", "@", "--trades", "--json").json["trades"]
    table = ntrader("show", "@", "--trades").stdout

    assert len(trades) == 89
    assert trades[0] == {
        "opened_at": "2000-05-30T00:00:00Z",
        "closed_at": "2000-06-27T00:00:00Z",
        "quantity": 811,
        "entry_price": 110.94,
        "exit_price": 109.75,
        "fees": 0,
        "profit": pytest.approx(-965.09),
        "return": pytest.approx(109.75 / 110.94 - 1),
    }
    assert "-965.09" in table


def test_a_failed_run_shows_its_traceback(ntrader: Command, save_run: SaveRun) -> None:
    save_run(failed=True, message="ValueError: [red]no", traceback="Traceback\n  [bold]line 3[/]")

    shown = ntrader("show", "@").stdout

    assert "ValueError: [red]no" in shown
    assert "[bold]line 3[/]" in shown


def test_an_altered_file_is_told_and_the_run_is_shown(ntrader: Command, home: Path) -> None:
    ntrader("run", "--strategy", "sma")
    (curve,) = (home / "artifacts").rglob("equity.parquet")
    curve.write_bytes(curve.read_bytes()[:-1] + b"?")

    shown = ntrader("show", "@")

    assert shown.exit_code == 0
    assert "224,460.06 USD" in shown.stdout
    assert "equity.parquet" in shown.stderr


def test_parameters_stand_in_one_order_wherever_they_are_shown(ntrader: Command) -> None:
    named = ("overbought_threshold", "oversold_threshold", "rsi_period")

    ran = ntrader("run", "--strategy", "rsi", "--symbol", "GOOG")
    asked_again = ntrader("run", "--strategy", "rsi", "--symbol", "GOOG", "--json")

    texts = [
        ran.stdout,
        asked_again.stdout,
        *(ntrader(*command).stdout for command in (
            ("show", "@~1"),
            ("show", "@", "--json"),
            ("show", "@", "--config"),
            ("history", "--json"),
            ("history", "--csv"),
        )),
    ]  # fmt: skip
    for text in texts:
        places = [text.index(name) for name in named]
        assert places == sorted(places), text
