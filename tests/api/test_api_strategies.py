"""`/strategies`: what can be run, and named configurations of it."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.processes import run_process
from support.service import Api


def configuration(**changes: Any) -> dict[str, Any]:
    values = {
        "name": "fast",
        "version": "1.0.0",
        "implementation": "sma",
        "parameters": {"fast_period": 3, "slow_period": 7},
    }
    return {**values, **changes}


def test_a_registered_strategy_says_what_a_form_needs(api: Api) -> None:
    strategy = api.client.get(f"/strategies/{api.strategy_id('sma')}").json()

    specs = {spec["name"]: spec for spec in strategy["parameter_spec"]}
    assert specs["fast_period"]["type"] == "integer"
    assert specs["fast_period"]["minimum"] == 1
    assert specs["fast_period"]["default"] == strategy["parameters"]["fast_period"]


def test_strategies_are_listed_a_page_at_a_time_newest_first(api: Api) -> None:
    made = [
        api.client.post("/strategies", json=configuration(name="paged", version=f"1.{minor}.0"))
        for minor in range(3)
    ]
    ids = [each.json()["id"] for each in made]

    first = api.client.get("/strategies", params={"name": "paged", "limit": 2}).json()
    query = {"name": "paged", "limit": 2, "after": first["next"]}
    second = api.client.get("/strategies", params=query).json()
    every = api.client.get("/strategies", params={"limit": 1_000}).json()["strategies"]

    assert [each["id"] for each in first["strategies"]] == ids[:0:-1]
    assert ([each["id"] for each in second["strategies"]], second["next"]) == (ids[:1], None)
    assert {"sma", "rsi", "momentum", "paged"} <= {each["name"] for each in every}


def test_a_configuration_is_run_under_its_own_id(api: Api) -> None:
    added = api.client.post("/strategies", json=configuration())
    assert added.status_code == 201
    strategy_id = added.json()["id"]
    assert api.client.get(added.headers["location"].removeprefix("/api/v1")).json() == added.json()

    run_id = api.run(strategy_id=strategy_id)

    run = api.client.get(f"/runs/{run_id}").json()
    assert run["strategy"]["name"] == "sma"
    assert run["strategy"]["parameters"]["fast_period"] == 3
    assert api.state(run_id)["strategy_id"] == strategy_id
    # The configuration stays as it is, although a run of it was saved.
    assert api.client.get(f"/strategies/{strategy_id}").json() == added.json()


def test_runs_of_a_configuration_are_told_and_found_by_it(
    api: Api, service_environment: dict[str, str], tmp_path: Path
) -> None:
    dataset = api.dataset_id()
    old, new = (
        api.client.post("/strategies", json=configuration(name="found", version=version)).json()
        for version in ("1.0.0", "2.0.0-rc.1")
    )
    plain = api.run(dataset_id=dataset, parameters=configuration()["parameters"])
    first, second = (api.run(dataset_id=dataset, strategy_id=each["id"]) for each in (old, new))
    again = api.client.post(f"/runs/{first}/reproduce").json()["run_id"]
    assert api.ended(again)["status"] == "done"

    def listed(**query: str) -> list[str]:
        answer = api.client.get("/runs", params=query)
        assert answer.status_code == 200, answer.text
        return [run["run_id"] for run in answer.json()["runs"]]

    # What runs a configuration again is a run of it too.
    assert listed(strategy_id=old["id"]) == [again, first]
    assert listed(strategy_id=new["id"], sort="total_return") == [second]
    assert plain in listed(strategy_id=api.strategy_id("sma"))
    assert listed(strategy_id=str(uuid4())) == []
    page = api.client.get("/runs", params={"strategy_id": old["id"], "limit": 1}).json()
    assert listed(strategy_id=old["id"], after=page["next"]) == [first]
    run = api.client.get(f"/runs/{second}").json()
    assert run["strategy_id"] == new["id"]
    assert run["configuration"] == {"id": new["id"], "name": "found", "version": "2.0.0-rc.1"}
    run = api.client.get(f"/runs/{plain}").json()
    assert (run["strategy_id"], run["configuration"]) == (api.strategy_id("sma"), None)

    command = run_process(
        "history", "--strategy-id", new["id"], "--json", cwd=tmp_path, env=service_environment
    )
    (found,) = command.json["runs"]
    assert (found["run_id"], found["configuration"]["name"]) == (second, "found")
    shown = run_process("show", second, cwd=tmp_path, env=service_environment).stdout
    assert "found 2.0.0-rc.1" in shown


def test_name_and_version_are_taken_once(api: Api) -> None:
    api.client.post("/strategies", json=configuration(name="taken"))

    again = api.client.post("/strategies", json=configuration(name="taken"))
    newer = api.client.post("/strategies", json=configuration(name="taken", version="1.1.0"))

    assert (again.status_code, newer.status_code) == (409, 201)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"version": "1.0"}, "#/version"),
        ({"name": "sma"}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"name": "nul\0"}, "#"),
        ({"implementation": "no-such"}, "#/implementation"),
        ({"implementation": "/etc/passwd.py:Strategy"}, "#/implementation"),
        ({"implementation": "ntrader.engine.strategies.sma:SmaCrossover"}, "#/implementation"),
        ({"parameters": {"fast_period": 0}}, "#/parameters/fast_period"),
        ({"parameters": {"no_such": 1}}, "#/parameters/no_such"),
        ({"path": "x.py"}, "#/path"),
    ],
)
def test_a_field_that_is_wrong_is_named(api: Api, changes: dict[str, Any], pointer: str) -> None:
    refused = api.client.post("/strategies", json=configuration(**changes))

    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
