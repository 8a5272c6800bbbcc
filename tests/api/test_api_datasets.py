"""`/datasets`: uploads are taken whole or refused whole, and found again."""

import base64
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.service import Api, bars


def cursor(instant: str) -> str:
    """Return what a client may make of a cursor."""
    return base64.urlsafe_b64encode(f"{instant} {uuid4()}".encode()).decode()


def test_an_upload_is_a_dataset_that_is_listed_and_found(api: Api) -> None:
    uploaded = api.upload(bars(50), filename="abc.csv")

    document = uploaded.json()
    assert uploaded.status_code == 201
    assert (document["rows"], document["source"], document["new"]) == (50, "abc.csv", True)
    assert uploaded.headers["location"] == f"/api/v1/datasets/{document['id']}"
    found = api.client.get(f"/datasets/{document['id']}").json()
    assert found == {key: document[key] for key in found}
    assert found in api.client.get("/datasets").json()["datasets"]


def test_datasets_are_listed_a_page_at_a_time_newest_first(api: Api) -> None:
    made = [api.upload(bars(100 + index), symbol="PAGED").json()["id"] for index in range(5)]

    pages, after = [], None
    while True:
        query: dict[str, Any] = {"symbol": "PAGED", "limit": 2}
        query |= {} if after is None else {"after": after}
        page = api.client.get("/datasets", params=query).json()
        pages.append([each["id"] for each in page["datasets"]])
        after = page["next"]
        if after is None:
            break

    assert pages == [made[:2:-1], made[2:0:-1], made[:1]]


def test_datasets_are_found_by_what_they_are_of(api: Api) -> None:
    here = api.upload(bars(40), symbol="MARK", venue="XPAR", timeframe="1d", name="marked").json()
    other = {"venue": "XAMS", "kind": "crypto", "symbol": "MARK/USDT"}
    there = api.upload(bars(40), **{**other, "timeframe": "1d", "name": "marked"}).json()

    def found(**query: str) -> set[str]:
        answer = api.client.get("/datasets", params={"name": "marked", **query})
        assert answer.status_code == 200, answer.text
        return {each["id"] for each in answer.json()["datasets"]}

    assert found() == {here["id"], there["id"]}
    assert found(symbol="MARK") == found(venue="XPAR") == found(kind="equity") == {here["id"]}
    assert found(kind="crypto", venue="XAMS", timeframe="1d") == {there["id"]}
    assert found(timeframe="1h") == found(kind="fx") == found(symbol="MARK", venue="XAMS") == set()


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"after": "nonsense"}, "after"),
        ({"after": cursor("2000-01-01T00:00:00")}, "after"),
        ({"after": cursor("0001-01-01T00:00:00+14:00")}, "after"),
        ({"timeframe": "1y"}, "timeframe"),
        ({"kind": "stock"}, "kind"),
    ],
)
def test_a_list_names_the_parameter_that_is_wrong(
    api: Api, query: dict[str, Any], parameter: str
) -> None:
    refused = api.client.get("/datasets", params=query)
    assert refused.status_code == 422
    assert [error["parameter"] for error in refused.json()["errors"]] == [parameter]


def test_the_same_bars_again_are_the_same_dataset(api: Api) -> None:
    first = api.upload(bars(51)).json()
    again = api.upload(bars(51))
    assert (again.status_code, again.json()["id"], again.json()["new"]) == (200, first["id"], False)


def test_a_bad_line_refuses_the_file_and_names_the_line(api: Api) -> None:
    before = api.client.get("/datasets").json()
    refused = api.upload(bars(20).replace(b",1000000\n", b",many\n", 3), filename="a/b c.csv")

    problem = refused.json()
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "urn:ntrader:problem:invalid_data"
    assert "a_b_c.csv is not clean market data. Line 2: volume" in problem["detail"]
    assert api.client.get("/datasets").json() == before


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [({"kind": "stock"}, "kind"), ({"symbol": ""}, "symbol"), ({"price_precision": 99}, None)],
)
def test_a_wrong_description_is_refused_by_name(
    api: Api, changes: dict[str, Any], parameter: str | None
) -> None:
    refused = api.upload(bars(), **changes)
    assert refused.status_code == 422
    named = [error["parameter"] for error in refused.json()["errors"]]
    assert named == [parameter or next(iter(changes))]


def test_an_unknown_timeframe_is_refused(api: Api) -> None:
    refused = api.upload(bars(), timeframe="1y")
    assert refused.status_code == 422
    assert [error["parameter"] for error in refused.json()["errors"]] == ["timeframe"]


def test_nothing_of_an_upload_stays_behind(api: Api, service_environment: dict[str, str]) -> None:
    api.upload(bars(52))
    api.upload(b"no bars at all")
    uploads = Path(service_environment["NTRADER_HOME"]) / "uploads"
    assert list(uploads.iterdir()) == []


def test_an_empty_body_is_refused(api: Api) -> None:
    assert api.upload(b"").status_code == 422


def test_another_kind_of_body_is_not_taken(api: Api) -> None:
    refused = api.client.post(
        "/datasets?symbol=A&venue=B&kind=equity&timeframe=1d",
        content=b"<bars/>",
        headers={"Content-Type": "application/xml"},
    )
    assert refused.status_code == 415
    assert "text/csv" in refused.json()["hint"]


def test_a_dataset_is_deleted_unless_a_run_uses_it(api: Api) -> None:
    used, unused = api.dataset_id(bars(53)), api.dataset_id(bars(54))
    api.run(dataset_id=used)

    refused = api.client.delete(f"/datasets/{used}")
    assert refused.status_code == 409
    assert "1 run uses it" in refused.json()["detail"]
    assert api.client.delete(f"/datasets/{unused}").status_code == 204
    assert api.client.get(f"/datasets/{unused}").status_code == 404


def test_a_dataset_that_is_not_there_is_a_problem(api: Api) -> None:
    missing = uuid4()
    problem = api.client.get(f"/datasets/{missing}").json()
    assert problem["status"] == 404
    assert problem["instance"] == f"/api/v1/datasets/{missing}"
    assert str(missing) in problem["detail"]
