"""Sending to an address that a user has named, without being led where he cannot go himself.

A service can reach what the world cannot: itself, the database, the metadata of its cloud. The name
of an address is looked up once for each attempt, what it leads to is checked, and that very address
is connected to: a name that leads elsewhere a moment later (DNS rebinding) changes nothing. TLS
still checks the certificate of the name. No redirect is followed, and no proxy of the environment
is used, which would look the name up again.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ntrader.domain.addresses import is_public
from ntrader.domain.webhooks import Attempt

if TYPE_CHECKING:
    import httpx

    from ntrader.services.webhooks import WebhookPolicy

MOST_ADDRESSES = 3
"""So many addresses of one name are tried."""


class ForbiddenAddressError(Exception):
    """The name leads to addresses alone that may not be told."""


class Sender:
    """Sends bodies to addresses; one for all, so that it is closed once."""

    def __init__(self, policy: WebhookPolicy) -> None:
        import httpx

        self._policy = policy
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=policy.seconds,
            # Each attempt looks again where the name leads.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Make one attempt, which lasts no longer than the policy says."""
        import httpx

        at, began = datetime.now(UTC), time.monotonic()
        code: int | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(self._policy.seconds):
                code = await self._status(httpx.URL(url), headers, body)
        except TimeoutError:
            error = f"no answer within {self._policy.seconds:g} s"
        except ForbiddenAddressError:
            error = "the name leads to no public address"
        except socket.gaierror:
            error = "the name cannot be resolved"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
            # The kind alone: its words may quote what is inside of our network.
            error = f"not delivered ({type(fault).__name__})"
        return Attempt(at=at, seconds=time.monotonic() - began, status_code=code, error=error)

    async def _status(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> int:
        import httpx

        addresses = await self._addresses(url)
        for address in addresses[:-1]:
            try:
                return await self._status_at(address, url, headers, body)
            except httpx.ConnectError:
                continue
        return await self._status_at(addresses[-1], url, headers, body)

    async def _status_at(
        self, address: str, url: httpx.URL, headers: Mapping[str, str], body: bytes
    ) -> int:
        request = self._client.build_request(
            "POST",
            url.copy_with(host=address),
            headers={**headers, "Host": url.netloc.decode("ascii")},
            content=body,
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        # What it answers besides its status is never read: it may be endless, or a secret of a
        # neighbour's that the log would show.
        response = await self._client.send(request, stream=True)
        await response.aclose()
        return response.status_code

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """Return the addresses that the host has now, as far as they may be told."""
        port = url.port or (443 if url.scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        allowed = [each for each in addresses if self._policy.private_allowed or is_public(each)]
        if not allowed:
            raise ForbiddenAddressError
        return allowed[:MOST_ADDRESSES]
