"""Webhooks: who is told when a run ends, and how what he is told is signed."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from ntrader.domain.identity import instant_text
from ntrader.domain.submissions import Submission, SubmissionStatus, submission_document
from ntrader.errors import UsageError

RETRY_SECONDS = (1, 5, 30, 120, 600, 1_800, 7_200, 21_600, 43_200, 86_400)
"""How long after each failed attempt the next one follows: two days in all."""

MAX_ATTEMPTS = len(RETRY_SECONDS) + 1
MAX_URL = 2_000
_LONGEST_ERROR = 2_000
_SECRET_BYTES = 32


class WebhookEvent(StrEnum):
    """What is told."""

    RUN_DONE = "run.done"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"

    @classmethod
    def of(cls, status: SubmissionStatus) -> "WebhookEvent":
        """Return the event of a run that has ended so."""
        return cls(f"run.{status.value}")


class DeliveryStatus(StrEnum):
    """Where a delivery stands: under way, taken, or given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """An address that is told of some events. The secret signs what it is told."""

    id: UUID
    url: str
    secret: str = field(repr=False)
    events: tuple[WebhookEvent, ...]
    description: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try to deliver: the status of the answer, or why there was none."""

    at: datetime
    seconds: float
    status_code: int | None = None
    error: str | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the other side has taken it."""
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def is_hopeless(self) -> bool:
        """Whether the other side wants no more (410 Gone)."""
        return self.status_code == 410

    def to_dict(self) -> dict[str, Any]:
        """Return the attempt as JSON values."""
        return {
            "at": instant_text(self.at),
            "seconds": round(self.seconds, 3),
            "status_code": self.status_code,
            "error": self.error,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookDelivery:
    """One event on its way to one webhook. `body` is what is sent, each time the same."""

    id: UUID
    webhook_id: UUID
    event: WebhookEvent
    run_id: UUID
    body: str
    status: DeliveryStatus
    attempts: tuple[dict[str, Any], ...]
    created_at: datetime
    next_attempt_at: datetime | None
    ended_at: datetime | None


def new_secret() -> str:
    """Return a secret for who brings none."""
    return f"whsec_{secrets.token_urlsafe(_SECRET_BYTES)}"


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a body sent at `timestamp` (Unix seconds).

    It is `sha256=` and the hex HMAC-SHA256 (RFC 2104) of `{timestamp}.{body}`: the timestamp is
    signed too, so that what was heard once cannot be said again later.
    """
    signed = str(timestamp).encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def delivery_headers(delivery: WebhookDelivery, secret: str, now: datetime) -> dict[str, str]:
    """Return the headers of one attempt at a delivery."""
    timestamp = int(now.timestamp())
    return {
        "Content-Type": "application/json",
        "User-Agent": "ntrader-webhooks",
        "Ntrader-Delivery": str(delivery.id),
        "Ntrader-Event": delivery.event.value,
        "Ntrader-Timestamp": str(timestamp),
        "Ntrader-Signature": signature(secret, timestamp, delivery.body.encode()),
    }


def event_document(delivery_id: UUID, event: WebhookEvent, ended: Submission) -> dict[str, Any]:
    """Return what a webhook is told of a run that has ended."""
    run = submission_document(ended)
    if run["error"] is not None:
        run["error"] = run["error"][:_LONGEST_ERROR]
    return {"id": str(delivery_id), "type": event.value, "at": run["finished_at"], "run": run}


def checked_url(given: str, *, private_allowed: bool) -> str:
    """Return the address of a webhook. Where its name leads is looked at when it is used.

    Raises:
        UsageError: it is none, holds a password, or is not encrypted and must be.
    """
    schemes = ("https", "http") if private_allowed else ("https",)
    try:
        parts = urlsplit(given)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise UsageError(f"{given!r} is no URL.") from error
    if parts.scheme not in schemes or not has_place or not given.isascii() or " " in given:
        raise UsageError(
            f"{given!r} is no address for a webhook.",
            hint=f"Give a URL of {' or '.join(schemes)}, without any other characters than ASCII.",
        )
    if len(given) > MAX_URL or not given.isprintable():
        raise UsageError(f"A URL has at most {MAX_URL:,} printable characters.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UsageError(
            "The URL must hold no user, password or fragment.",
            hint="Check the signature to know who sends.",
        )
    return given


def webhook_document(webhook: Webhook) -> dict[str, Any]:
    """Return a webhook without its secret."""
    return {
        "id": str(webhook.id),
        "url": webhook.url,
        "events": [event.value for event in webhook.events],
        "description": webhook.description,
        "created_at": instant_text(webhook.created_at),
    }


def delivery_document(delivery: WebhookDelivery) -> dict[str, Any]:
    """Return a delivery with all attempts at it."""
    return {
        "id": str(delivery.id),
        "webhook_id": str(delivery.webhook_id),
        "event": delivery.event.value,
        "run_id": str(delivery.run_id),
        "status": delivery.status.value,
        "attempts": list(delivery.attempts),
        "created_at": instant_text(delivery.created_at),
        "next_attempt_at": _instant(delivery.next_attempt_at),
        "ended_at": _instant(delivery.ended_at),
    }


def events_or_all(given: Sequence[WebhookEvent]) -> tuple[WebhookEvent, ...]:
    """Return these events, each once and in their order; all of them where none is given."""
    return tuple(event for event in WebhookEvent if not given or event in given)


def _instant(value: datetime | None) -> str | None:
    return None if value is None else instant_text(value)
