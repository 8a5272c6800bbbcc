"""Positions in lists that are ordered by an instant and an id: opaque to clients."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from ntrader.api.problems import ProblemError


def position(at: datetime, subject: UUID) -> str:
    """Return the position of what has this instant and id."""
    return base64.urlsafe_b64encode(f"{at.isoformat()} {subject}".encode()).decode().rstrip("=")


def read_position(text: str) -> tuple[datetime, UUID]:
    """Read what `position` wrote.

    Raises:
        ProblemError: it is none.
    """
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        instant, _, subject = decoded.partition(" ")
        at = datetime.fromisoformat(instant)
        if at.tzinfo is None:
            raise ValueError(text)
        return at, UUID(subject)
    except (binascii.Error, ValueError) as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The cursor is none of this list.",
            code="cursor_mismatch",
            errors=[{"parameter": "after", "detail": "no cursor"}],
        ) from error
