"""`ntrader run`: from a question to a saved answer."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command

RAISES = """
from ntrader.engine.strategies import LongFlatStrategy

class Raises(LongFlatStrategy):
    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars == 100:
            raise RuntimeError("no more bars, please")
"""


def test_run_shows_the_result_and_saves_it(ntrader: Command) -> None:
    shown = ntrader("run", "--strategy", "sma")

    assert shown.exit_code == 0
    assert "Total return" in shown.stdout
    assert "224,460.06 USD" in shown.stdout
    run_id = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", shown.stdout)
    assert run_id is not None
    assert f"ntrader show {run_id[0][:8]}" in shown.stderr
    listed = ntrader("history", "--json").json["runs"]
    assert [run["run_id"] for run in listed] == [run_id[0]]


def test_run_json_is_what_show_json_gives_later(ntrader: Command) -> None:
    run = ntrader("run", "--strategy", "momentum", "--symbol", "GOOG", "--fee", "0.001", "--json")

    shown = ntrader("show", run.json["run_id"][:8], "--json")

    saving: dict[str, object] = {"duplicates": [], "save_error": None, "waiting": False}
    assert {**shown.json, **saving} == run.json


def test_the_same_question_has_the_same_identity_and_the_same_answer(ntrader: Command) -> None:
    first = ntrader("run", "--strategy", "sma", "--json").json
    second = ntrader("run", "--strategy", "SMA-Crossover", "--json").json

    assert second["run_id"] != first["run_id"]
    assert second["fingerprint"] == first["fingerprint"]
    assert second["result_digest"] == first["result_digest"]
    assert second["duplicates"] == [first["run_id"]]


@pytest.mark.parametrize(
    "change",
    [
        ["-p", "fast_period=11"],
        ["--fee", "0.0001"],
        ["--fill", "close"],
        ["--slippage", "0.0001"],
        ["--capital", "100001"],
        ["--equity-fraction", "0.8"],
        ["--seed", "1"],
        ["--end", "2012-12-31"],
        ["--start", "2000-06-01"],
        ["--symbol", "GOOG"],
        ["--strategy", "rsi"],
    ],
    ids=lambda change: " ".join(change),
)
def test_any_change_of_the_question_changes_the_fingerprint(
    ntrader: Command, change: list[str]
) -> None:
    original = ntrader("run", "--strategy", "sma", "--no-save", "--json").json

    # The last of two equal options counts.
    changed = ntrader("run", "--strategy", "sma", "--no-save", "--json", *change).json

    assert changed["fingerprint"] != original["fingerprint"]


def test_one_price_changes_the_fingerprint(ntrader: Command, bars_csv: Callable[..., Path]) -> None:
    fingerprints = set()
    for path in (bars_csv("a.csv"), bars_csv("b.csv", moved=30)):
        described = ["--symbol", "X", "--venue", "V", "--kind", "equity", "--timeframe", "1d"]
        dataset = ntrader("data", "import", path, *described, "--json").json
        run = ntrader(
            "run", "--strategy", "sma", "--dataset", dataset["content_hash"], "--json"
        ).json
        fingerprints.add(run["fingerprint"])

    assert len(fingerprints) == 2


def test_a_default_that_is_said_is_the_same_question(ntrader: Command) -> None:
    plain = ntrader("run", "--strategy", "sma", "--no-save", "--json").json

    explicit = ntrader(
        *("run", "--strategy", "sma", "-p", "fast_period=10", "--fee", "0.0", "--no-save"),
        *("--start", "2000-03-01", "--end", "2013-03-01", "--dataset", "IBM-sample", "--json"),
    ).json

    assert explicit["fingerprint"] == plain["fingerprint"]


def test_no_save_saves_nothing(ntrader: Command) -> None:
    run = ntrader("run", "--strategy", "sma", "--no-save", "--json")

    assert run.json["saved"] is False
    assert ntrader("history", "--json").json["runs"] == []


def test_a_yaml_file_asks_and_the_command_line_overrides(ntrader: Command, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        "strategy: sma\nsymbol: GOOG\nfee: 0.001\nfill: close\n"
        "parameters:\n  fast_period: 5\n  slow_period: 50\nstart: 2006-01-01\n"
    )

    run = ntrader("run", config, "-p", "fast_period=7", "--fee", "0.002", "--json").json

    assert run["strategy"]["parameters"] == {"fast_period": 7, "slow_period": 50}
    assert (run["symbol"], run["fee"], run["fill"]) == ("GOOG", 0.002, "close")
    assert run["start"] == "2006-01-03T00:00:00Z"


def test_show_config_is_yaml_that_run_takes_back(ntrader: Command, tmp_path: Path) -> None:
    original = ntrader(
        *("run", "--strategy", "rsi", "--fee", "0.001", "--start", "2005-01-01", "--json")
    ).json
    config = tmp_path / "again.yaml"
    config.write_text(ntrader("show", "@", "--config").stdout)

    again = ntrader("run", config, "--json").json

    assert again["fingerprint"] == original["fingerprint"]
    assert again["result_digest"] == original["result_digest"]


def test_a_strategy_that_raises_leaves_a_failed_run(ntrader: Command, tmp_path: Path) -> None:
    strategy = tmp_path / "raises.py"
    strategy.write_text(RAISES)

    run = ntrader("run", "--strategy", f"{strategy}:Raises", "--json")

    assert run.exit_code == 1
    assert run.json["status"] == "failed"
    assert run.json["error"]["message"] == "RuntimeError: no more bars, please"
    assert "raises.py" in run.json["error"]["traceback"]
    assert run.json["metrics"] is None
    assert ntrader("show", "@", "--json").json["error"] == run.json["error"]
    assert [r["run_id"] for r in ntrader("history", "--status", "failed", "--json").json["runs"]]


def test_the_traceback_that_is_shown_begins_in_the_users_file(
    ntrader: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # whatever the length of the path, it is on one line
    strategy = tmp_path / "raises.py"
    strategy.write_text(RAISES)

    ran = ntrader("run", "--strategy", f"{strategy}:Raises").stdout
    shown = ntrader("show", "@").stdout
    whole = ntrader("show", "@", "--json").json["error"]["traceback"]

    for text in (ran, shown):
        lines = [line.strip() for line in text.splitlines()]
        first_frame = lines[lines.index("Traceback (most recent call last):") + 1]
        assert first_frame.startswith(f'File "{strategy}"')
        assert "runner.py" not in text
        assert 'raise RuntimeError("no more bars, please")' in text
    assert "runner.py" in whole


def test_no_trades_leaves_undefined_metrics_with_their_reasons(ntrader: Command) -> None:
    run = ntrader("run", "--strategy", "momentum", "-p", "momentum_threshold=9", "--json").json

    assert run["status"] == "success"
    assert run["metrics"]["total_trades"] == 0
    assert run["metrics"]["final_balance"] == 100_000
    for name in ("sharpe_ratio", "win_rate", "profit_factor", "expectancy", "avg_win"):
        assert run["metrics"][name] is None
        assert run["undefined_metrics"][name]
    shown = ntrader("show", "@")
    assert "Undefined" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ([], 2, "Which strategy?"),
        (["--strategy", "nope"], 3, "nope"),
        (["--strategy", "sma", "-p", "fast_period=0"], 2, "fast_period"),
        (["--strategy", "sma", "-p", "fast_period=20"], 2, "below slow_period"),
        (["--strategy", "sma", "-p", "speed=1"], 2, "speed"),
        (["--strategy", "sma", "-p", "fast_period"], 2, "NAME=VALUE"),
        (["--strategy", "sma", "--symbol", "XYZ"], 3, "XYZ"),
        (["--strategy", "sma", "--dataset", "nope"], 3, "nope"),
        (["--strategy", "sma", "--start", "2050-01-01"], 2, "no bars"),
        (["--strategy", "sma", "--start", "yesterday"], 2, "ISO date"),
        (["--strategy", "sma", "--start", "2010", "--end", "2009"], 2, "2010"),
        (["--strategy", "sma", "--start", "2010-01-01", "--end", "2009-01-01"], 2, "before its"),
        (["--strategy", "sma", "-p", "fast_period=abc"], 2, "should be a valid integer."),
        (["--strategy", "sma", "--fee", "1"], 2, "fee"),
        (["--strategy", "sma", "--fee", "nan"], 2, "fee"),
        (["--strategy", "sma", "--capital", "-1"], 2, "capital"),
        (["--strategy", "sma", "--timeframe", "7m"], 2, "7m"),
        (["--strategy", "sma", "--fill", "sometimes"], 2, "sometimes"),
        (["nowhere.yaml"], 3, "nowhere.yaml"),
        (["--strategy", "nowhere.py:Class"], 3, "nowhere.py"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_request_is_refused_in_words(
    ntrader: Command, arguments: list[str], exit_code: int, said: str
) -> None:
    refused = ntrader("run", *arguments)
    as_json = ntrader("run", *arguments, "--json")

    assert refused.exit_code == as_json.exit_code == exit_code
    assert refused.stdout == ""
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert said in as_json.json["error"]["message"]
    assert set(as_json.json["error"]) == {"code", "message", "hint"}
    assert ntrader("history", "--json").json["runs"] == []


def test_an_unreachable_database_refuses_before_the_run(
    ntrader: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:sesame@127.0.0.1:9/none")

    refused = ntrader("run", "--strategy", "sma", "--json")

    assert refused.exit_code == 4
    assert refused.json["error"]["code"] == "database_unavailable"
    assert "sesame" not in refused.stdout + refused.stderr


def test_a_balance_too_large_to_store_is_undefined_and_the_run_is_saved(
    ntrader: Command, tmp_path: Path
) -> None:
    """A price that grows a millionfold turns ninety billion into more than the column holds."""
    rows = ["date,open,high,low,close,volume"]
    prices = ["0.01"] * 30 + ["10000.00"] * 30
    rows += [
        f"2020-{1 + day // 28:02d}-{1 + day % 28:02d},{price},{price},{price},{price},1"
        for day, price in enumerate(prices)
    ]
    path = tmp_path / "rocket.csv"
    path.write_text("\n".join(rows) + "\n")
    described = ["--symbol", "UP", "--venue", "V", "--kind", "equity", "--timeframe", "1d"]
    ntrader("data", "import", path, *described)
    strategy = tmp_path / "always.py"
    strategy.write_text(
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "class Always(LongFlatStrategy):\n"
        "    def on_bar(self, bar):\n"
        "        self.enter()\n"
    )

    run = ntrader(
        *("run", "--strategy", f"{strategy}:Always", "--symbol", "UP"),
        *("--capital", "1000000000", "--json"),
    )

    assert run.exit_code == 0, run.stderr
    assert run.json["metrics"]["final_balance"] is None
    assert "too large" in run.json["undefined_metrics"]["final_balance"]
    assert ntrader("show", "@", "--json").json["metrics"] == run.json["metrics"]


def test_reuse_shows_the_earlier_run_of_the_same_question(ntrader: Command) -> None:
    first = ntrader("run", "--strategy", "sma", "--json").json

    reused = ntrader("run", "--strategy", "sma", "--reuse", "--json").json
    other = ntrader("run", "--strategy", "sma", "--fee", "0.001", "--reuse", "--json").json

    assert reused == {**first, "duplicates": []}
    assert other["run_id"] != first["run_id"]
    assert len(ntrader("history", "--json").json["runs"]) == 2


def test_reuse_runs_again_where_the_data_changed(
    ntrader: Command, bars_csv: Callable[..., Path], home: Path
) -> None:
    described = ["--symbol", "X", "--venue", "V", "--kind", "equity", "--timeframe", "1d"]
    one = ntrader("data", "import", bars_csv("a.csv"), *described, "--json").json["content_hash"]
    two = ntrader("data", "import", bars_csv("b.csv", moved=9), *described, "--json").json
    first = ntrader("run", "--strategy", "sma", "--dataset", one, "--json").json
    (mine,) = (home / "datasets" / one).rglob("bar/**/*.parquet")
    (other,) = (home / "datasets" / two["content_hash"]).rglob("bar/**/*.parquet")
    mine.write_bytes(other.read_bytes())

    again = ntrader("run", "--strategy", "sma", "--dataset", one, "--reuse", "--json").json

    assert again["run_id"] != first["run_id"]


def test_an_earlier_run_of_the_question_is_told_with_its_result(ntrader: Command) -> None:
    first = ntrader("run", "--strategy", "sma", "--json").json

    again = ntrader("run", "--strategy", "sma")

    assert f"asked once before, last by run {first['run_id'][:8]}, which gave 124.46%" in (
        again.stderr
    )


def test_two_answers_to_one_question_are_a_fault(ntrader: Command, tmp_path: Path) -> None:
    """A strategy that reads what its parameters do not say: here, a file beside it."""
    (tmp_path / "day").write_text("30")
    strategy = tmp_path / "moody.py"
    strategy.write_text(
        "from pathlib import Path\n"
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "class Moody(LongFlatStrategy):\n"
        "    def prepare(self):\n"
        f"        self.day = int(Path({str(tmp_path / 'day')!r}).read_text())\n"
        "    def on_bar(self, bar):\n"
        "        self.day -= 1\n"
        "        if self.day == 0:\n"
        "            self.enter()\n"
    )
    first = ntrader("run", "--strategy", f"{strategy}:Moody", "--json").json
    (tmp_path / "day").write_text("40")

    second = ntrader("run", "--strategy", f"{strategy}:Moody", "--json")

    assert second.json["fingerprint"] == first["fingerprint"]
    assert second.json["result_digest"] != first["result_digest"]
    assert "One question, two answers" in second.stderr
    assert first["run_id"][:8] in second.stderr


def test_a_key_that_is_set_twice_in_a_yaml_file_is_refused(
    ntrader: Command, tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("strategy: sma\nfee: 0.001\nfee: 0.002\n")

    refused = ntrader("run", config)

    assert refused.exit_code == 2
    assert "fee is set twice" in refused.stderr


def test_a_strategy_file_in_a_yaml_file_lies_beside_it(
    ntrader: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "raises.py").write_text(RAISES)
    (tmp_path / "elsewhere" / "run.yaml").write_text("strategy: raises.py:Raises\n")
    monkeypatch.chdir(tmp_path)

    run = ntrader("run", "elsewhere/run.yaml", "--json")

    assert run.json["error"]["message"] == "RuntimeError: no more bars, please"


def test_a_result_that_is_not_saved_says_why(
    ntrader: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The database goes away while the strategy runs."""
    strategy = tmp_path / "cuts.py"
    strategy.write_text(
        "import asyncio, os, threading, asyncpg\n"
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "async def lock():\n"
        "    connection = await asyncpg.connect(os.environ['DATABASE_URL'])\n"
        "    await connection.execute('DROP TABLE events')\n"
        "    await connection.close()\n"
        "class Cuts(LongFlatStrategy):\n"
        "    def on_bar(self, bar):\n"
        "        if not self.is_long:\n"
        "            self.enter()\n"
        "            thread = threading.Thread(target=lambda: asyncio.run(lock()))\n"
        "            thread.start()\n"
        "            thread.join()\n"
    )

    run = ntrader("run", "--strategy", f"{strategy}:Cuts", "--json")

    assert run.exit_code == 1
    assert run.json["saved"] is False
    assert run.json["metrics"]["total_trades"] == 0
    assert "events" in run.json["save_error"]["message"]
