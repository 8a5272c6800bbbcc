"""Artifacts: the files that belong to a run."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class ArtifactKind(StrEnum):
    """What kind of file it is."""

    PLOT = "plot"
    REPORT = "report"
    CSV = "csv"
    PICKLE = "pickle"
    JSON = "json"
    PARQUET = "parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A file of a run; `storage_path` is relative to the artifact store's root."""

    id: UUID
    run_id: UUID
    kind: ArtifactKind
    filename: str
    storage_path: str
    mime_type: str
    size_bytes: int
    sha256: str
    created_at: datetime
