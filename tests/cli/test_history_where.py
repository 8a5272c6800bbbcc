"""`ntrader history --where` and `--summary`."""

import csv
import io
from collections.abc import Callable
from uuid import UUID

import pytest

from support.commands import Command

type SaveRun = Callable[..., UUID]


def test_an_expression_picks_runs_before_the_limit(ntrader: Command, save_run: SaveRun) -> None:
    wanted = save_run(sharpe_ratio=2.0, max_drawdown=-0.05, parameters={"fast_period": 5})
    for _ in range(3):
        save_run(sharpe_ratio=3.0, max_drawdown=-0.5, parameters={"fast_period": 5})

    listed = ntrader(
        "history",
        "--where",
        "max_drawdown > -10% and (parameters.fast_period = 5 or tag = none)",
        "--sort",
        "sharpe_ratio",
        "--limit",
        "1",
        "--json",
    )

    assert [run["run_id"] for run in listed.json["runs"]] == [str(wanted)]
    assert listed.json["next"] is None


def test_a_wrong_expression_is_shown_with_a_caret_below_the_place(ntrader: Command) -> None:
    refused = ntrader("history", "--where", "sharpe_ratio > 1 and colour = red")

    assert (refused.exit_code, refused.stdout) == (2, "")
    lines = refused.stderr.splitlines()
    place = next(index for index, line in enumerate(lines) if "colour = red" in line)
    assert lines[place + 1].index("^") == lines[place].index("colour")


def test_a_wrong_expression_is_one_object_under_json(ntrader: Command) -> None:
    refused = ntrader("history", "--where", "sharpe_ratio >", "--json")

    assert refused.exit_code == 2
    assert refused.json["error"]["code"] == "usage"


def test_an_expression_that_no_run_fits_says_so(ntrader: Command, save_run: SaveRun) -> None:
    save_run()
    found = ntrader("history", "--where", "sharpe_ratio > 100")

    assert (found.exit_code, found.stdout) == (0, "")
    assert "No run matches" in found.stderr


@pytest.mark.parametrize("width", [100, 80, 40])
def test_a_summary_has_a_line_for_each_strategy(
    ntrader: Command, save_run: SaveRun, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    save_run(strategy="sma", sharpe_ratio=1.0, total_return=0.1)
    save_run(strategy="sma", sharpe_ratio=3.0, total_return=0.3)
    save_run(strategy="sma", failed=True)
    save_run(strategy="rsi", sharpe_ratio=None, total_return=-0.5)

    shown = ntrader("history", "--summary").stdout

    for text in ("sma", "rsi", "30.00%", "20.00%", "2.00", "-50.00%"):
        assert text in shown
    assert max(map(len, shown.splitlines())) <= width


def test_a_summary_as_json_and_as_csv_gives_the_same(ntrader: Command, save_run: SaveRun) -> None:
    save_run(strategy="sma", sharpe_ratio=1.0, total_return=0.1)
    save_run(strategy="sma", failed=True)

    (summary,) = ntrader("history", "--summary", "--json").json["strategies"]
    (row,) = csv.DictReader(io.StringIO(ntrader("history", "--summary", "--csv").stdout))

    assert summary == {
        "strategy": "sma",
        "runs": 2,
        "failed": 1,
        "newest_at": row["newest_at"],
        "sharpe_ratio": {"best": 1.0, "median": 1.0, "mean": 1.0},
        "total_return": {"best": 0.1, "median": 0.1, "mean": 0.1},
    }
    assert (row["strategy"], row["runs"], float(row["median_total_return"])) == ("sma", "2", 0.1)


def test_a_summary_takes_filters(ntrader: Command, save_run: SaveRun) -> None:
    save_run(strategy="sma", symbol="IBM")
    save_run(strategy="rsi", symbol="GOOG")

    found = ntrader("history", "--summary", "--where", "symbol = GOOG", "--json").json

    assert [summary["strategy"] for summary in found["strategies"]] == ["rsi"]


def test_an_empty_summary_says_how_to_begin(ntrader: Command) -> None:
    found = ntrader("history", "--summary")

    assert (found.exit_code, found.stdout) == (0, "")
    assert "ntrader run" in found.stderr
    assert ntrader("history", "--summary", "--json").json == {"strategies": []}


def test_a_summary_has_columns_of_its_own(ntrader: Command) -> None:
    assert ntrader("history", "--summary", "--columns", "run_id").exit_code == 2
