"""API keys: who may ask the service for what."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ntrader.domain.identity import instant_text
from ntrader.errors import UsageError

MAX_NAME = 100
_MARK = "ntr"
_PUBLIC_BYTES = 4
_SECRET_BYTES = 32


class AccessScope(StrEnum):
    """What a request may do: look, add, or take away and look after the service."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def granted(self) -> "frozenset[AccessScope]":
        """The scopes that a key of this one has: itself and the smaller ones."""
        ordered = list(AccessScope)
        return frozenset(ordered[: ordered.index(self) + 1])


EVERYTHING = AccessScope.ADMIN.granted


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key as it is kept: `prefix` is the part that may be seen, the rest is a hash elsewhere."""

    id: UUID
    name: str
    prefix: str
    scope: AccessScope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def status(self, now: datetime) -> str:
        """Return what has become of the key by `now`: active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class KeyToken:
    """The key itself, as its owner gets it: once."""

    text: str = field(repr=False)

    @classmethod
    def new(cls) -> "KeyToken":
        """Make a key: a mark that scanners for leaked secrets find, a public part, 256 bits."""
        public = secrets.token_hex(_PUBLIC_BYTES)
        return cls(f"{_MARK}_{public}_{secrets.token_urlsafe(_SECRET_BYTES)}")

    @property
    def prefix(self) -> str:
        """The part that may be shown."""
        return self.text[: len(_MARK) + 1 + 2 * _PUBLIC_BYTES]

    @property
    def digest(self) -> str:
        """What is stored: the sha256, in hex.

        A slow hash protects what people choose, which can be guessed. 256 random bits cannot, at
        any speed, and a slow hash would be paid at every request.
        """
        return hashlib.sha256(self.text.encode()).hexdigest()


def checked_key_name(given: str) -> str:
    """Return the name of a key.

    Raises:
        UsageError: it is empty, too long, or holds white space or what is not printable.
    """
    if not 1 <= len(given) <= MAX_NAME or " " in given or not given.isprintable():
        raise UsageError(
            f"{given!r} is no name for a key.",
            hint=f"A name is one word of at most {MAX_NAME} printable characters.",
        )
    return given


KEY_FIELDS = (
    "id",
    "name",
    "prefix",
    "scope",
    "status",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked_at",
)


def key_document(key: ApiKey, now: datetime) -> dict[str, Any]:
    """Return what may be known of a key as one object."""
    return {
        "id": str(key.id),
        "name": key.name,
        "prefix": key.prefix,
        "scope": key.scope.value,
        "status": key.status(now),
        "created_at": instant_text(key.created_at),
        "expires_at": _instant(key.expires_at),
        "last_used_at": _instant(key.last_used_at),
        "revoked_at": _instant(key.revoked_at),
    }


def _instant(value: datetime | None) -> str | None:
    return None if value is None else instant_text(value)
