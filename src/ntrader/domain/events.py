"""Events: what happened in a run's life."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """The kinds of event that ntrader records."""

    STARTED = "started"
    TRADE_CLOSED = "trade_closed"
    WARNING = "warning"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened at `timestamp` (UTC): market time for trades, else the wall clock."""

    type: EventType
    timestamp: datetime
    payload: dict[str, Any]
