"""Stale marks: runs whose data, code or engine is no longer what it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command

DESCRIBED = ["--symbol", "ABC", "--venue", "V", "--kind", "equity", "--timeframe", "1d"]
STRATEGY = """
from ntrader.engine.strategies import LongFlatStrategy

class Idle(LongFlatStrategy):
    def on_bar(self, bar):
        pass
"""


def test_a_fresh_run_is_not_stale(ntrader: Command, tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text(STRATEGY)
    ntrader("run", "--strategy", "sma")
    ntrader("run", "--strategy", f"{tmp_path / 'idle.py'}:Idle")

    listed = ntrader("history")

    assert "*" not in listed.stdout
    assert [run["stale"] for run in ntrader("history", "--json").json["runs"]] == [[], []]


def test_newer_data_under_the_name_make_a_run_stale(
    ntrader: Command, bars_csv: Callable[..., Path]
) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)
    ntrader("run", "--strategy", "sma", "--dataset", "ABC-1d")
    ntrader("data", "import", bars_csv("b.csv", moved=3), *DESCRIBED)
    ntrader("run", "--strategy", "sma", "--dataset", "ABC-1d")

    newer, older = ntrader("history", "--json").json["runs"]

    assert (newer["stale"], older["stale"]) == ([], ["data"])
    assert f"{older['run_id'][:8]}*" in ntrader("history").stdout
    assert "changed since the run: data" in ntrader("show", "@~1").stdout


@pytest.mark.parametrize("change", ["edit", "remove", "edit a module"])
def test_changed_code_makes_a_run_stale(ntrader: Command, tmp_path: Path, change: str) -> None:
    strategy, module = tmp_path / "idle.py", tmp_path / "neighbour.py"
    module.write_text("NUMBER = 1\n")
    strategy.write_text("import neighbour\n" + STRATEGY)
    ntrader("run", "--strategy", f"{strategy}:Idle")
    match change:
        case "edit":
            strategy.write_text(strategy.read_text() + "# more\n")
        case "remove":
            strategy.unlink()
        case _:
            module.write_text("NUMBER = 2\n")

    assert ntrader("history", "--json").json["runs"][0]["stale"] == ["strategy_code"]
    assert "strategy code" in ntrader("show", "@").stdout


def test_another_engine_makes_a_run_stale(
    ntrader: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ntrader.services.environment.engine_version", lambda: "1.230.0")
        ntrader("run", "--strategy", "sma")

    assert ntrader("show", "@", "--json").json["stale"] == ["engine"]
