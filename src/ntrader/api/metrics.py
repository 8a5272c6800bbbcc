"""Metrics for Prometheus: what this process has answered, and where store and queue stand.

What the database knows is the same for every process of the service: take the maximum over them,
not the sum.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from ntrader.domain.figures import ServiceFigures
    from ntrader.services.watching_over import Figures
    from ntrader.storage.database import Database

_HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
RUN_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600, 14_400)


class HttpMetrics:
    """What this process has answered, by the route's template."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ntrader_http_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "ntrader_http_request_duration_seconds",
            "Time until the answer began.",
            ["method", "route"],
            buckets=_HTTP_SECONDS,
            registry=registry,
        )

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The page of metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.http = HttpMetrics(self.registry)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._reading = asyncio.Lock()
        self._up = self._gauge("ntrader_database_up", "Whether the database answers.")
        self._runs = self._gauge("ntrader_runs", "Saved runs.", "strategy", "status")
        self._queue = self._gauge("ntrader_queue_runs", "Runs that have not ended.", "status")
        self._queue_age = self._gauge(
            "ntrader_queue_oldest_seconds", "How long the oldest queued run has waited."
        )
        self._deliveries = self._gauge(
            "ntrader_webhook_deliveries_pending", "Deliveries that are under way."
        )
        self._deliveries_age = self._gauge(
            "ntrader_webhook_oldest_seconds", "Age of the oldest delivery that is under way."
        )
        self._workers = self._gauge("ntrader_queue_consumers", "Consumers of the queue that live.")
        self._connections = self._gauge(
            "ntrader_database_connections", "Connections of this process's pool.", "state"
        )
        self._run_seconds = Histogram(
            "ntrader_run_duration_seconds",
            "How long runs took that ended since this process began.",
            ["strategy", "status"],
            buckets=RUN_SECONDS,
            registry=self.registry,
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    async def page(self, figures: Figures, database: Database) -> bytes:
        """Return the page as text in Prometheus' format."""
        async with self._reading:
            found = await figures.read()
            self._up.set(found is not None)
            if found is not None:
                self._set(found)
                for run in figures.new(found):
                    self._run_seconds.labels(run.strategy, run.status).observe(run.seconds)
            in_use, idle = database.connections
            self._connections.labels("in_use").set(in_use)
            self._connections.labels("idle").set(idle)
            return generate_latest(self.registry)

    def _set(self, found: ServiceFigures) -> None:
        # A strategy without runs is gone.
        self._runs.clear()
        for labels, count in found.runs.items():
            self._runs.labels(*labels).set(count)
        for status, count in found.queue.items():
            self._queue.labels(status).set(count)
        self._queue_age.set(found.queue_age_seconds)
        self._deliveries.set(found.deliveries)
        self._deliveries_age.set(found.deliveries_age_seconds)
        self._workers.set(found.workers)
