"""The benchmarks run, and what they compare gives the same answer; nothing is timed here."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peer, run_overhead
from benchmarks.findings import Finding, Findings, from_json
from benchmarks.machine import ROOT
from benchmarks.stores import store_copy
from benchmarks.timing import Timing
from ntrader.storage.embedded import EmbeddedServer
from support.homes import temporary_home

MLFLOW = {
    "version": "3.17",
    "runs": 20,
    "runs_per_second": 44.0,
    "bytes_per_run": 15_000.0,
    "seconds": {"list 20 newest": {"best": 0.02}},
    "history": 4.0,
}


@dataclass(frozen=True)
class Measured:
    """All benchmarks, measured once, in the smallest form; MLflow's part fails."""

    home: Path
    exit_code: int
    out: str
    err: str
    document: Mapping[str, Any]

    @property
    def lines(self) -> dict[str, Finding]:
        return {line.question: line for line in from_json(self.document)}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    file = tmp_path_factory.mktemp("figures") / "figures.json"
    parts = ["--only", "peer", "store", "commands", "run", "--peer", "/bin/false"]
    command = [sys.executable, "-m", "tests.benchmarks", "--tiny", *parts, "--json", str(file)]
    with temporary_home() as home:
        done = subprocess.run(
            [*command, "--home", str(home)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert file.exists(), done.stderr
        document = json.loads(file.read_text())
        yield Measured(home, done.returncode, done.stdout, done.stderr, document)


def test_a_part_that_fails_is_told_and_the_others_are_measured(measured: Measured) -> None:
    assert measured.exit_code == 1
    assert list(measured.document["failed"]) == ["peer"], measured.err
    assert "peer failed: MLflow failed" in measured.err
    assert all(line.question in measured.out for line in measured.lines.values())


def test_the_store_answers_as_scripts_by_hand_do_at_each_size(measured: Measured) -> None:
    stores = measured.document["details"]["stores"]

    assert [store["runs"] for store in stores] == [30, 60]
    newest = measured.lines["list 20 newest"]
    assert newest.floor == stores[1]["asked"]["list 20 newest"]["floor"]
    assert newest.growth is not None
    told = {"save one run", "delete one run", "bulk, runs/s"}
    assert {"get one by id", "group by strategy", *told} <= measured.lines.keys()
    assert measured.lines["bytes on disk per run, indexes included"].ours > 1_000


def test_commands_are_measured_beside_scripts_that_list_the_same(measured: Measured) -> None:
    commands = {"--help", "history", "history --json", "show @", "compare @~1 @"}
    by_hand = {"history, SQLAlchemy by hand", "history, asyncpg by hand (the stretch)"}

    assert commands | by_hand <= measured.lines.keys()


def test_a_script_without_ntrader_gets_the_same_fills_and_equity(measured: Measured) -> None:
    assert measured.document["details"]["2,000 bars, fill at next-open"]["fills"] > 50


def test_the_document_says_where_and_on_what_was_measured(measured: Measured) -> None:
    document = measured.document

    assert document["machine"].keys() >= {"cores", "cpu", "load_before", "load_after"}
    assert document["versions"].keys() >= {"python", "ntrader", "postgresql", "sqlalchemy"}


def test_a_store_is_filled_once(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    async def copied() -> None:
        home = measured.home
        with EmbeddedServer(home) as address:
            async with store_copy(address.dsn, home, runs=60):
                pass

    asyncio.run(copied())

    assert "filled" in measured.err
    assert list(measured.home.glob("scratch-*")) == []
    assert "filled" not in capsys.readouterr().err


def test_different_answers_are_not_compared() -> None:
    script = Timing(output='{"fills": 2, "final_equity": 101.0}')
    ours = Timing(output='{"saved": true, "fills": [{}, {}], "metrics": {"final_balance": 101.01}}')

    with pytest.raises(RuntimeError, match="answers differ"):
        run_overhead.check_agreement(script, ours)


def test_mlflow_stands_in_the_line_of_the_same_question() -> None:
    found = Findings([Finding.timed("a store", "list 20 newest", floor=0.2, ours=1.0)])
    found.add(peer.found_in(MLFLOW))

    (line,) = found.beside_peer()

    assert line.cells[-1] == "20 ms"


@pytest.mark.parametrize(
    ("line", "met"),
    [
        (Finding.timed("saving", "one run", floor=2, ours=6, aim=3), True),
        (Finding.timed("saving", "one run", floor=2, ours=7, aim=3), False),
        (Finding.timed("store", "group", floor=900, ours=150, aim=200, absolute=True), True),
        (Finding.timed("store", "group", floor=900, ours=250, aim=200, absolute=True), False),
        (Finding("store", "bytes", "bytes", 2_000, aim=1_600, absolute=True), False),
        (Finding.timed("store", "delete", floor=1, ours=9), None),
    ],
)
def test_an_aim_is_a_multiple_of_the_floor_or_absolute(line: Finding, met: bool | None) -> None:
    assert line.met is met
