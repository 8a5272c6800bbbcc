"""The gate of a service with keys."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from uuid import UUID

from ntrader.api.access import LoopbackGate, Principal
from ntrader.api.problems import ProblemError
from ntrader.api.rates import Rate, RateLimiter
from ntrader.domain.access import ApiKey, KeyToken
from ntrader.errors import DatabaseError

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from ntrader.storage.keys import KeyRepository

REQUESTS_PER_MINUTE = 1_200
KNOWN_SECONDS = 2.0
"""A key is looked up again after so long: a revoked one opens nothing any more from then on."""

SUBPROTOCOL = "ntrader"
_KEY_SUBPROTOCOL = "ntrader.key."
_WRONG_PER_MINUTE = 60
_USE_SECONDS = 60.0
_MOST_KNOWN = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessOptions:
    """How the service is reached.

    Args:
        requests_per_minute: for each key; 0 for any number.
        origins: web pages that may ask, as browsers name them: `https://example.org`.
    """

    requests_per_minute: int = REQUESTS_PER_MINUTE
    origins: tuple[str, ...] = ()


USUAL_ACCESS = AccessOptions()


class KeyGate:
    """Asks for a key, unless there never was one and the service is on loopback alone.

    Once a key was made there is no way back to a service without: revoking the last one must not
    open the service to whoever comes, through a proxy on this machine for example.
    """

    def __init__(self, keys: KeyRepository, options: AccessOptions, *, on_loopback: bool) -> None:
        self._keys = keys
        self._without_keys = LoopbackGate(options.origins) if on_loopback else None
        self._looked_at = -KNOWN_SECONDS
        self._rates = (
            RateLimiter(options.requests_per_minute) if options.requests_per_minute else None
        )
        self._wrong = RateLimiter(_WRONG_PER_MINUTE)
        self._known: dict[str, tuple[ApiKey, float]] = {}
        self._noted: dict[UUID, float] = {}

    async def principal(self, connection: HTTPConnection) -> Principal:
        """Return whose key it is."""
        without_keys = await self._open_gate()
        if without_keys is not None:
            return await without_keys.principal(connection)
        key = await self._key(connection)
        if self._rates is not None:
            rate = self._rates.take(str(key.id))
            connection.scope.setdefault("state", {})["rate"] = rate
            if rate.retry_seconds:
                raise _too_often(rate)
        await self._note_use(key)
        connection.scope.setdefault("state", {})["key"] = key.prefix
        return Principal(f"key {key.id}", key.scope.granted)

    async def _open_gate(self) -> LoopbackGate | None:
        """Return the gate of a service without keys, as long as it is one."""
        if self._without_keys is None:
            return None
        if time.monotonic() - self._looked_at >= KNOWN_SECONDS:
            if await self._keys.any():
                self._without_keys = None
            self._looked_at = time.monotonic()
        return self._without_keys

    async def _key(self, connection: HTTPConnection) -> ApiKey:
        text = _token_of(connection)
        if text is None:
            raise _refused("This needs a key.", code="key_missing")
        client = "" if connection.client is None else connection.client.host
        key = await self._found(KeyToken(text), client)
        status = "not known" if key is None else key.status(datetime.now(UTC))
        if key is None or status != "active":
            raise _refused(f"The key is {status}.", code="key_refused", error="invalid_token")
        return key

    async def _found(self, token: KeyToken, client: str) -> ApiKey | None:
        """Return a key, whatever has become of it; None where there is none.

        Who tries keys is slowed down before the database is asked. Keys that were seen before are
        asked for nevertheless: others may come from the same address, that of a proxy.
        """
        digest = token.digest
        known, until = self._known.get(digest, (None, 0.0))
        if known is not None and time.monotonic() < until:
            return known
        if known is None and (rate := self._wrong.peek(client)).retry_seconds:
            raise _too_often(rate)
        key = await self._keys.find(digest)
        if key is None:
            self._wrong.take(client)
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[digest] = (key, time.monotonic() + KNOWN_SECONDS)
        return key

    async def _note_use(self, key: ApiKey) -> None:
        now = time.monotonic()
        if now - self._noted.get(key.id, -_USE_SECONDS) < _USE_SECONDS:
            return
        self._noted[key.id] = now
        # When a key was last used is no reason to refuse it.
        with suppress(DatabaseError):
            await self._keys.note_use(key.id)


def _token_of(connection: HTTPConnection) -> str | None:
    """Return the key of a request: of the header, or of a WebSocket's subprotocols.

    A browser's WebSocket has no way to send a header. It may offer two subprotocols, `ntrader` and
    `ntrader.key.KEY`; the address is no place for a key, since logs keep it.
    """
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    for offered in connection.scope.get("subprotocols", ()):
        if offered.startswith(_KEY_SUBPROTOCOL):
            return str(offered.removeprefix(_KEY_SUBPROTOCOL))
    return None


def chosen_subprotocol(offered: Collection[str]) -> str | None:
    """Return the subprotocol that a WebSocket is accepted with: never the one with the key."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def _refused(detail: str, *, code: str, error: str | None = None) -> ProblemError:
    challenge = 'Bearer realm="ntrader"' + (f', error="{error}"' if error else "")
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        detail,
        code=code,
        hint="Send one in the header: Authorization: Bearer KEY. `ntrader keys create` makes it.",
        headers={"WWW-Authenticate": challenge},
    )


def _too_often(rate: Rate) -> ProblemError:
    return ProblemError(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"More than {rate.limit:,} requests a minute.",
        code="rate_limited",
        headers={"Retry-After": str(rate.retry_seconds)},
    )
