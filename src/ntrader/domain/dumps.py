"""Dumps: a whole store as one file. The names and records in it are a contract.

A dump is a tar file, with these members in this order:

    dump.json                          a `DumpHeader`
    datasets/HASH/dataset.json         a `ntrader.domain.bundles.DatasetRecord`
    datasets/HASH/bars.bin.gz          the bars, as the bytes that their hash covers
    artifacts/AB/RUN/NAME              a file of a run, as it is
    tables/NAME/000000.copy.gz         rows as PostgreSQL's COPY writes them, some at a time
    contents.json                      a `DumpContents`
    SHA256SUMS                         the sha256 of every member before it, for `sha256sum -c`
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ntrader.domain.bundles import Moment
from ntrader.domain.integrity import CheckReport
from ntrader.domain.snapshot import Sha256

FORMAT: Literal["ntrader-dump"] = "ntrader-dump"
VERSION: Literal[1] = 1

HEADER = "dump.json"
CONTENTS = "contents.json"
SUMS = "SHA256SUMS"

PLAIN_FILENAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,200}"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ARTIFACT = re.compile(rf"artifacts/([0-9a-f]{{2}}/({_UUID})/({PLAIN_FILENAME}))")
DATASET = re.compile(r"datasets/([0-9a-f]{64})/dataset\.json")
BARS = re.compile(r"datasets/([0-9a-f]{64})/bars\.bin\.gz")
PART = re.compile(r"tables/([a-z_]{1,63})/([0-9]{6})\.copy\.gz")

type Identifier = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DumpHeader(_Record):
    """What a dump is; `revision` is that of the schema whose rows it holds."""

    format: Literal["ntrader-dump"] = FORMAT
    version: Literal[1] = VERSION
    revision: Annotated[str, Field(pattern=r"^[0-9a-z_]{1,32}$")]
    ntrader: str
    created_at: Moment


class TableContents(_Record):
    """The rows of a table: their columns, their number, the parts they are in, and the bytes."""

    columns: tuple[Identifier, ...]
    rows: int = Field(ge=0)
    parts: int = Field(ge=0)
    size: int = Field(ge=0)


class LeftOut(_Record):
    """A file that is not in the dump although a row names it, and why."""

    file: str
    reason: str


class DumpContents(_Record):
    """What is in a dump.

    The tables are as they were at one moment. What was deleted after it is in `deleted_runs` and
    `deleted_datasets`: its files could not be read any more, so its rows are to be dropped too.
    """

    tables: dict[Identifier, TableContents]
    datasets: int = Field(ge=0)
    files: int = Field(ge=0)
    left_out: tuple[LeftOut, ...] = ()
    deleted_runs: tuple[UUID, ...] = ()
    deleted_datasets: tuple[Sha256, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Dumped:
    """What a dump wrote."""

    file: str
    size_bytes: int
    revision: str
    contents: DumpContents

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "file": self.file,
            "size_bytes": self.size_bytes,
            "revision": self.revision,
            "rows": _rows(self.contents.tables),
            "datasets": self.contents.datasets,
            "files": self.contents.files,
            "left_out": [each.model_dump() for each in self.contents.left_out],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What a restore stored, and what the check of it found; `schema` is the revision now."""

    file: str
    revision: str
    schema: str
    contents: DumpContents
    report: CheckReport

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "file": self.file,
            "revision": self.revision,
            "schema": self.schema,
            "rows": _rows(self.contents.tables),
            "datasets": self.contents.datasets,
            "files": self.contents.files,
            "left_out": [each.model_dump() for each in self.contents.left_out],
            "check": self.report.to_dict(),
        }


def _rows(tables: Mapping[str, TableContents]) -> dict[str, int]:
    return {name: table.rows for name, table in tables.items()}


def artifact_member(storage_path: str) -> str:
    """Return where a file of a run is."""
    return f"artifacts/{storage_path}"


def dataset_member(content_hash: str) -> str:
    """Return where the description of a dataset is."""
    return f"datasets/{content_hash}/dataset.json"


def bars_member(content_hash: str) -> str:
    """Return where the bars of a dataset are."""
    return f"datasets/{content_hash}/bars.bin.gz"


def part_member(table: str, number: int) -> str:
    """Return where a part of a table's rows is."""
    return f"tables/{table}/{number:06}.copy.gz"
