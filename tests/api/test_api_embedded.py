"""The service on the embedded server, also when that is killed."""

import os
import signal
from pathlib import Path

import pytest

from support.homes import embedded_environment, temporary_home
from support.processes import run_process
from support.service import Api, bars, eventually, process


def server_pid(environment: dict[str, str]) -> int | None:
    done = run_process("db", "status", "--json", env=environment)
    pid: int | None = done.json["embedded"]["pid"]
    return pid


@pytest.mark.slow
def test_runs_survive_the_death_of_their_database(tmp_path: Path) -> None:
    with temporary_home() as home:
        environment = embedded_environment(home)
        arguments = ("serve", "--port", "0", "--with-worker", "--slots", "2")
        with process(tmp_path, environment, *arguments) as service, Api(service.address) as api:
            dataset = api.upload(
                bars(20_000, timeframe_minutes=1), symbol="LONG", timeframe="1m"
            ).json()["id"]
            made = [
                api.submit(dataset_id=dataset, parameters={"fast_period": fast})
                for fast in range(2, 12)
            ]
            for done in (1, 3):
                eventually(
                    lambda done=done: (  # type: ignore[misc]
                        [api.state(run_id)["status"] for run_id in made].count("done") >= done
                    )
                )
                pid = eventually(lambda: server_pid(environment))
                os.kill(pid or 0, signal.SIGKILL)

            states = [api.ended(run_id) for run_id in made]

            assert {state["status"] for state in states} == {"done"}
            listed = api.client.get("/runs").json()["runs"]
            assert sorted(run["run_id"] for run in listed) == sorted(made)
            assert service.end() == 0
