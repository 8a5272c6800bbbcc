"""`/strategies`: what can be run, and named configurations of it."""

from typing import Any

import pytest

from support.service import Api

pytestmark = pytest.mark.slow


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
