"""Metrics of a worker for Prometheus: what its slots do, which no database knows.

A worker answers no API. With `--metrics-port` it answers `/metrics` alone, to whoever reaches the
port: there is no key in between, as there is none on a worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from ntrader.api.metrics import RUN_SECONDS
from ntrader.errors import UsageError
from ntrader.services.jobs_attempts import Attempt


class WorkerMetrics:
    """Watches a worker's attempts, and counts them in a registry."""

    def __init__(self, registry: CollectorRegistry, *, slots: int) -> None:
        self._slots = Gauge(
            "ntrader_worker_slots", "How many runs may go on at the same time.", registry=registry
        )
        self._slots.set(slots)
        self._busy = Gauge("ntrader_worker_slots_busy", "How many runs go on.", registry=registry)
        self._begun = Counter(
            "ntrader_worker_attempts",
            "Attempts at runs that were begun.",
            ["strategy"],
            registry=registry,
        )
        self._ended = Counter(
            "ntrader_worker_runs",
            "Attempts that have ended: done, failed, cancelled, given_back or lost.",
            ["strategy", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "ntrader_worker_run_duration_seconds",
            "How long attempts took, from the slot to the saved result.",
            ["strategy", "status"],
            buckets=RUN_SECONDS,
            registry=registry,
        )

    @contextmanager
    def attempt(self, strategy: str) -> Iterator[Attempt]:
        """Count an attempt, and how it ends."""
        attempt = Attempt()
        began = time.monotonic()
        self._begun.labels(strategy).inc()
        self._busy.inc()
        try:
            yield attempt
        finally:
            self._busy.dec()
            labels = (strategy, attempt.outcome.value)
            self._ended.labels(*labels).inc()
            self._seconds.labels(*labels).observe(time.monotonic() - began)


@contextmanager
def answered(host: str, port: int, *, slots: int) -> Iterator[tuple[WorkerMetrics, str]]:
    """Answer `/metrics` on a port meanwhile; give the metrics, and the address that it is.

    Raises:
        UsageError: the port is in use, or there is no such address here.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    metrics = WorkerMetrics(registry, slots=slots)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise UsageError(
            f"The worker's metrics cannot be answered on {host}:{port} ({error.strerror}).",
            hint="Is the port in use? Choose another with --metrics-port.",
        ) from error
    try:
        named = f"[{host}]" if ":" in host else host
        yield metrics, f"http://{named}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
