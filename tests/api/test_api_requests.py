"""What holds for every request: problems, limits, idempotency, and who may ask."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from support.service import Api, bars


def is_a_problem(response: httpx.Response) -> bool:
    problem = response.json()
    return (
        response.headers["content-type"] == "application/problem+json"
        and problem["status"] == response.status_code
        and {"type", "title", "detail", "instance", "errors"} <= problem.keys()
    )


@pytest.mark.parametrize(
    ("method", "address", "options", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", f"/runs/{UUID(int=1)}", {}, 404),
        ("GET", "/runs/not-an-id", {}, 404),
        ("PUT", "/runs", {}, 405),
        ("POST", "/runs", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 422),
        ("POST", "/runs", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/runs", {"data": {"a": "b"}}, 415),
        ("POST", "/runs", {"json": ["a", "list"]}, 422),
        ("POST", "/runs", {"json": {"note": "x" * 2_000_000}}, 413),
        ("GET", "/runs?symbol=%00", {}, 422),
    ],
)
def test_every_refusal_is_a_problem_document(
    api: Api, method: str, address: str, options: dict[str, Any], status: int
) -> None:
    refused = api.client.request(method, address, **options)
    assert refused.status_code == status
    assert is_a_problem(refused)


def test_a_body_without_a_length_is_counted_as_it_comes_in(api: Api) -> None:
    parts = (b'{"note": "' if index == 0 else b"x" * 65_536 for index in range(64))
    refused = api.client.post("/runs", content=parts, headers={"Content-Type": "application/json"})
    assert refused.status_code == 413
    assert is_a_problem(refused)


def test_a_method_that_is_not_taken_says_which_are(api: Api) -> None:
    assert "GET" in api.client.put("/strategies").headers["allow"]


def test_the_same_request_under_one_key_is_carried_out_once(api: Api) -> None:
    order = api.order(parameters={"fast_period": 6})
    headers = {"Idempotency-Key": str(uuid4())}
    first = api.client.post("/runs", json=order, headers=headers)
    # The order of its names makes no other request.
    again = api.client.post("/runs", json=dict(reversed(order.items())), headers=headers)

    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers


def test_another_request_under_the_same_key_is_refused(api: Api) -> None:
    order = api.order()
    headers = {"Idempotency-Key": str(uuid4())}
    api.client.post("/runs", json=order, headers=headers)
    refused = api.client.post("/runs", json={**order, "seed": 5}, headers=headers)
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:ntrader:problem:idempotency_key_reused"


def test_a_key_is_of_one_address(api: Api) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    configuration = {"name": "keyed", "version": "1.0.0", "implementation": "rsi"}
    added = api.client.post("/strategies", json=configuration, headers=headers)
    accepted = api.client.post("/runs", json=api.order(), headers=headers)
    again = api.client.post("/strategies", json=configuration, headers=headers)
    assert (added.status_code, accepted.status_code) == (201, 202)
    assert (again.status_code, again.json()) == (201, added.json())


def test_a_refusal_is_given_again_too(api: Api) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    order = api.order(dataset_id=str(uuid4()))
    first = api.client.post("/runs", json=order, headers=headers)
    again = api.client.post("/runs", json=order, headers=headers)
    assert (again.status_code, again.json()) == (422, first.json())
    assert is_a_problem(again)


def test_an_upload_under_one_key_is_told_by_its_content(api: Api) -> None:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": str(uuid4())}
    address = "/datasets?symbol=KEY&venue=XNYS&kind=equity&timeframe=1d"
    first = api.client.post(address, content=bars(61), headers=headers)
    again = api.client.post(address, content=bars(61), headers=headers)
    other = api.client.post(address, content=bars(62), headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.json() == first.json()


def test_many_at_once_under_one_key_make_one_run(api: Api) -> None:
    order = api.order(parameters={"fast_period": 2})
    headers = {"Idempotency-Key": str(uuid4())}
    with ThreadPoolExecutor(16) as clients:
        answers = list(
            clients.map(lambda _: api.client.post("/runs", json=order, headers=headers), range(16))
        )
    accepted = {each.json()["run_id"] for each in answers if each.status_code == 202}
    assert len(accepted) == 1
    assert {each.status_code for each in answers} <= {202, 409}


@pytest.mark.parametrize("key", ["", "x" * 256, "with space"])
def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    refused = api.client.post("/runs", json=api.order(), headers={"Idempotency-Key": key})
    assert refused.status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "ntrader.example.com"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
    ],
)
def test_web_pages_of_other_sites_are_refused(api: Api, headers: dict[str, str]) -> None:
    for method, address in (("GET", "/runs"), ("POST", f"/runs/{uuid4()}/cancel")):
        refused = api.client.request(method, address, headers=headers)
        assert refused.status_code == 403
        assert is_a_problem(refused)


def test_every_route_asks_who_it_is(api: Api) -> None:
    paths = api.client.get("/openapi.json").json()["paths"]
    some = str(uuid4())
    asked = 0
    for path, methods in paths.items():
        if not path.startswith("/api/v1/"):
            continue  # what a machine asks of the process itself
        address = re.sub(r"\{\w+\}", some, path.removeprefix("/api/v1"))
        for method in methods:
            refused = api.client.request(method, address, headers={"Host": "other.example"})
            assert refused.status_code == 403, (method, path)
            asked += 1
    assert asked >= 20


def test_the_documentation_is_complete(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        if path.startswith("/api/v1/")
        for method, operation in methods.items()
    ]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)
    for path, method, operation in operations:
        assert operation["summary"], path
        assert operation["description"], path
        assert "429" in operation["responses"], path
        for status, response in operation["responses"].items():
            headers = response["headers"]
            assert "X-Request-ID" in headers, path
            assert status == "401" or "RateLimit-Remaining" in headers, path
            assert status != "429" or "Retry-After" in headers, path
            if status.startswith(("4", "5")):
                assert list(response["content"]) == ["application/problem+json"], (path, status)
            elif status not in ("204", "304"):
                ((kind, content),) = response["content"].items()
                assert kind != "application/json" or content["schema"], (path, method)
        if "requestBody" in operation and "application/json" in operation["requestBody"]["content"]:
            body = operation["requestBody"]["content"]["application/json"]["schema"]
            schema = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
            assert schema["example"], path
            assert {"408", "413", "415"} <= operation["responses"].keys(), path
        if method == "post":
            parameters = {each["name"] for each in operation["parameters"]}
            assert "Idempotency-Key" in parameters, path
    assert "HTTPValidationError" not in document["components"]["schemas"]
