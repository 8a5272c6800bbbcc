"""Sending to addresses of users: where a name leads, and what comes back."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from ntrader.services.webhooks import WebhookPolicy
from ntrader.services.webhooks_sending import Sender
from support.receiver import Receiver, receiver

ANYBODY = WebhookPolicy(private_allowed=True)
PUBLIC_ONLY = WebhookPolicy()


class Names:
    """A resolver of the test's own, which answers differently each time if it is told to."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def getaddrinfo(self, host: str, port: int, **_options: Any) -> list[Any]:
        if host[0].isdigit():
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        self.asked.append(host)
        if not self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        addresses = self.answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]


@pytest.fixture
def told() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


async def send(
    policy: WebhookPolicy, url: str, monkeypatch: pytest.MonkeyPatch, *answers: list[str]
) -> tuple[int | None, str | None, Names]:
    names = Names(*answers)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.getaddrinfo)
    sender = Sender(policy)
    try:
        attempt = await sender.send(url, {"Ntrader-Event": "run.done"}, b"{}")
    finally:
        await sender.close()
    return attempt.status_code, attempt.error, names


async def test_the_address_that_was_looked_at_is_connected_to(
    told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere the next time it is asked for changes nothing."""
    port = urlsplit(told.url).port
    url = f"http://hook.example:{port}/a?b=c"

    status, error, names = await send(ANYBODY, url, monkeypatch, ["127.0.0.1"], ["192.0.2.1"])

    assert (status, error) == (200, None)
    assert names.asked == ["hook.example"]
    (received,) = told.received
    assert received.path == "/a?b=c"
    assert received.headers["host"] == f"hook.example:{port}"


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.0.0.1", "169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"]]
)
async def test_a_name_that_leads_inside_is_not_told(
    told: Receiver, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    url = f"http://hook.example:{urlsplit(told.url).port}/"
    status, error, _ = await send(PUBLIC_ONLY, url, monkeypatch, addresses)
    assert (status, error) == (None, "the name leads to no public address")
    assert told.received == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "0", "[::1]", "[::ffff:7f00:1]"]
)
async def test_other_spellings_of_loopback_are_not_told(told: Receiver, host: str) -> None:
    sender = Sender(PUBLIC_ONLY)
    attempt = await sender.send(f"http://{host}:{urlsplit(told.url).port}/", {}, b"{}")
    await sender.close()
    assert attempt.status_code is None
    assert attempt.error
    assert told.received == []


async def test_a_proxy_of_the_environment_is_not_used(
    told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        status, _, _ = await send(ANYBODY, told.url, monkeypatch)
        assert (status, len(told.received), proxy.received) == (200, 1, [])


async def test_an_address_that_does_not_answer_is_left_in_time(
    told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.held.set()
    policy = WebhookPolicy(private_allowed=True, seconds=0.3)
    status, error, _ = await send(policy, told.url, monkeypatch)
    assert (status, error) == (None, "no answer within 0.3 s")


async def test_an_answer_without_an_end_is_not_read(
    told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.endless = True
    status, error, _ = await send(ANYBODY, told.url, monkeypatch)
    assert (status, error) == (200, None)


async def test_the_next_address_of_a_name_is_tried_where_nobody_listens(
    told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://hook.example:{urlsplit(told.url).port}/"
    addresses = ["127.0.0.2", "127.0.0.1", "127.0.0.3"]
    status, _, _ = await send(ANYBODY, url, monkeypatch, addresses)
    assert status == 200


async def test_what_goes_wrong_is_told_without_what_is_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, unknown, _ = await send(ANYBODY, "http://no.example/", monkeypatch)
    assert unknown == "the name cannot be resolved"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    _, refused, _ = await send(ANYBODY, f"http://127.0.0.1:{port}/", monkeypatch)
    assert refused == "not delivered (ConnectError)"


async def test_over_tls_it_is_the_name_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is connected to, and still the name's certificate is wanted."""
    hello = b""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hello
        hello = await reader.read(4_096)
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"https://hook.example:{port}/"
        status, error, _ = await send(ANYBODY, url, monkeypatch, ["127.0.0.1"])
    assert (status, error) == (None, "not delivered (ConnectError)")
    assert b"hook.example" in hello
