"""`ntrader compare`: runs side by side, in a terminal, as JSON and as a page."""

import json
from collections.abc import Callable
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ntrader.domain.results import METRICS
from support.commands import Command

type SaveRun = Callable[..., UUID]

HOSTILE = "<script>alert(1)</script><!--[red]\x1b[31m&amp;'\""


class Page(HTMLParser):
    """What a browser makes of a page: elements, their attributes, scripts and all other text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._within: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = None

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


@pytest.fixture
def sma_twice(ntrader: Command) -> list[str]:
    """The ids of two SMA runs on the same data, with other parameters."""
    return [
        ntrader("run", "--strategy", "sma", *options, "--json").json["run_id"]
        for options in ([], ["-p", "fast_period=50", "-p", "slow_period=200"])
    ]


def test_two_runs_of_one_strategy_are_ranked_and_tested(
    ntrader: Command, sma_twice: list[str]
) -> None:
    first, second = sma_twice

    found = ntrader("compare", "@~1", "@", "--json").json

    assert list(found) == [
        "runs",
        "metrics",
        "config_differences",
        "config_shared",
        "significance",
        "warnings",
    ]
    assert [run["run_id"] for run in found["runs"]] == sma_twice
    assert tuple(found["metrics"]) == METRICS
    assert found["metrics"]["total_return"] == {
        "values": {first: 1.2446006, second: pytest.approx(-0.0453830)},
        "deltas": {first: 0.0, second: pytest.approx(-1.2899836)},
        "better": "higher",
        "best": [first],
    }
    assert found["metrics"]["volatility"]["best"] == [second]
    assert found["metrics"]["total_fees"]["best"] == sma_twice
    assert found["metrics"]["exposure"]["better"] is None
    assert found["metrics"]["exposure"]["best"] == []
    assert found["metrics"]["max_drawdown_at"]["values"][first] == "2004-10-14T00:00:00Z"
    assert found["config_differences"] == {
        "strategy.parameters.fast_period": {first: 10, second: 50},
        "strategy.parameters.slow_period": {first: 20, second: 200},
    }
    assert found["config_shared"]["fill"] == "next-open"
    assert found["warnings"] == []
    significance = found["significance"]
    sharpe = found["metrics"]["sharpe_ratio"]["deltas"][second]
    assert significance["sharpe_ratio"]["difference"] == pytest.approx(sharpe, abs=1e-7)
    assert significance["sharpe_ratio"]["distinguishable"] is False
    assert significance["common_returns"] == 3_269
    assert significance["undefined"] == {}


def test_the_table_marks_the_best_and_says_what_chance_explains(
    ntrader: Command, sma_twice: list[str]
) -> None:
    shown = ntrader("compare", *sma_twice)

    assert shown.exit_code == 0
    assert "124.46%*" in shown.stdout
    assert "-129.00 pp" in shown.stdout
    assert "14.84%*" in shown.stdout
    assert "fast_period" in shown.stdout
    assert "dataset_hash" not in shown.stdout
    assert "not distinguishable" in shown.stdout
    assert shown.stdout.count("A") > 50
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "dataset_hash" in ntrader("compare", *sma_twice, "--all").stdout


def test_the_seed_moves_the_interval_and_nothing_else(
    ntrader: Command, sma_twice: list[str]
) -> None:
    default, again, other = (
        ntrader("compare", *sma_twice, "--json", *options).json
        for options in ([], ["--seed", "0"], ["--seed", "1"])
    )

    assert default == again
    assert default["significance"] != other["significance"]
    assert default["metrics"] == other["metrics"]


def test_sma_and_momentum_on_other_data_warn_and_mark_nothing(ntrader: Command) -> None:
    ntrader("run", "--strategy", "sma")
    ntrader("run", "--strategy", "momentum", "--symbol", "GOOG")

    found = ntrader("compare", "@", "@~1", "--json").json
    shown = ntrader("compare", "@", "@~1").stdout

    assert [metric["best"] for metric in found["metrics"].values()] == [[]] * len(METRICS)
    assert [text.partition(":")[0] for text in found["warnings"]] == [
        "Different instruments",
        "Different periods",
    ]
    assert found["significance"]["common_returns"] == 2_147
    assert "%*" not in shown
    assert "No best is marked." in shown
    assert "Different instruments: GOOG.NASDAQ" in shown


def test_runs_without_files_are_compared_without_curves(
    ntrader: Command, save_run: SaveRun
) -> None:
    save_run(sharpe_ratio=1.0)
    save_run(sharpe_ratio=2.0)

    shown = ntrader("compare", "@", "@~1")
    found = ntrader("compare", "@", "@~1", "--json").json

    assert shown.exit_code == 0
    assert "2.00*" in shown.stdout
    assert "2012-12-30\n" not in shown.stdout.split("METRIC")[1]
    assert len(found["warnings"]) == 2
    assert "equity.parquet" in found["warnings"][0]
    assert found["significance"]["sharpe_ratio"] is None
    assert found["significance"]["undefined"]["sharpe_ratio"] == (
        "not both runs have an equity curve"
    )
    assert "not tested: not both runs have an equity curve" in shown.stdout


def test_a_failed_run_is_shown_and_never_the_best(ntrader: Command, save_run: SaveRun) -> None:
    good = str(save_run(sharpe_ratio=1.0))
    broken = str(save_run(failed=True, message="ValueError: [red]\x1b[31mno"))
    worse = str(save_run(sharpe_ratio=0.5))

    found = ntrader("compare", good, broken, worse, "--json").json
    shown = ntrader("compare", good, broken, worse)

    assert found["metrics"]["sharpe_ratio"]["best"] == [good]
    assert found["metrics"]["sharpe_ratio"]["values"][broken] is None
    assert found["metrics"]["sharpe_ratio"]["deltas"][broken] is None
    assert found["warnings"][0].startswith(f"Run {broken[:8]} failed")
    assert found["significance"] is None
    assert "failed" in shown.stdout
    assert "ValueError: [red]?[31mno" in shown.stdout


@pytest.mark.parametrize("count", [3, 4, 5, 10])
def test_any_number_of_runs_fits_80_columns(
    ntrader: Command, save_run: SaveRun, count: int
) -> None:
    for place in range(count):
        save_run(
            sharpe_ratio=float(place),
            final_balance=Decimal("1234567.89") + place,
            strategy=f"a_rather_long_name_of_a_strategy_{place}",
        )

    shown = ntrader("compare", *("@" if not n else f"@~{n}" for n in range(count)))

    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert f"{count - 1}.00*" in shown.stdout
    assert f"{-(count - 1)}.00" in shown.stdout
    assert "1,234,567.89" in shown.stdout


def test_curves_are_drawn_in_ascii_with_a_letter_for_each_run(
    ntrader: Command, sma_twice: list[str]
) -> None:
    chart = ntrader("compare", *sma_twice).stdout.partition("2.56x")[2].partition("Mean")[0]

    assert chart.isascii()
    assert {"A", "B", "*"} <= set(chart)
    assert "2000-03-01" in chart
    assert "2013-03-01" in chart


@pytest.mark.parametrize(
    ("references", "exit_code", "said"),
    [
        ((), 2, "2 to 10 runs; no run was given"),
        (("@",), 2, "1 run was given"),
        (("@",) * 11, 2, "11 runs were given"),
        (("@", "@"), 2, "more than once"),
        (("@~1", "@", "aaaa1111"), 2, "more than once"),
        (("aaaa", "@"), 2, "more than one run"),
        (("@", "cccc"), 3, "There is no run cccc"),
        (("@", "cccc0000-0000-4000-8000-000000000000"), 3, "There is no run"),
        (("@", "xyz"), 2, "does not name a run"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    ntrader: Command,
    save_run: SaveRun,
    references: tuple[str, ...],
    exit_code: int,
    said: str,
) -> None:
    for prefix in ("aaaa2222", "aaaa1111"):
        save_run(run_id=UUID(f"{prefix}-0000-4000-8000-000000000000"))

    refused = ntrader("compare", *references)

    assert refused.exit_code == exit_code
    assert refused.stdout == ""
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) > 1
    assert "Traceback" not in refused.stderr


def test_references_of_all_kinds_keep_the_order_in_which_they_are_given(
    ntrader: Command, save_run: SaveRun
) -> None:
    ids = [str(save_run()) for _ in range(4)]

    found = ntrader("compare", ids[2], "@", ids[0], ids[1][:13], "--json").json

    assert [run["run_id"] for run in found["runs"]] == [ids[2], ids[3], ids[0], ids[1]]


def test_the_page_holds_everything_and_asks_no_network_for_anything(
    ntrader: Command, sma_twice: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    file.write_text("an older page")

    written = ntrader("compare", *sma_twice, "--html", file)

    html = file.read_text()
    page = Page(html)
    assert written.exit_code == 0
    assert str(file) in "".join(written.stderr.split("\n"))
    assert [curve["label"] for curve in page.data["curves"]] == ["A", "B"]
    assert 1_000 < len(page.data["curves"][0]["times"]) <= 2_000
    assert max(page.data["curves"][0]["growth"]) == pytest.approx(2.55678, abs=1e-4)
    assert min(page.data["curves"][0]["drawdown"]) == pytest.approx(-0.211145, abs=1e-6)
    assert page.data["curves"][1]["growth"][-1] == pytest.approx(0.954617, abs=1e-6)
    for text in ("124.46%*", "-129.00 pp", "not distinguishable", sma_twice[0], "next-open"):
        assert text in page.text
    assert not any(
        {"src", "href", "style", "onclick"} & attributes.keys() for _, attributes in page.elements
    )
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert sorted(each.name for each in tmp_path.glob("*.html*")) == ["page.html"]
    assert not list(tmp_path.glob(".*partial"))


def test_names_from_outside_are_harmless_everywhere(
    ntrader: Command, save_run: SaveRun, tmp_path: Path
) -> None:
    for sharpe_ratio in (1.0, 2.0):
        save_run(strategy=HOSTILE, parameters={"text": HOSTILE + str(sharpe_ratio)}, failed=False)
    save_run(strategy=HOSTILE, failed=True, message=HOSTILE)
    file = tmp_path / "page.html"

    shown = ntrader("compare", "@", "@~1", "@~2", "--html", file)
    page = Page(file.read_text())

    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout + shown.stderr
    assert "[red]?[31m" in "".join(shown.stdout.split())
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert "alert" not in page.scripts[0] + page.scripts[1]
    assert "<script>alert(1)</script><!--[red]" in page.text
    assert "</html>" in file.read_text()


def test_a_hostile_name_of_a_curve_stays_within_its_json(ntrader: Command, tmp_path: Path) -> None:
    source = tmp_path / "own.py"
    source.write_text(
        "from ntrader.engine.strategies import LongFlatStrategy, StrategyParameters\n"
        "class Own(LongFlatStrategy[StrategyParameters]):\n"
        "    'Does nothing.'\n"
        "    name = '</script><script>alert(1)'\n"
        "    strategy_type = 'own'\n"
        "    Parameters = StrategyParameters\n"
        "    def on_bar(self, bar):\n"
        "        pass\n"
    )
    ran = [
        ntrader("run", "--strategy", f"{source}:Own", "--fee", fee, "--json").json
        for fee in ("0", "0.1")
    ]
    file = tmp_path / "page.html"

    ntrader("compare", "@", "@~1", "--html", file)
    page = Page(file.read_text())

    assert ran[0]["strategy"]["name"] == "</script><script>alert(1)"
    assert len(page.scripts) == 2
    assert "<" not in page.scripts[0]
    assert page.data["curves"][0]["name"].endswith("</script><script>alert(1) IBM")


@pytest.mark.parametrize("place", ["missing/page.html", ".", "/", "a-file/page.html"])
def test_a_page_that_cannot_be_written_is_told(
    ntrader: Command, save_run: SaveRun, tmp_path: Path, place: str
) -> None:
    save_run()
    save_run()
    (tmp_path / "a-file").touch()

    refused = ntrader("compare", "@", "@~1", "--html", tmp_path / place)

    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr
    assert refused.stdout == ""


def test_a_damaged_curve_is_told_and_the_rest_is_shown(
    ntrader: Command, sma_twice: list[str], home: Path
) -> None:
    (curve,) = (home / "artifacts").rglob(f"{sma_twice[1]}/equity.parquet")
    curve.write_bytes(curve.read_bytes()[:-1] + b"?")

    shown = ntrader("compare", *sma_twice)

    assert shown.exit_code == 0
    assert f"Run {sma_twice[1][:8]} has no readable curve" in shown.stdout
    assert "124.46%*" in shown.stdout
    assert "AAA" in shown.stdout
    assert "BBB" not in shown.stdout
