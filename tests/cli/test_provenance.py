"""What a run records of its code, and that the code is kept with it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ntrader.domain.sources import StrategySource
from ntrader.engine.strategies.sources import load_kept
from ntrader.storage.database import Database
from ntrader.storage.sources import SourceRepository
from support.commands import Command
from support.database import Background

MINE = """
from ntrader.engine.strategies import LongFlatStrategy
from rules_of_mine.levels import LEVEL

class Mine(LongFlatStrategy):
    def on_bar(self, bar):
        self.enter() if float(bar.close) > LEVEL else self.exit()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A strategy's file with a package beside it."""
    path = tmp_path / "project"
    (path / "rules_of_mine").mkdir(parents=True)
    (path / "mine.py").write_text(MINE)
    (path / "rules_of_mine" / "__init__.py").write_text("")
    (path / "rules_of_mine" / "levels.py").write_text("LEVEL = 190\n")
    return path


def run(ntrader: Command, project: Path, *options: str) -> Any:
    strategy = f"{project / 'mine.py'}:Mine"
    done = ntrader("run", "--strategy", strategy, "--start", "2012-01-01", "--json", *options)
    assert done.exit_code == 0, done.stderr
    return done.json


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Quant", "-c", "user.email=quant@example.com"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_run_records_its_environment(ntrader: Command) -> None:
    ran = ntrader("run", "--strategy", "sma", "--start", "2012-01-01", "--json").json

    environment = ntrader("show", "@", "--json").json["environment"]

    assert environment == ran["environment"]
    assert environment["engine"] == {"name": "nautilus_trader", "version": "1.231.0"}
    assert {"ntrader", "python", "platform", "host"} <= environment.keys()
    assert {"numpy", "pandas", "pyarrow"} <= environment["libraries"].keys()
    assert "git" not in environment
    assert "nautilus_trader 1.231.0" in ntrader("show", "@").stdout


def test_a_module_that_the_strategy_imports_is_part_of_the_question(
    ntrader: Command, project: Path
) -> None:
    """Changed within a second, to text of the same size, in one process."""
    before = run(ntrader, project)
    (project / "rules_of_mine" / "levels.py").write_text("LEVEL = 200\n")
    after = run(ntrader, project)

    assert set(before["environment"]["strategy_files"]) == {
        "mine.py",
        "rules_of_mine/__init__.py",
        "rules_of_mine/levels.py",
    }
    assert before["fingerprint"] != after["fingerprint"]
    assert before["result_digest"] != after["result_digest"]
    assert after["duplicates"] == []


def test_the_source_is_kept_once_and_loads_after_the_project_is_gone(
    ntrader: Command, project: Path, background: Background, database_url: str
) -> None:
    run(ntrader, project)
    again = run(ntrader, project)
    snapshot = ntrader("show", "@", "--config", "--json").json
    shutil.rmtree(project)

    async def kept() -> tuple[int, StrategySource | None]:
        async with Database.open(database_url) as database:
            count = (await database.fetch(text("SELECT count(*) FROM strategy_sources")))[0][0]
            source_hash = snapshot["config"]["strategy"]["source_hash"]
            return count, await SourceRepository(database).find(source_hash)

    count, source = background.run(kept())

    assert count == 1
    assert source is not None
    definition = load_kept(source, snapshot["strategy_path"])
    assert definition.spec.version == again["strategy"]["version"]
    assert definition.spec.path == snapshot["strategy_path"] == f"{project / 'mine.py'}:Mine"


def test_what_is_not_saved_keeps_no_source(
    ntrader: Command, project: Path, background: Background, database_url: str
) -> None:
    run(ntrader, project, "--no-save")
    ntrader("run", "--strategy", "sma", "--start", "2012-01-01")

    async def count() -> int:
        async with Database.open(database_url) as database:
            found: int = (await database.fetch(text("SELECT count(*) FROM strategy_sources")))[0][0]
            return found

    assert background.run(count()) == 0


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_state_of_the_repository_is_recorded(ntrader: Command, project: Path) -> None:
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "-m", "One")
    commit = git(project, "rev-parse", "HEAD")

    clean = run(ntrader, project)["environment"]["git"]
    shown = ntrader("show", "@").stdout
    (project / "notes.txt").write_text("Try a higher level.")
    dirty = run(ntrader, project)

    assert clean == {"commit": commit, "changes": None}
    assert f"git {commit[:12]}, nothing uncommitted" in shown
    assert dirty["environment"]["git"]["commit"] == commit
    assert dirty["environment"]["git"]["changes"] is not None
    # A note beside the code is no other question.
    assert len(dirty["duplicates"]) == 1


def test_a_failed_run_keeps_its_source_too(
    ntrader: Command, project: Path, background: Background, database_url: str
) -> None:
    (project / "rules_of_mine" / "levels.py").write_text("LEVEL = 'high'\n")
    failed = ntrader("run", "--strategy", f"{project / 'mine.py'}:Mine", "--json")
    assert failed.exit_code == 1
    snapshot = ntrader("show", "@", "--config", "--json").json

    async def kept() -> StrategySource | None:
        async with Database.open(database_url) as database:
            source_hash = snapshot["config"]["strategy"]["source_hash"]
            return await SourceRepository(database).find(source_hash)

    source = background.run(kept())

    assert source is not None
    assert source.files["rules_of_mine/levels.py"] == b"LEVEL = 'high'\n"
    assert json.loads(failed.stdout)["environment"]["strategy_files"] == source.digests
