"""What a command loads: start-up is most of what a command takes, and imports are most of that."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ntrader.cli.main import main
from support.database import TestServer

ENGINE = {"nautilus_trader", "pandas"}
ARRAYS = {"numpy", "pyarrow"}
DATABASE = {"sqlalchemy", "asyncpg"}
VALIDATION = {"pydantic"}
SERVER = {"fastapi", "httpx", "prometheus_client", "procrastinate", "psycopg", "uvicorn"}
SELDOM = {"alembic", "structlog", "yaml"}

OTHERS = {"asyncio", "fsspec", "importlib.metadata", "platformdirs", "rich"}

NOTHING_HEAVY = ENGINE | ARRAYS | DATABASE | VALIDATION | SELDOM | OTHERS
ORM = {"sqlalchemy.ext.asyncio", "sqlalchemy.orm"}
LISTS = ENGINE | ARRAYS | SELDOM | VALIDATION | ORM | {"fsspec", "dotenv"}
# Fills and equity are read from Parquet.
READS_FILES = ENGINE | SELDOM | VALIDATION | ORM

# The modules that a command must not load.
WITHOUT_STORE = {
    "--help": NOTHING_HEAVY,
    "--version": NOTHING_HEAVY - {"importlib.metadata"},
    "run --help": NOTHING_HEAVY,
    "history --help": NOTHING_HEAVY,
    "show --help": NOTHING_HEAVY,
    "compare --help": NOTHING_HEAVY,
    "tag --help": NOTHING_HEAVY,
    "note --help": NOTHING_HEAVY,
    "delete --help": NOTHING_HEAVY,
    "export --help": NOTHING_HEAVY,
    "import --help": NOTHING_HEAVY,
    "data --help": NOTHING_HEAVY,
    "data import --help": NOTHING_HEAVY,
    "strategies --help": NOTHING_HEAVY,
    "db --help": NOTHING_HEAVY,
    "serve --help": NOTHING_HEAVY | SERVER,
    "worker --help": NOTHING_HEAVY | SERVER,
    "keys --help": NOTHING_HEAVY | SERVER,
    "keys create --help": NOTHING_HEAVY | SERVER,
    "strategies": ENGINE | ARRAYS | DATABASE,
}
ON_A_STORE = {
    "history": LISTS,
    "history --json": LISTS | {"rich"},
    "history --strategy sma --sort sharpe_ratio": LISTS,
    "tag @ kept": LISTS,
    "tag @ kept --json": LISTS | {"rich"},
    "note @ Kept.": LISTS,
    "delete @ --dry-run": LISTS,
    "history --tag kept": LISTS,
    "data list": LISTS,
    "keys list --json": LISTS | SERVER | {"rich"},
    "show @": READS_FILES,
    "show @ --json": READS_FILES | {"rich"},
    "compare @~1 @": READS_FILES,
    "compare @~1 @ --json": READS_FILES | {"rich"},
    "run --strategy sma --json": SELDOM | ORM | {"rich"},
}


@pytest.fixture(scope="module")
def store_with_runs(
    postgres: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The settings of a store that holds two runs with their files."""
    with postgres.migrated_database() as url, pytest.MonkeyPatch.context() as patch:
        settings = {"DATABASE_URL": url, "NTRADER_HOME": str(tmp_path_factory.mktemp("home"))}
        for name, value in settings.items():
            patch.setenv(name, value)
        for fast in ("5", "10"):
            parameter = f"fast_period={fast}"
            run = ["run", "--strategy", "sma", "--start", "2012-01-01", "-p", parameter, "--json"]
            assert main(run) == 0
        yield settings


def loaded_by(command: str, environment: dict[str, str]) -> set[str]:
    """Run `ntrader COMMAND` in a process and return the names of the modules that it loaded."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ntrader", *command.split()],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout
    lines = done.stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


@pytest.mark.parametrize("command", WITHOUT_STORE)
def test_loads_nothing_heavy_to_explain_itself(command: str, home: Path) -> None:
    loaded = loaded_by(command, {})

    assert "ntrader.cli.main" in loaded
    assert loaded & WITHOUT_STORE[command] == set()


@pytest.mark.parametrize("command", ON_A_STORE)
def test_loads_only_what_it_takes_to_read_the_store(
    command: str, store_with_runs: dict[str, str]
) -> None:
    loaded = loaded_by(command, store_with_runs)

    assert "asyncpg" in loaded
    assert loaded & ON_A_STORE[command] == set()
