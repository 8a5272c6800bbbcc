"""Between rows and the domain's values."""

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Numeric, Row
from sqlalchemy.types import TypeEngine

from ntrader.domain.artifacts import Artifact
from ntrader.domain.datasets import Dataset, Instrument
from ntrader.domain.events import Event, EventType
from ntrader.domain.results import Outcome, PerformanceMetrics
from ntrader.domain.runs import Ending, RunMode
from ntrader.domain.sources import StrategySource
from ntrader.domain.strategies import StrategyRecord, StrategySpec
from ntrader.domain.timeframes import Timeframe
from ntrader.storage.tables import artifacts_table

COPIED = ("strategy_name", "instrument_symbol", "created_at")
"""The columns of a run that its metrics have copies of."""

_DIGITS = 18
_RATIO = Decimal("0.00000001")
_MONEY = Decimal("0.0001")
_MONEY_COLUMNS = frozenset({"final_balance", "expectancy", "avg_win", "avg_loss", "total_fees"})

_BASE64 = "base64"


def run_values(
    outcome: Outcome,
    *,
    dataset_id: UUID,
    strategy_id: UUID,
    data_source: str,
    reproduced_from: UUID | None,
    mode: RunMode = RunMode.BACKTEST,
) -> dict[str, Any]:
    """Return a run's columns, but for its id."""
    about = outcome.metadata
    config = about.snapshot.config
    ending = Ending.of(outcome)
    return {
        "run_id": about.run_id,
        "dataset_id": dataset_id,
        "strategy_id": strategy_id,
        "run_mode": mode,
        "strategy_name": config.strategy.name,
        "strategy_type": config.strategy.type,
        "instrument_symbol": config.instrument.symbol,
        "timeframe": config.timeframe,
        "start_date": config.start,
        "end_date": config.end,
        "initial_capital": config.initial_capital,
        "data_source": _text(data_source),
        "execution_duration_seconds": Decimal(f"{max(outcome.duration_seconds, 0.0):.6f}"),
        "config_snapshot": _json(about.snapshot.to_json()),
        "metadata": _json(ending.metadata),
        "fingerprint": about.fingerprint,
        "reproduced_from_run_id": reproduced_from,
        "created_at": about.started_at,
        "execution_status": ending.status,
        "result_digest": ending.result_digest,
        "error_message": None if ending.error is None else _text(ending.error.message),
        "error_traceback": None if ending.error is None else _text(ending.error.traceback),
    }


def metrics_values(metrics: PerformanceMetrics) -> dict[str, Any]:
    """Return the columns of a run's numbers: ratios with 8 decimals, money with 4."""
    return {name: _number(name, value) for name, value in metrics.values().items()}


def artifact_values(artifact: Artifact) -> dict[str, Any]:
    """Return the columns of a file."""
    return {each.key: getattr(artifact, each.key) for each in artifacts_table.columns}


def artifact_from(row: Row[Any]) -> Artifact:
    """Read a row of `artifacts`."""
    return Artifact(**row._mapping)


def event_columns(run_id: UUID, events: Sequence[Event]) -> dict[str, Any]:
    """Return the columns of a run's events, each as a list."""
    return {
        "run_id": run_id,
        "event_types": [event.type.value for event in events],
        "timestamps": [event.timestamp for event in events],
        "payloads": [_json(event.payload) for event in events],
    }


def event_from(row: Row[Any]) -> Event:
    """Read the type, timestamp and payload of an event."""
    return Event(type=EventType(row.event_type), timestamp=row.timestamp, payload=row.payload)


def dataset_values(dataset: Dataset) -> dict[str, Any]:
    """Return the columns of a dataset."""
    return {
        "id": dataset.id,
        "name": _text(dataset.name),
        "description": _text(dataset.description),
        "content_hash": dataset.content_hash,
        "instrument": dataset.instrument.to_dict(),
        "symbols": [dataset.instrument.symbol],
        "timeframe": str(dataset.timeframe),
        "start_date": dataset.start,
        "end_date": dataset.end,
        "rows": dataset.rows,
        "source": _text(dataset.source),
        "created_at": dataset.created_at,
    }


def dataset_from(row: Row[Any]) -> Dataset:
    """Read a row of `datasets`."""
    return Dataset(
        id=row.id,
        name=row.name,
        description=row.description,
        content_hash=row.content_hash,
        instrument=Instrument.from_dict(row.instrument),
        timeframe=Timeframe.parse(row.timeframe),
        start=row.start_date,
        end=row.end_date,
        rows=row.rows,
        source=row.source,
        created_at=row.created_at,
    )


def strategy_values(spec: StrategySpec) -> dict[str, Any]:
    """Return the columns that a registered strategy decides."""
    return {
        "name": spec.name,
        "version": spec.version,
        "description": _text(spec.description),
        "implementation": _text(spec.path),
        "params": _json(spec.defaults),
        "param_spec": _json([parameter.to_dict() for parameter in spec.parameters]),
        "source_hash": spec.source_hash,
    }


def strategy_from(row: Row[Any]) -> StrategyRecord:
    """Read a row of `strategies`."""
    return StrategyRecord(**row._mapping)


def source_values(source: StrategySource) -> dict[str, Any]:
    """Return the columns of a kept source."""
    return {
        "hash": source.hash,
        "entry": source.entry,
        "files": {path: _stored_file(content) for path, content in source.files.items()},
    }


def source_from(row: Row[Any]) -> StrategySource:
    """Read the entry and the files of a kept source."""
    files = {
        path: base64.b64decode(stored[_BASE64]) if isinstance(stored, dict) else stored.encode()
        for path, stored in row.files.items()
    }
    return StrategySource(entry=row.entry, files=files)


def _stored_file(content: bytes) -> str | dict[str, str]:
    """Return a file as its text, to be read in the table; what is not UTF-8 in base64."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    # NUL is the one character that PostgreSQL does not take.
    return {_BASE64: base64.b64encode(content).decode()} if "\0" in text else text


def order_value(text: str, kind: TypeEngine[Any]) -> Any:
    """Read a value of an ordered column of this type that `order_text` wrote.

    Raises:
        ValueError: `text` is no such value.
        ArithmeticError: the same.
    """
    if isinstance(kind, DateTime):
        value = datetime.fromisoformat(text)
        if value.tzinfo is None:
            raise ValueError(text)
        return value.astimezone(UTC)
    number = Decimal(text) if text.isascii() else None
    if number is None or not number.is_finite() or not _fits(number, kind):
        raise ValueError(text)
    return number if isinstance(kind, Numeric) else int(number)


def _fits(number: Decimal, kind: TypeEngine[Any]) -> bool:
    """Whether a column has room for a finite number: an int of 1E+999999999 is never made."""
    limit, places = 2**31, 0
    if isinstance(kind, Numeric) and kind.precision is not None and kind.scale is not None:
        limit, places = 10 ** (kind.precision - kind.scale), kind.scale
    exponent = number.as_tuple().exponent
    return -limit < number < limit and isinstance(exponent, int) and exponent >= -places


def order_text(value: Decimal | int | datetime | None) -> str | None:
    """Return the text for a value of an ordered column."""
    if isinstance(value, datetime):
        return value.isoformat()
    return None if value is None else str(value)


def _number(name: str, value: Any) -> Any:
    """Return a metric as its column takes it; None for what is no number or has no room.

    The engine's metrics are such already: this is for those from anywhere else.
    """
    if isinstance(value, float):
        value = Decimal(repr(value))
    if not isinstance(value, Decimal):
        return value
    unit = _MONEY if name in _MONEY_COLUMNS else _RATIO
    if not value.is_finite() or value.adjusted() >= _DIGITS:
        return None
    rounded = value.quantize(unit)
    return None if rounded.adjusted() - unit.adjusted() >= _DIGITS else rounded


def _text(value: str) -> str:
    """Return `value` without what PostgreSQL cannot store: NUL and halves of surrogate pairs."""
    if value.isascii() and "\0" not in value:
        # Nearly every text; a run has eighty of them.
        return value
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()


def _json(value: Any) -> Any:
    """Return JSON values without what PostgreSQL cannot store; NaN and infinity become null."""
    match value:
        case str():
            return _text(value)
        case None | int():
            return value
        case float() if not math.isfinite(value):
            return None
        case dict() | Mapping():
            return {_text(str(key)): _json(item) for key, item in value.items()}
        case list() | tuple():
            return [_json(item) for item in value]
    return value
