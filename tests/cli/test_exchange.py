"""`ntrader export` and `ntrader import`: runs go to another machine, and nothing goes with them."""

import asyncio
import base64
import hashlib
import json
import os
import socket
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ntrader.cli.main import main
from support.commands import Command, Result
from support.database import TestServer, execute
from support.homes import temporary_home

STRATEGY = """
import signals
from ntrader.engine.strategies import LongFlatStrategy

class Steps(LongFlatStrategy):
    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars % 20 == 5:
            self.enter()
        elif self.bars % 20 == signals.EXIT:
            self.exit()
"""
DEEP = "lists in lists, deeper than Python's own JSON writes them"
SHORT = ["run", "--strategy", "sma", "--start", "2012-01-01", "--json"]

type Elsewhere = Callable[..., Result]
type Members = dict[str, bytes]


@pytest.fixture
def elsewhere(
    ntrader: Command, postgres: TestServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Elsewhere]:
    """Run a command on another machine: an empty home and an empty database of its own."""
    with temporary_home() as home, postgres.migrated_database() as url:

        def run(*arguments: object) -> Result:
            with monkeypatch.context() as patch:
                patch.setenv("NTRADER_HOME", str(home))
                patch.setenv("DATABASE_URL", url)
                return ntrader(*arguments)

        yield run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Where the tests export to."""
    return tmp_path / "runs.zip"


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """A strategy in a file that imports a module beside it."""
    return write_steps(tmp_path)


def write_steps(directory: Path) -> Path:
    (directory / "signals.py").write_text("EXIT = 15\n")
    path = directory / "steps.py"
    path.write_text(STRATEGY)
    return path


def without_mark(shown: Result) -> Any:
    document = shown.json
    assert document.pop("imported")["from_host"] == socket.gethostname()
    return document


def here(shown: Result) -> Any:
    document = shown.json
    assert document.pop("imported") is None
    return document


def saved(ntrader: Command) -> list[str]:
    return [run["run_id"] for run in ntrader("history", "--json").json["runs"]]


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def seal(path: Path) -> None:
    """Give a crafted zip the comment that a whole one has."""
    content = path.read_bytes()
    path.write_bytes(content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode())


def pack(path: Path, members: Members) -> None:
    """Write a zip whose manifest fits its members, as a forger would."""
    listed = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in members.items()
        if name != "manifest.json"
    }
    manifest = {**json.loads(members["manifest.json"]), "members": listed}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**members, "manifest.json": json.dumps(manifest).encode()}.items():
            archive.writestr(name, content)
        archive.comment = b"0" * 64
    seal(path)


def nested(depth: int) -> Any:
    """Return lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@contextmanager
def forged(path: Path, name: str) -> Iterator[Any]:
    """Change a record of a bundle, and every hash that covers the record."""
    members = members_of(path)
    (member,) = [each for each in members if each.endswith(name)]
    record = json.loads(members[member])
    yield record
    text = json.dumps(record).replace(json.dumps(DEEP), "[" * 9_000 + "]" * 9_000)
    pack(path, {**members, member: text.encode()})


def assert_refused(refused: Result, *words: str, exit_code: int = 1) -> None:
    assert refused.exit_code == exit_code, refused.stderr
    assert "Traceback" not in refused.stderr
    for word in words:
        assert word in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 2


def test_a_run_is_the_same_elsewhere_and_reproduces_there(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path
) -> None:
    run = ntrader("run", "--strategy", "sma", "--tag", "b", "--tag", "a", "--note", "n", "--json")
    original = here(ntrader("show", run.json["run_id"], "--json"))

    exported = ntrader("export", "@", bundle, "--with-data")
    imported = elsewhere("import", bundle)

    assert (exported.exit_code, imported.exit_code) == (0, 0), imported.stderr
    assert exported.stdout.startswith(f"Exported 1 run with data to {bundle} (")
    assert "1 run imported, 1 dataset stored with its data" in imported.stdout
    shown = elsewhere("show", "@", "--json")
    assert without_mark(shown) == original
    assert original["tags"] == ["a", "b"]
    for part in ("--trades", "--events"):
        assert (
            elsewhere("show", "@", part, "--json").json == ntrader("show", "@", part, "--json").json
        )
    found = elsewhere("reproduce", "@", "--json")
    assert found.json["verdict"] == "identical"
    assert set(found.json["checked"].values()) == {"same"}


def test_the_code_of_a_strategy_goes_along_and_runs_only_with_trust(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path, steps: Path
) -> None:
    ntrader("run", "--strategy", f"{steps}:Steps")
    ntrader("export", "@", bundle, "--with-data")
    marker = steps.with_name("executed")
    steps.write_text(f"open({str(marker)!r}, 'w')\n{STRATEGY}")
    imported = elsewhere("import", bundle, "--json")

    refused = elsewhere("reproduce", "@")
    listed = elsewhere("history", "--json")

    assert imported.exit_code == listed.exit_code == 0
    assert_refused(refused, "was imported", "--trust", exit_code=2)
    trusted = elsewhere("reproduce", "@", "--trust", "--json").json
    # What came in the file was executed, and not what lies at that path here.
    assert trusted["verdict"] == "identical"
    assert trusted["details"]["strategy_code"] == "the source that came with the run was used"
    assert not marker.exists()
    steps.unlink()
    steps.with_name("signals.py").unlink()
    assert elsewhere("reproduce", "@", "--json").json["verdict"] == "identical"


def test_what_was_exported_from_here_needs_no_trust_here(
    ntrader: Command, bundle: Path, steps: Path
) -> None:
    ntrader("run", "--strategy", f"{steps}:Steps")
    ntrader("export", "@", bundle)
    ntrader("import", bundle)

    assert ntrader("reproduce", "@", "--json").json["verdict"] == "identical"


def test_without_the_data_a_run_can_be_read_but_not_reproduced(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path
) -> None:
    ntrader(*SHORT)
    ntrader("export", "@", bundle)

    imported = elsewhere("import", bundle)

    assert imported.exit_code == 0
    assert "not here" in imported.stderr
    assert elsewhere("show", "@", "--json").exit_code == 0
    assert_refused(elsewhere("reproduce", "@"), "data of dataset", exit_code=3)

    ntrader("export", "@", bundle, "--with-data", "--force")
    completed = elsewhere("import", bundle, "--json").json
    assert (completed["imported"], completed["changed"]) == ([], True)
    assert len(completed["data_stored"]) == 1
    assert elsewhere("reproduce", "@", "--json").json["verdict"] == "identical"


def test_a_second_import_changes_nothing_and_says_so(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path
) -> None:
    run_id = ntrader(*SHORT).json["run_id"]
    ntrader("export", "@", bundle, "--with-data")
    elsewhere("import", bundle)
    elsewhere("tag", "@", "mine")
    before = elsewhere("show", "@", "--json").json

    again = elsewhere("import", bundle)
    as_json = elsewhere("import", bundle, "--json").json

    assert "nothing was changed" in again.stdout
    assert (as_json["changed"], as_json["imported"], as_json["known"]) == (False, [], [run_id])
    assert elsewhere("show", "@", "--json").json == before
    assert saved(elsewhere) == [run_id]


def test_the_same_runs_give_the_same_bytes_also_from_the_other_machine(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path, tmp_path: Path
) -> None:
    ntrader(*SHORT, "--tag", "kept")
    ntrader("reproduce", "@")
    ntrader("export", "@", "@~1", bundle, "--with-data")

    ntrader("export", "@~1", "@", tmp_path / "again.zip", "--with-data")
    elsewhere("import", bundle)
    elsewhere("export", "@", "@~1", tmp_path / "back.zip", "--with-data")

    with zipfile.ZipFile(bundle) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    assert (tmp_path / "back.zip").read_bytes() == bundle.read_bytes()


def test_a_reproduction_finds_its_original_in_the_file(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path, tmp_path: Path
) -> None:
    original = ntrader(*SHORT).json["run_id"]
    ntrader("reproduce", "@")
    ntrader("export", "@", tmp_path / "alone.zip")
    ntrader("export", "@", "@~1", bundle)

    elsewhere("import", bundle)
    assert elsewhere("show", "@", "--json").json["reproduced_from"] == original

    elsewhere("delete", "@", "@~1", "--yes")
    elsewhere("import", tmp_path / "alone.zip")
    alone = elsewhere("show", "@", "--json").json
    assert alone["reproduced_from"] is None
    assert alone["imported"]["reproduced_from"] == original


def test_a_failed_run_goes_too(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path, tmp_path: Path
) -> None:
    strategy = tmp_path / "raises.py"
    strategy.write_text(
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "class Raises(LongFlatStrategy):\n"
        "    def on_bar(self, bar):\n"
        "        raise RuntimeError('first')\n"
    )
    ntrader("run", "--strategy", f"{strategy}:Raises")
    ntrader("export", "@", bundle, "--with-data")

    assert elsewhere("import", bundle).exit_code == 0
    assert without_mark(elsewhere("show", "@", "--json")) == here(ntrader("show", "@", "--json"))
    assert elsewhere("reproduce", "@", "--trust", "--json").json["verdict"] == "identical"


def test_undefined_metrics_stay_undefined_with_their_reasons(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path
) -> None:
    ntrader("run", "--strategy", "sma", "--start", "2013-02-01", "--json")
    original = here(ntrader("show", "@", "--json"))
    assert original["undefined_metrics"]
    ntrader("export", "@", bundle)

    elsewhere("import", bundle)

    assert without_mark(elsewhere("show", "@", "--json")) == original


def test_a_person_sees_that_a_run_was_imported(
    ntrader: Command, elsewhere: Elsewhere, bundle: Path
) -> None:
    ntrader(*SHORT)
    ntrader("export", "@", bundle)
    elsewhere("import", bundle)

    assert f"from {socket.gethostname()}" in elsewhere("show", "@").stdout
    assert "Imported" not in ntrader("show", "@").stdout


# What an export refuses


def test_a_file_is_replaced_only_with_force(ntrader: Command, bundle: Path) -> None:
    ntrader(*SHORT)
    bundle.write_text("precious")

    assert_refused(ntrader("export", "@", bundle), "is there already", "--force", exit_code=2)
    assert bundle.read_text() == "precious"
    assert ntrader("export", "@", bundle, "--force").exit_code == 0
    assert zipfile.is_zipfile(bundle)
    assert list(bundle.parent.glob(".*.part")) == []


@pytest.mark.parametrize(
    ("name", "exit_code"), [("runs.tar", 2), ("no/such/runs.zip", 2), ("a.zip", 2)]
)
def test_what_cannot_be_written_to_is_refused(
    ntrader: Command, tmp_path: Path, name: str, exit_code: int
) -> None:
    ntrader(*SHORT)
    (tmp_path / "a.zip").mkdir()

    assert_refused(ntrader("export", "@", tmp_path / name), exit_code=exit_code)


def test_a_run_that_is_not_there_is_not_exported(ntrader: Command, bundle: Path) -> None:
    ntrader(*SHORT)

    assert_refused(ntrader("export", "@", "@~7", bundle), exit_code=3)
    assert not bundle.exists()


@pytest.mark.parametrize(("change", "exit_code"), [("gone", 3), ("altered", 1)])
def test_a_missing_or_altered_file_of_a_run_is_named(
    ntrader: Command, home: Path, bundle: Path, change: str, exit_code: int
) -> None:
    ntrader(*SHORT)
    (file,) = (home / "artifacts").rglob("fills.parquet")
    if change == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"?")

    assert_refused(ntrader("export", "@", bundle), "fills.parquet", exit_code=exit_code)
    assert list(bundle.parent.glob("*.zip*")) == []


def test_a_file_with_a_name_that_ntrader_never_gives_is_refused(
    ntrader: Command, database_url: str, bundle: Path
) -> None:
    ntrader(*SHORT)
    renamed = "UPDATE artifacts SET filename = '../fills' WHERE filename = 'fills.parquet'"
    asyncio.run(execute(database_url, "SET session_replication_role = replica", renamed))

    assert_refused(ntrader("export", "@", bundle), "filename", exit_code=1)
    assert not bundle.exists()


def test_data_that_are_gone_cannot_be_exported(ntrader: Command, home: Path, bundle: Path) -> None:
    run = ntrader(*SHORT).json
    (home / "datasets" / run["dataset"]["content_hash"]).rename(home / "away")

    assert_refused(ntrader("export", "@", bundle, "--with-data"), "data of", exit_code=3)
    assert not bundle.exists()


def test_data_that_are_not_those_of_the_run_cannot_be_exported(
    ntrader: Command, home: Path, bundle: Path
) -> None:
    """They can be read, and only the end of them tells that they are others."""
    own, other = (
        ntrader(*SHORT, "--symbol", symbol).json["dataset"]["content_hash"]
        for symbol in ("IBM", "GOOG")
    )
    (file,) = (home / "datasets" / own).glob("data/bar/*/*.parquet")
    (donor,) = (home / "datasets" / other).glob("data/bar/*/*.parquet")
    file.write_bytes(donor.read_bytes())

    refused = ntrader("export", "@~1", bundle, "--with-data")

    assert_refused(refused, own[:12], "not what was imported", exit_code=1)
    assert os.listdir(bundle.parent) == []


# What an import refuses


@pytest.fixture(scope="module")
def whole(postgres: TestServer, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An export of a run of a strategy from a file, with its data."""
    directory = tmp_path_factory.mktemp("exported")
    strategy = write_steps(directory)
    with postgres.migrated_database() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        patch.setenv("NTRADER_HOME", str(directory / "home"))
        file = directory / "runs.zip"
        run = ["run", "--strategy", f"{strategy}:Steps", "--start", "2012-01-01"]
        assert main([*run, "--json"]) == 0
        assert main(["export", "@", str(file), "--with-data"]) == 0
    return file.read_bytes()


@pytest.fixture
def exported(whole: bytes, bundle: Path) -> Path:
    """The export, to be spoilt."""
    bundle.write_bytes(whole)
    return bundle


def test_a_flipped_byte_in_any_member_is_refused_with_its_name(
    elsewhere: Elsewhere, exported: Path, whole: bytes
) -> None:
    with zipfile.ZipFile(exported) as archive:
        infos = archive.infolist()
    assert len(infos) == 9
    for info in infos:
        middle = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
        exported.write_bytes(flipped(whole, middle))

        assert_refused(elsewhere("import", exported), exported.name, info.filename)
    assert saved(elsewhere) == []


def test_a_flipped_byte_anywhere_is_refused(
    elsewhere: Elsewhere, exported: Path, whole: bytes
) -> None:
    """Also in a time stamp, a padding bit or the end of the zip, which no member's hash covers."""
    for place in [*range(0, len(whole), len(whole) // 40), *range(len(whole) - 90, len(whole), 6)]:
        exported.write_bytes(flipped(whole, place))

        refused = elsewhere("import", exported)

        assert refused.exit_code in (1, 2), place
        assert "Traceback" not in refused.stderr
        assert exported.name in refused.stderr
    assert saved(elsewhere) == []


def test_a_flipped_byte_in_the_headers_of_a_member_is_refused_with_its_name(
    elsewhere: Elsewhere, exported: Path, whole: bytes
) -> None:
    """Each has two: before its content, and in the zip's directory; with its name, sizes, times."""
    with zipfile.ZipFile(exported) as archive:
        infos = archive.infolist()
        entry = archive.start_dir
    for number, info in enumerate(infos):
        size = len(info.filename)
        # Other places of each, so that every kind of field is altered in one of them.
        for place in (info.header_offset + 3 * number, entry + 5 * number, entry + 46 + size // 2):
            exported.write_bytes(flipped(whole, place))

            assert_refused(elsewhere("import", exported), exported.name, info.filename)
        entry += 46 + size
    assert saved(elsewhere) == []


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(
    elsewhere: Elsewhere, exported: Path, part: float
) -> None:
    content = exported.read_bytes()
    exported.write_bytes(content[: int(len(content) * part)])

    assert_refused(elsewhere("import", exported), exported.name, exit_code=1 if part else 2)


def test_what_is_no_export_is_refused(ntrader: Command, tmp_path: Path) -> None:
    text, other = tmp_path / "text.zip", tmp_path / "other.zip"
    text.write_text("no zip")
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "a")

    assert_refused(ntrader("import", text), "no zip file", exit_code=2)
    assert_refused(ntrader("import", other), "no export of ntrader", exit_code=2)
    assert_refused(ntrader("import", tmp_path / "absent.zip"), "absent.zip", exit_code=3)
    assert_refused(ntrader("import", tmp_path), exit_code=2)


def test_a_later_format_is_refused(elsewhere: Elsewhere, exported: Path) -> None:
    members = members_of(exported)
    manifest = {**json.loads(members["manifest.json"]), "version": 2, "more": []}
    pack(exported, {**members, "manifest.json": json.dumps(manifest).encode()})

    assert_refused(elsewhere("import", exported), "version 2", exit_code=2)


@pytest.mark.parametrize(
    "name",
    ["/etc/cron.d/x", "../x", "runs/../../x", "C:/x", "a\\..\\x", "./x", "runs//x", "d/", "\n"],
)
def test_a_member_whose_path_leads_elsewhere_is_refused(
    elsewhere: Elsewhere, exported: Path, name: str
) -> None:
    pack(exported, {**members_of(exported), name: b"x"})

    assert_refused(elsewhere("import", exported), "member")
    assert saved(elsewhere) == []


def test_a_link_is_refused(elsewhere: Elsewhere, exported: Path) -> None:
    link = zipfile.ZipInfo("runs/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    seal(exported)

    assert_refused(elsewhere("import", exported), "runs/link", "is a link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(elsewhere: Elsewhere, exported: Path) -> None:
    name = next(name for name in members_of(exported) if name.endswith("run.json"))
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(name, b"{}")
    seal(exported)

    assert_refused(elsewhere("import", exported), name, "twice")


def test_members_and_manifest_must_be_the_same(
    elsewhere: Elsewhere, exported: Path, whole: bytes
) -> None:
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr("runs/more.json", b"{}")
    seal(exported)
    assert_refused(elsewhere("import", exported), "runs/more.json is not in the manifest")

    exported.write_bytes(whole)
    members = members_of(exported)
    (name,) = [name for name in members if name.endswith("equity.parquet")]
    with zipfile.ZipFile(exported, "w") as archive:
        for each in members.keys() - {name}:
            archive.writestr(each, members[each])
        archive.comment = b"0" * 64
    seal(exported)
    assert_refused(elsewhere("import", exported), f"{name} is missing")


def test_a_member_in_place_of_another_is_refused(elsewhere: Elsewhere, exported: Path) -> None:
    """The zip is sound, and the size is the same: only the manifest's hash tells."""
    members = members_of(exported)
    (name,) = [name for name in members if name.endswith("run.json")]
    members[name] = members[name].replace(b'"total_return": "', b'"total_return": "-')[:-1]
    with zipfile.ZipFile(exported, "w") as archive:
        for each, content in members.items():
            archive.writestr(each, content)
        archive.comment = b"0" * 64
    seal(exported)

    assert_refused(elsewhere("import", exported), f"{name} is not what was exported")


def test_a_listed_member_that_belongs_to_nothing_is_refused(
    elsewhere: Elsewhere, exported: Path
) -> None:
    pack(exported, {**members_of(exported), "runs/more.json": b"{}"})

    assert_refused(elsewhere("import", exported), "runs/more.json belongs to nothing")


def test_a_bomb_is_refused_before_it_is_unpacked(elsewhere: Elsewhere, exported: Path) -> None:
    pack(exported, {**members_of(exported), "bomb": b"\0" * (64 << 20)})

    assert_refused(elsewhere("import", exported), "'bomb'", "far more")


def test_a_member_that_hides_its_size_is_refused(elsewhere: Elsewhere, exported: Path) -> None:
    """The zip says a few bytes, and the manifest with it; what is packed has more."""
    content = b"x" * 1000
    pack(exported, {**members_of(exported), "bomb": content})
    packed = exported.read_bytes()
    manifest = members_of(exported)["manifest.json"]
    size = len(content).to_bytes(4, "little")
    place = packed.rindex(b"PK\x01\x02", 0, packed.rindex(b"bomb")) + 24
    assert packed[place : place + 4] == size
    lying = packed[:place] + (5).to_bytes(4, "little") + packed[place + 4 :]
    exported.write_bytes(lying)
    seal(exported)
    assert b'"size": 1000' in manifest

    assert_refused(elsewhere("import", exported), "bomb has 5 bytes where 1,000")


def test_a_total_above_the_bound_is_refused(
    elsewhere: Elsewhere, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ntrader.storage.archives.MAX_BYTES", 10_000)

    assert_refused(elsewhere("import", exported), exported.name, "together")


@pytest.mark.parametrize(
    ("member", "change", "named"),
    [
        ("run.json", lambda run: run["snapshot"]["config"].update(fee="0.5"), "fingerprint"),
        ("run.json", lambda run: run["environment"]["engine"].update(version="9"), "fingerprint"),
        ("run.json", lambda run: run["environment"].pop("engine"), "fingerprint"),
        ("run.json", lambda run: run.update(fingerprint="0" * 64), "fingerprint"),
        ("run.json", lambda run: run.update(result_digest="0" * 64), "result digest"),
        ("run.json", lambda run: run["metrics"].update(total_return="NaN"), "total_return"),
        ("run.json", lambda run: run["metrics"].update(cagr="1e999"), "cagr"),
        ("run.json", lambda run: run.update(tags=["two words"]), "tag"),
        ("run.json", lambda run: run.update(note="\x1b[2J"), "note"),
        ("run.json", lambda run: run.update(data_source="a\0"), "run.json"),
        ("run.json", lambda run: run.update(data_source="\ud800"), "run.json"),
        ("run.json", lambda run: run.update(metrics=None), "exactly where it succeeded"),
        ("run.json", lambda run: run.update(run_id=str(uuid4())), "another run"),
        ("run.json", lambda run: run.update(more=1), "more"),
        ("run.json", lambda run: run.update(created_at="9999-12-31T23:59:59Z"), "created_at"),
        ("run.json", lambda run: run["environment"].update(more=1e999), "run.json"),
        ("run.json", lambda run: run["environment"].update(more=nested(70)), "nested"),
        ("run.json", lambda run: run["environment"].update(more=DEEP), "run.json"),
        ("run.json", lambda run: run["files"].pop(), "lacks a file"),
        ("run.json", lambda run: run["files"][0].update(filename="../x"), "filename"),
        ("run.json", lambda run: run["files"][0].update(sha256="0" * 64), "equity.parquet"),
        ("events.json", lambda events: events[0].update(type="bought"), "events.json"),
        ("dataset.json", lambda dataset: dataset.update(start="2013-01-01T00:00:00Z"), "bars"),
        ("dataset.json", lambda dataset: dataset.update(rows=5), "dataset.json"),
        ("dataset.json", lambda dataset: dataset.update(timeframe="1h"), "content hash"),
        ("dataset.json", lambda dataset: dataset["instrument"].update(symbol="../X"), "symbol"),
        ("dataset.json", lambda dataset: dataset["instrument"].update(symbol="X"), "content hash"),
        ("dataset.json", lambda dataset: dataset.update(content_hash="0" * 64), "another dataset"),
    ],
)
def test_a_forged_record_is_refused_with_the_name_of_what_does_not_fit(
    elsewhere: Elsewhere,
    exported: Path,
    member: str,
    change: Callable[[Any], object],
    named: str,
) -> None:
    with forged(exported, member) as record:
        change(record)

    assert_refused(elsewhere("import", exported), exported.name, named)
    assert saved(elsewhere) == []
    assert elsewhere("data", "list", "--json").json == {"datasets": []}


@pytest.mark.parametrize("member", ["equity.parquet", "fills.parquet", "trades.parquet"])
@pytest.mark.parametrize("content", [b"PAR1", b"another run's"])
def test_files_that_are_not_those_of_the_run_are_refused(
    elsewhere: Elsewhere, exported: Path, member: str, content: bytes
) -> None:
    members = members_of(exported)
    (name,) = [each for each in members if each.endswith(member)]
    (run,) = [each for each in members if each.endswith("run.json")]
    if content != b"PAR1":
        other = "trades.parquet" if member != "trades.parquet" else "fills.parquet"
        (donor,) = [each for each in members if each.endswith(other)]
        content = members[donor]
    record = json.loads(members[run])
    (file,) = [file for file in record["files"] if file["filename"] == member]
    file.update(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    pack(exported, {**members, name: content, run: json.dumps(record).encode()})

    assert_refused(elsewhere("import", exported), exported.name)
    assert saved(elsewhere) == []


def test_changed_code_and_changed_bars_are_refused(
    elsewhere: Elsewhere, exported: Path, whole: bytes
) -> None:
    with forged_source(exported) as files:
        files["signals.py"] = base64.b64encode(b"EXIT = 17\n").decode()
    assert_refused(elsewhere("import", exported), "source hash")

    exported.write_bytes(whole)
    with forged_source(exported) as files:
        files["../../evil.py"] = files["signals.py"]
    assert_refused(elsewhere("import", exported), "evil.py")

    exported.write_bytes(whole)
    members = members_of(exported)
    (bars,) = [name for name in members if name.endswith("bars.bin")]
    pack(exported, {**members, bars: flipped(members[bars], len(members[bars]) - 40)})
    assert_refused(elsewhere("import", exported), "bars.bin")
    pack(exported, {**members, bars: members[bars][:-1]})
    assert_refused(elsewhere("import", exported), "bars.bin", "no whole bars")
    assert elsewhere("data", "list", "--json").json == {"datasets": []}


@contextmanager
def forged_source(path: Path) -> Iterator[dict[str, str]]:
    (name,) = [name for name in members_of(path) if name.startswith("sources/")]
    with forged(path, name) as record:
        yield record["files"]


def test_another_run_of_the_same_id_is_refused(ntrader: Command, bundle: Path) -> None:
    ntrader(*SHORT)
    ntrader("export", "@", bundle)
    before = ntrader("show", "@", "--json").json
    with forged(bundle, "run.json") as record:
        record["metrics"]["total_return"] = "9.5"

    assert_refused(ntrader("import", bundle), before["run_id"], "already")
    assert ntrader("show", "@", "--json").json == before


def test_code_cannot_hide_behind_the_name_of_a_built_in_strategy(
    elsewhere: Elsewhere, exported: Path, tmp_path: Path
) -> None:
    """The record says `sma`, and its source hash is that of the code that came along."""
    from ntrader.domain.snapshot import ConfigSnapshot

    marker = tmp_path / "executed"
    code = f"open({str(marker)!r}, 'w')\n".encode()
    evil = hashlib.sha256(code).hexdigest()
    members = members_of(exported)
    (old,) = [name for name in members if name.startswith("sources/")]
    (run,) = [name for name in members if name.endswith("run.json")]
    record = json.loads(members[run])
    record["snapshot"]["strategy_path"] = "ntrader.engine.strategies.sma:SmaCrossover"
    record["snapshot"]["config"]["strategy"].update(
        name="sma", source_hash=evil, parameters={"fast_period": 10, "slow_period": 20}
    )
    engine = record["environment"]["engine"]
    record["fingerprint"] = ConfigSnapshot.model_validate(record["snapshot"]).fingerprint(
        engine=engine["name"], engine_version=engine["version"]
    )
    source = {"entry": "x.py", "files": {"x.py": base64.b64encode(code).decode()}}
    del members[old]
    members[f"sources/{evil}.json"] = json.dumps(source).encode()
    pack(exported, {**members, run: json.dumps(record).encode()})

    assert elsewhere("import", exported).exit_code == 0
    assert elsewhere("reproduce", "@", "--json").json["verdict"] == "different"
    assert not marker.exists()


def test_refusals_are_json_too(ntrader: Command, tmp_path: Path) -> None:
    refused = ntrader("import", tmp_path / "absent.zip", "--json")

    assert refused.json["error"]["code"] == "not_found"
    assert os.listdir(tmp_path) == []


def test_what_lies_at_the_path_of_imported_code_is_never_executed_in_its_place(
    ntrader: Command, elsewhere: Elsewhere, exported: Path, steps: Path
) -> None:
    """Whoever made the file chose that path: a file of this machine is not his to name."""
    members = members_of(exported)
    pack(exported, {name: each for name, each in members.items() if not name.startswith("sources")})
    marker = steps.with_name("executed")
    steps.write_text(f"open({str(marker)!r}, 'w')\n{STRATEGY}")
    assert elsewhere("import", exported).exit_code == 0

    for arguments in ((), ("--trust",), ("--attribute",)):
        refused = elsewhere("reproduce", "@", *arguments)
        assert refused.exit_code in (2, 3), refused.stderr
        assert not marker.exists()


def test_the_reproduction_of_an_imported_run_does_not_look_at_its_path_either(
    ntrader: Command, elsewhere: Elsewhere, exported: Path, steps: Path
) -> None:
    marker = steps.with_name("executed")
    steps.write_text(f"open({str(marker)!r}, 'w')\n{STRATEGY}")
    elsewhere("import", exported)
    assert elsewhere("reproduce", "@", "--trust").exit_code == 0

    again = elsewhere("reproduce", "@")
    assert (again.exit_code, marker.exists()) == (0, False), again.stderr
    for option in ("--attribute", "--current-code"):
        refused = elsewhere("reproduce", "@", option)
        assert_refused(refused, "was imported", "--trust", exit_code=2)
        assert not marker.exists()


def test_reading_an_imported_run_executes_nothing(
    ntrader: Command, elsewhere: Elsewhere, exported: Path, steps: Path, bundle: Path
) -> None:
    marker = steps.with_name("executed")
    steps.write_text(f"open({str(marker)!r}, 'w')\n{STRATEGY}")
    steps.with_name("signals.py").write_text(f"open({str(marker)!r}, 'w')\nEXIT = 15\n")
    elsewhere("import", exported)
    elsewhere("run", "--strategy", "sma")
    for arguments in (
        ("history",),
        ("show", "@~1"),
        ("show", "@~1", "--config"),
        ("compare", "@", "@~1"),
        ("export", "@~1", bundle, "--force"),
        ("import", bundle),
        ("delete", "@~1", "--dry-run"),
    ):
        assert elsewhere(*arguments).exit_code == 0, arguments
        assert not marker.exists(), arguments


def test_a_restored_store_trusts_no_more_than_the_one_that_was_dumped(
    ntrader: Command,
    elsewhere: Elsewhere,
    exported: Path,
    steps: Path,
    postgres: TestServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    elsewhere("import", exported)
    assert elsewhere("db", "dump", tmp_path / "store.tar").exit_code == 0
    marker = steps.with_name("executed")
    steps.write_text(f"open({str(marker)!r}, 'w')\n{STRATEGY}")

    with temporary_home() as home, postgres.empty_database() as url:
        monkeypatch.setenv("NTRADER_HOME", str(home))
        monkeypatch.setenv("DATABASE_URL", url)
        restored = ntrader("db", "restore", tmp_path / "store.tar")
        assert restored.exit_code == 0, restored.stderr
        for option in ((), ("--attribute",), ("--current-code",)):
            refused = ntrader("reproduce", "@", *option)
            assert_refused(refused, "was imported", "--trust", exit_code=2)
    assert not marker.exists()
