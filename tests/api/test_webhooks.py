"""`/webhooks`: an address is told when a run ends, at least once and signed."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.receiver import Received, Receiver, receiver
from support.service import Api, ServiceProcess, bars, eventually, process


@pytest.fixture(scope="module")
def service_environment(service_environment: dict[str, str]) -> dict[str, str]:
    """The settings of the module's service: it may tell this machine."""
    return {**service_environment, "NTRADER_WEBHOOK_PRIVATE": "true"}


@pytest.fixture
def told() -> Iterator[Receiver]:
    """An address that is told."""
    with receiver() as found:
        yield found


@pytest.fixture
def webhook(api: Api, told: Receiver) -> Iterator[dict[str, Any]]:
    """A webhook of the address, for as long as the test lasts."""
    made = api.client.post("/webhooks", json={"url": f"{told.url}/runs?to=me"})
    assert made.status_code == 201, made.text
    yield made.json()
    api.client.delete(f"/webhooks/{made.json()['id']}")


@pytest.fixture
def own_environment(service_environment: dict[str, str], database_url: str) -> dict[str, str]:
    """The settings of services that have a database of the test's own."""
    return {**service_environment, "DATABASE_URL": database_url}


@contextmanager
def client_of(service: ServiceProcess) -> Iterator[Api]:
    api = Api(service.address)
    with api.client:
        yield api


def deliveries(api: Api, webhook: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    answer = api.client.get(f"/webhooks/{webhook['id']}/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


def delivered(api: Api, webhook: dict[str, Any], attempts: int = 1) -> dict[str, Any]:
    """Return the webhook's delivery once it has been attempted so often."""
    return eventually(
        lambda: next(
            (each for each in deliveries(api, webhook) if len(each["attempts"]) >= attempts), {}
        )
    )


def is_signed(received: Received, secret: str) -> bool:
    """Check a signature as the documentation says, with nothing of ours."""
    timestamp = received.headers["ntrader-timestamp"]
    signed = timestamp.encode() + b"." + received.body
    expected = "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, received.headers["ntrader-signature"])


def test_a_run_that_is_done_is_told_and_signed(
    api: Api, told: Receiver, webhook: dict[str, Any]
) -> None:
    run_id = api.run()

    log = delivered(api, webhook)
    (received,) = told.received
    body = json.loads(received.body)
    assert received.path == "/runs?to=me"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["ntrader-event"] == body["type"] == "run.done"
    assert received.headers["ntrader-delivery"] == body["id"] == log["id"]
    assert body["run"] == api.state(run_id)
    assert is_signed(received, webhook["secret"])
    assert not is_signed(received, "another secret, as long as one")
    assert abs(time.time() - int(received.headers["ntrader-timestamp"])) < 600
    assert (log["status"], log["run_id"], log["event"]) == ("delivered", run_id, "run.done")
    assert [attempt["status_code"] for attempt in log["attempts"]] == [200]
    assert log["next_attempt_at"] is None


def test_a_delivery_that_fails_is_tried_again_under_its_id(
    api: Api, told: Receiver, webhook: dict[str, Any]
) -> None:
    told.answers += [500, 404]
    api.run()

    log = delivered(api, webhook, attempts=3)
    assert [attempt["status_code"] for attempt in log["attempts"]] == [500, 404, 200]
    assert log["status"] == "delivered"
    assert {each.headers["ntrader-delivery"] for each in told.received} == {log["id"]}
    assert len({each.body for each in told.received}) == 1
    assert all(is_signed(each, webhook["secret"]) for each in told.received)


def test_no_redirect_is_followed(api: Api, told: Receiver, webhook: dict[str, Any]) -> None:
    told.answers += [307]
    told.headers["Location"] = f"{told.url}/elsewhere"
    api.run()

    log = delivered(api, webhook, attempts=2)
    assert [attempt["status_code"] for attempt in log["attempts"]] == [307, 200]
    assert told.at("/elsewhere") == []


def test_who_is_gone_is_told_nothing_more(
    api: Api, told: Receiver, webhook: dict[str, Any]
) -> None:
    told.answers += [410]
    api.run()

    log = delivered(api, webhook)
    assert (log["status"], log["next_attempt_at"]) == ("failed", None)

    again = api.client.post(f"/webhooks/{webhook['id']}/deliveries/{log['id']}/deliver")
    assert again.status_code == 202
    log = delivered(api, webhook, attempts=2)
    assert (log["status"], log["id"]) == ("delivered", again.json()["id"])


def test_only_what_was_asked_for_is_told(api: Api, told: Receiver) -> None:
    asked = {"url": told.url, "events": ["run.failed"], "description": "alarms"}
    webhook = api.client.post("/webhooks", json=asked).json()
    everything = api.client.post("/webhooks", json={"url": told.url}).json()
    assert webhook["events"] == ["run.failed"]
    assert everything["events"] == ["run.done", "run.failed", "run.cancelled"]
    api.run()
    delivered(api, everything)
    assert deliveries(api, webhook) == []
    failing = api.submit(dataset_id=api.dataset_id(bars(3)), parameters={"slow_period": 50})
    assert api.ended(failing)["status"] in ("done", "failed")
    for each in (webhook, everything):
        api.client.delete(f"/webhooks/{each['id']}")


def test_a_secret_is_told_once(api: Api, told: Receiver) -> None:
    own = "a secret of my own".replace(" ", "-")
    made = api.client.post("/webhooks", json={"url": told.url, "secret": own})
    assert made.json()["secret"] == own
    assert made.headers["cache-control"] == "no-store"
    address = made.headers["location"].removeprefix("/api/v1")
    assert "secret" not in api.client.get(address).json()
    assert own not in api.client.get("/webhooks").text
    assert api.client.delete(address).status_code == 204
    assert api.client.get(address).status_code == 404


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"url": "ftp://example.org"}, "#/url"),
        ({"url": "//example.org"}, "#/url"),
        ({"url": "https://"}, "#/url"),
        ({"url": "https://user:word@example.org/"}, "#/url"),
        ({"url": "https://example.org/\r\nHost: other"}, "#/url"),
        ({"url": "https://[::1/"}, "#/url"),
        ({"url": "https://example.org/" + "x" * 2_000}, "#/url"),
        ({"events": ["run.begun"]}, "#/events/0"),
        ({"secret": "short"}, "#/secret"),
        ({"headers": {}}, "#/headers"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(
    api: Api, changes: dict[str, Any], pointer: str
) -> None:
    refused = api.client.post("/webhooks", json={"url": "https://example.org", **changes})
    assert refused.status_code == 422, refused.text
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


def test_the_log_is_read_in_pages(api: Api, told: Receiver, webhook: dict[str, Any]) -> None:
    dataset = api.dataset_id()
    runs = [api.run(dataset_id=dataset) for _ in range(3)]
    eventually(lambda: len(deliveries(api, webhook, status="delivered")) == 3)

    first = api.client.get(f"/webhooks/{webhook['id']}/deliveries?limit=2").json()
    rest = deliveries(api, webhook, limit=2, after=first["next"])
    assert [each["run_id"] for each in first["deliveries"] + rest] == runs[::-1]
    assert deliveries(api, webhook, status="failed") == []
    assert api.client.get(f"/webhooks/{uuid4()}/deliveries").status_code == 404
    assert api.client.get(f"/webhooks/{webhook['id']}/deliveries?after=nonsense").status_code == 422


def test_addresses_that_are_not_public_are_not_told(
    own_environment: dict[str, str], told: Receiver, tmp_path: Path
) -> None:
    environment = {**own_environment, "NTRADER_WEBHOOK_PRIVATE": "false"}
    with (
        process(tmp_path, environment, "serve", "--port", "0", "--with-worker") as careful,
        client_of(careful) as api,
    ):
        assert api.client.post("/webhooks", json={"url": told.url}).status_code == 422
        for host in ("127.0.0.1", "localhost", "[::1]"):
            url = f"https://{host}:{told.url.rpartition(':')[2]}/"
            webhook = api.client.post("/webhooks", json={"url": url}).json()
            api.run()
            log = delivered(api, webhook)
            assert log["status"] == "pending"
            assert log["attempts"][0]["error"] == "the name leads to no public address"
            api.client.delete(f"/webhooks/{webhook['id']}")
    assert told.received == []


def test_what_its_worker_could_not_finish_is_delivered_by_another_under_the_same_id(
    own_environment: dict[str, str], told: Receiver, tmp_path: Path
) -> None:
    """The first worker is killed after it has sent and before it has heard the answer."""
    with (
        process(tmp_path, own_environment, "serve", "--port", "0") as service,
        client_of(service) as api,
    ):
        webhook = api.client.post("/webhooks", json={"url": told.url}).json()
        run_id = api.submit()
        told.held.set()
        with process(tmp_path, own_environment, "worker") as first:
            cancelled = api.client.post(f"/runs/{run_id}/cancel").status_code
            assert cancelled in (202, 409)
            eventually(lambda: told.received)
            first.kill()
        told.held.clear()
        with process(tmp_path, own_environment, "worker"):
            log = delivered(api, webhook)
        assert len(told.received) >= 2
        assert {each.headers["ntrader-delivery"] for each in told.received} == {log["id"]}
        assert log["status"] == "delivered"
        api.client.delete(f"/webhooks/{webhook['id']}")


def test_a_run_that_is_cancelled_before_any_worker_comes_is_told_of(
    own_environment: dict[str, str], told: Receiver, tmp_path: Path
) -> None:
    with (
        process(tmp_path, own_environment, "serve", "--port", "0") as alone,
        client_of(alone) as api,
    ):
        webhook = api.client.post("/webhooks", json={"url": told.url}).json()
        run_id = api.submit()
        assert api.client.post(f"/runs/{run_id}/cancel").status_code == 202
        (waiting,) = deliveries(api, webhook)
        assert (waiting["status"], waiting["event"]) == ("pending", "run.cancelled")
        with process(tmp_path, own_environment, "worker"):
            assert delivered(api, webhook)["status"] == "delivered"
    assert [json.loads(each.body)["type"] for each in told.received] == ["run.cancelled"]
