"""Text from outside reaches neither the terminal's controls nor a page's script."""

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ntrader.domain.annotations import Annotations
from ntrader.domain.events import Event, EventType
from support.commands import Command
from support.hostile import ESCAPES, HOSTILE, SCRIPT, SHORT, assert_harmless, texts_of
from support.outcomes import NOW, make_artifact, make_instrument
from support.saving import SaveRun


@pytest.fixture
def hostile_runs(save_run: SaveRun) -> list[str]:
    """Save three runs, one a failure, in which every text that can be hostile is."""
    instrument = make_instrument(SHORT, venue=SHORT, currency=HOSTILE).to_dict()
    texts: dict[str, Any] = {
        "strategy": HOSTILE[:255],
        "symbol": SHORT,
        "instrument": instrument,
        "parameters": {HOSTILE: HOSTILE},
        "data_source": HOSTILE,
        "environment": {"python": HOSTILE, "ntrader": HOSTILE, "git": {"commit": HOSTILE}},
    }
    said = Annotations(tags=("\x9b31m\u202e",), note=HOSTILE)
    first, second = uuid4(), uuid4()
    save_run(
        run_id=first,
        **texts,
        annotations=said,
        undefined={"sharpe_ratio": HOSTILE},
        sharpe_ratio=None,
        artifacts=(make_artifact(first, HOSTILE, mime_type=HOSTILE),),
        events=(Event(type=EventType.WARNING, timestamp=NOW, payload={"message": HOSTILE}),),
    )
    save_run(run_id=second, **{**texts, "parameters": {HOSTILE: "other"}})
    failed = save_run(failed=True, **texts, message=HOSTILE, traceback=f"{HOSTILE}\n{HOSTILE}")
    return [str(first), str(second), str(failed)]


COMMANDS: dict[str, Callable[[list[str], Path], tuple[object, ...]]] = {
    "history": lambda runs, _: ("history",),
    "history of nothing": lambda runs, _: ("history", "--strategy", HOSTILE),
    "history by tag": lambda runs, _: ("history", "--tag", HOSTILE),
    "history by parameter": lambda runs, _: ("history", "-p", f"{HOSTILE}={HOSTILE}"),
    "history by sort": lambda runs, _: ("history", "--sort", HOSTILE),
    "history after": lambda runs, _: ("history", "--after", HOSTILE),
    "show": lambda runs, _: ("show", runs[0]),
    "show a failure": lambda runs, _: ("show", runs[2]),
    "show events": lambda runs, _: ("show", runs[0], "--events"),
    "show trades": lambda runs, _: ("show", runs[0], "--trades"),
    "show config": lambda runs, _: ("show", runs[0], "--config"),
    "show nothing": lambda runs, _: ("show", HOSTILE),
    "compare": lambda runs, _: ("compare", *runs),
    "compare all": lambda runs, _: ("compare", *runs, "--all"),
    "compare two": lambda runs, _: ("compare", *runs[:2]),
    "compare to page": lambda runs, path: ("compare", *runs, "--html", path / SHORT[:4] / "x"),
    "note": lambda runs, _: ("note", runs[0]),
    "note text": lambda runs, _: ("note", runs[0], HOSTILE),
    "tag": lambda runs, _: ("tag", runs[0], "fine"),
    "tag text": lambda runs, _: ("tag", runs[0], HOSTILE),
    "delete": lambda runs, _: ("delete", *runs, "--dry-run"),
    "reproduce": lambda runs, _: ("reproduce", runs[0]),
    "reproduce with trust": lambda runs, _: ("reproduce", runs[0], "--trust", "--attribute"),
    "export": lambda runs, path: ("export", *runs, path / "hostile.zip"),
    "data list": lambda runs, _: ("data", "list"),
    "data show": lambda runs, _: ("data", "show", f"{SHORT.lower()}-daily"),
    "data verify": lambda runs, _: ("data", "verify", f"{SHORT.lower()}-daily"),
    "data delete": lambda runs, _: ("data", "delete", f"{SHORT.lower()}-daily", "--yes"),
    "db check": lambda runs, _: ("db", "check"),
    "db dump": lambda runs, path: ("db", "dump", path / HOSTILE[:20]),
    "db restore": lambda runs, path: ("db", "restore", path / HOSTILE[:20]),
    "db status": lambda runs, _: ("db", "status"),
    "history summary": lambda runs, _: ("history", "--summary"),
    "history where": lambda runs, _: ("history", "--where", HOSTILE),
    "history columns": lambda runs, _: ("history", "--columns", HOSTILE),
    "strategies": lambda runs, _: ("strategies", HOSTILE),
    "run": lambda runs, _: ("run", "--strategy", HOSTILE),
    "run on a dataset": lambda runs, _: ("run", "--strategy", "sma", "--dataset", HOSTILE),
    "run on a symbol": lambda runs, _: ("run", "--strategy", "sma", "--symbol", SHORT),
    "import": lambda runs, path: ("import", path / HOSTILE[:20]),
    "an option": lambda runs, _: (f"--{HOSTILE}",),
    "a command": lambda runs, _: (HOSTILE,),
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_nothing_that_is_stored_or_said_drives_the_terminal(
    ntrader: Command,
    hostile_runs: list[str],
    tmp_path: Path,
    arguments: Callable[[list[str], Path], tuple[object, ...]],
) -> None:
    plain = ntrader(*arguments(hostile_runs, tmp_path))
    as_json = ntrader(*arguments(hostile_runs, tmp_path), "--json")

    for done in (plain, as_json):
        assert_harmless(done.stdout)
        assert_harmless(done.stderr)
        assert done.exit_code in range(6)
        assert "Internal error" not in done.stdout + done.stderr


def test_json_gives_every_character_back(ntrader: Command, hostile_runs: list[str]) -> None:
    for arguments in (("show", hostile_runs[0]), ("history",)):
        document = ntrader(*arguments, "--json").stdout
        assert {HOSTILE, HOSTILE[:255], SHORT} <= texts_of(document)


@pytest.mark.parametrize("arguments", [("history",), ("data", "list")], ids=" ".join)
def test_csv_on_a_terminal_cannot_drive_it(
    ntrader: Command,
    hostile_runs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert_harmless(ntrader(*arguments, "--csv").stdout)


def test_csv_in_a_file_has_every_character(ntrader: Command, hostile_runs: list[str]) -> None:
    text = io.StringIO(ntrader("history", "--csv").stdout, newline="")
    assert {row["strategy"] for row in csv.DictReader(text)} == {HOSTILE[:255]}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\uff1d1+1"])
def test_csv_holds_no_formula(ntrader: Command, save_run: SaveRun, text: str) -> None:
    """A spreadsheet would compute such a name; numbers stay numbers, also below zero."""
    save_run(strategy=text, symbol=f"{text}0", total_return=-0.5)
    (row,) = csv.DictReader(ntrader("history", "--csv").stdout.splitlines())
    assert (row["strategy"], row["symbol"]) == (f"'{text}", f"'{text}0")
    assert float(row["total_return"]) == -0.5


def test_markup_is_shown_as_text(ntrader: Command, save_run: SaveRun) -> None:
    save_run(strategy="[b]s[/]", symbol=":bug:", parameters={"[b]": "[/nope]"})
    shown = ntrader("show", "@").stdout
    assert "[b]s[/] 1.0.0 ([b]=[/nope])" in shown
    assert ":bug:.NYSE" in shown
    listed = ntrader("history").stdout
    assert "[b]s[/]" in listed
    assert ":bug: 1d" in listed


def test_a_page_has_no_script_but_its_own(
    ntrader: Command, hostile_runs: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert ntrader("compare", *hostile_runs, "--html", page).exit_code == 0
    html = page.read_text()
    assert "<script>alert" not in html
    assert "<img" not in html
    assert html.count("</script>") == html.count("<script")
    assert SCRIPT not in html
    assert_harmless(html)


STRATEGY = """
from ntrader.engine.strategies import LongFlatStrategy, StrategyParameters
from pydantic import Field

TEXT = {text!r}

class Parameters(StrategyParameters):
    period: int = Field(3, ge=1, description=TEXT)
    kind: str = Field(TEXT, description=TEXT)

class Own(LongFlatStrategy[Parameters]):
    __doc__ = TEXT
    name = TEXT[:100]
    strategy_type = TEXT[:64]
    Parameters = Parameters

    def prepare(self): pass

    def on_bar(self, bar):
        if {fails}:
            raise ValueError(TEXT)
"""


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_a_strategy_s_own_words_do_not_drive_the_terminal(
    ntrader: Command, tmp_path: Path, fails: bool
) -> None:
    directory = tmp_path / "\x1b[31m\u202e [b]"
    directory.mkdir()
    file = directory / "own\x9b2J.py"
    file.write_text(STRATEGY.format(text=HOSTILE, fails=fails))
    reference = f"{file}:Own"
    for arguments in (
        ("strategies", reference),
        ("strategies", f"{file}:{HOSTILE}"),
        ("run", "--strategy", reference, "--start", "2012-01-01"),
        ("run", "--strategy", reference, "-p", f"{HOSTILE}=1"),
        ("run", "--strategy", reference, "-p", f"period={HOSTILE}"),
        ("show", "@"),
        ("show", "@", "--config"),
        ("history",),
        ("reproduce", "@"),
        ("compare", "@", "@~1"),
    ):
        for more in ((), ("--json",)):
            done = ntrader(*arguments, *more)
            assert done.exit_code in range(6)
            assert_harmless(done.stdout)
            assert_harmless(done.stderr)
            assert "Internal error" not in done.stdout + done.stderr, arguments


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("column", ["date", "open", "volume", "header"])
def test_a_cell_that_an_error_quotes_does_not_drive_the_terminal(
    ntrader: Command, tmp_path: Path, text: str, column: str
) -> None:
    header = ["date", "open", "high", "low", "close", "volume"]
    row = ["2020-01-01", "1", "2", "1", "1", "5"]
    if column == "header":
        header[1] = text
    else:
        row[header.index(column)] = text
    file = tmp_path / f"{text[:6].replace('/', '')}.csv"
    file.write_text(f"{','.join(header)}\n{','.join(row)}\n", newline="")

    done = ntrader(
        *("data", "import", file, "--symbol", "ACME", "--venue", "NYSE"),
        *("--kind", "equity", "--timeframe", "1d"),
    )

    assert done.exit_code == 2
    assert_harmless(done.stdout)
    assert_harmless(done.stderr)


def test_an_output_without_the_characters_shows_them_escaped(ntrader_process: Command) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    run = ntrader_process(
        *("run", "--strategy", "sma", "--start", "2012-12-01", "--note", "caf\u00e9 \u4e2d"),
        env=ascii_only,
    )
    assert (run.exit_code, "caf\\xe9 \\u4e2d" in run.stdout) == (0, True), run.stderr
    assert ntrader_process("show", "@", env=ascii_only).exit_code == 0
