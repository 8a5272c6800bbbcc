"""`ntrader reproduce`: whether an old result still holds, and if not, what moved it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command

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
