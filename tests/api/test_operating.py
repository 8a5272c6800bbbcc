"""`/health`, `/ready`, `/metrics`, request ids and logs: a service that is watched."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.database import TestServer, execute
from support.processes import run_process
from support.receiver import Receiver, receiver
from support.service import Api, ServiceProcess, bars, eventually, process


@pytest.fixture(scope="module")
def service_environment(service_environment: dict[str, str]) -> dict[str, str]:
    """The settings of the module's service: a log that a machine reads."""
    return {**service_environment, "NTRADER_LOG_FORMAT": "json"}


@pytest.fixture(scope="module")
def root(service: ServiceProcess) -> str:
    return service.address.removesuffix("/api/v1")


def metrics_of(root: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return each sample by its name and labels, read as Prometheus reads it."""
    answer = httpx.get(f"{root}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def lines_of(service: ServiceProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]


def test_a_live_service_says_so_and_is_ready(root: str) -> None:
    assert httpx.get(f"{root}/health").json() == {"status": "live"}
    ready = httpx.get(f"{root}/ready")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "checks": {"database": True, "migrations": True, "queue": True},
    }


def test_metrics_tell_of_runs_queue_pool_and_requests(api: Api, root: str) -> None:
    metrics_of(root)
    done = api.run(dataset_id=api.dataset_id(bars(200)))
    assert api.client.get(f"/runs/{done}").status_code == 200
    assert api.client.get(f"/runs/{UUID(int=0)}").status_code == 404
    assert httpx.get(f"{root}/no/such/place").status_code == 404

    found = metrics_of(root)

    def value(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    assert value("ntrader_database_up") == 1
    assert value("ntrader_runs", strategy="sma", status="success") >= 1
    assert value("ntrader_run_duration_seconds_count", strategy="sma", status="success") >= 1
    assert value("ntrader_queue_runs", status="queued") == 0
    assert value("ntrader_queue_oldest_seconds") == 0
    assert value("ntrader_queue_consumers") >= 1
    assert value("ntrader_webhook_deliveries_pending") == 0
    assert value("ntrader_database_connections", state="in_use") >= 0
    route = "/api/v1/runs/{run_id}"
    assert value("ntrader_http_requests_total", method="GET", route=route, status="200") == 1
    assert value("ntrader_http_requests_total", method="GET", route=route, status="404") == 1
    assert value("ntrader_http_request_duration_seconds_count", method="GET", route=route) == 2
    labels = {"method": "GET", "route": "unmatched", "status": "404"}
    assert value("ntrader_http_requests_total", **labels) == 1
    # Each run is counted once, however often somebody looks.
    again = metrics_of(root)
    key = ("ntrader_run_duration_seconds_count", (("status", "success"), ("strategy", "sma")))
    assert again[key] == found[key]


def test_what_waits_is_counted_with_its_age(
    postgres: TestServer, tmp_path: Path, service_environment: dict[str, str]
) -> None:
    with (
        postgres.migrated_database() as url,
        process(
            tmp_path, {**service_environment, "DATABASE_URL": url}, "serve", "--port", "0"
        ) as alone,
    ):
        api = Api(alone.address)
        with api.client:
            api.submit()
            found = metrics_of(alone.address.removesuffix("/api/v1"))
    assert found["ntrader_queue_runs", (("status", "queued"),)] == 1
    assert found["ntrader_queue_oldest_seconds", ()] > 0
    assert found["ntrader_queue_consumers", ()] == 0


def test_a_service_without_its_schema_is_live_and_not_ready(
    postgres: TestServer, tmp_path: Path, service_environment: dict[str, str]
) -> None:
    with (
        postgres.migrated_database() as url,
        process(
            tmp_path, {**service_environment, "DATABASE_URL": url}, "serve", "--port", "0"
        ) as service,
    ):
        root = service.address.removesuffix("/api/v1")
        asyncio.run(execute(url, "UPDATE ntrader_alembic_version SET version_num = '0001'"))
        ready = httpx.get(f"{root}/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"] == {"database": True, "migrations": False, "queue": True}
        asyncio.run(execute(url, "DROP SCHEMA ntrader_queue CASCADE"))
        assert httpx.get(f"{root}/ready").json()["checks"]["queue"] is False
        assert httpx.get(f"{root}/health").status_code == 200


def test_a_request_id_is_returned_and_follows_a_run_into_its_worker(
    api: Api, service: ServiceProcess
) -> None:
    given = "desk-42.a"
    answer = api.client.post("/runs", json=api.order(), headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given
    run_id = answer.json()["run_id"]
    api.ended(run_id)

    def noted() -> dict[str, dict[str, Any]]:
        mine = {line["event"]: line for line in lines_of(service) if given in line.values()}
        return mine if {"request", "run_begun", "run_ended"} <= mine.keys() else {}

    lines = eventually(noted)
    assert lines["request"]["route"] == "/api/v1/runs"
    assert lines["request"]["status"] == 202
    assert lines["run_begun"]["run_id"] == lines["run_ended"]["run_id"] == run_id


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "a\tb", "größer"])
def test_a_request_without_a_plain_id_gets_one(root: str, given: str | None) -> None:
    headers = [] if given is None else [(b"X-Request-ID", given.encode())]
    answer = httpx.get(f"{root}/health", headers=headers)
    assert UUID(answer.headers["x-request-id"]).version == 4


def test_a_refusal_has_the_request_id_too(root: str) -> None:
    for path in ("/api/v1/runs?limit=0", "/nowhere"):
        assert (
            httpx.get(root + path, headers={"X-Request-ID": "mine"}).headers["x-request-id"]
            == "mine"
        )
    large = httpx.post(
        f"{root}/api/v1/runs",
        content=b"x" * (2 << 20),
        headers={"X-Request-ID": "mine", "Content-Type": "application/json"},
    )
    assert (large.status_code, large.headers["x-request-id"]) == (413, "mine")


def test_a_run_is_a_part_of_the_trace_of_its_request_in_another_process(
    service_environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    with receiver() as collector:
        environment = {
            **service_environment,
            "DATABASE_URL": database_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }
        with (
            process(tmp_path, environment, "serve", "--port", "0") as service,
            process(tmp_path, environment, "worker") as worker,
        ):
            api = Api(service.address)
            with api.client:
                trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
                headers = {"traceparent": f"00-{trace}-{caller}-01", "X-Request-ID": "desk-7"}
                answer = api.client.post("/runs", json=api.order(), headers=headers)
                run_id = answer.json()["run_id"]
                api.ended(run_id)
                reproduced = api.client.post(f"/runs/{run_id}/reproduce").json()["run_id"]
                api.ended(reproduced)
            assert worker.end() == service.end() == 0
        spans = spans_of(collector)

    (request,) = [each for each in spans if each.name == "POST /api/v1/runs"]
    runs = {attribute(each, "run_id"): each for each in spans if each.name == "run"}
    run = runs[run_id]
    assert request.parent_span_id.hex() == caller
    assert run.trace_id.hex() == request.trace_id.hex() == trace
    assert run.parent_span_id == request.span_id
    assert attribute(run, "request_id") == attribute(request, "request_id") == "desk-7"
    (again,) = [each for each in spans if each.name == f"POST /api/v1/runs/{run_id}/reproduce"]
    assert runs[reproduced].parent_span_id == again.span_id
    assert again.trace_id.hex() != trace


def spans_of(collector: Receiver) -> list[Any]:
    """Return the spans that a collector was sent, read as it reads them."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    return [
        span
        for sent in collector.at("/v1/traces")
        for resource in trace_service_pb2.ExportTraceServiceRequest.FromString(
            gzip.decompress(sent.body)
            if sent.headers.get("content-encoding") == "gzip"
            else sent.body
        ).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def attribute(span: Any, name: str) -> Any:
    """Return an attribute of ours of a span."""
    found = {each.key: each.value.string_value for each in span.attributes}
    return found.get(f"ntrader.{name}")


def test_a_worker_tells_of_its_slots_and_attempts(
    service_environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    environment = {**service_environment, "DATABASE_URL": database_url}
    with (
        process(tmp_path, environment, "serve", "--port", "0") as service,
        process(tmp_path, environment, "worker", "--slots", "2", "--metrics-port", "0") as worker,
    ):
        root = worker.address.removesuffix("/metrics")
        assert root.startswith("http://127.0.0.1:")
        assert metrics_of(root)["ntrader_worker_slots", ()] == 2
        assert metrics_of(root)["ntrader_worker_slots_busy", ()] == 0
        api = Api(service.address)
        with api.client:
            done = api.run(dataset_id=api.dataset_id(bars(200)))
            api.ended(api.client.post(f"/runs/{done}/reproduce").json()["run_id"])
            long = api.upload(bars(400_000, timeframe_minutes=1), timeframe="1m").json()["id"]
            cancelled = api.submit(dataset_id=long, strategy_id=api.strategy_id("rsi"))
            eventually(lambda: metrics_of(root)["ntrader_worker_slots_busy", ()] == 1)
            api.client.post(f"/runs/{cancelled}/cancel")
            assert api.ended(cancelled)["status"] == "cancelled"
        eventually(lambda: metrics_of(root)["ntrader_worker_slots_busy", ()] == 0)
        found = metrics_of(root)
        assert worker.end() == 0

    def value(name: str, **labels: str) -> float:
        return found[f"ntrader_worker_{name}", tuple(sorted(labels.items()))]

    assert value("attempts_total", strategy="sma") == 2
    assert value("runs_total", strategy="sma", status="done") == 2
    assert value("runs_total", strategy="rsi", status="cancelled") == 1
    assert value("run_duration_seconds_count", strategy="sma", status="done") == 2
    assert value("run_duration_seconds_sum", strategy="sma", status="done") > 0


def test_a_port_that_is_taken_is_told(
    service: ServiceProcess, service_environment: dict[str, str], tmp_path: Path
) -> None:
    taken = service.address.removesuffix("/api/v1").rpartition(":")[2]
    refused = run_process("worker", "--metrics-port", taken, cwd=tmp_path, env=service_environment)
    assert refused.exit_code == 2
    assert "--metrics-port" in refused.stderr


def test_the_metrics_of_a_service_with_a_worker_have_both(api: Api, root: str) -> None:
    api.run(dataset_id=api.dataset_id(bars(200)))
    found = metrics_of(root)
    assert found["ntrader_worker_slots", ()] == 1
    assert found["ntrader_worker_attempts_total", (("strategy", "sma"),)] >= 1
