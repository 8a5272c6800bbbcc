"""Narrow terminals: nothing is cut, at any width."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command

SHOWN = {
    "history": ["sma", "rsi", "124.46%", "51.94%"],
    "show @": ["51.94%", "151,937.80", "-12,59", "0.35", "2004-08-19"],
    "show @ --trades": ["19,335.00", "2006-02-10", "-24,6"],
    "show @ --events": ["trade_closed", "19335"],
    "compare @ @~1": ["51.94%", "124.46%", "Sharpe ratio", "224,460.06"],
    "data list": ["GOOG-sample", "IBM-sample", "2,148", "2000-03-01"],
    "data show IBM-sample": ["3,270", "2013-03-01", "2001-09-17"],
    "strategies": ["trend_following", "mean_reversion", "momentum"],
    "strategies sma": ["fast_period", "[1, 10000]", "10"],
}


@pytest.fixture
def two_runs(ntrader: Command) -> Command:
    ntrader("run", "--strategy", "sma")
    ntrader("run", "--strategy", "rsi", "--symbol", "GOOG")
    return ntrader


@pytest.mark.parametrize("width", [20, 30, 40, 60])
def test_nothing_is_cut_however_narrow_the_terminal(
    two_runs: Command, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))

    for command, expected in SHOWN.items():
        shown = two_runs(*command.split())

        assert shown.exit_code == 0, command
        assert max(map(len, shown.stdout.splitlines())) <= width, command
        assert "\N{HORIZONTAL ELLIPSIS}" not in shown.stdout, f"{command}\n{shown.stdout}"
        text = "".join(shown.stdout.split())
        for each in expected:
            assert "".join(each.split()) in text, f"{command}: {each}\n{shown.stdout}"


@pytest.mark.parametrize("width", [1, 5])
def test_no_width_is_too_narrow_to_run(
    two_runs: Command, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))

    for command in SHOWN:
        assert two_runs(*command.split()).exit_code == 0, command


def test_a_list_that_does_not_fit_is_a_record_for_each_row(
    two_runs: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")

    lines = [line.rstrip() for line in two_runs("data", "list").stdout.splitlines()]

    assert lines[0].split() == ["DATASET", "GOOG-sample"]
    assert lines[7] == ""
    assert lines[8].split() == ["DATASET", "IBM-sample"]


def test_a_failed_run_is_shown_in_a_narrow_terminal(
    ntrader: Command,
    save_run: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    save_run(failed=True, message="ValueError: a message that is longer than any line")

    shown = ntrader("show", "@").stdout

    assert "amessagethatislongerthananyline" in "".join(shown.split())
