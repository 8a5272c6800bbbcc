"""The repository of API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from ntrader.domain.access import AccessScope, ApiKey, KeyToken
from ntrader.errors import ConflictError, NotFoundError
from ntrader.storage.database import Database
from ntrader.storage.service_tables import keys_table as keys
from ntrader.storage.transactions import Transaction

USE_NOTED = "1 minute"
"""Uses of a key are noted no more often than this."""

_COLUMNS = [each for each in keys.columns if each.name != "hash"]


class KeyRepository:
    """Keys are never deleted: a service that had one goes on to ask for one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, name: str, token: KeyToken, scope: AccessScope, expires_at: datetime | None
    ) -> ApiKey:
        """Keep a key, of which the hash alone is stored.

        Raises:
            ConflictError: there is a key of that name which is not revoked.
        """

        async def work(transaction: Transaction) -> ApiKey:
            values = {
                "name": name,
                "prefix": token.prefix,
                "hash": token.digest,
                "scope": scope,
                "expires_at": expires_at,
            }
            statement = insert(keys).values(values).on_conflict_do_nothing().returning(*_COLUMNS)
            row = (await transaction.execute(statement)).one_or_none()
            if row is not None:
                return _key(row)
            # The connection may have been lost after it was kept.
            mine = select(*_COLUMNS).where(keys.c.hash == token.digest)
            row = (await transaction.execute(mine)).one_or_none()
            if row is None:
                raise ConflictError(
                    f"There is a key {name} already.", hint="Revoke it first, or choose a name."
                )
            return _key(row)

        return await self._database.run(work)

    async def any(self) -> bool:
        """Whether a key was ever made."""
        found = await self._database.fetch(select(exists().select_from(keys)))
        return bool(found[0][0])

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key with this hash, whatever has become of it, or None."""
        found = await self._database.fetch(select(*_COLUMNS).where(keys.c.hash == digest))
        return _key(found[0]) if found else None

    async def list(self) -> Sequence[ApiKey]:
        """Return all keys, newest first."""
        statement = select(*_COLUMNS).order_by(keys.c.created_at.desc(), keys.c.id)
        return [_key(row) for row in await self._database.fetch(statement)]

    async def revoke(self, reference: str) -> ApiKey:
        """Revoke a key by its name, its prefix or its id; a revoked one stays so.

        Raises:
            NotFoundError: there is none.
        """

        async def work(transaction: Transaction) -> ApiKey | None:
            statement = update(keys).where(_named(reference), keys.c.revoked_at.is_(None))
            revoked = await transaction.execute(
                statement.values(revoked_at=func.now()).returning(*_COLUMNS)
            )
            row = revoked.one_or_none()
            if row is None:
                before = select(*_COLUMNS).where(_named(reference))
                newest = before.order_by(keys.c.revoked_at.desc()).limit(1)
                row = (await transaction.execute(newest)).one_or_none()
            return None if row is None else _key(row)

        found = await self._database.run(work)
        if found is None:
            raise NotFoundError(
                f"There is no key {reference}.", hint="`ntrader keys list` shows them."
            )
        return found

    async def note_use(self, key_id: UUID) -> None:
        """Note that a key was used just now."""
        stale = or_(
            keys.c.last_used_at.is_(None),
            keys.c.last_used_at < func.now() - text(f"interval '{USE_NOTED}'"),
        )
        statement = update(keys).where(keys.c.id == key_id, stale).values(last_used_at=func.now())
        await self._database.run(lambda transaction: transaction.execute(statement))


def _named(reference: str) -> ColumnElement[bool]:
    try:
        return keys.c.id == UUID(reference)
    except ValueError:
        # No prefix is a name too, unless somebody wants it so: that one is meant then.
        return or_(keys.c.name == reference, keys.c.prefix == reference)


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(**row._mapping)
