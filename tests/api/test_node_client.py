"""The other half of the platform: a client on Node.js, on its way from data to results."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.homes import embedded_environment, temporary_home
from support.node import DIRECTORY, node_with_modules
from support.processes import run_process
from support.service import PATIENCE_SECONDS, bars, process
from support.tcp_server import start_tcp_server

BARS = 2_000


@pytest.fixture(scope="module")
def node() -> str:
    return node_with_modules()


@pytest.fixture(scope="module", params=["embedded server", "server over TCP"])
def saw(
    request: pytest.FixtureRequest, node: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What the client saw on its way, on both kinds of database."""
    directory = tmp_path_factory.mktemp("node")
    database = embedded_database if request.param == "embedded server" else tcp_database
    with database(directory) as (environment, url):
        # The one is asked for a key, the other is on loopback and has none.
        key = new_key(environment) if request.param == "server over TCP" else ""
        started = process(directory, environment, "serve", "--port", "0", "--with-worker")
        with started as service:
            yield journey(node, directory, address=service.address, key=key, url=url)


def new_key(environment: dict[str, str]) -> str:
    """Return a key that may have an address told, which is for admins."""
    made = run_process("keys", "create", "platform", "--scope", "admin", "--json", env=environment)
    return str(made.json["key"])


@contextmanager
def embedded_database(directory: Path) -> Iterator[tuple[dict[str, str], str]]:
    with temporary_home() as home:
        environment = {**embedded_environment(home), "NTRADER_WEBHOOK_PRIVATE": "true"}
        # Kept: it is there for whoever reads the store while no ntrader runs.
        started = run_process("db", "start", cwd=directory, env=environment)
        assert started.exit_code == 0, started.stderr
        shown = run_process("db", "url", cwd=directory, env=environment)
        try:
            yield environment, shown.stdout.strip()
        finally:
            run_process("db", "stop", cwd=directory, env=environment)


@contextmanager
def tcp_database(directory: Path) -> Iterator[tuple[dict[str, str], str]]:
    server = start_tcp_server(directory)
    try:
        with temporary_home() as home:
            yield (
                {
                    "DATABASE_URL": server.url,
                    "NTRADER_HOME": str(home),
                    "XDG_CONFIG_HOME": str(home),
                    "NTRADER_WEBHOOK_PRIVATE": "true",
                },
                server.url,
            )
    finally:
        server.stop()


def journey(node: str, directory: Path, *, address: str, key: str, url: str) -> dict[str, Any]:
    content = directory / "bars.csv"
    content.write_bytes(bars(BARS, timeframe_minutes=1))
    done = subprocess.run(
        [node, "journey.js", str(content)],
        cwd=DIRECTORY,
        env={
            "NTRADER_API": address,
            "NTRADER_KEY": key,
            "DATABASE_URL": url,
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS * 2,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_client_submits_a_run_of_its_own_data_and_strategy(saw: dict[str, Any]) -> None:
    assert saw["dataset"]["rows"] == BARS
    assert saw["strategy"]["parameters"] == {"fast_period": 3, "slow_period": 9}
    assert saw["accepted"]["status"] == "queued"


def test_a_refusal_names_the_field_that_is_wrong(saw: dict[str, Any]) -> None:
    assert saw["refusal"]["status"] == 422
    assert "initial_capital" in json.dumps(saw["refusal"]["errors"])


def test_the_run_is_followed_by_websocket_to_its_end(saw: dict[str, Any]) -> None:
    assert saw["last"]["status"] == saw["states"][-1] == "done"
    assert set(saw["states"]) <= {"queued", "running", "done"}


def test_the_webhook_is_told_once_with_a_signature_that_holds(saw: dict[str, Any]) -> None:
    assert saw["told"]["type"] == "run.done"
    assert saw["told"]["run"]["run_id"] == saw["accepted"]["run_id"]
    assert saw["refused_deliveries"] == 0
    assert saw["forged_is_genuine"] is False


def test_the_report_is_what_the_list_says(saw: dict[str, Any]) -> None:
    (listed,) = saw["listed"]
    report = saw["report"]
    assert report["run"]["metrics"] == listed["metrics"]
    assert report["equity"]["total"] == BARS
    assert len(report["equity"]["values"]) <= 20
    assert report["trades"]["total"] == listed["metrics"]["total_trades"] > 0


def test_the_runs_of_its_configuration_are_found_by_it(saw: dict[str, Any]) -> None:
    (listed,) = saw["listed"]
    assert listed["strategy_id"] == saw["strategy"]["id"]
    assert listed["configuration"]["name"] == "node-crossover"


def test_events_are_read_to_their_end(saw: dict[str, Any]) -> None:
    told = [event["type"] for event in saw["events"]]
    assert (told[0], told[-1]) == ("started", "finished")
    assert len(told) == len(saw["stored"]["events"]) > 3


def test_the_view_and_the_tables_are_read_by_the_names_of_the_shared_store(
    saw: dict[str, Any],
) -> None:
    stored, metrics = saw["stored"], saw["report"]["run"]["metrics"]
    run = stored["run"]
    assert run["id"] == saw["accepted"]["run_id"]
    assert (run["run_mode"], run["status"]) == ("backtest", "success")
    assert Decimal(run["initial_capital"]) == 10_000
    assert float(run["total_return"]) == pytest.approx(metrics["total_return"], abs=1e-8)
    assert run["total_trades"] == run["winning_trades"] + run["losing_trades"]
    assert run["total_trades"] == metrics["total_trades"]
    assert run["dataset_id"] == stored["dataset"]["id"] == saw["dataset"]["id"]
    assert stored["dataset"]["symbols"] == ["ABC"]
    assert run["strategy_id"] == stored["strategy"]["id"] == saw["strategy"]["id"]
    assert stored["strategy"]["params"] == {"fast_period": 3, "slow_period": 9}
    assert {event["run_id"] for event in stored["events"]} == {run["id"]}
    assert {each["kind"] for each in stored["artifacts"]} >= {"parquet"}
    assert [each["id"] for each in saw["best"]] == [run["id"]]
