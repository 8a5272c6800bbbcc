"""Stores whose bars do not fit into memory go to other machines."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from ntrader.domain.datasets import Dataset
from ntrader.engine.bars import instant
from ntrader.engine.catalog import Catalog
from ntrader.storage.database import Database
from ntrader.storage.store import Store
from support.commands import Result
from support.database import Background, TestServer
from support.homes import temporary_home
from support.large import FIRST_LABEL, IBM, MINUTE, stored
from support.little_memory import IN_USE, only_on_linux, python
from support.processes import run_process

pytestmark = [pytest.mark.slow, only_on_linux]

LIMITED_COMMAND = f"""
{IN_USE}
import json, os
from ntrader.cli.main import main

def command(environment, *arguments):
    os.environ.update(environment)
    return main(arguments)

warm, wanted, room = map(json.loads, sys.argv[1:])
# What the same command takes for a small store is not what grows with the bars.
assert command(*warm) == 0
resource.setrlimit(resource.RLIMIT_DATA, (in_use() + room, resource.RLIM_INFINITY))
sys.exit(command(*wanted))
"""
SMALL, LARGE = 3_000, 1_500_000
# Of the 72 MB that the bars of the large store have.
ROOM = 48 << 20


@dataclass(frozen=True)
class Place:
    """A machine: its home and its database."""

    home: Path
    url: str

    @property
    def environment(self) -> dict[str, str]:
        names = ("NTRADER_HOME", "XDG_CONFIG_HOME")
        return {**dict.fromkeys(names, str(self.home)), "DATABASE_URL": self.url}

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.home / "datasets")


@contextmanager
def empty_place(postgres: TestServer) -> Iterator[Place]:
    with temporary_home() as home, postgres.empty_database() as url:
        yield Place(home, url)


@dataclass(frozen=True)
class Stores:
    """A small store and one whose bars do not fit, and their hash; a run of a day in each."""

    small: Place
    large: Place
    digest: str


@pytest.fixture(scope="module")
def stores(postgres: TestServer, background: Background) -> Iterator[Stores]:
    with empty_place(postgres) as small, empty_place(postgres) as large:
        save_run_on(SMALL, small, background)
        yield Stores(small, large, save_run_on(LARGE, large, background))


def save_run_on(count: int, place: Place, background: Background) -> str:
    """Save a run of the first of so many bars, and return the hash of these."""
    digest = stored(place.catalog, count)
    dataset = Dataset(
        id=uuid4(),
        name="waves",
        description="",
        content_hash=digest,
        instrument=IBM,
        timeframe=MINUTE,
        start=instant(FIRST_LABEL),
        end=instant(FIRST_LABEL + count * MINUTE.nanoseconds),
        rows=count,
        source="waves",
        created_at=datetime.now(UTC),
    )

    async def add() -> None:
        async with Database.open(place.url) as database:
            await Store.of(database).datasets.add(dataset)

    succeeded("db", "upgrade", at=place)
    background.run(add())
    day = ("--start", "2015-01-01", "--end", "2015-01-02")
    succeeded("run", "--strategy", "sma", "--dataset", "waves", *day, at=place)
    return digest


def succeeded(*arguments: object, at: Place) -> Result:
    done = run_process(*arguments, env=at.environment)
    assert done.exit_code == 0, done.stderr
    return done


def succeeded_with_little(warm: tuple[Place, list[str]], wanted: tuple[Place, list[str]]) -> None:
    """Run a command in the memory that it takes for a small store, and `ROOM`."""
    commands = [json.dumps([place.environment, *words]) for place, words in (warm, wanted)]
    done = python(LIMITED_COMMAND, *commands, ROOM)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_runs_with_data_that_do_not_fit_into_memory_are_exported_and_imported(
    stores: Stores, postgres: TestServer, tmp_path: Path
) -> None:
    small, large = str(tmp_path / "small.zip"), str(tmp_path / "large.zip")

    succeeded_with_little(
        (stores.small, ["export", "@", "--with-data", small]),
        (stores.large, ["export", "@", "--with-data", large]),
    )
    with empty_place(postgres) as first, empty_place(postgres) as second:
        succeeded("db", "upgrade", at=first)
        succeeded("db", "upgrade", at=second)
        succeeded_with_little((first, ["import", small]), (second, ["import", large]))

        assert second.catalog.verify(stores.digest) == stores.digest
        reproduced = succeeded("reproduce", "@", "--json", at=second)
    assert reproduced.json["verdict"] == "identical"


def test_a_store_whose_data_do_not_fit_into_memory_is_dumped_and_restored(
    stores: Stores, postgres: TestServer, tmp_path: Path
) -> None:
    small, large = str(tmp_path / "small.tar"), str(tmp_path / "large.tar")

    succeeded_with_little(
        (stores.small, ["db", "dump", small]), (stores.large, ["db", "dump", large])
    )
    with empty_place(postgres) as first, empty_place(postgres) as second:
        succeeded_with_little((first, ["db", "restore", small]), (second, ["db", "restore", large]))

        assert second.catalog.verify(stores.digest) == stores.digest
        assert succeeded("db", "check", "--json", at=second).json["clean"] is True
