"""`ntrader strategies`: what can be run."""

import csv
import io
from pathlib import Path

from support.commands import Command


def test_the_built_in_strategies_are_listed(ntrader: Command) -> None:
    listed = ntrader("strategies", "--json").json["strategies"]
    rows = list(csv.DictReader(io.StringIO(ntrader("strategies", "--csv").stdout)))

    assert [spec["name"] for spec in listed] == ["sma", "rsi", "momentum"]
    assert [spec["type"] for spec in listed] == ["trend_following", "mean_reversion", "momentum"]
    assert all(spec["version"] and spec["description"] for spec in listed)
    assert [row["name"] for row in rows] == ["sma", "rsi", "momentum"]
    assert "momentum" in ntrader("strategies").stdout


def test_parameters_are_shown_with_type_default_and_bounds(ntrader: Command) -> None:
    fast, slow = ntrader("strategies", "SMA-Crossover", "--json").json["parameters"]

    assert (fast["name"], fast["type"], fast["default"]) == ("fast_period", "integer", 10)
    assert (fast["minimum"], fast["maximum"]) == (1, 10_000)
    assert slow["default"] == 20
    shown = ntrader("strategies", "rsi").stdout
    assert "(0, 100)" in shown
    assert "oversold_threshold" in shown


def test_a_strategy_in_a_file_is_described(ntrader: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "class Mine(LongFlatStrategy):\n"
        '    """Does nothing, patiently."""\n'
        '    version = "2.1.0"\n'
    )

    described = ntrader("strategies", f"{path}:Mine", "--json").json

    assert described["name"] == "Mine"
    assert described["description"] == "Does nothing, patiently."
    assert described["version"].startswith("2.1.0+")


def test_an_unknown_strategy_is_not_found(ntrader: Command) -> None:
    refused = ntrader("strategies", "nope", "--json")

    assert refused.exit_code == 3
    assert "sma" in refused.json["error"]["hint"]
