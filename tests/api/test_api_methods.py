"""What each address takes, told where something else is asked of it."""

import json
import socket
from uuid import uuid4

import pytest

from support.service import Api


def test_a_method_that_is_not_taken_is_answered_with_those_that_are(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    assert len(document["paths"]) > 10
    for path, operations in document["paths"].items():
        address = path.format(**{name: uuid4() for name in ("run_id", *_OTHERS)})
        refused = api.client.request("OPTIONS", str(api.client.base_url.copy_with(path=address)))
        assert refused.status_code == 405, path
        allowed = {method.strip() for method in refused.headers["allow"].split(",")}
        assert allowed >= {method.upper() for method in operations}, path


def test_an_address_without_an_id_in_it_is_not_taken_for_one_with(api: Api) -> None:
    """`/runs/recorded` and `/runs/compare` are addresses of their own, not runs."""
    for method, address, taken in (
        ("GET", "/runs/recorded", "POST"),
        ("DELETE", "/runs/recorded", "POST"),
        ("DELETE", "/runs/compare", "GET, HEAD"),
        ("POST", "/runs/compare", "GET, HEAD"),
    ):
        refused = api.client.request(method, address)
        assert (refused.status_code, refused.headers["allow"]) == (405, taken), (method, address)
        assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "sent",
    [b"no http\r\n\r\n", b"GET /api/v1/runs?symbol=" + 70_000 * b"A" + b" HTTP/1.1\r\n\r\n"],
    ids=["no HTTP", "a line of 70 kB"],
)
def test_what_cannot_be_read_is_refused_as_everything_else(api: Api, sent: bytes) -> None:
    url = api.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert json.loads(body)["status"] == 400


@pytest.mark.parametrize("address", ["/runs", "/strategies", "/datasets", "/queue"])
def test_head_is_answered_as_get_is_without_the_body(api: Api, address: str) -> None:
    got, headed = api.client.get(address), api.client.head(address)
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["etag"] == got.headers["etag"]
    assert headed.headers["content-length"] == str(len(got.content))


_OTHERS = ("dataset_id", "strategy_id", "artifact_id", "webhook_id", "delivery_id")
