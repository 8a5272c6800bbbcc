"""The reference cases: what two other engines answer, ntrader answers too."""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ntrader.cli.main import main
from support.database import TestServer

CASES = json.loads((Path(__file__).parents[1] / "reference" / "cases.json").read_text())
VENUES = {"IBM": "NYSE", "GOOG": "NASDAQ"}


@pytest.fixture(scope="module")
def environment(
    postgres: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A home and a database with both series imported from their CSV files."""
    with postgres.migrated_database() as url, pytest.MonkeyPatch.context() as patch:
        variables = {
            "DATABASE_URL": url,
            "NTRADER_HOME": str(tmp_path_factory.mktemp("reference")),
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        for symbol, venue in VENUES.items():
            file = str(files("ntrader") / "samples" / f"{symbol}.csv")
            described = ["--symbol", symbol, "--venue", venue, "--kind", "equity"]
            assert main(["data", "import", file, *described, "--timeframe", "1d"]) == 0
        yield variables


def case_id(case: dict[str, Any]) -> str:
    parameters = "-".join(map(str, case["parameters"].values()))
    return f"{case['dataset']}-{case['strategy']}-{parameters}-{case['fill']}-{case['fee']}"


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_agrees_with_two_other_engines(
    case: dict[str, Any],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    parameters = [f"-p{name}={value}" for name, value in case["parameters"].items()]
    options = {
        "--strategy": case["strategy"],
        "--symbol": case["dataset"],
        "--fill": case["fill"].replace("_", "-"),
        "--fee": case["fee"],
        "--equity-fraction": case["equity_fraction"],
        "--capital": case["initial_capital"],
    }
    arguments = [str(part) for pair in options.items() for part in pair]

    exit_code = main(["run", *arguments, *parameters, "--json"])
    run = json.loads(capsys.readouterr().out)

    assert exit_code == 0
    fills = [
        [fill["time"].removesuffix("Z"), fill["side"], fill["quantity"], fill["price"]]
        for fill in run["fills"]
    ]
    metrics = run["metrics"]
    assert len(fills) == case["fills"]
    assert fills[: len(case["first_fills"])] == case["first_fills"]
    assert fills[-len(case["last_fills"]) :] == case["last_fills"]
    assert metrics["total_trades"] == case["closed_trades"]
    assert metrics["final_balance"] == pytest.approx(case["final_equity"], abs=0.01)
    assert metrics["max_drawdown"] == pytest.approx(case["max_drawdown"], abs=1e-4)
    if case["fee"] == 0:
        # With fees the other engines count wins before the fee of the exit.
        assert metrics["winning_trades"] == case["winning_trades"]
