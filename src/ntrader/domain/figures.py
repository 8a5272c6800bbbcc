"""Figures of a service at work: what whoever watches over it wants to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that was saved lately. `position` grows with every run."""

    position: int
    strategy: str
    status: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceFigures:
    """Where the store and the queue stand.

    `runs` counts saved runs by strategy and status, `queue` accepted ones that have not ended by
    status, `deliveries` those of webhooks that are under way. Ages are of the oldest that waits, in
    seconds, 0 where none does. `workers` are the queue's consumers that live.
    """

    runs: Mapping[tuple[str, str], int]
    queue: Mapping[str, int]
    queue_age_seconds: float
    deliveries: int
    deliveries_age_seconds: float
    workers: int
    ended: Sequence[EndedRun]
