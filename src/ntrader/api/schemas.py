"""What goes out, as OpenAPI describes it. The documents themselves are made by the domain."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

type Value = int | float | bool | str


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DatasetDocument(_Document):
    """Market data with an identity."""

    id: UUID
    name: str
    description: str
    content_hash: str
    instrument: str
    symbol: str
    venue: str
    kind: Literal["equity", "fx", "crypto"]
    currency: str
    base_currency: str | None
    price_precision: int
    size_precision: int
    timeframe: str
    start: datetime
    end: datetime
    rows: int
    source: str
    created_at: datetime


class UploadedDocument(DatasetDocument):
    """A dataset as its upload left it."""

    new: bool
    warnings: list[str]


class DatasetList(_Document):
    """A page of datasets, and the cursor of the next page."""

    datasets: list[DatasetDocument]
    next: str | None


class ParameterSpecDocument(_Document):
    """A parameter: enough to draw a form. Bounds are inclusive unless they say `exclusive`."""

    name: str
    type: str
    default: Value | None
    description: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    choices: list[Value] | None = None


class StrategyDocument(_Document):
    """A strategy, or a named configuration of one."""

    id: UUID
    name: str
    version: str
    description: str
    implementation: str
    parameters: dict[str, Value]
    parameter_spec: list[ParameterSpecDocument]
    source_hash: str
    created_at: datetime
    updated_at: datetime


class StrategyList(_Document):
    """A page of stored strategies, and the cursor of the next page."""

    strategies: list[StrategyDocument]
    next: str | None


class RunStrategy(_Document):
    """Which strategy a run used, with which values."""

    name: str
    version: str
    type: str
    parameters: dict[str, Value]


class RunDataset(_Document):
    """Which data a run used."""

    name: str
    content_hash: str


class RunConfiguration(_Document):
    """Which named configuration of its strategy a run used."""

    id: UUID
    name: str
    version: str


class RunFailure(_Document):
    """Why a run failed."""

    message: str
    traceback: str


class RunDocument(_Document):
    """A run that has ended."""

    run_id: UUID
    mode: Literal["backtest", "paper", "live"]
    status: Literal["success", "failed"]
    created_at: datetime
    duration_seconds: float
    strategy: RunStrategy
    configuration: RunConfiguration | None
    instrument: str
    symbol: str
    timeframe: str
    start: datetime
    end: datetime
    initial_capital: float
    currency: str
    equity_fraction: float
    fee: float
    fill: Literal["close", "next-open"]
    slippage: float
    seed: int
    data_source: str
    dataset: RunDataset | None
    dataset_id: UUID | None
    strategy_id: UUID | None
    metrics: dict[str, float | datetime | None] | None
    undefined_metrics: dict[str, str]
    fingerprint: str
    result_digest: str | None
    reproduced_from: UUID | None
    tags: list[str]
    note: str | None
    error: RunFailure | None
    stale: list[str]
    saved: bool


class RunList(_Document):
    """A page of runs, and the cursor of the next page."""

    runs: list[RunDocument]
    next: str | None


class ProgressDocument(_Document):
    """How far a run has come."""

    fraction: float = Field(ge=0, le=1)
    bars_done: int
    bars_total: int
    bars_per_second: float | None
    equity: float | None


class RunState(_Document):
    """Where an accepted run stands."""

    run_id: UUID
    kind: Literal["backtest", "reproduction"]
    status: Literal["queued", "running", "cancelling", "done", "failed", "cancelled"]
    progress: ProgressDocument | None
    attempts: int
    error: str | None
    strategy_id: UUID | None
    dataset_id: UUID | None
    reproduced_from: UUID | None
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    version: int = Field(description="Grows with every change.")


class StateList(_Document):
    """A page of accepted runs, and the cursor of the next page."""

    states: list[RunState]
    next: str | None


class EquityDocument(_Document):
    """An equity curve: of `total` points those that are shown."""

    total: int
    times: list[datetime]
    values: list[float]


class TradeDocument(_Document):
    """A closed trade."""

    opened_at: datetime
    closed_at: datetime
    quantity: float
    entry_price: float
    exit_price: float
    fees: float
    profit: float
    return_: float = Field(alias="return")


class TradeList(_Document):
    """A part of a run's trades; `next` is where the next part starts."""

    total: int
    items: list[TradeDocument]
    next: int | None


class ReportDocument(_Document):
    """A run with its curve and its trades."""

    run: RunDocument
    warnings: list[str]
    problem: str | None
    equity: EquityDocument | None
    trades: TradeList


class EventDocument(_Document):
    """Something that happened in a run's life."""

    type: str
    timestamp: datetime
    payload: dict[str, Any]


class EventList(_Document):
    """A part of a run's events; `next` is where the next part starts."""

    events: list[EventDocument]
    next: int | None


class ArtifactDocument(_Document):
    """A file of a run."""

    id: UUID
    kind: Literal["plot", "report", "csv", "pickle", "json", "parquet"]
    filename: str
    storage_path: str
    mime_type: str
    size_bytes: int
    sha256: str


class ArtifactList(_Document):
    """The files of a run."""

    artifacts: list[ArtifactDocument]


class ComparedMetric(_Document):
    """One metric over the compared runs, by run id."""

    values: dict[str, float | datetime | None]
    deltas: dict[str, float | datetime | None]
    better: Literal["higher", "lower"] | None
    best: list[UUID]


class ComparisonDocument(_Document):
    """Runs side by side."""

    runs: list[dict[str, Any]]
    metrics: dict[str, ComparedMetric]
    config_differences: dict[str, dict[str, Any]]
    config_shared: dict[str, Any]
    significance: dict[str, Any] | None
    warnings: list[str]
