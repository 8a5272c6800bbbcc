"""`ntrader history`: find runs."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from ntrader.domain.columns import COLUMNS
from ntrader.domain.queries import ORDERS
from support.commands import Command

type SaveRun = Callable[..., UUID]


def test_an_empty_history_says_how_to_begin(ntrader: Command) -> None:
    listed = ntrader("history")

    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "ntrader run --strategy sma" in listed.stderr
    assert ntrader("history", "--json").json == {"runs": [], "next": None}


def test_history_lists_the_newest_first_in_80_columns(ntrader: Command, save_run: SaveRun) -> None:
    old = save_run(started_at=datetime(2026, 1, 1, tzinfo=UTC))
    new = save_run(started_at=datetime(2026, 1, 2, tzinfo=UTC), strategy="momentum")
    failed = save_run(started_at=datetime(2026, 1, 3, tzinfo=UTC), failed=True)

    lines = ntrader("history").stdout.splitlines()

    ids = [line.split()[0].rstrip("*") for line in lines[2:]]
    assert ids == [str(run)[:8] for run in (failed, new, old)]
    assert "failed" in lines[2]
    assert "12.35%" in lines[3]


@pytest.mark.parametrize("width", [100, 80, 60, 40])
def test_numbers_are_never_cut_however_narrow_the_terminal(
    ntrader: Command, save_run: SaveRun, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    save_run(
        strategy="a_strategy_with_a_long_name",
        symbol="1000SHIBUSDT",
        total_return=-98.7654,
        sharpe_ratio=-18.345,
        total_trades=16_543,
        winning_trades=16_543,
        losing_trades=0,
        break_even_trades=0,
    )

    lines = ntrader("history").stdout.splitlines()

    assert max(map(len, lines)) <= width
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    table = " ".join(lines)
    assert "-9,876.54%" in table
    assert "-18.34" in table or "-18.35" in table
    assert "16,543" in table or width < 64


def test_the_metric_that_orders_the_list_is_shown(ntrader: Command, save_run: SaveRun) -> None:
    save_run(cagr=0.4321)

    listed = ntrader("history", "--sort", "cagr").stdout

    assert "CAGR" in listed
    assert "43.21%" in listed


def test_the_limit_counts_matching_runs_not_runs_read(ntrader: Command, save_run: SaveRun) -> None:
    wanted = [save_run(strategy="sma", sharpe_ratio=1.0 + number) for number in range(3)]
    for number in range(10):
        save_run(strategy="momentum", sharpe_ratio=10.0 + number)

    arguments = ["--strategy", "sma", "--sort", "sharpe_ratio", "--limit", "2", "--json"]
    page = ntrader("history", *arguments).json

    assert [run["run_id"] for run in page["runs"]] == [str(wanted[2]), str(wanted[1])]
    rest = ntrader("history", *arguments, "--after", page["next"]).json
    assert [run["run_id"] for run in rest["runs"]] == [str(wanted[0])]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--strategy", "rsi"], {"rsi"}),
        (["--strategy", "rsi_mean_reversion"], {"rsi"}),
        (["--strategy", "RSI-Mean-Reversion"], {"rsi"}),
        (["--timeframe", "1d", "--symbol", "GOOG"], {"goog"}),
        (["--timeframe", "1h"], set()),
        (["--type", "momentum"], {"goog"}),
        (["--symbol", "GOOG"], {"goog"}),
        (["--status", "failed"], {"failed"}),
        (["--since", "2026-03-01"], {"goog", "failed"}),
        (["--until", "2026-02-01"], {"sma"}),
        (["-p", "fast_period=7"], {"rsi"}),
        (["--strategy", "sma", "--status", "success"], {"sma"}),
        (["--strategy", "nobody"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_history_filters(
    ntrader: Command, save_run: SaveRun, options: list[str], expected: set[str]
) -> None:
    names = {
        save_run(started_at=datetime(2026, 1, 5, tzinfo=UTC)): "sma",
        save_run(
            started_at=datetime(2026, 2, 5, tzinfo=UTC),
            strategy="rsi",
            parameters={"fast_period": 7},
        ): "rsi",
        save_run(
            started_at=datetime(2026, 3, 5, tzinfo=UTC), strategy="momentum", symbol="GOOG"
        ): "goog",
        save_run(started_at=datetime(2026, 4, 5, tzinfo=UTC), failed=True): "failed",
    }

    runs = ntrader("history", *options, "--json").json["runs"]

    assert {names[UUID(run["run_id"])] for run in runs} == expected


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_a_walk_by_cursor_sees_each_run_once(
    ntrader: Command, save_run: SaveRun, direction: str
) -> None:
    """Equal times, equal and undefined metrics, and failed runs are where a cursor could slip."""
    saved = {str(save_run(sharpe_ratio=None if number % 3 else 1.0)) for number in range(18)}
    saved |= {str(save_run(failed=True)) for _ in range(6)}

    for order in ORDERS:
        seen: list[str] = []
        after: list[str] = []
        while True:
            arguments = ["--sort", f"{order}:{direction}", "--limit", "7", "--json", *after]
            page = ntrader("history", *arguments).json
            seen += [run["run_id"] for run in page["runs"]]
            if page["next"] is None:
                break
            after = ["--after", page["next"]]
        assert len(seen) == len(saved), order
        assert set(seen) == saved, order


def test_csv_has_one_row_a_run(ntrader: Command, save_run: SaveRun) -> None:
    run_id = save_run(parameters={"fast_period": 7, "slow_period": 21}, sharpe_ratio=None)

    rows = list(csv.DictReader(io.StringIO(ntrader("history", "--csv").stdout)))

    assert [row["run_id"] for row in rows] == [str(run_id)]
    assert json.loads(rows[0]["parameters"]) == {"fast_period": 7, "slow_period": 21}
    assert rows[0]["sharpe_ratio"] == ""
    assert float(rows[0]["total_return"]) == pytest.approx(0.12345678)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sort", "luck"], "luck"),
        (["--sort", "sharpe_ratio:up"], "up"),
        (["--after", "!!"], "cursor"),
        (["--limit", "0"], "--limit"),
        (["--csv"], "--csv"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "--since"),
        (["--limit", "1001"], "--limit"),
        (["--since", "tomorrow"], "tomorrow"),
        (["--status", "lost"], "lost"),
        (["-p", "fast_period"], "NAME=VALUE"),
        (["--timeframe", "7m"], "7m"),
        (["--columns", "run_id,luck"], "luck"),
        (["--columns", "run_id,,status"], "''"),
        (["--columns", "run_id,run_id"], "twice"),
        (["--columns", "parameters."], "parameters."),
        (["--columns", "run_id"], "--columns"),
        (["--timeframe", "daily"], "daily"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_question_is_refused(ntrader: Command, arguments: list[str], said: str) -> None:
    refused = ntrader("history", *arguments, "--json")

    assert refused.exit_code == 2
    assert said in refused.json["error"]["message"]


def test_a_cursor_is_refused_for_another_list(ntrader: Command, save_run: SaveRun) -> None:
    for _ in range(2):
        save_run()
    cursor = ntrader("history", "--limit", "1", "--json").json["next"]

    refused = ntrader("history", "--after", cursor, "--sort", "cagr", "--json")

    assert refused.exit_code == 2
    assert refused.json["error"]["code"] == "cursor_mismatch"


def test_names_cannot_drive_the_terminal(ntrader: Command, save_run: SaveRun) -> None:
    save_run(strategy="\x1b[b]red[/]")

    listed = ntrader("history").stdout

    assert "\x1b" not in listed
    assert "?[b]red[/]" in listed


@pytest.mark.parametrize("spelling", ["trend_following", "trend-following", "Trend Following"])
def test_a_type_is_found_however_it_is_spelled(
    ntrader: Command, save_run: SaveRun, spelling: str
) -> None:
    wanted = save_run(strategy="sma")
    save_run(strategy="rsi")

    runs = ntrader("history", "--type", spelling, "--json").json["runs"]

    assert [run["run_id"] for run in runs] == [str(wanted)]


def test_an_unknown_type_is_refused_and_the_known_ones_are_named(
    ntrader: Command, save_run: SaveRun
) -> None:
    save_run(strategy="one_of_mine")  # its type is "own"

    refused = ntrader("history", "--type", "trend_folowing")

    assert refused.exit_code == 2
    assert "trend_folowing" in refused.stderr
    assert "trend_following, mean_reversion, momentum" in refused.stderr
    assert ntrader("history", "--type", "own", "--symbol", "NONE").exit_code == 0
    assert ntrader("history", "--type", "momentum").exit_code == 0


def test_runs_of_a_class_are_found_by_the_path_that_run_takes(
    ntrader: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "from ntrader.engine.strategies import LongFlatStrategy\n\n" + "".join(
        f"class {name}(LongFlatStrategy):\n    def on_bar(self, bar):\n        pass\n\n"
        for name in ("Dip", "Peak")
    )
    for name in ("mine.py", "other.py"):
        (tmp_path / name).write_text(code)
    asked = ["mine.py:Dip", "mine.py:Peak", "other.py:Dip"]
    made = [ntrader("run", "--strategy", each, "--json").json["run_id"] for each in asked]

    found = [
        [run["run_id"] for run in ntrader("history", "--strategy", each, "--json").json["runs"]]
        for each in (*asked, str(tmp_path / "mine.py:Dip"))
    ]

    assert found == [[made[0]], [made[1]], [made[2]], [made[0]]]
    page = ntrader("history", "--strategy", "mine.py:Dip", "--sort", "cagr", "--json").json
    assert [run["run_id"] for run in page["runs"]] == [made[0]]
    without_class = ntrader("history", "--strategy", "mine.py")
    assert without_class.exit_code == 3
    assert "mine.py:ClassName" in without_class.stderr


def test_columns_choose_what_is_shown(ntrader: Command, save_run: SaveRun) -> None:
    run_id = str(save_run(parameters={"fast_period": 7, "slow_period": 21}, sharpe_ratio=None))
    failed = str(save_run(strategy="rsi", parameters={"rsi_period": 3}, failed=True))
    columns = "run_id,parameters.fast_period,fee,sharpe_ratio,cagr,start"

    table = ntrader("history", "--columns", columns).stdout.splitlines()
    rows = list(csv.reader(io.StringIO(ntrader("history", "--columns", columns, "--csv").stdout)))

    assert table[0].split() == ["RUN", "ID", "FAST", "PERIOD", "FEE", "SHARPE", "CAGR", "START"]
    assert table[2].split() == [failed[:8], "-", "0.1%", "-", "-", "2012-01-03", "00:00"]
    assert table[3].split() == [run_id[:8], "7", "0.1%", "-", "12.36%", "2012-01-03", "00:00"]
    assert rows == [
        columns.split(","),
        [failed, "", "0.001", "", "", "2012-01-03T00:00:00Z"],
        [run_id, "7", "0.001", "", "0.1236", "2012-01-03T00:00:00Z"],
    ]


def test_every_column_can_be_shown(ntrader: Command, save_run: SaveRun) -> None:
    save_run()
    save_run(failed=True)

    every = ",".join(COLUMNS)

    assert ntrader("history", "--columns", every).exit_code == 0
    (names, *rows) = csv.reader(io.StringIO(ntrader("history", "--columns", every, "--csv").stdout))
    assert names == list(COLUMNS)
    assert [len(row) for row in rows] == [len(COLUMNS)] * 2


def test_an_installed_strategy_is_found_however_its_name_is_written(
    ntrader: Command, save_run: SaveRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_signals-0.1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: my-signals\nVersion: 0.1\n")
    (package / "entry_points.txt").write_text("[ntrader.strategies]\ndip-buyer = my_signals:Dip\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    wanted = save_run(strategy="dip-buyer")

    for name in ("dip-buyer", "Dip_Buyer", "dip buyer"):
        runs = ntrader("history", "--strategy", name, "--json").json["runs"]
        assert [run["run_id"] for run in runs] == [str(wanted)]
