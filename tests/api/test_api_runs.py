"""`/runs`: from a submission to what came out."""

import asyncio
import hashlib
from typing import Any
from uuid import UUID, uuid4

import pytest

from support.database import execute
from support.processes import run_process
from support.service import Api, bars


@pytest.fixture(scope="module")
def run_id(api: Api) -> str:
    """A run that is done."""
    return api.run(dataset_id=api.dataset_id(bars(600)), tags=["kept"], note="A note.")


def test_a_submission_is_accepted_with_its_id_and_done(api: Api) -> None:
    accepted = api.client.post("/runs", json=api.order(parameters={"fast_period": 4}))

    state = accepted.json()
    assert accepted.status_code == 202
    assert accepted.headers["location"] == f"/api/v1/runs/{state['run_id']}"
    assert state["status"] == "queued"
    assert api.ended(state["run_id"])["status"] == "done"
    run = api.client.get(f"/runs/{state['run_id']}").json()
    assert (run["run_id"], run["status"]) == (state["run_id"], "success")
    assert run["strategy"]["parameters"]["fast_period"] == 4
    assert run["initial_capital"] == 10_000


def test_a_run_says_what_was_said_of_it(api: Api, run_id: str) -> None:
    run = api.client.get(f"/runs/{run_id}").json()
    assert (run["tags"], run["note"], run["mode"]) == (["kept"], "A note.", "backtest")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"dataset_id": str(uuid4())}, "#/dataset_id"),
        ({"strategy_id": str(uuid4())}, "#/strategy_id"),
        ({"strategy_id": "sma"}, "#/strategy_id"),
        ({"initial_capital": 0}, "#/initial_capital"),
        ({"initial_capital": "NaN"}, "#/initial_capital"),
        ({"parameters": {"fast_period": "ten"}}, "#/parameters/fast_period"),
        ({"parameters": {"no_such": 1}}, "#/parameters/no_such"),
        ({"start": "2050-01-01"}, "#/start"),
        ({"start": "2001-01-01", "end": "2000-01-01"}, "#"),
        ({"fee": 1}, "#/fee"),
        ({"fill": "never"}, "#/fill"),
        ({"tags": ["two words"]}, "#/tags"),
        ({"strategy": "/tmp/evil.py:Strategy"}, "#/strategy"),
        ({"strategy_path": "os:system"}, "#/strategy_path"),
    ],
)
def test_a_field_that_is_wrong_is_named(api: Api, changes: dict[str, Any], pointer: str) -> None:
    refused = api.client.post("/runs", json=api.order(**changes))

    assert refused.status_code == 422, refused.text
    pointers = {error["pointer"] for error in refused.json()["errors"]}
    assert any(each.startswith(pointer) for each in pointers), pointers


def test_a_strategy_from_a_file_is_not_run(api: Api, service_environment: dict[str, str]) -> None:
    strategy_id = str(uuid4())
    asyncio.run(
        execute(
            service_environment["DATABASE_URL"],
            "INSERT INTO strategies (id, name, version, implementation, source_hash)"
            f" VALUES ('{strategy_id}', 'own', '1.0.0', '/tmp/own.py:Own', repeat('0', 64))",
        )
    )
    refused = api.client.post("/runs", json=api.order(strategy_id=strategy_id))
    assert refused.status_code == 422
    assert "not registered" in refused.json()["detail"]


def test_lists_take_the_filters_and_the_cursor_of_history(api: Api) -> None:
    dataset = api.dataset_id(bars(100))
    made = [
        api.run(dataset_id=dataset, parameters={"fast_period": fast, "slow_period": 30})
        for fast in (11, 12, 13)
    ]

    def listed(**query: Any) -> list[str]:
        response = api.client.get("/runs", params=query)
        assert response.status_code == 200, response.text
        return [run["run_id"] for run in response.json()["runs"]]

    assert listed(param="fast_period=12") == [made[1]]
    assert listed(where="parameters.fast_period > 11 and parameters.slow_period = 30") == [
        made[2],
        made[1],
    ]
    assert listed(strategy="rsi") == []
    assert set(listed(strategy="SMA-Crossover", limit=1_000)) >= set(made)
    first = api.client.get("/runs", params={"param": "slow_period=30", "limit": 2}).json()
    assert [run["run_id"] for run in first["runs"]] == [made[2], made[1]]
    assert listed(param="slow_period=30", limit=2, after=first["next"]) == [made[0]]
    by_return = [
        run["metrics"]["total_return"]
        for run in api.client.get("/runs?sort=total_return:asc").json()["runs"]
    ]
    assert by_return == sorted(by_return)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 100_000}, "limit"),
        ({"sort": "beauty"}, "sort"),
        ({"after": "nonsense"}, "after"),
        ({"where": "sharpe_ratio >"}, "where"),
        ({"param": "fast_period"}, "param"),
        ({"param": "fast_period=" + "9" * 400}, "param"),
        ({"status": "running"}, "status"),
        ({"timeframe": "1y"}, "timeframe"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2020-01-02", "until": "2020-01-01"}, "until"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(
    api: Api, query: dict[str, Any], parameter: str
) -> None:
    refused = api.client.get("/runs", params=query)
    assert refused.status_code == 422
    assert [error["parameter"] for error in refused.json()["errors"]] == [parameter]


def test_a_report_has_metrics_curve_and_trades(api: Api, run_id: str) -> None:
    report = api.client.get(f"/runs/{run_id}/report").json()

    assert report["run"] == api.client.get(f"/runs/{run_id}").json()
    assert report["equity"]["total"] == len(report["equity"]["values"]) == 600
    assert report["trades"]["total"] == report["run"]["metrics"]["total_trades"] > 3
    assert report["equity"]["values"][-1] == pytest.approx(
        report["run"]["metrics"]["final_balance"]
    )


def test_a_downsampled_curve_keeps_its_extremes(api: Api, run_id: str) -> None:
    whole = api.client.get(f"/runs/{run_id}/report").json()["equity"]
    shown = api.client.get(f"/runs/{run_id}/report?points=20&trades=2").json()

    curve = shown["equity"]
    assert len(curve["values"]) == len(curve["times"]) <= 20
    assert (min(curve["values"]), max(curve["values"])) == (
        min(whole["values"]),
        max(whole["values"]),
    )
    pairs = set(zip(whole["times"], whole["values"], strict=True))
    assert set(zip(curve["times"], curve["values"], strict=True)) <= pairs
    assert (len(shown["trades"]["items"]), shown["trades"]["next"]) == (2, 2)
    rest = api.client.get(f"/runs/{run_id}/report?trades_after=2").json()["trades"]
    assert len(rest["items"]) == rest["total"] - 2


def test_events_tell_the_life_of_a_run(api: Api, run_id: str) -> None:
    events = api.client.get(f"/runs/{run_id}/events").json()["events"]
    assert (events[0]["type"], events[-1]["type"]) == ("started", "finished")


def test_events_are_read_a_page_at_a_time(api: Api, run_id: str) -> None:
    whole = api.client.get(f"/runs/{run_id}/events").json()
    assert whole["next"] is None
    assert len(whole["events"]) > 5
    # The events of other runs lie between and are none of this one.
    other = api.run(dataset_id=api.dataset_id(bars(600)), parameters={"fast_period": 7})

    read: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = api.client.get(f"/runs/{run_id}/events", params={"limit": 3, "after": after}).json()
        assert 1 <= len(page["events"]) <= 3
        read += page["events"]
        after = page["next"]

    assert read == whole["events"]
    assert api.client.get(f"/runs/{other}/events").json()["events"] != read
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"after": -1}, {"after": 2**63}):
        assert api.client.get(f"/runs/{run_id}/events", params=wrong).status_code == 422


def test_artifacts_are_downloaded_as_they_were_saved(api: Api, run_id: str) -> None:
    listed = api.client.get(f"/runs/{run_id}/artifacts").json()["artifacts"]
    assert {each["filename"] for each in listed} == {
        "equity.parquet",
        "fills.parquet",
        "trades.parquet",
    }
    for artifact in listed:
        file = api.client.get(f"/runs/{run_id}/artifacts/{artifact['id']}")
        assert hashlib.sha256(file.content).hexdigest() == artifact["sha256"]
        assert artifact["filename"] in file.headers["content-disposition"]
    assert api.client.get(f"/runs/{run_id}/artifacts/{uuid4()}").status_code == 404


def test_what_a_client_has_is_not_sent_again(api: Api, run_id: str) -> None:
    artifact = api.client.get(f"/runs/{run_id}/artifacts").json()["artifacts"][0]["id"]
    for address in (
        f"/runs/{run_id}",
        f"/runs/{run_id}/report",
        f"/runs/{run_id}/events",
        f"/runs/{run_id}/artifacts/{artifact}",
        "/strategies",
        "/datasets",
    ):
        first = api.client.get(address)
        again = api.client.get(address, headers={"If-None-Match": first.headers["etag"]})
        other = api.client.get(address, headers={"If-None-Match": '"other"'})
        assert (again.status_code, again.content) == (304, b"")
        assert other.content == first.content


def test_a_reproduction_is_a_run_of_its_own_with_the_same_answer(api: Api, run_id: str) -> None:
    accepted = api.client.post(f"/runs/{run_id}/reproduce")

    new_id = accepted.json()["run_id"]
    assert accepted.status_code == 202
    assert api.ended(new_id)["status"] == "done"
    original, again = (api.client.get(f"/runs/{each}").json() for each in (run_id, new_id))
    assert again["reproduced_from"] == run_id
    assert again["result_digest"] == original["result_digest"]


def test_runs_are_compared(api: Api, run_id: str) -> None:
    other = api.run(dataset_id=api.dataset_id(bars(600)), parameters={"fast_period": 5})
    compared = api.client.get("/runs/compare", params={"run": [run_id, other]}).json()

    assert [run["run_id"] for run in compared["runs"]] == [run_id, other]
    assert set(compared["metrics"]["total_return"]["values"]) == {run_id, other}
    assert api.client.get("/runs/compare", params={"run": [run_id]}).status_code == 422
    eleven = [str(uuid4()) for _ in range(11)]
    assert api.client.get("/runs/compare", params={"run": eleven}).status_code == 422


def test_a_run_is_deleted_with_all_that_belongs_to_it(api: Api) -> None:
    run_id = api.run()
    assert api.client.delete(f"/runs/{run_id}").status_code == 204
    for address in ("", "/state", "/report", "/events", "/artifacts"):
        assert api.client.get(f"/runs/{run_id}{address}").status_code == 404
    assert api.client.delete(f"/runs/{run_id}").status_code == 404


def test_a_run_that_cannot_begin_fails_and_says_why(api: Api) -> None:
    lines = bars(200).splitlines(keepends=True)
    with_a_gap = api.dataset_id(b"".join([*lines[:50], *lines[150:]]))
    run_id = api.submit(dataset_id=with_a_gap, start="2000-03-15", end="2000-03-20")

    state = api.ended(run_id)

    assert state["status"] == "failed"
    assert "no bars in that period" in state["error"]
    assert api.client.get(f"/runs/{run_id}").json() == state
    no_result = api.client.get(f"/runs/{run_id}/report")
    assert (no_result.status_code, no_result.json()["hint"]) == (409, state["error"])
    assert api.client.delete(f"/runs/{run_id}").status_code == 204


def recorded(api: Api, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "mode": "paper",
        "dataset_id": api.dataset_id(),
        "strategy_id": api.strategy_id(),
        "status": "success",
        "start": "2024-01-01T00:00:00Z",
        "end": "2024-06-01T00:00:00Z",
        "initial_capital": 5_000,
        "metrics": {
            "total_trades": 3,
            "winning_trades": 2,
            "losing_trades": 1,
            "total_return": 0.1,
            "sharpe_ratio": None,
        },
    }
    return {**values, **changes}


def test_a_run_that_was_made_elsewhere_is_recorded(api: Api) -> None:
    answer = api.client.post("/runs/recorded", json=recorded(api, tags=["desk"]))

    run = answer.json()
    assert answer.status_code == 201, answer.text
    assert (run["mode"], run["status"], run["tags"]) == ("paper", "success", ["desk"])
    assert run["metrics"]["total_return"] == 0.1
    assert run["metrics"]["sharpe_ratio"] is None
    assert "sharpe_ratio" in run["undefined_metrics"]
    assert api.client.get(f"/runs/{run['run_id']}").json() == run
    listed = api.client.get("/runs", params={"where": "mode = paper"}).json()["runs"]
    assert run["run_id"] in {each["run_id"] for each in listed}
    refused = api.client.post(f"/runs/{run['run_id']}/reproduce")
    assert refused.status_code == 422


def test_a_failed_run_is_recorded_with_its_reason(api: Api) -> None:
    failed = recorded(api, mode="live", status="failed", error_message="Margin call.")
    del failed["metrics"]
    run = api.client.post("/runs/recorded", json=failed).json()
    assert (run["mode"], run["error"]["message"]) == ("live", "Margin call.")


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "backtest"},
        {"metrics": None},
        {"metrics": {"total_trades": 3, "winning_trades": 3, "losing_trades": 1}},
        {"metrics": {"total_trades": 0, "winning_trades": 0, "losing_trades": 0, "win_rate": 2}},
        {"error_message": "But it succeeded."},
        {"end": "2023-01-01T00:00:00Z"},
        {"start": "0001-01-01T00:00:00+14:00"},
        {"executed_at": "9999-12-31T23:59:59Z"},
        {"initial_capital": -1},
    ],
)
def test_a_recording_that_contradicts_itself_is_refused(api: Api, changes: dict[str, Any]) -> None:
    assert api.client.post("/runs/recorded", json=recorded(api, **changes)).status_code == 422


def test_every_run_has_one_id(api: Api) -> None:
    assert UUID(api.submit()).version == 4


def test_what_is_written_by_a_command_is_read_over_http(
    api: Api, service_environment: dict[str, str]
) -> None:
    done = run_process("run", "--strategy", "rsi", "--json", env=service_environment)
    run_id = done.json["run_id"]
    assert api.client.get(f"/runs/{run_id}").json()["strategy"]["name"] == "rsi"
    assert api.state(run_id)["status"] == "done"
    assert api.client.get(f"/runs/{run_id}/report").json()["equity"]["total"] > 3_000


def test_a_run_that_a_command_deletes_is_gone(
    api: Api, service_environment: dict[str, str]
) -> None:
    run_id = api.run()
    assert run_process("delete", run_id, "--yes", env=service_environment).exit_code == 0
    assert api.client.get(f"/runs/{run_id}").status_code == 404
    assert api.client.get(f"/runs/{run_id}/state").status_code == 404
