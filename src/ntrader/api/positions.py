"""Pages of lists that are ordered by an instant and an id, newest first.

Where a page begins is opaque to clients: the `next` of the page before.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from ntrader.api.context import TheService
from ntrader.api.problems import ProblemError
from ntrader.domain.queries import MAX_LIMIT

DEFAULT_LIMIT = 20

type Place = tuple[datetime, UUID]
"""The instant and the id of an item; what follows it is older."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """A page as it is asked for: at most `limit` items, after the place of one."""

    limit: int
    after: Place | None

    @property
    def one_more(self) -> int:
        """How many to read: one more than are shown tells whether there is a next page."""
        return self.limit + 1

    def split[T](
        self, found: Sequence[T], place_of: Callable[[T], Place]
    ) -> tuple[Sequence[T], str | None]:
        """Return what is shown of `one_more` items, and where the next page begins."""
        shown = found[: self.limit]
        return shown, position(*place_of(shown[-1])) if len(found) > self.limit else None


async def page_query(
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    after: Annotated[
        str | None, Query(max_length=200, description="The `next` of the page before.")
    ] = None,
) -> PageQuery:
    """Read the parameters of a page."""
    place = None if after is None else read_position(after)
    return PageQuery(min(limit, service.limits.page), place)


type Paged = Annotated[PageQuery, Depends(page_query)]


def position(at: datetime, subject: UUID) -> str:
    """Return the position of what has this instant and id."""
    return base64.urlsafe_b64encode(f"{at.isoformat()} {subject}".encode()).decode().rstrip("=")


def read_position(text: str) -> Place:
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
        return at.astimezone(UTC), UUID(subject)
    except (binascii.Error, ValueError, OverflowError) as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The cursor is none of this list.",
            code="cursor_mismatch",
            errors=[{"parameter": "after", "detail": "no cursor"}],
        ) from error
