"""Workers that are stopped, killed, and killed again: every run ends once."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.service import Api, ServiceProcess, bars, eventually, process

OWN_STRATEGIES = '''
import os, signal, time
from ntrader.engine.strategies import LongFlatStrategy, StrategyParameters

class KillsItsWorker(LongFlatStrategy[StrategyParameters]):
    """Ends the process that its own process belongs to."""

    def on_bar(self, bar):
        os.kill(os.getppid(), signal.SIGKILL)
        # Until the kernel has ended the worker, and us with it: a run this short might be saved.
        time.sleep(600)

class KillsItself(LongFlatStrategy[StrategyParameters]):
    """Ends its own process."""

    def on_bar(self, bar):
        os.kill(os.getpid(), signal.SIGKILL)

class Raises(LongFlatStrategy[StrategyParameters]):
    """Is wrong."""

    def on_bar(self, bar):
        raise RuntimeError("no bar is good enough")
'''
LONG = 60_000


@pytest.fixture(scope="module")
def environment(
    service_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The settings, with a package of strategies installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "deadly.py").write_text(OWN_STRATEGIES)
    metadata = site / "deadly-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[ntrader.strategies]\n"
        "kills-its-worker = deadly:KillsItsWorker\n"
        "kills-itself = deadly:KillsItself\n"
        "raises = deadly:Raises\n"
    )
    return {**service_environment, "PYTHONPATH": str(site)}


@pytest.fixture(scope="module")
def front(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service without a worker."""
    directory = tmp_path_factory.mktemp("front")
    with (
        process(directory, environment, "serve", "--port", "0") as started,
        Api(started.address) as client,
    ):
        yield client


def worker(directory: Path, environment: dict[str, str], **options: Any) -> Any:
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return process(directory, environment, "worker", *arguments)


def rows(environment: dict[str, str], run_id: str) -> list[str]:
    """Return how the run is saved, once for each row that it has."""
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        found = connection.execute(
            "SELECT execution_status FROM backtest_runs WHERE run_id = %s", [run_id]
        )
        return [row[0] for row in found]


def long_run(front: Api, **changes: Any) -> str:
    dataset = front.upload(bars(LONG, timeframe_minutes=1), symbol="LONG", timeframe="1m").json()
    return front.submit(dataset_id=dataset["id"], **changes)


def is_under_way(front: Api, run_id: str) -> bool:
    return bool((front.state(run_id)["progress"] or {}).get("bars_done"))


def test_a_run_waits_until_there_is_a_worker(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id = front.submit()
    assert front.state(run_id)["status"] == "queued"
    with worker(tmp_path, environment):
        assert front.ended(run_id)["status"] == "done"


def test_a_run_of_a_killed_worker_is_done_by_the_next_and_saved_once(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id = long_run(front)
    with worker(tmp_path, environment) as first:
        eventually(lambda: is_under_way(front, run_id))
        children = children_of(first)
        first.kill()
    eventually(lambda: not any(map(is_alive, children)))
    with worker(tmp_path, environment):
        state = front.ended(run_id)

    assert (state["status"], state["attempts"]) == ("done", 2)
    assert rows(environment, run_id) == ["success"]


def test_a_worker_that_is_stopped_finishes_what_it_has(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id, waiting = long_run(front), front.submit()
    with worker(tmp_path, environment, grace=600) as stopped:
        eventually(lambda: is_under_way(front, run_id))
        assert stopped.end() == 0
    assert (front.state(run_id)["status"], front.state(waiting)["status"]) == ("done", "queued")
    front.client.post(f"/runs/{waiting}/cancel")


@pytest.mark.slow
def test_a_worker_whose_grace_is_over_gives_back_what_it_has(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id = long_run(front)
    with worker(tmp_path, environment, grace=0) as stopped:
        eventually(lambda: is_under_way(front, run_id))
        assert stopped.end() == 0
    state = front.state(run_id)
    assert (state["status"], state["attempts"]) == ("queued", 0)
    with worker(tmp_path, environment):
        state = front.ended(run_id)
    # At once: it was given back, and needed no rescue.
    assert (state["status"], state["attempts"]) == ("done", 1)
    assert rows(environment, run_id) == ["success"]


def test_a_strategy_that_raises_is_a_failed_run_of_one_attempt(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id = front.submit(strategy_id=front.strategy_id("raises"))
    with worker(tmp_path, environment):
        state = front.ended(run_id)
    assert (state["status"], state["attempts"]) == ("failed", 1)
    assert "no bar is good enough" in state["error"]
    assert "RuntimeError" in front.client.get(f"/runs/{run_id}").json()["error"]["traceback"]


@pytest.mark.slow
def test_a_run_that_ends_its_process_three_times_is_a_failed_run(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id = front.submit(strategy_id=front.strategy_id("kills-itself"))
    with worker(tmp_path, environment):
        state = front.ended(run_id)
        # The worker has survived it.
        assert front.ended(front.submit())["status"] == "done"
    assert state["status"] == "failed"
    assert "3 times" in state["error"]
    assert rows(environment, run_id) == ["failed"]
    assert "3 times" in front.client.get(f"/runs/{run_id}").json()["error"]["message"]


@pytest.mark.slow
def test_a_run_that_kills_its_worker_three_times_is_a_failed_run(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id = front.submit(strategy_id=front.strategy_id("kills-its-worker"))
    for _ in range(3):
        with worker(tmp_path, environment) as killed:
            assert killed.wait() == -signal.SIGKILL
    with worker(tmp_path, environment):
        state = front.ended(run_id)
    assert state["status"] == "failed"
    assert rows(environment, run_id) == ["failed"]


def test_runs_whose_jobs_are_lost_are_queued_again(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id = front.submit()
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        connection.execute("SET search_path = ntrader_queue")
        connection.execute("DELETE FROM procrastinate_jobs")
    with worker(tmp_path, environment):
        assert front.ended(run_id)["status"] == "done"


def test_two_workers_share_the_queue(
    front: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    dataset = front.dataset_id()
    made = [front.submit(dataset_id=dataset) for _ in range(12)]
    with worker(tmp_path, environment), worker(tmp_path, environment):
        states = [front.ended(run_id) for run_id in made]
    assert {(state["status"], state["attempts"]) for state in states} == {("done", 1)}
    assert [rows(environment, run_id) for run_id in made] == [["success"]] * 12


def children_of(parent: ServiceProcess) -> list[int]:
    found = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert found
    return [int(pid) for pid in found]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except (ProcessLookupError, FileNotFoundError):
        return False
