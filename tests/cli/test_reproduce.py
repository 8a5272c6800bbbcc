"""`ntrader reproduce`: whether an old result still holds, and if not, what moved it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command
from support.database import Background, execute

ALTERED_PARAMETER = (
    "config_snapshot = jsonb_set(config_snapshot, '{config,strategy,parameters,fast_period}', '9')"
)
STRATEGY = """
from ntrader.engine.strategies import LongFlatStrategy

class Steps(LongFlatStrategy):
    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars % 20 == 5:
            self.enter()
        elif self.bars % 20 == EXIT:
            self.exit()
"""
DESCRIBED = ["--symbol", "ABC", "--venue", "V", "--kind", "equity", "--timeframe", "1d"]

type BarsCsv = Callable[..., Path]


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """A strategy of the user's own that sells on bars 15, 35, ..."""
    path = tmp_path / "steps.py"
    path.write_text(STRATEGY.replace("EXIT", "15"))
    return path


@pytest.mark.parametrize("symbol", ["IBM", "GOOG"])
@pytest.mark.parametrize("strategy", ["sma", "rsi", "momentum"])
def test_each_strategy_on_each_sample_is_identical(
    ntrader: Command, strategy: str, symbol: str
) -> None:
    original = ntrader(
        *("run", "--strategy", strategy, "--symbol", symbol, "--fee", "0.001", "--json")
    ).json

    found = ntrader("reproduce", "@", "--json")

    assert found.exit_code == 0
    assert found.json["original"] == original["run_id"]
    assert found.json["verdict"] == "identical"
    assert set(found.json["checked"].values()) == {"same"}
    assert found.json["metric_differences"] == {}
    assert found.json["first_divergence"] is None
    shown = ntrader("show", found.json["run"], "--json").json
    assert shown["reproduced_from"] == original["run_id"]
    assert shown["fingerprint"] == original["fingerprint"]
    assert shown["result_digest"] == original["result_digest"]


def test_the_verdict_is_one_line_that_a_person_reads(ntrader: Command) -> None:
    run = ntrader("run", "--strategy", "sma", "--json").json

    shown = ntrader("reproduce", "@")

    assert shown.stdout.splitlines()[0].startswith(f"IDENTICAL  Run {run['run_id'][:8]}")
    assert "Saved as run" in shown.stderr


def test_a_changed_strategy_file_does_not_matter_because_its_source_was_kept(
    ntrader: Command, steps: Path
) -> None:
    ntrader("run", "--strategy", f"{steps}:Steps")
    steps.write_text(STRATEGY.replace("EXIT", "17"))

    kept = ntrader("reproduce", "@", "--json")
    shown = ntrader("reproduce", "@~1")

    assert kept.json["verdict"] == "identical"
    assert kept.json["checked"]["strategy_code"] == "same"
    assert "changed since" in kept.json["details"]["strategy_code"]
    assert "IDENTICAL" in shown.stdout


def test_a_strategy_file_that_is_gone_does_not_matter(ntrader: Command, steps: Path) -> None:
    ntrader("run", "--strategy", f"{steps}:Steps")
    steps.unlink()

    assert ntrader("reproduce", "@", "--json").json["verdict"] == "identical"
    refused = ntrader("reproduce", "@", "--current-code")
    assert refused.exit_code == 3
    assert "kept" in refused.stderr


def test_todays_code_gives_another_answer_and_the_first_fill_that_differs(
    ntrader: Command, steps: Path
) -> None:
    ntrader("run", "--strategy", f"{steps}:Steps", "--fill", "close")
    steps.write_text(STRATEGY.replace("EXIT", "17"))

    found = ntrader("reproduce", "@", "--current-code", "--json")
    shown = ntrader("reproduce", "@~1", "--current-code")

    assert found.exit_code == shown.exit_code == 5
    assert found.json["verdict"] == "different"
    assert found.json["checked"]["strategy_code"] == "changed"
    assert found.json["checked"]["data"] == "same"
    divergence = found.json["first_divergence"]
    # Bar 15 of IBM is 2000-03-21, bar 17 is 2000-03-23.
    assert (divergence["kind"], divergence["index"]) == ("fill", 1)
    assert divergence["original"]["time"] == "2000-03-21T00:00:00Z"
    assert divergence["run"]["time"] == "2000-03-23T00:00:00Z"
    assert "total_return" in found.json["metric_differences"]
    assert shown.stdout.startswith("DIFFERENT")
    assert "strategy code" in shown.stdout.splitlines()[0]
    assert "2000-03-21" in shown.stdout


def test_attribute_names_the_code_when_only_the_code_moved(ntrader: Command, steps: Path) -> None:
    ntrader("run", "--strategy", f"{steps}:Steps")
    steps.write_text(STRATEGY.replace("EXIT", "17"))

    found = ntrader("reproduce", "@", "--attribute", "--json").json

    assert [(each["pin"], each["verdict"]) for each in found["attribution"]] == [
        ("strategy_code", "different")
    ]
    assert found["verdict"] == "identical"


def test_attribute_names_the_data_when_a_price_changed(
    ntrader: Command, bars_csv: BarsCsv, steps: Path
) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)
    ntrader("run", "--strategy", f"{steps}:Steps", "--dataset", "ABC-1d", "--fill", "close")
    # Bar 25 (index 24) is where the second position is opened.
    ntrader("data", "import", bars_csv("b.csv", moved=24), *DESCRIBED)

    found = ntrader("reproduce", "@", "--attribute", "--json").json
    shown = ntrader("reproduce", "@~1", "--attribute").stdout

    assert found["verdict"] == "identical"
    assert "newer version" in found["details"]["data"]
    (attribution,) = found["attribution"]
    assert (attribution["pin"], attribution["verdict"]) == ("data", "different")
    divergence = attribution["first_divergence"]
    assert (divergence["kind"], divergence["index"]) == ("fill", 2)
    assert divergence["run"]["price"] == pytest.approx(divergence["original"]["price"] + 0.01)
    assert "data alone moves the answer" in shown


def test_a_price_that_changes_within_a_position_shows_in_the_equity_of_that_day(
    ntrader: Command, bars_csv: BarsCsv, steps: Path
) -> None:
    """The earliest difference counts, also where a fill differs later."""
    ntrader("data", "import", bars_csv(), *DESCRIBED)
    ntrader("run", "--strategy", f"{steps}:Steps", "--dataset", "ABC-1d", "--fill", "close")
    # Bought on index 4, sold on 14: what the position is worth moves on 10, no fill does until 24.
    ntrader("data", "import", bars_csv("b.csv", moved=10), *DESCRIBED)
    ntrader("data", "import", bars_csv("c.csv", moved=(10, 24)), *DESCRIBED)

    (attribution,) = ntrader("reproduce", "@", "--attribute", "--json").json["attribution"]

    divergence = attribution["first_divergence"]
    assert (divergence["kind"], divergence["index"]) == ("equity", 10)
    assert divergence["time"] == "2020-01-11T00:00:00Z"
    assert divergence["run"]["equity"] > divergence["original"]["equity"]


def test_attribute_tells_code_and_data_apart_when_both_changed(
    ntrader: Command, bars_csv: BarsCsv, steps: Path
) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)
    ntrader("run", "--strategy", f"{steps}:Steps", "--dataset", "ABC-1d", "--fill", "close")
    # Bar 1 is never held: other data, the same answer.
    ntrader("data", "import", bars_csv("b.csv", moved=0), *DESCRIBED)
    steps.write_text(STRATEGY.replace("EXIT", "17"))

    found = ntrader("reproduce", "@", "--attribute", "--json").json
    shown = ntrader("reproduce", "@~1", "--attribute").stdout

    assert [(each["pin"], each["verdict"]) for each in found["attribution"]] == [
        ("strategy_code", "different"),
        ("data", "identical"),
    ]
    assert "Today's strategy code alone moves the answer." in shown
    assert "Today's data alone leaves the answer as it was." in shown


def test_attribute_says_where_there_is_nothing_to_try(ntrader: Command) -> None:
    ntrader("run", "--strategy", "sma")

    found = ntrader("reproduce", "@", "--attribute")

    assert found.exit_code == 0
    assert "Nothing to attribute" in found.stdout
    assert "Nothing to attribute" not in ntrader("reproduce", "@").stdout


def test_code_of_today_that_does_not_take_the_parameters_leaves_the_verdict(
    ntrader: Command, steps: Path
) -> None:
    source = steps.read_text().replace("    def prepare", "    Parameters = P\n    def prepare")
    with_parameter = (
        "from ntrader.engine.strategies import StrategyParameters\n"
        "class P(StrategyParameters):\n    size: int = 3\n"
    )
    steps.write_text(with_parameter + source)
    ntrader("run", "--strategy", f"{steps}:Steps")
    steps.write_text(with_parameter.replace("size", "length") + source)

    found = ntrader("reproduce", "@", "--attribute", "--json")
    refused = ntrader("reproduce", "@", "--current-code")

    assert (found.exit_code, found.json["verdict"]) == (0, "identical")
    (attribution,) = found.json["attribution"]
    assert attribution["verdict"] is None
    assert "size" in attribution["error"]
    assert refused.exit_code == 2
    assert "size" in refused.stderr


def test_a_strategy_file_that_is_broken_today_is_told_from_one_that_is_gone(
    ntrader: Command, steps: Path
) -> None:
    ntrader("run", "--strategy", f"{steps}:Steps")
    steps.write_text("class Steps(:")

    kept = ntrader("reproduce", "@", "--json").json
    refused = ntrader("reproduce", "@", "--current-code")

    assert kept["verdict"] == "identical"
    assert "cannot be loaded" in kept["details"]["strategy_code"]
    assert refused.exit_code == 2
    assert "SyntaxError" in refused.stderr


def test_damaged_data_are_named(ntrader: Command, bars_csv: BarsCsv, home: Path) -> None:
    one = ntrader("data", "import", bars_csv(), *DESCRIBED, "--json").json["content_hash"]
    two = ntrader("data", "import", bars_csv("b.csv", moved=29), *DESCRIBED, "--json").json
    ntrader("run", "--strategy", "sma", "-p", "slow_period=12", "--dataset", one)
    (mine,) = (home / "datasets" / one).rglob("bar/**/*.parquet")
    (other,) = (home / "datasets" / two["content_hash"]).rglob("bar/**/*.parquet")
    mine.write_bytes(other.read_bytes())

    found = ntrader("reproduce", "@", "--json")

    assert found.json["checked"]["data"] == "changed"
    assert found.json["details"]["data"]


def test_data_that_are_gone_are_refused(ntrader: Command, bars_csv: BarsCsv, home: Path) -> None:
    one = ntrader("data", "import", bars_csv(), *DESCRIBED, "--json").json["content_hash"]
    ntrader("run", "--strategy", "sma", "--dataset", one)
    for file in (home / "datasets" / one).rglob("*.parquet"):
        file.unlink()

    refused = ntrader("reproduce", "@")

    assert refused.exit_code in (1, 3)
    assert "import" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr


def test_a_failure_is_reproduced_too(ntrader: Command, tmp_path: Path) -> None:
    strategy = tmp_path / "raises.py"
    source = (
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "class Raises(LongFlatStrategy):\n"
        "    def on_bar(self, bar):\n"
        "        raise RuntimeError('first')\n"
    )
    strategy.write_text(source)
    ntrader("run", "--strategy", f"{strategy}:Raises")

    same = ntrader("reproduce", "@", "--json")
    strategy.write_text(source.replace("first", "second"))
    other = ntrader("reproduce", "@~1", "--current-code", "--json")

    assert (same.exit_code, same.json["verdict"]) == (0, "identical")
    assert (other.exit_code, other.json["verdict"]) == (5, "different")


def test_a_run_that_fails_today_and_one_that_no_longer_fails_say_how(
    ntrader: Command, steps: Path
) -> None:
    ntrader("run", "--strategy", f"{steps}:Steps")
    whole = steps.read_text()
    steps.write_text(whole.replace("self.bars += 1", "raise RuntimeError('broken')"))

    fails = ntrader("reproduce", "@", "--current-code")
    steps.write_text(whole)
    holds = ntrader("reproduce", "@", "--current-code", "--json")

    assert fails.exit_code == holds.exit_code == 5
    assert "fails today; changed: strategy code" in fails.stdout
    assert "Original  ran to its end" in fails.stdout
    assert "Now       RuntimeError: broken" in fails.stdout
    assert holds.json["errors"]["run"] is None
    assert "broken" in holds.json["errors"]["original"]


def test_one_message_after_fewer_bars_is_another_failure(ntrader: Command, steps: Path) -> None:
    failing = STRATEGY.replace("self.bars += 1", "self.bars += 1; assert self.bars < LAST, 'x'")
    steps.write_text(failing.replace("LAST", "9").replace("EXIT", "15"))
    ntrader("run", "--strategy", f"{steps}:Steps")
    steps.write_text(failing.replace("LAST", "8").replace("EXIT", "15"))

    assert ntrader("reproduce", "@", "--json").exit_code == 0
    assert ntrader("reproduce", "@", "--current-code", "--json").exit_code == 5


def test_a_parameter_that_was_altered_in_the_store_is_named(
    ntrader: Command, background: Background, database_url: str
) -> None:
    ntrader("run", "--strategy", "sma")
    alter(background, database_url, "backtest_runs", ALTERED_PARAMETER)

    found = ntrader("reproduce", "@", "--json")
    shown = ntrader("reproduce", "@~1")

    assert found.exit_code == shown.exit_code == 5
    assert found.json["checked"]["configuration"] == "changed"
    # The first crossing of the averages of 9 and 20 days is a day earlier.
    divergence = found.json["first_divergence"]
    assert (divergence["kind"], divergence["index"]) == ("fill", 0)
    assert divergence["run"]["time"] < divergence["original"]["time"]
    assert "changed: configuration." in shown.stdout.splitlines()[0]


def test_a_metric_that_moved_alone_is_a_different_answer(
    ntrader: Command, background: Background, database_url: str
) -> None:
    """The fills hold, and yet the number that was reported does not."""
    ntrader("run", "--strategy", "sma")
    alter(background, database_url, "performance_metrics", "sharpe_ratio = sharpe_ratio + 1e-8")

    found = ntrader("reproduce", "@", "--json")
    shown = ntrader("reproduce", "@~1").stdout

    assert (found.exit_code, found.json["verdict"]) == (5, "different")
    assert list(found.json["metric_differences"]) == ["sharpe_ratio"]
    assert found.json["first_divergence"] is None
    assert "the same fills and equity" in shown
    # Every digit, where those that are shown otherwise are equal.
    (line,) = [line for line in shown.splitlines() if line.startswith("Sharpe ratio")]
    before, now = map(float, line.split()[2:])
    assert before - now == pytest.approx(1e-8, rel=1e-3)


def alter(background: Background, database_url: str, table: str, change: str) -> None:
    """Change rows that the database keeps from being changed."""
    background.run(
        execute(
            database_url,
            f"ALTER TABLE {table} DISABLE TRIGGER USER",
            f"UPDATE {table} SET {change}",
            f"ALTER TABLE {table} ENABLE TRIGGER USER",
        )
    )


def test_another_engine_version_is_told(ntrader: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ntrader.services.environment.engine_version", lambda: "1.230.0")
        ntrader("run", "--strategy", "sma")

    found = ntrader("reproduce", "@", "--json")

    assert found.json["checked"]["engine"] == "changed"
    assert "1.230.0" in found.json["details"]["engine"]
    assert found.json["verdict"] == "identical"


@pytest.mark.parametrize(("reference", "exit_code"), [("@~5", 3), ("zz", 2), ("abcd", 3)])
def test_what_names_no_run_is_refused(ntrader: Command, reference: str, exit_code: int) -> None:
    assert ntrader("reproduce", reference).exit_code == exit_code
