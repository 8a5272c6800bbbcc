"""Pending runs: what is known of a run before its row is saved, as the JSON of a journal entry.

What is read here was written by this program and is covered by a hash: it is not checked again as
what comes from outside is.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from ntrader.domain.annotations import Annotations
from ntrader.domain.artifacts import Artifact, ArtifactKind
from ntrader.domain.datasets import Dataset, Instrument
from ntrader.domain.results import (
    METRICS,
    BacktestFailure,
    BacktestMetadata,
    EnhancedBacktestResult,
    EquityCurve,
    Fill,
    Outcome,
    PerformanceMetrics,
    Trade,
)
from ntrader.domain.sources import StrategySource
from ntrader.domain.strategies import ParameterSpec, StrategySpec
from ntrader.domain.timeframes import Timeframe


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingRun:
    """All that a run's row rests on but for its result.

    `database` says where the run is to be saved, see `ntrader.services.workspace.Workspace.place`.
    """

    database: str
    metadata: BacktestMetadata
    dataset: Dataset
    strategy: StrategySpec
    source: StrategySource | None
    reproduced_from: UUID | None
    annotations: Annotations

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        about = self.metadata
        return {
            "database": self.database,
            "run_id": str(about.run_id),
            "started_at": about.started_at.isoformat(),
            "fingerprint": about.fingerprint,
            "snapshot": about.snapshot.to_json(),
            "environment": about.environment,
            "dataset": dataset_to_json(self.dataset),
            "strategy": _strategy_json(self.strategy),
            "source": None if self.source is None else _source_json(self.source),
            "reproduced_from": None if self.reproduced_from is None else str(self.reproduced_from),
            "tags": list(self.annotations.tags),
            "note": self.annotations.note,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            LookupError, TypeError, ValueError: another version of ntrader wrote it.
        """
        from ntrader.domain.snapshot import ConfigSnapshot

        original, source = document["reproduced_from"], document["source"]
        return cls(
            database=document["database"],
            metadata=BacktestMetadata(
                run_id=UUID(document["run_id"]),
                snapshot=ConfigSnapshot.model_validate(document["snapshot"]),
                fingerprint=document["fingerprint"],
                started_at=datetime.fromisoformat(document["started_at"]),
                environment=document["environment"],
            ),
            dataset=dataset_from_json(document["dataset"]),
            strategy=_strategy_from(document["strategy"]),
            source=None if source is None else _source_from(source),
            reproduced_from=None if original is None else UUID(original),
            annotations=Annotations(tuple(document["tags"]), document["note"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a run ended, but for what its files hold.

    A successful run has `metrics`, `result_digest` and `artifacts`, a failed one `error`: message,
    traceback and bars done.
    """

    finished_at: datetime
    duration_seconds: float
    artifacts: tuple[Artifact, ...] = ()
    warnings: tuple[str, ...] = ()
    result_digest: str | None = None
    metrics: PerformanceMetrics | None = None
    error: tuple[str, str, int] | None = None

    @classmethod
    def of(cls, outcome: Outcome, artifacts: tuple[Artifact, ...]) -> Self:
        """Return how a run ended whose files are written."""
        ending = cls(
            finished_at=outcome.finished_at,
            duration_seconds=outcome.duration_seconds,
            artifacts=artifacts,
        )
        if isinstance(outcome, BacktestFailure):
            return replace(ending, error=(outcome.message, outcome.traceback, outcome.bars_done))
        return replace(
            ending,
            warnings=outcome.warnings,
            result_digest=outcome.result_digest,
            metrics=outcome.metrics,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the ending as JSON values."""
        return {
            "finished_at": self.finished_at.isoformat(),
            "duration_seconds": self.duration_seconds,
            "artifacts": [_artifact_json(artifact) for artifact in self.artifacts],
            "warnings": list(self.warnings),
            "result_digest": self.result_digest,
            "metrics": None if self.metrics is None else _metrics_json(self.metrics),
            "error": None if self.error is None else list(self.error),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; errors as for `PendingRun.from_json`."""
        metrics, error = document["metrics"], document["error"]
        return cls(
            finished_at=datetime.fromisoformat(document["finished_at"]),
            duration_seconds=document["duration_seconds"],
            artifacts=tuple(map(_artifact_from, document["artifacts"])),
            warnings=tuple(document["warnings"]),
            result_digest=document["result_digest"],
            metrics=None if metrics is None else _metrics_from(metrics),
            error=None if error is None else (error[0], error[1], error[2]),
        )

    def failure(self, metadata: BacktestMetadata) -> BacktestFailure | None:
        """Return the outcome of a run that failed, or None where it succeeded."""
        if self.error is None:
            return None
        message, traceback, bars_done = self.error
        return BacktestFailure(
            metadata=metadata,
            message=message,
            traceback=traceback,
            bars_done=bars_done,
            finished_at=self.finished_at,
            duration_seconds=self.duration_seconds,
        )

    def result(
        self,
        metadata: BacktestMetadata,
        *,
        fills: tuple[Fill, ...],
        trades: tuple[Trade, ...],
        equity: EquityCurve,
    ) -> EnhancedBacktestResult:
        """Return the outcome of a run that succeeded, with what its files hold.

        Raises:
            ValueError: it did not succeed.
        """
        if self.metrics is None or self.result_digest is None:
            raise ValueError("a run that succeeded has metrics and a digest")
        return EnhancedBacktestResult(
            metadata=metadata,
            metrics=self.metrics,
            equity=equity,
            fills=fills,
            trades=trades,
            warnings=self.warnings,
            result_digest=self.result_digest,
            finished_at=self.finished_at,
            duration_seconds=self.duration_seconds,
        )


_DATASET_AS_IS = ("name", "description", "content_hash", "rows", "source")
_STRATEGY_AS_IS = ("name", "version", "type", "description", "path", "source_hash")
_ARTIFACT_AS_IS = ("filename", "storage_path", "mime_type", "size_bytes", "sha256")


def dataset_to_json(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset as JSON values."""
    return {
        **{name: getattr(dataset, name) for name in _DATASET_AS_IS},
        "id": str(dataset.id),
        "instrument": dataset.instrument.to_dict(),
        "timeframe": str(dataset.timeframe),
        "start": dataset.start.isoformat(),
        "end": dataset.end.isoformat(),
        "created_at": dataset.created_at.isoformat(),
    }


def dataset_from_json(values: Mapping[str, Any]) -> Dataset:
    """Read what `dataset_to_json` wrote; errors as for `PendingRun.from_json`."""
    return Dataset(
        **{name: values[name] for name in _DATASET_AS_IS},
        id=UUID(values["id"]),
        instrument=Instrument.from_dict(values["instrument"]),
        timeframe=Timeframe.parse(values["timeframe"]),
        start=datetime.fromisoformat(values["start"]),
        end=datetime.fromisoformat(values["end"]),
        created_at=datetime.fromisoformat(values["created_at"]),
    )


def _strategy_json(spec: StrategySpec) -> dict[str, Any]:
    return {
        **{name: getattr(spec, name) for name in _STRATEGY_AS_IS},
        "aliases": list(spec.aliases),
        "parameters": [parameter.to_dict() for parameter in spec.parameters],
    }


def _strategy_from(values: Mapping[str, Any]) -> StrategySpec:
    return StrategySpec(
        **{name: values[name] for name in _STRATEGY_AS_IS},
        aliases=tuple(values["aliases"]),
        parameters=tuple(
            ParameterSpec(
                **{
                    **parameter,
                    "choices": tuple(parameter["choices"]) if "choices" in parameter else None,
                }
            )
            for parameter in values["parameters"]
        ),
    )


def _source_json(source: StrategySource) -> dict[str, Any]:
    files = {path: base64.b64encode(code).decode() for path, code in source.files.items()}
    return {"entry": source.entry, "files": files}


def _source_from(values: Mapping[str, Any]) -> StrategySource:
    files = {path: base64.b64decode(code) for path, code in values["files"].items()}
    return StrategySource(entry=values["entry"], files=files)


def _artifact_json(artifact: Artifact) -> dict[str, Any]:
    return {
        **{name: getattr(artifact, name) for name in _ARTIFACT_AS_IS},
        "id": str(artifact.id),
        "run_id": str(artifact.run_id),
        "kind": artifact.kind.value,
        "created_at": artifact.created_at.isoformat(),
    }


def _artifact_from(values: Mapping[str, Any]) -> Artifact:
    return Artifact(
        **{name: values[name] for name in _ARTIFACT_AS_IS},
        id=UUID(values["id"]),
        run_id=UUID(values["run_id"]),
        kind=ArtifactKind(values["kind"]),
        created_at=datetime.fromisoformat(values["created_at"]),
    )


def _metrics_json(metrics: PerformanceMetrics) -> dict[str, Any]:
    values = {name: _number_json(value) for name, value in metrics.values().items()}
    return {**values, "undefined": dict(metrics.undefined)}


def _number_json(value: Any) -> Any:
    """Return a number as JSON keeps it: a float as it is, money and instants marked."""
    match value:
        case Decimal():
            return {"decimal": str(value)}
        case datetime():
            return {"instant": value.isoformat()}
    return value


def _metrics_from(values: Mapping[str, Any]) -> PerformanceMetrics:
    numbers = {name: _number_from(values[name]) for name in METRICS}
    return PerformanceMetrics(**numbers, undefined=values["undefined"])


def _number_from(value: Any) -> Any:
    match value:
        case {"decimal": text}:
            return Decimal(text)
        case {"instant": text}:
            return datetime.fromisoformat(text)
    return value
