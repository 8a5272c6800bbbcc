"""The files of runs."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from ntrader.errors import DamagedError, NotFoundError
from ntrader.storage import parquet
from ntrader.storage.artifacts import ArtifactStore

RUN = UUID("abcdef01-2345-4789-8abc-def012345678")
COLUMNS: dict[str, Any] = {
    "time": np.array([-(2**62), 0, 2**62], np.int64),
    "equity": np.array([1e5, 0.1 + 0.2, -0.0]),
    "side": ["BUY", "", "\N{GREEK SMALL LETTER ALPHA}"],
    "quantity": [1, 2, 3],
    "return": [0.5, -1.25, 1e300],
    "price": [Decimal("1.50"), Decimal(-3), Decimal("0.00000001")],
    "closed_at": [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), *[datetime.now(UTC)] * 2],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def files(root: Path) -> ArtifactStore:
    return ArtifactStore(root)


def all_files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_table_comes_back_as_it_was_written(files: ArtifactStore) -> None:
    read = files.read_table(files.write_table(RUN, "all.parquet", COLUMNS))
    assert list(read) == list(COLUMNS)
    for name in ("time", "equity", "quantity", "return"):
        assert isinstance(read[name], np.ndarray)
        assert np.array_equal(read[name], COLUMNS[name])
    for name in ("side", "price", "closed_at"):
        assert read[name] == COLUMNS[name]
    assert np.signbit(read["equity"][2])


def test_other_readers_see_the_same_table(files: ArtifactStore, root: Path) -> None:
    from pyarrow import parquet as reader

    artifact = files.write_table(RUN, "all.parquet", COLUMNS)
    table = reader.ParquetFile(root / artifact.storage_path).read()
    assert {name: str(table.column(name).type) for name in COLUMNS} == {
        "time": "int64",
        "equity": "double",
        "side": "string",
        "quantity": "int64",
        "return": "double",
        "price": "decimal128(38, 8)",
        "closed_at": "timestamp[us, tz=UTC]",
    }
    table.validate(full=True)


@pytest.mark.parametrize("rows", [0, 1, 200_000])
def test_tables_of_any_length(files: ArtifactStore, rows: int) -> None:
    columns: dict[str, Any] = {"time": np.arange(rows), "text": ["x"] * rows}
    read = files.read_table(files.write_table(RUN, "t.parquet", columns))
    assert np.array_equal(read["time"], columns["time"])
    assert read["text"] == columns["text"]


def test_a_part_of_an_array_is_written_as_that_part(files: ArtifactStore) -> None:
    columns = {"every_second": np.arange(10)[1::2]}
    read = files.read_table(files.write_table(RUN, "t.parquet", columns))
    assert list(read["every_second"]) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize(
    "columns",
    [
        {"a": [1, None]},
        {"a": [1, "x"]},
        {"a": np.array([1], np.int32)},
        {"a": np.zeros((2, 2))},
        {"a": [1], "b": [1, 2]},
    ],
    ids=["missing", "mixed", "other type", "two dimensions", "lengths"],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(
    files: ArtifactStore, root: Path, columns: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"cannot be stored|length"):
        files.write_table(RUN, "t.parquet", columns)
    assert not root.exists()


def test_an_artifact_says_where_and_what_the_file_is(files: ArtifactStore, root: Path) -> None:
    artifact = files.write_table(RUN, "equity.parquet", COLUMNS)
    assert artifact.storage_path == f"ab/{RUN}/equity.parquet"
    assert artifact.size_bytes == (root / artifact.storage_path).stat().st_size
    assert (artifact.run_id, artifact.kind) == (RUN, "parquet")
    assert all_files(root) == ["ab", f"ab/{RUN}", f"ab/{RUN}/equity.parquet"]


def test_the_same_table_gives_the_same_bytes(files: ArtifactStore) -> None:
    first = files.write_table(RUN, "a.parquet", COLUMNS)
    second = files.write_table(RUN, "b.parquet", COLUMNS)
    assert first.sha256 == second.sha256


def test_a_file_that_is_gone_is_not_found(files: ArtifactStore, root: Path) -> None:
    artifact = files.write_table(RUN, "t.parquet", COLUMNS)
    (root / artifact.storage_path).unlink()
    with pytest.raises(NotFoundError, match=r"t\.parquet"):
        files.read_table(artifact)


@pytest.mark.parametrize("change", [lambda old: old[:-1], lambda old: old + b"x", lambda old: b""])
def test_a_file_that_was_altered_is_refused(
    files: ArtifactStore, root: Path, change: Callable[[bytes], bytes]
) -> None:
    artifact = files.write_table(RUN, "t.parquet", COLUMNS)
    path = root / artifact.storage_path
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedError, match="not as it was saved"):
        files.read_table(artifact)


def test_removing_files_removes_the_directories_that_they_leave_empty(
    files: ArtifactStore, root: Path
) -> None:
    first = files.write_table(RUN, "a.parquet", COLUMNS)
    second = files.write_table(RUN, "b.parquet", COLUMNS)
    neighbour = files.write_table(UUID(int=RUN.int + 1), "c.parquet", COLUMNS)

    files.remove([first])
    assert files.read_table(second)
    files.remove([first, second])
    assert all_files(root) == ["ab", f"ab/{neighbour.run_id}", f"ab/{neighbour.storage_path[3:]}"]
    files.remove([neighbour])
    assert all_files(root) == []


def test_discarding_a_run_removes_all_that_is_there(files: ArtifactStore, root: Path) -> None:
    files.write_table(RUN, "a.parquet", COLUMNS)
    (root / "ab" / str(RUN) / "half.part").write_bytes(b"x")
    files.discard(RUN)
    files.discard(uuid4())
    assert all_files(root) == []


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    files: ArtifactStore, root: Path
) -> None:
    (root / "ab" / str(RUN) / "t.parquet").mkdir(parents=True)
    (root / "ab" / str(RUN) / "t.parquet" / "in the way").touch()
    before = all_files(root)
    with pytest.raises(IsADirectoryError):
        files.write_table(RUN, "t.parquet", COLUMNS)
    assert all_files(root) == before


def test_any_file_system_of_fsspec_serves() -> None:
    files = ArtifactStore("memory://ntrader-test")
    artifact = files.write_table(RUN, "t.parquet", COLUMNS)
    assert files.read_table(artifact)["side"] == COLUMNS["side"]
    files.remove([artifact])
    with pytest.raises(NotFoundError):
        files.read_table(artifact)


def test_tables_are_written_and_read_without_pandas() -> None:
    script = (
        "import sys\n"
        "from decimal import Decimal\n"
        "import numpy as np\n"
        "from ntrader.storage import parquet\n"
        "columns = {'t': np.arange(3), 'x': np.ones(3), 's': ['a'] * 3, 'p': [Decimal(1)] * 3}\n"
        "parquet.read(parquet.write(columns))\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_nanoseconds_keep_their_precision() -> None:
    times = np.array([1, 10**18 + 1], "datetime64[ns]")
    read = parquet.read(parquet.write({"at": times}))
    np.testing.assert_array_equal(read["at"], times, strict=True)
